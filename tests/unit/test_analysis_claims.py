"""The table of claims: verdicts on data made to deserve them, Holm, and the same bytes twice."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import synthetic
from sensigap import survey as stores
from sensigap.analysis.bootstrap import DoesNotApply
from sensigap.analysis.claims import COLUMNS, Settings, claims, write_claims
from sensigap.analysis.errors import Estimate
from sensigap.analysis.survey_table import LeftOut
from sensigap.analysis.verdicts import (
    VERDICTS,
    Finding,
    Question,
    answer,
    gates,
    holm,
    judge,
    one,
    union,
    verdict,
)
from sensigap.config import load
from sensigap.report.claims import VERDICTS as TOLD

FAST = Settings(bootstrap=200, point_networks=22, halvings=60, crossfit_splits=4)
NAN = math.nan


def question(**changes):
    fields = {
        "key": "C9.q",
        "claim": "C9",
        "dataset": "synthetic",
        "quantity": "q",
        "test": "t",
        "effect": "e",
        "claimed": 1,
        "primary": True,
    }
    return Question(**(fields | changes))


def row(p=0.001, side=1, *, asked=None, **changes):
    found = Finding(0.2 * side, 0.1, 0.3, p, side, **changes)
    return answer(
        question(**(asked or {})), 40, "none", Settings(), lambda: found, architectures=12
    )


#: side, adjusted p, adjusted p of what is presumed, what else the finding says, the question
CASES = [
    (1, 0.01, NAN, {}, {}, "supported"),
    (-1, 0.01, NAN, {}, {}, "contradicted"),
    (-1, 0.01, NAN, {}, {"claimed": -1}, "supported"),
    (1, 0.01, NAN, {}, {"claimed": -1}, "contradicted"),
    (1, 0.05, NAN, {}, {}, "not supported"),
    (-1, 0.9, NAN, {}, {}, "not supported"),
    # parts on both sides are evidence for neither
    (0, 0.01, NAN, {}, {}, "not supported"),
    # a row that presumes an effect
    (1, 0.01, 0.01, {}, {}, "supported"),
    (-1, 0.01, 0.01, {}, {}, "contradicted"),
    (1, 0.2, 0.01, {}, {}, "not supported"),
    (1, 0.2, 0.05, {}, {}, "does not speak"),
    (-1, 0.2, 0.9, {}, {}, "does not speak"),
    (0, 1.0, 1.0, {}, {}, "does not speak"),
    # groups of opposite signs go before all else
    (1, 0.01, NAN, {"mixed": "gain"}, {}, "mixed"),
    (0, 1.0, 1.0, {"mixed": "gain"}, {}, "mixed"),
    (1, 0.01, NAN, {"mixed": "gain"}, {"claimed": 0}, "mixed"),
    # a claim of no relation
    (1, 0.01, NAN, {}, {"claimed": 0}, "supported"),
    (-1, 0.01, NAN, {}, {"claimed": 0}, "supported"),
    (1, 0.01, NAN, {"imprecise": True}, {"claimed": 0}, "supported"),
    (1, 0.9, NAN, {"beyond": True}, {"claimed": 0}, "contradicted"),
    (1, 0.9, NAN, {"beyond": True, "imprecise": True}, {"claimed": 0}, "contradicted"),
    (1, 0.9, NAN, {"imprecise": True}, {"claimed": 0}, "too imprecise"),
    (1, 0.05, NAN, {}, {"claimed": 0}, "not supported"),
    # nothing is claimed
    (1, 0.01, NAN, {}, {"claimed": None}, "none"),
    (1, 0.01, NAN, {"mixed": "gain"}, {"claimed": None}, "none"),
]


@pytest.mark.parametrize("case", CASES)
def test_verdicts(case):
    side, p, gate, changes, asked, expected = case
    assert verdict(row(side=side, asked=asked, **changes), p, gate, Settings()) == expected


def test_alpha_is_a_setting():
    assert verdict(row(), 0.03, NAN, Settings(alpha=0.01)) == "not supported"
    assert verdict(row(), 0.03, 0.03, Settings(alpha=0.01)) == "does not speak"


@pytest.mark.parametrize(
    ("n", "architectures", "remark"),
    [
        (19, 10, "19 of at least 20"),
        (20, 9, "9 architectures of at least 10"),
        (3, 2, "3 of at least 20, 2 architectures of at least 10"),
    ],
)
def test_too_few_compute_nothing(n, architectures, remark):
    def compute():
        raise AssertionError("computed")

    few = answer(question(), n, "none", Settings(), compute, architectures=architectures)
    assert few.finding is None
    assert few.remarks == (remark,)
    assert verdict(few, NAN, NAN, Settings()) == "too few networks"


def test_enough_are_computed_and_clusters_may_be_networks():
    found = Finding(0, 0, 0, 1, 0)

    def given(n, architectures, settings, **changes):
        return answer(
            question(), n, "", settings, lambda: found, architectures=architectures, **changes
        )

    assert given(20, 10, Settings()).finding is found
    assert given(20, 1, Settings(), clustered=False).finding is found
    settings = Settings(minimum_networks=30, minimum_architectures=5)
    assert given(29, 5, settings).too_few
    assert given(30, 4, settings).too_few
    assert not given(30, 5, settings).too_few


def test_a_test_that_does_not_apply_does_not_speak():
    def compute():
        raise DoesNotApply("all is one")

    found = answer(question(), 30, "none", Settings(), compute, architectures=12)
    assert found.finding is None
    assert found.remarks == ("does not apply: all is one",)
    assert verdict(found, NAN, NAN, Settings()) == "does not speak"


# --- findings -------------------------------------------------------------------------------------


def test_equivalence_says_beyond_and_imprecise():
    asked = question(claimed=0)

    def said(rho, error):
        found = one(asked, Estimate(rho, error**2, 40, scale="correlation"), Settings())
        return found.beyond, found.imprecise

    limit = 0.2 / stats.t.ppf(0.95, 39) / 2
    assert said(0.0, limit * 0.99) == (False, False)
    assert said(0.0, limit * 1.01) == (False, True)
    # the 95% interval, not the 90% one, must lie beyond
    reach = math.atanh(0.2) + stats.t.ppf(0.975, 39) * 0.05
    assert said(math.tanh(reach + 0.001), 0.05) == (True, False)
    assert said(-math.tanh(reach + 0.001), 0.05) == (True, False)
    assert said(math.tanh(reach - 0.001), 0.05) == (False, False)


def test_intervals_hold_their_level():
    estimate = Estimate(0.3, 0.01, 40)
    plain = one(question(), estimate, Settings())
    assert plain.high - 0.3 == pytest.approx(stats.t.ppf(0.975, 39) * 0.1)
    equivalence = one(question(claimed=0), estimate, Settings())
    assert equivalence.high - 0.3 == pytest.approx(stats.t.ppf(0.95, 39) * 0.1)
    assert question().level(Settings()) == pytest.approx(0.95)
    assert question(claimed=0).level(Settings(alpha=0.01)) == pytest.approx(0.98)


def test_a_quantity_that_is_compared_with_nothing_has_no_p():
    found = one(question(claimed=None, null=None), Estimate(0.3, 0.01, 40), Settings())
    assert math.isnan(found.p)
    assert found.side == 0
    assert found.low < 0.3 < found.high


@pytest.mark.parametrize(
    ("gap", "norm", "side", "p_of", "gate_of"),
    [
        (0.3, 0.2, 1, "norm", "gap"),
        (0.2, 0.3, 1, "gap", "gap"),
        (0.3, -0.2, -1, "norm", "gap"),
        (-0.3, 0.2, 0, None, None),
        (-0.3, -0.2, 0, None, None),
    ],
)
def test_a_union_with_a_gate(gap, norm, side, p_of, gate_of):
    parts = {"gap": Estimate(gap, 0.01, 40), "norm": Estimate(norm, 0.01, 40)}
    found = union(question(), parts, Settings(), shown="norm", gate="gap")
    assert found.side == side
    assert found.estimate == norm
    assert found.p == (parts[p_of].p() if p_of else 1.0)
    assert found.gate == (parts[gate_of].p() if gate_of else 1.0)
    assert ("gap is not above 0" in found.remarks) == (gap < 0)


def test_a_union_without_a_gate_shows_its_weaker_part():
    parts = {"a": Estimate(0.3, 0.01, 40), "b": Estimate(0.2, 0.01, 40)}
    found = union(question(), parts, Settings())
    assert (found.estimate, found.side) == (0.2, 1)
    assert found.p == parts["b"].p()
    assert math.isnan(found.gate)
    parts["b"] = Estimate(-0.2, 0.01, 40)
    found = union(question(), parts, Settings())
    assert (found.p, found.side) == (1.0, 0)
    assert "their signs differ" in found.remarks
    parts["a"] = Estimate(-0.3, 0.01, 40)
    assert union(question(), parts, Settings()).side == -1


def test_holm_by_hand_over_the_primary_rows_of_a_data_set():
    rows = [row(p) for p in (0.01, 0.04, 0.03, 0.005)]
    rows.insert(2, answer(question(), 3, "", Settings(), lambda: None, architectures=3))
    rows.insert(0, row(0.001, asked={"primary": False}))
    rows += [row(0.01, asked={"dataset": "other"}), row(NAN, asked={"null": None})]
    # times 4, 3, 2, 1 from the smallest, and never below one before it
    expected = [NAN, 0.03, 0.06, NAN, 0.06, 0.02, 0.01, NAN]
    assert holm(rows) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(holm(rows[:1])).all()


def test_what_is_presumed_is_adjusted_in_the_place_of_its_row():
    secondary = row(0.3, asked={"primary": False}, gate=0.2)
    rows = [row(0.04, gate=0.02), row(0.03), row(0.01), secondary]
    # of 0.02, 0.03 and 0.01 it is the second: times 2
    assert gates(rows) == pytest.approx([0.04, NAN, NAN, 0.2], nan_ok=True)
    rows[0] = row(0.04, gate=0.001)
    assert gates(rows)[0] == pytest.approx(0.003)
    assert judge(rows, Settings())[0] == (pytest.approx(0.06), "not supported")
    # the last of three, but not below the second's 0.06
    rows[0] = row(0.9, gate=0.04)
    assert gates(rows)[0] == pytest.approx(0.06)
    assert [given for _, given in judge(rows, Settings())] == [
        "does not speak",
        "not supported",
        "supported",
        "does not speak",
    ]


# --- the table ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def survey():
    return synthetic.survey(networks=450, samples=100, transition_points=20, pairs=40)


@pytest.fixture(scope="module")
def table(survey):
    return claims({"synthetic": survey}, {"synthetic": synthetic.ellipses(survey)}, FAST)


PRIMARY = [
    *("C0.size", "C0.loss", "C1.order.different", "C1.order.one", "C1.transitions"),
    *("C2.within.crossfit", "C2.raw", "C3.labels", "C3.batch", "C4.augmentation", "C4.unit"),
    *("C5.loss", "C5.error", "C6.noise"),
]


def test_table_has_its_columns_and_its_primary_rows(table):
    assert tuple(table.columns) == COLUMNS
    assert table.loc[table["primary"], "key"].tolist() == PRIMARY
    assert table["key"].is_unique
    assert not table.duplicated(["claim", "dataset", "quantity", "test"]).any()
    assert table["claim"].is_monotonic_increasing


def test_keys_name_the_rows_of_a_data_set(table):
    keys = table["key"].tolist()
    c0 = [key for key in keys if key.startswith("C0")]
    both = [f"{row}{by}" for row in ("C0.size", "C0.loss") for by in ("", ".by_gain",
            ".by_optimizer", ".raw" if row == "C0.size" else ".within")]  # fmt: skip
    assert [key for key in c0 if not key.startswith("C0.fitted.")] == [
        *both,
        "C0.envelope",
        "C0.best_tenth",
    ]
    aggregates = ("rms", "median", "geometric", "test_error")
    assert [key for key in keys if key.startswith("C2")] == [
        *("C2.within.crossfit", "C2.raw", "C2.within", "C2.given_confidence"),
        *(f"C2.{what}.{how}" for what in aggregates for how in ("raw", "within")),
        *("C2.ols", "C2.transitions.raw", "C2.transitions.within"),
    ]
    assert [key for key in keys if key.startswith("C4.unit")] == [
        *("C4.unit", "C4.unit.gap", "C4.unit.norm", "C4.unit.transitions"),
        *(f"C4.unit.gain.{level}" for level in ("0.5", "1", "2", "4")),
        "C4.unit.norm.by_gain",
        *(f"C4.unit.depth.{level}" for level in (1, 2, 3, 4)),
        "C4.unit.norm.by_depth",
    ]
    assert [key for key in keys if key.startswith("C5")] == [
        *("C5.loss", "C5.error", "C5.slope", "C5.loss.baseline", "C5.error.baseline"),
        *("C5.loss.given_confidence", "C5.bounds", "C5.gee"),
    ]


def test_draws_depend_on_key_and_data_set_and_on_no_word():
    first = question().draws(FAST).integers(1 << 40)
    reworded = question(claim="C8", quantity="Q", test="T", effect="E", claimed=-1, null=0.5)
    assert reworded.draws(FAST).integers(1 << 40) == first
    for other in (question(key="C9.r"), question(dataset="other")):
        assert other.draws(FAST).integers(1 << 40) != first
    assert question().draws(FAST, what="points").integers(1 << 40) != first
    assert question().draws(Settings(seed=1)).integers(1 << 40) != first


def verdicts_of(table, *, primary=True):
    chosen = table[table["primary"] == primary]
    return dict(zip(chosen["key"], chosen["verdict"], strict=True))


def test_table_says_supported_where_effects_were_put(table):
    assert verdicts_of(table) == dict.fromkeys(PRIMARY, "supported")
    secondary = verdicts_of(table, primary=False)
    for key in ("C0.envelope", "C2.within", "C2.rms.raw", "C2.ols", "C3.batch.gap", "C5.gee"):
        assert secondary[key] == "supported", key
    assert secondary["C2.test_error.raw"] == "does not speak"
    assert secondary["C3.labels.gap"] == secondary["C0.best_tenth"] == "none"
    assert secondary["C4.unit.depth.1"] == "too few networks"
    untrained = [key for key in secondary if key.endswith(".untrained")]
    assert len(untrained) == 8
    assert {secondary[key] for key in untrained} == {"none"}


def test_every_p_comes_with_an_effect_and_its_interval(table):
    described = table["key"].str.startswith("C0.fitted")
    assert table.loc[described, "estimate"].between(0, 1).all()
    assert table.loc[described, ["low", "high", "p"]].isna().all().all()
    tested = table[table["estimate"].notna() & ~described]
    of_groups = tested["effect"] == "F"
    assert (tested.loc[~of_groups, "low"] <= tested.loc[~of_groups, "estimate"]).all()
    assert (tested.loc[~of_groups, "estimate"] <= tested.loc[~of_groups, "high"]).all()
    assert tested.loc[of_groups, ["low", "high"]].isna().all().all()
    assert tested["p"].dropna().between(0, 1).all()
    without = tested.loc[tested["p"].isna(), "key"]
    assert without[~without.str.endswith(".untrained")].tolist() == ["C5.bounds"]
    assert without.str.endswith(".untrained").sum() == 8
    assert table.loc[table["estimate"].isna(), "p"].isna().all()
    assert table["left_out"].str.contains(r"^\d+ of \d+ ").all()
    equivalence = table["test"].str.contains("equivalence")
    assert set(table.loc[equivalence, "level"]) == {0.9}
    assert set(table.loc[~equivalence, "level"]) == {0.95}


def test_holm_is_over_the_primary_rows(table):
    primary = table[table["primary"]]
    p = np.sort(primary["p"].to_numpy())
    stepped = np.minimum(1, np.maximum.accumulate(p * np.arange(len(p), 0, -1)))
    assert np.sort(primary["p_holm"].to_numpy()) == pytest.approx(stepped)
    assert table.loc[~table["primary"], "p_holm"].isna().all()


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
    paths = synthetic.ellipses(reverse, near=0.5, data=0.6)
    found = verdicts_of(claims({"synthetic": reverse}, {"synthetic": paths}, FAST))
    # where the factor moved the gap the other way, its row does not speak to the claim
    silent = ("C3.batch", "C4.augmentation", "C4.unit", "C6.noise")
    assert found == {key: "does not speak" if key in silent else "contradicted" for key in PRIMARY}


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
    table = claims({"synthetic": nothing}, {"synthetic": paths}, FAST)
    found = verdicts_of(table)
    silent = ("C3.batch", "C4.augmentation", "C4.unit", "C6.noise")
    expected = {key: "does not speak" if key in silent else "not supported" for key in PRIMARY} | {
        "C0.loss": "too imprecise"
    }
    assert found == expected
    assert table.loc[table["primary"], "p"].notna().all()


def test_gain_that_moves_both_is_no_relation_within_hyperparameters():
    confounded = synthetic.survey(
        networks=260, samples=100, transition_points=20, pairs=1, slope=0.0, gain_slope=0.3
    )
    found = claims({"synthetic": confounded}, {}, FAST).set_index("key")["verdict"]
    assert found["C2.raw"] == "supported"
    for key in ("C2.within.crossfit", "C2.within", "C2.ols"):
        assert found[key] == "not supported", key


def test_few_networks_are_too_few_everywhere():
    few = synthetic.survey(networks=15, samples=60, transition_points=20, pairs=12)
    found = claims({"synthetic": few}, {"synthetic": synthetic.ellipses(few)}, FAST)
    assert set(found["verdict"]) == {"too few networks", "none"}
    assert found[["estimate", "low", "high", "p", "p_holm"]].isna().all().all()
    assert found["remarks"].str.contains("of at least").all()
    assert claims({}, {}, FAST).empty


def test_a_survey_without_fitted_networks_is_too_few():
    none = synthetic.survey(networks=40, samples=60, transition_points=20, pairs=2)
    none["status"][:] = "not fitted"
    found = claims({"synthetic": none}, {"synthetic": None}, FAST)
    # some rows are about networks that do not fit as well
    found = found[~found["key"].str.startswith(("C2.test_error", "C0.fitted"))]
    assert set(found["verdict"]) == {"too few networks", "none"}
    assert (found["n"] == 0).all()


def test_another_data_set_changes_nothing(survey, table):
    other = synthetic.survey(networks=40, samples=60, transition_points=20, pairs=2, seed=5)
    both = claims(
        {"other": other, "synthetic": survey},
        {"synthetic": synthetic.ellipses(survey), "other": None},
        FAST,
    )
    same = both[both["dataset"] == "synthetic"].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, table)


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
    found = pd.read_csv(outputs[0])
    assert tuple(found.columns) == COLUMNS
    assert found["verdict"].tolist() == table["verdict"].tolist()
    assert found["remarks"].tolist() == table["remarks"].tolist()
    assert found["primary"].tolist() == table["primary"].tolist()
    assert found["p"].to_numpy() == pytest.approx(table["p"].to_numpy(), rel=1e-5, nan_ok=True)


def test_another_seed_changes_intervals_but_no_estimate_of_the_whole(survey, table):
    settings = Settings(bootstrap=200, seed=1, point_networks=22, halvings=60, crossfit_splits=4)
    found = claims({"synthetic": survey}, {}, settings).set_index("key")
    ours = table.set_index("key")
    for key in ("C0.size", "C2.raw", "C2.ols", "C4.unit"):
        assert ours.loc[key, "estimate"] == found.loc[key, "estimate"]
        assert ours.loc[key, "low"] != found.loc[key, "low"]


def test_stores_without_ellipses_are_read(tmp_path):
    dataset = synthetic.survey(networks=40, samples=60, transition_points=20, pairs=2)
    store = tmp_path / "synthetic.zarr"
    write_survey(store, dataset)
    write_claims({"synthetic": store}, tmp_path / "claims.csv", FAST)
    found = pd.read_csv(tmp_path / "claims.csv")
    c1 = found[found["claim"] == "C1"]
    assert set(c1["verdict"]) == {"too few networks", "none"}
    assert (c1["n"] == 0).all()


def test_what_the_design_does_not_hold_is_told_by_what_was_left_out():
    assert LeftOut.of_none(str(LeftOut(0, "pairs")))
    some = LeftOut(10, "pairs")
    assert not LeftOut.of_none(str(some))
    some.add("with neither side fitted", 10)
    assert not LeftOut.of_none(str(some))


def test_missing_store_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.zarr: no consolidated Zarr store"):
        write_claims({"synthetic": tmp_path / "none.zarr"}, tmp_path / "claims.csv", FAST)
    assert not (tmp_path / "claims.csv").exists()


def test_the_configurations_settings_are_those_of_the_tests():
    survey = [{"search": "grid", "axes": {"seed": [0]}}]
    whole = load({"study": "t", "datasets": {"digits": {}}, "survey": survey})
    assert Settings(**whole.analysis.model_dump()) == Settings()


def test_verdicts_are_those_of_the_specification_and_all_are_explained():
    assert (
        *("supported", "contradicted", "mixed", "not supported", "does not speak"),
        *("too imprecise", "too few networks", "none"),
    ) == VERDICTS
    assert (*TOLD, "none") == VERDICTS
