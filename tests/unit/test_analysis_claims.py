"""The table of claims: verdicts on data made to deserve them, Holm, and the same bytes twice."""

import math

import numpy as np
import pandas as pd
import pytest

import synthetic
from sensigap import survey as stores
from sensigap.analysis import verdicts
from sensigap.analysis.bootstrap import DoesNotApply, Result
from sensigap.analysis.claims import COLUMNS, Settings, claims, write_claims
from sensigap.analysis.verdicts import VERDICTS, Question, answer, holm, judge, verdict

FAST = Settings(bootstrap=200, point_networks=22)


def question(**changes):
    fields = {
        "key": "C9.q",
        "claim": "C9",
        "dataset": "synthetic",
        "quantity": "q",
        "test": "t",
        "effect": "e",
        "claimed": 1,
    }
    return Question(**(fields | changes))


def row(low, high, p=0.001, **changes):
    result = Result((low + high) / 2, low, high, p, "note")
    return answer(question(**changes), 40, "none", 20, lambda: result)


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "changes", "expected"),
    [
        (0.1, 0.3, 0.01, {}, "supported"),
        (-0.3, -0.1, 0.01, {}, "contradicted"),
        (-0.3, -0.1, 0.01, {"claimed": -1}, "supported"),
        (0.1, 0.3, 0.01, {"claimed": -1}, "contradicted"),
        (0.1, 0.3, 0.05, {}, "not supported"),
        (0.1, 0.3, 0.9, {"claimed": -1}, "not supported"),
        # Wilcoxon may reject where the mean's interval is not clear of the null
        (-0.01, 0.3, 0.01, {}, "not supported"),
        (0.0, 0.3, 0.01, {}, "not supported"),
        (0.55, 0.7, 0.01, {"null": 0.5}, "supported"),
        (0.45, 0.7, 0.01, {"null": 0.5}, "not supported"),
        (0.3, 0.45, 0.01, {"null": 0.5}, "contradicted"),
        # a claim of no relation
        (-0.1, 0.15, 0.9, {"claimed": 0}, "supported"),
        (0.05, 0.2, 0.01, {"claimed": 0}, "supported"),
        (-0.2, 0.0, 0.01, {"claimed": 0}, "supported"),
        (0.25, 0.5, 0.01, {"claimed": 0}, "contradicted"),
        (-0.5, -0.25, 0.01, {"claimed": 0}, "contradicted"),
        (0.25, 0.5, 0.06, {"claimed": 0}, "not supported"),
        (0.1, 0.4, 0.01, {"claimed": 0}, "not supported"),
        (-0.3, 0.3, 0.9, {"claimed": 0}, "not supported"),
        (0.1, 0.3, 0.01, {"control": True}, ""),
    ],
)
def test_verdicts(low, high, p_holm, changes, expected):
    assert verdict(row(low, high, **changes), p_holm, Settings()) == expected


def test_equivalence_and_alpha_are_settings():
    assert verdict(row(-0.1, 0.15, claimed=0), 0.9, Settings(equivalence=0.1)) == "not supported"
    assert verdict(row(0.1, 0.3), 0.03, Settings(alpha=0.01)) == "not supported"


def test_too_few_networks_compute_nothing():
    def compute():
        raise AssertionError("computed")

    few = answer(question(), 19, "none", 20, compute)
    assert few.result is None
    assert few.note == "19 of at least 20"
    assert verdict(few, math.nan, Settings()) == "too few networks"
    assert answer(question(), 20, "none", 20, lambda: Result(0, 0, 0, 1, "")).result is not None


def test_a_test_that_does_not_apply_says_so():
    def compute():
        raise DoesNotApply("all is one")

    found = answer(question(), 30, "none", 20, compute)
    assert found.result is None
    assert found.note == "does not apply: all is one"
    assert verdict(found, math.nan, Settings()) == "not supported"


def test_holm_by_hand_over_rows_that_have_p():
    p = [0.01, 0.04, 0.03, 0.005]
    rows = [row(0.1, 0.2, value) for value in p]
    rows.insert(2, answer(question(), 3, "none", 20, lambda: None))
    # times 4, 3, 2, 1 from the smallest, and never below one before it
    expected = [0.03, 0.06, math.nan, 0.06, 0.02]
    assert holm(rows, 0.05) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(holm(rows[2:3], 0.05)).all()


INTERVALS = {
    "supported": (0.1, 0.3),
    "contradicted": (-0.3, -0.1),
    "not supported": (-0.1, 0.1),
}


@pytest.mark.parametrize("own", INTERVALS)
@pytest.mark.parametrize("gap", INTERVALS)
def test_a_row_whose_presumption_fails_is_neither_supported_nor_contradicted(own, gap):
    rows = [
        # another data set's row of the same key is not the one presumed
        row(0.1, 0.3, key="C9.gap", dataset="other"),
        row(*INTERVALS[own], key="C9.norm", presumes="C9.gap"),
        row(*INTERVALS[gap], key="C9.gap"),
        row(0.1, 0.3, key="C8.gap", claim="C8"),
    ]
    judged = judge(rows, [0.01] * 4, Settings())
    assert [judged[place][0] for place in (0, 2, 3)] == ["supported", gap, "supported"]
    assert {judged[place][1] for place in (0, 2, 3)} == {""}
    if gap == "supported":
        assert judged[1] == (own, "the gap moved as presumed")
    else:
        assert judged[1][0] == "not supported"
        assert judged[1][1].startswith("does not speak to the claim: ")
        assert judged[1][1].endswith(f"(its row: {gap})")


def test_too_few_pairs_stay_too_few_whatever_the_gap_did():
    few = answer(question(key="C9.norm", presumes="C9.gap"), 3, "none", 20, lambda: None)
    judged = judge([row(-0.3, -0.1, key="C9.gap"), few], [0.01, math.nan], Settings())
    assert [given for given, _ in judged] == ["contradicted", "too few networks"]


@pytest.fixture(scope="module")
def survey():
    return synthetic.survey(networks=450, samples=100, transition_points=20, pairs=40)


@pytest.fixture(scope="module")
def table(survey):
    return claims({"synthetic": survey}, {"synthetic": synthetic.ellipses(survey)}, FAST)


def test_table_has_its_columns_and_every_claim(table):
    assert tuple(table.columns) == COLUMNS
    counts = table.groupby("claim", sort=False).size()
    assert counts.to_dict() == {"C0": 4, "C1": 16, "C2": 3, "C3": 6, "C4": 6, "C5": 4}
    assert not table.duplicated(["claim", "dataset", "quantity", "test"]).any()


def test_keys_name_the_rows_of_a_data_set(table):
    ellipses = [f"{kind}.{to}" for kind in ("different", "one") for to in ("near", "data")]
    c1 = [f"C1.{measure}.{rest}" for measure in ("norm", "transitions") for rest in ellipses]
    pairs = ("C3.labels", "C3.batch", "C4.augmentation", "C4.unit")
    assert table["key"].tolist() == [
        *("C0.size.raw", "C0.size.within", "C0.loss.raw", "C0.loss.within"),
        *(key + state for key in c1 for state in ("", ".untrained")),
        *("C2.raw", "C2.within", "C2.ols"),
        *(f"{pair}.{what}" for pair in pairs for what in ("gap", "norm", "transitions")),
        *("C5.loss", "C5.error", "C5.slope", "C5.gee"),
    ]
    assert table["key"].is_unique


def test_draws_depend_on_key_and_data_set_and_on_no_word():
    first = question().draws(FAST).integers(1 << 40)
    reworded = question(claim="C8", quantity="Q", test="T", effect="E", claimed=-1, null=0.5)
    assert reworded.draws(FAST).integers(1 << 40) == first
    for other in (question(key="C9.r"), question(dataset="other")):
        assert other.draws(FAST).integers(1 << 40) != first
    assert question().draws(FAST, what="points").integers(1 << 40) != first
    assert question().draws(Settings(seed=1)).integers(1 << 40) != first


def test_table_says_supported_where_effects_were_put(table):
    controls = table["verdict"] == ""
    assert (table.loc[~controls, "verdict"] == "supported").all()
    assert (table.loc[controls, "claim"] == "C1").all()
    assert table.loc[controls, "note"].str.startswith("control").all()
    assert controls.sum() == 8


def test_every_p_comes_with_an_effect_and_its_interval(table):
    assert (table["low"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["high"]).all()
    assert table["p"].between(0, 1).all()
    assert (table["p_holm"] >= table["p"]).all()
    assert (table["n"] > 0).all()
    assert table["left_out"].str.contains(r"^\d+ of \d+ ").all()


def test_holm_is_over_the_whole_table(table):
    p = np.sort(table["p"].to_numpy())
    stepped = np.minimum(1, np.maximum.accumulate(p * np.arange(len(p), 0, -1)))
    assert np.sort(table["p_holm"].to_numpy()) == pytest.approx(stepped)


def one_claim(found, claim):
    chosen = found[(found["claim"] == claim) & (found["verdict"] != "")]
    return dict(zip(chosen["quantity"], chosen["verdict"], strict=True))


def test_reversed_effects_are_contradicted():
    reverse = synthetic.survey(
        networks=260,
        samples=100,
        transition_points=20,
        pairs=40,
        slope=-0.2,
        gain_slope=-0.1,
        size_slope=0.1,
        loss_slope=0.08,
        point_slope=-0.6,
        gap_shift=-0.15,
        sensitivity_shift=-0.6,
        transitions_shift=-0.3,
    )
    paths = synthetic.ellipses(reverse, near=0.5, data=0.4)
    found = claims({"synthetic": reverse}, {"synthetic": paths}, FAST)
    pairs = found["claim"].isin(["C3", "C4"])
    of_gap = found["quantity"].str.endswith("gap")
    assert set(found.loc[~pairs | of_gap, "verdict"]) == {"contradicted", ""}
    # their numbers are far from the null, but they presume a gap that moved as claimed
    factors = found[pairs & ~of_gap]
    assert set(factors["verdict"]) == {"not supported"}
    assert (factors["high"] < 0).all()
    assert (factors["p_holm"] < 0.05).all()
    assert len(factors) == 8
    assert (
        factors["note"]
        .str.startswith(
            "does not speak to the claim: the gap did not move as presumed (its row: contradicted)"
        )
        .all()
    )


def test_no_effects_are_not_supported():
    nothing = synthetic.survey(
        networks=120,
        samples=100,
        transition_points=20,
        pairs=40,
        slope=0.0,
        gain_slope=0.0,
        size_slope=0.0,
        loss_slope=0.006,
        point_slope=0.0,
        gap_shift=0.0,
        sensitivity_shift=0.0,
        transitions_shift=0.0,
        noise=0.05,
    )
    paths = synthetic.ellipses(nothing, near=0.0, data=0.0)
    found = claims({"synthetic": nothing}, {"synthetic": paths}, FAST)
    assert set(found["verdict"]) == {"not supported", ""}
    assert found["p"].notna().all()


def test_sensitivity_speaks_only_where_the_gap_moved(table):
    moved = table[table["claim"].isin(["C3", "C4"])]
    others = ~moved["quantity"].str.endswith("gap")
    assert moved.loc[others, "note"].str.startswith("the gap moved as presumed").all()
    assert not moved.loc[~others, "note"].str.contains("presumed").any()


def test_gain_that_moves_both_is_no_relation_within_hyperparameters():
    confounded = synthetic.survey(
        networks=260, samples=100, transition_points=20, pairs=1, slope=0.0, gain_slope=0.3
    )
    found = claims({"synthetic": confounded}, {}, FAST)
    assert one_claim(found, "C2") == {
        "gap and log10 sensitivity": "supported",
        "gap and log10 sensitivity within hyper-parameters": "not supported",
        "gap on log10 sensitivity within hyper-parameters": "not supported",
    }


def test_few_networks_are_too_few_everywhere():
    few = synthetic.survey(networks=15, samples=60, transition_points=20, pairs=12)
    found = claims({"synthetic": few}, {"synthetic": synthetic.ellipses(few)}, FAST)
    assert set(found["verdict"]) == {"too few networks", ""}
    assert found[["estimate", "low", "high", "p", "p_holm"]].isna().all().all()
    assert found["note"].str.contains("of at least").all()
    assert claims({}, {}, FAST).empty


def test_a_survey_without_fitted_networks_is_too_few():
    none = synthetic.survey(networks=40, samples=60, transition_points=20, pairs=2)
    none["status"][:] = "not fitted"
    found = claims({"synthetic": none}, {"synthetic": None}, FAST)
    assert set(found["verdict"]) == {"too few networks", ""}
    assert (found["n"] == 0).all()


def test_another_data_set_changes_only_holm(survey, table):
    other = synthetic.survey(networks=40, samples=60, transition_points=20, pairs=2, seed=5)
    both = claims(
        {"synthetic": survey, "other": other},
        {"synthetic": synthetic.ellipses(survey), "other": None},
        FAST,
    )
    same = both[both["dataset"] == "synthetic"].reset_index(drop=True)
    left = [name for name in COLUMNS if name not in ("p_holm", "verdict", "note")]
    pd.testing.assert_frame_equal(same[left], table[left])
    assert (same["p_holm"] >= table["p_holm"]).all()


def write_survey(path, dataset, ellipses=None):
    groups = {"training": synthetic.curves(dataset)}
    if ellipses is not None:
        groups["ellipses"] = ellipses
    stores.write(dataset, path, "survey", groups=groups)


def test_written_table_is_that_of_the_stores_and_the_same_bytes_twice(tmp_path, survey, table):
    store = tmp_path / "survey" / "synthetic.zarr"
    write_survey(store, survey, synthetic.ellipses(survey))
    outputs = [tmp_path / "out" / name for name in ("first.csv", "second.csv")]
    for output in outputs:
        write_claims({"synthetic": store}, output, FAST)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first.csv", "second.csv"]
    found = pd.read_csv(outputs[0], keep_default_na=False, na_values={"p": [""]})
    assert tuple(found.columns) == COLUMNS
    assert found["verdict"].tolist() == table["verdict"].tolist()
    assert found["note"].tolist() == table["note"].tolist()
    assert found["p"].to_numpy() == pytest.approx(table["p"].to_numpy(), rel=1e-5)


def test_another_seed_changes_intervals_but_no_estimate_of_the_whole(survey, table):
    found = claims({"synthetic": survey}, {}, Settings(bootstrap=200, seed=1, point_networks=22))
    ours, theirs = (t[t["claim"] == "C2"].reset_index() for t in (table, found))
    assert (ours["estimate"] == theirs["estimate"]).all()
    assert ours["low"][0] != theirs["low"][0]


def test_stores_without_ellipses_are_read(tmp_path):
    dataset = synthetic.survey(networks=40, samples=60, transition_points=20, pairs=2)
    store = tmp_path / "synthetic.zarr"
    write_survey(store, dataset)
    write_claims({"synthetic": store}, tmp_path / "claims.csv", FAST)
    found = pd.read_csv(tmp_path / "claims.csv")
    c1 = found[found["claim"] == "C1"]
    assert set(c1["verdict"].dropna()) == {"too few networks"}
    assert (c1["n"] == 0).all()


def test_missing_store_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.zarr: no consolidated Zarr store"):
        write_claims({"synthetic": tmp_path / "none.zarr"}, tmp_path / "claims.csv", FAST)
    assert not (tmp_path / "claims.csv").exists()


def test_verdict_names_are_those_of_the_study():
    assert VERDICTS == ("supported", "contradicted", "not supported", "too few networks")
    assert verdicts.CONTROL not in VERDICTS
