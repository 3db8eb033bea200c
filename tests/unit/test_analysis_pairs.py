"""C3 and C4: differences in pairs, against plain loops."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import synthetic
from sensigap.analysis import factors
from sensigap.analysis.errors import Halvings
from sensigap.analysis.pair_effects import PairEffect
from sensigap.analysis.shared_points import SharedPoints
from sensigap.analysis.verdicts import Settings, draws, judge, verdict
from sensigap.factors import FACTORS, Factor, Side
from sensigap.seeds import generator

FAST = Settings(bootstrap=100, halvings=60)


@pytest.fixture(scope="module")
def survey():
    return synthetic.survey(networks=140, pairs=30, samples=60, transition_points=20)


def all_rows(survey, settings=FAST):
    points = SharedPoints(survey, "made up", settings)
    return {row.question.key: row for row in factors.factor_rows(points)}


@pytest.fixture(scope="module")
def rows(survey):
    return all_rows(survey)


@pytest.mark.parametrize("factor", FACTORS)
def test_pairs_are_those_with_both_sides_fitted(survey, factor):
    table, left_out = factors.pairs(survey, factor)
    worse, better = (side.name for side in FACTORS[factor].sides)
    frame = survey[["status", "gap", "sensitivity", "mean_transitions"]].to_dataframe()
    expected = {}
    for pair, rows in frame[frame[f"pair_{factor}"] != ""].groupby(f"pair_{factor}"):
        sides = rows.reset_index().set_index(f"side_{factor}")
        if (sides["status"] == "fitted").all():
            expected[pair] = sides
    assert list(table.index) == sorted(expected)
    assert left_out.total == 30
    assert left_out.count == 30 - len(expected)
    for pair, sides in expected.items():
        for prefix, side in (("worse", worse), ("better", better)):
            row = table.loc[pair]
            assert row[f"{prefix}_network"] == sides.loc[side, "network"]
            assert row[f"{prefix}_gap"] == sides.loc[side, "gap"]
            assert row[f"{prefix}_sensitivity"] == sides.loc[side, "sensitivity"]
            assert row[f"{prefix}_transitions"] == sides.loc[side, "mean_transitions"]


def test_pairs_say_which_side_is_not_fitted(survey):
    changed = survey.copy(deep=True)
    members = np.flatnonzero(survey["pair_labels"] != "")
    changed["status"][members] = "fitted"
    side = survey["side_labels"].to_numpy()
    random, true = (members[side[members] == name] for name in ("random", "true"))
    changed["status"][random[:3]] = "not fitted"
    changed["status"][true[2:7]] = "diverged"
    _, left_out = factors.pairs(changed, "labels")
    assert left_out.reasons == {
        "with neither side fitted": 1,
        "with 'random' not fitted": 2,
        "with 'true' not fitted": 4,
    }


def test_a_pair_with_one_side_is_an_error(survey):
    changed = survey.copy(deep=True)
    first = int(np.flatnonzero(survey["pair_unit"] != "")[0])
    changed["pair_unit"][first] = ""
    with pytest.raises(ValueError, match="'unit-0000' of factor 'unit' holds the sides relu, exp"):
        factors.pairs(changed, "unit")


def test_a_survey_without_pairs_has_too_few():
    survey = synthetic.survey(networks=30, pairs={"labels": 25}, samples=40)
    found = all_rows(survey)
    assert found["C3.labels"].n > 0
    for key in ("C3.batch", "C4.unit", "C4.augmentation.norm", "C4.unit.transitions"):
        assert found[key].too_few
        assert found[key].n == found[key].architectures == 0
        assert found[key].left_out == "0 of 0 pairs"


def test_every_factor_has_one_primary_row_and_labels_the_norms(rows):
    primary = [key for key, row in rows.items() if row.question.primary]
    assert primary == ["C3.labels", "C3.batch", "C4.augmentation", "C4.unit", "C6.noise"]
    assert "C3.labels.norm" not in rows
    assert rows["C3.labels.gap"].question.claimed is None
    assert "true by construction" in " ".join(rows["C3.labels.gap"].remarks)
    for family in ("C3.batch", "C3.lbfgs", "C4.augmentation_30", "C4.unit", "C6.noise_half"):
        for what in ("gap", "norm"):
            assert rows[f"{family}.{what}"].question.claimed == 1
        exception = family in ("C3.batch", "C3.lbfgs")
        assert rows[f"{family}.transitions"].question.claimed == (None if exception else 1)


def test_labels_are_known_by_what_makes_their_sides():
    assert factors.moves_gap_by_construction(FACTORS["labels"])
    assert not factors.moves_gap_by_construction(FACTORS["unit"])
    other = Factor(
        name="noise labels",
        claim="C3",
        worse=Side(name="a", hyperparameters={"labels": "random"}, words="a"),
        better=Side(name="b", hyperparameters={"labels": "true"}, words="b"),
        key="k",
        title="t",
    )
    assert factors.moves_gap_by_construction(other)


def slow_pairs(survey, factor):
    """Each pair's sides as Datasets of one network: (worse, better), both fitted."""
    worse, better = (side.name for side in FACTORS[factor].sides)
    name = survey[f"pair_{factor}"].to_numpy()
    side = survey[f"side_{factor}"].to_numpy()
    found = []
    for pair in sorted(set(name) - {""}):
        both = [int(np.flatnonzero((name == pair) & (side == each))[0]) for each in (worse, better)]
        if (survey["status"].to_numpy()[both] == "fitted").all():
            found.append([survey.isel(network=place) for place in both])
    return found


def slow_difference(what, worse, better, points):
    """A pair's difference over some test points."""
    if what == "gap":
        gaps = [
            float(of["train_accuracy"]) - (of["margin"].to_numpy()[points] > 0).mean()
            for of in (worse, better)
        ]
        return gaps[0] - gaps[1]
    if what == "norm":
        means = [of["jacobian_norm"].to_numpy()[points].mean() for of in (worse, better)]
        return math.log(means[0] / means[1])
    both = np.stack([of["transitions"].to_numpy()[points] for of in (worse, better)])
    counts = both[:, np.isfinite(both).all(axis=0)].mean(axis=1)
    return math.log((counts[0] + 1) / (counts[1] + 1))


def slow_parts(survey, factor, what, chosen=lambda of: True):
    """Estimate, both variances, architectures and points of a factor's quantity, by loops."""
    pairs = [both for both in slow_pairs(survey, factor) if chosen(both[1])]
    points = np.arange(survey.sizes["sample"])
    what_of = "halvings of the test points"
    if what == "transitions":
        points = np.flatnonzero(np.isfinite(survey["transitions"].to_numpy()).any(axis=0))
        what_of = "halvings of the transitions' points"
    member = Halvings(draws(FAST, "made up", what_of), FAST.halvings, len(points)).member > 0
    architectures = {}
    for worse, better in pairs:
        key = (int(better["depth"]), int(better["width"]))
        architectures.setdefault(key, []).append((worse, better))

    def effect(where):
        return [
            np.mean([slow_difference(what, *both, where) for both in of])
            for of in architectures.values()
        ]

    means, G = effect(points), len(architectures)
    halves = [np.mean(effect(points[half])) for half in member.T]
    first, second = np.array(halves[: FAST.halvings]), np.array(halves[FAST.halvings :])
    V = np.var(means, ddof=1) / G, ((first - second) ** 2).mean() / 4
    P = len(points)
    if what == "transitions":
        P = min(
            sum(
                all(np.isfinite(float(of["transitions"][point])) for of in both) for point in points
            )
            for both in pairs
        )
    df = sum(V) ** 2 / (V[0] ** 2 / (G - 1) + V[1] ** 2 / (P - 1))
    return np.mean(means), math.sqrt(sum(V)), df, len(pairs), G


@pytest.mark.parametrize(
    ("key", "factor", "what"),
    [
        ("C3.labels", "labels", "norm"),
        ("C3.labels.gap", "labels", "gap"),
        ("C3.batch.gap", "batch", "gap"),
        ("C4.augmentation.norm", "augmentation", "norm"),
        ("C4.unit.norm", "unit", "norm"),
        ("C4.unit.transitions", "unit", "transitions"),
    ],
)
def test_rows_are_t_tests_of_architecture_means_and_points(survey, rows, key, factor, what):
    row = rows[key]
    centre, error, df, n, G = slow_parts(survey, factor, what)
    assert (row.n, row.architectures) == (n, G)
    assert row.finding.estimate == pytest.approx(centre)
    half = stats.t.ppf(0.975, df) * error
    assert row.finding.low == pytest.approx(centre - half)
    assert row.finding.high == pytest.approx(centre + half)
    p = 2 * stats.t.sf(abs(centre) / error, df)
    assert row.finding.p == pytest.approx(p, rel=1e-6)


def test_the_primary_row_is_the_weaker_of_gap_and_norm(survey, rows):
    for factor, family in (("unit", "C4.unit"), ("batch", "C3.batch")):
        parts = {what: slow_parts(survey, factor, what) for what in ("gap", "norm")}
        p = {
            what: 2 * stats.t.sf(abs(centre) / error, df)
            for what, (centre, error, df, _, _) in parts.items()
        }
        found = rows[family].finding
        assert found.p == pytest.approx(max(p.values()))
        assert found.gate == pytest.approx(p["gap"])
        assert found.estimate == pytest.approx(parts["norm"][0])
        assert found.side == 1


def test_levels_are_rows_of_some_pairs(survey):
    settings = Settings(bootstrap=100, halvings=60, minimum_networks=4, minimum_architectures=3)
    found = all_rows(survey, settings)
    keys = [key for key in found if key.startswith("C4.unit.gain.")]
    assert keys == [f"C4.unit.gain.{level}" for level in ("0.5", "1", "2", "4")]
    for key, gain in zip(keys, synthetic.GAINS, strict=True):
        parts = {
            what: slow_parts(survey, "unit", what, lambda of, gain=gain: float(of["gain"]) == gain)
            for what in ("gap", "norm")
        }
        row = found[key]
        assert (row.n, row.architectures) == parts["norm"][3:]
        if row.too_few:
            continue
        assert row.finding.estimate == pytest.approx(parts["norm"][0])
        p = [2 * stats.t.sf(abs(c) / e, df) for c, e, df, _, _ in parts.values()]
        assert row.finding.p == pytest.approx(max(p))
        assert not row.question.primary
    assert sum(found[key].finding is not None for key in keys) >= 3
    assert {f"C4.unit.depth.{depth}" for depth in synthetic.DEPTHS} <= set(found)


def test_levels_with_few_architectures_say_their_effects_without_error(rows):
    row = rows["C4.unit.depth.1"]
    assert row.too_few
    assert "architectures of at least 10" in row.remarks[0]
    assert row.remarks[1].startswith("without error: gap 0.1")


def test_pairs_without_a_logarithm_are_left_out(survey):
    changed = survey.copy(deep=True)
    table, _ = factors.pairs(survey, "unit")
    worse = table["worse_network"].iloc[:2].tolist()
    changed["sensitivity"].loc[{"network": worse}] = 0
    better = table["better_network"].iloc[:3].tolist()
    changed["mean_transitions"].loc[{"network": better}] = np.nan
    found = all_rows(changed)
    gap, norm = found["C4.unit.gap"], found["C4.unit.norm"]
    transitions, both = found["C4.unit.transitions"], found["C4.unit"]
    assert gap.n == len(table)
    assert norm.n == both.n == len(table) - 2
    assert "2 with J = 0 at every test point of a side" in norm.left_out
    assert transitions.n == len(table) - 3
    assert "3 without measured transitions" in transitions.left_out


def test_transitions_are_compared_over_the_points_that_both_sides_have(survey):
    """Where one side has fewer points, the other's mean is over the same ones."""
    changed = survey.copy(deep=True)
    table, _ = factors.pairs(survey, "unit")
    name = table["better_network"].iloc[0]
    own = np.flatnonzero(np.isfinite(survey["transitions"].sel(network=name)))
    changed["transitions"].loc[{"network": name}][own[8:]] = np.nan
    points = SharedPoints(changed, "made up", FAST)
    worse = table["worse_network"].iloc[0]
    whole, _ = points.transitions([worse], beside=[name])
    expected = survey["transitions"].sel(network=worse).to_numpy()[own[:8]].mean()
    assert whole[0] == pytest.approx(expected)


@pytest.fixture(scope="module")
def ragged():
    """Networks have transitions at 20 to 39 points."""
    return synthetic.survey(
        networks=20, pairs=30, samples=60, transition_points=40, ragged=True, seed=4
    )


@pytest.mark.parametrize("factor", ["unit", "labels"])
def test_transitions_rows_are_right_where_networks_have_different_points(ragged, factor):
    claim = FACTORS[factor].claim
    row = all_rows(ragged)[f"{claim}.{factor}.transitions"]
    centre, error, df, n, G = slow_parts(ragged, factor, "transitions")
    assert (row.n, row.architectures) == (n, G)
    assert row.finding.estimate == pytest.approx(centre)
    half = stats.t.ppf(0.975, df) * error
    assert row.finding.low == pytest.approx(centre - half)
    assert row.finding.high == pytest.approx(centre + half)


def test_the_error_of_points_is_right_where_networks_have_different_points():
    """The variance from halvings is that of the mean difference over draws of the points."""
    rng = generator(0, "ragged points")
    pairs, samples, points = 12, 150, 80
    own = rng.permutation([points // 2, points, *rng.integers(points // 2, points, 22)])
    means, variances = [], []
    names = [f"{k}" for k in range(2 * pairs)]
    for draw in range(150):
        # what points do to all networks alike, to all worse sides alike, and to each network
        shared = rng.normal(size=(1, samples)) + rng.normal(size=(2, 1, samples)) / 3
        noise = rng.normal(size=(2, pairs, samples)) / 3
        values = np.exp(3 + 0.1 * (shared + noise)).reshape(2 * pairs, samples)
        order = rng.permutation(samples)
        for row, count in zip(values, own, strict=True):
            row[order[count:]] = np.nan
        dataset = xr.Dataset({"transitions": (("network", "sample"), values)}, {"network": names})
        made = SharedPoints(dataset, f"draw {draw}", FAST)
        worse, better = names[:pairs], names[pairs:]
        mean, halves = (
            np.log(one) - np.log(other)
            for one, other in zip(
                made.transitions(worse, beside=better),
                made.transitions(better, beside=worse),
                strict=True,
            )
        )
        common = np.minimum(own[:pairs], own[pairs:])
        assert made.transition_points(worse, beside=better).tolist() == common.tolist()
        effect = PairEffect(mean, halves, np.arange(pairs), int(common.min()))
        means.append(effect.means.mean())
        variances.append(effect.estimate().points)
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.3)


def test_rows_of_lbfgs_state_the_deviation_and_the_exception(rows):
    names = [f"C3.lbfgs{part}" for part in ("", ".gap", ".norm", ".transitions")]
    said = {key: " ".join(rows[key].remarks) for key in names}
    assert all("DEVIATION: optimizer, batch size, learning rate" in t for t in said.values())
    agrees = "do not follow generalization for this factor, so that this row has no verdict"
    assert rows["C3.lbfgs.transitions"].question.claimed is None
    assert [key for key, text in said.items() if agrees in text] == ["C3.lbfgs.transitions"]
    assert "medians over the pairs: steps 1,000 / 1,000, training loss" in said["C3.lbfgs"]


def test_the_units_thresholds_are_told_beside_their_transitions(rows):
    told = [key for key, row in rows.items() if "two thresholds" in " ".join(row.remarks)]
    assert told == ["C4.unit.transitions"]


def shifted(survey, factor, what, values):
    """The survey with the better side's gap or log10 sensitivity moved at all points."""
    changed = survey.copy(deep=True)
    side = FACTORS[factor].better.name
    members = np.flatnonzero(survey[f"side_{factor}"] == side)
    if what == "gap":
        changed["gap"][members] = survey["gap"].to_numpy()[members] + values
    else:
        factor_of = 10.0**values
        changed["sensitivity"][members] = survey["sensitivity"].to_numpy()[members] * factor_of
        scaled = survey["jacobian_norm"].to_numpy()[members] * factor_of
        changed["jacobian_norm"][members] = scaled
    return changed


@pytest.mark.parametrize(
    ("gap", "norm", "expected"),
    [
        # moves of the better side: the worse one is .15 and .4 decades above it before
        (0.0, 0.0, "supported"),
        (0.0, 0.8, "contradicted"),
        (0.0, 0.4, "not supported"),
        (0.15, 0.0, "does not speak"),
        (0.3, 0.0, "does not speak"),
        (0.3, 0.8, "does not speak"),
    ],
)
def test_a_factor_speaks_only_where_the_gap_moved(survey, gap, norm, expected):
    changed = shifted(shifted(survey, "unit", "gap", gap), "unit", "norm", norm)
    found = list(all_rows(changed).values())
    given = {
        row.question.key: word for row, (_, word) in zip(found, judge(found, FAST), strict=True)
    }
    assert given["C4.unit"] == expected
    # their own rows say what they are, without the gate
    own = {0.0: "supported", 0.4: "not supported", 0.8: "contradicted"}
    assert given["C4.unit.norm"] == own[norm]
    assert given["C3.labels.gap"] == "none"


def test_a_factor_is_mixed_where_gains_disagree():
    large = synthetic.survey(networks=20, pairs=120, samples=60, transition_points=20)
    changed = large.copy(deep=True)
    better = np.flatnonzero(large["side_unit"] == "relu")
    move = 10.0 ** np.where(large["gain"].to_numpy()[better] < 1.5, 1.0, 0.0)
    changed["sensitivity"][better] = large["sensitivity"].to_numpy()[better] * move
    scaled = large["jacobian_norm"].to_numpy()[better] * move[:, None]
    changed["jacobian_norm"][better] = scaled
    found = all_rows(changed)
    row = found["C4.unit"]
    assert row.finding.mixed == "gain"
    assert verdict(row, 1e-9, 1e-9, FAST) == "mixed"
    assert found["C4.augmentation"].finding.mixed == ""
    assert found["C4.unit.norm.by_gain"].finding.p < 1e-6
    assert found["C4.augmentation.norm.by_gain"].finding.p > 1e-3
    # four architectures of a depth are no group
    assert any(remark.startswith("by depth: no group") for remark in row.remarks)


# --- beside the rows of single factors ------------------------------------------------------------


def test_doses_are_ranked_over_the_pairs_of_all_doses(survey, rows):
    row = rows["C6.doses"]
    gaps, norms = [], []
    for factor in ("noise", "noise_half"):
        for worse, better in slow_pairs(survey, factor):
            ratio = float(worse["sensitivity"]) / float(better["sensitivity"])
            gaps.append(round(float(worse["gap"]) - float(better["gap"]), 12))
            norms.append(math.log(ratio))
    assert row.n == len(gaps)
    assert row.finding.estimate == pytest.approx(stats.spearmanr(gaps, norms).statistic, abs=1e-12)
    assert row.finding.low < row.finding.estimate < row.finding.high
    assert row.left_out.startswith(f"{60 - len(gaps)} of 60 pairs")
    assert not row.question.primary


def test_a_side_that_ends_above_its_target_loss_is_left_out(survey):
    changed = survey.copy(deep=True)
    members = np.flatnonzero(survey["pair_batch_loss"] != "")
    changed["status"][members] = "fitted"
    changed["stop"][members] = "loss"
    changed["target_loss"][members] = 0.01
    changed["train_loss"][members] = 0.01
    full = members[survey["side_batch_loss"].to_numpy()[members] == "full"]
    changed["train_loss"][full[:3]] = 0.011
    table, left_out = factors.pairs(changed, "batch_loss")
    assert left_out.reasons == {"with a side that ended above its target loss": 3}
    assert len(table) == 27
    # a stop by steps asks for no loss
    changed["stop"][members] = "steps"
    assert len(factors.pairs(changed, "batch_loss")[0]) == 30


def test_shares_of_augmentation_are_shown_on_the_pairs_fitted_at_all(survey):
    changed = survey.copy(deep=True)
    names = [name for name, factor in FACTORS.items() if factor.own == factors.AUGMENTATION]
    # the pairs of all shares have one side without augmentation in common
    network = changed["network"].to_numpy().copy()
    for name in names[1:]:
        changed[f"pair_{name}"] = changed[f"pair_{name}"].copy(data=np.full(len(network), ""))
        changed[f"side_{name}"] = changed[f"side_{name}"].copy(data=np.full(len(network), ""))
    assert factors._shares_remark(
        [factors._FactorRows(FACTORS[name], SharedPoints(changed, "made up", FAST))
         for name in names]
    ) == ""  # fmt: skip
    first, second = names[0], names[-1]
    sides = survey[f"side_{first}"].to_numpy()
    pairs = survey[f"pair_{first}"].to_numpy()
    changed["status"][pairs != ""] = "fitted"
    other_pair, other_side = changed[f"pair_{second}"].values, changed[f"side_{second}"].values
    other_pair = other_pair.astype(object)
    other_side = other_side.astype(object)
    measured = pairs[np.isfinite(survey["sensitivity"].to_numpy()) & (sides == "none")]
    common = sorted(set(measured) - {""})[:5]
    fitted = survey["status"].to_numpy() == "fitted"
    spare = np.flatnonzero((pairs == "") & survey["in_survey"].to_numpy() & fitted)[:5]
    for place, pair in zip(spare, common, strict=True):
        none = np.flatnonzero((pairs == pair) & (sides == "none"))[0]
        other_pair[[none, place]] = f"common {pair}"
        other_side[none], other_side[place] = "none", "augmented"
        changed["status"][place] = "fitted"
    changed[f"pair_{second}"] = changed[f"pair_{second}"].copy(data=other_pair.astype(str))
    changed[f"side_{second}"] = changed[f"side_{second}"].copy(data=other_side.astype(str))
    row = all_rows(changed)[f"C4.{first}"]
    (told,) = [text for text in row.remarks if "fitted at all shares" in text]
    assert told.startswith("means over the 5 pairs")
    accuracy = changed["test_accuracy"].to_numpy()
    assert f"test accuracy {accuracy[spare].mean():.3f}" in told
    nones = [np.flatnonzero((pairs == pair) & (sides == "none"))[0] for pair in common]
    assert told.endswith(f"none: test accuracy {accuracy[nones].mean():.3f}")
    norm = np.log(changed["sensitivity"].to_numpy())
    assert f"{FACTORS[second].title}: test" in told
    assert f"{(norm[nones] - norm[spare]).mean():.3g}" in told
