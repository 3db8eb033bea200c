"""C1, C3 and C4: ratios on ellipses and differences in pairs, against plain loops."""

import math

import numpy as np
import pytest
from scipy import stats

import synthetic
from sensigap.analysis import factors, paths
from sensigap.analysis.verdicts import Settings, verdict
from sensigap.factors import FACTORS
from sensigap.seeds import generator

FAST = Settings(bootstrap=300)


@pytest.fixture(scope="module")
def survey():
    return synthetic.survey(networks=140, pairs=30, samples=60, transition_points=20)


@pytest.fixture(scope="module")
def ellipses(survey):
    return synthetic.ellipses(survey)


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
    rows = factors.factor_rows(survey, "synthetic", FAST)
    assert [row.n for row in rows[3:]] == [0] * 3 * (len(FACTORS) - 1)
    assert all(row.too_few for row in rows[3:])
    assert rows[3].left_out == "0 of 0 pairs"


def test_rows_are_wilcoxon_tests_of_the_pairs(survey):
    rows = factors.factor_rows(survey, "synthetic", FAST)
    claims = sorted(record.claim for record in FACTORS.values() for _ in range(3))
    assert [row.question.claim for row in rows] == claims
    by_quantity = {row.question.quantity: row for row in rows}
    for factor in FACTORS:
        table, _ = factors.pairs(survey, factor)
        for quantity, values in (
            ("gap", table["worse_gap"] - table["better_gap"]),
            ("Jacobian norm", np.log(table["worse_sensitivity"] / table["better_sensitivity"])),
            (
                "transitions",
                np.log((table["worse_transitions"] + 1) / (table["better_transitions"] + 1)),
            ),
        ):
            row = by_quantity[f"{factor}: {quantity}"]
            assert row.n == len(table)
            assert row.result.estimate == pytest.approx(values.mean())
            expected = stats.wilcoxon(values.round(12), zero_method="pratt").pvalue
            assert row.result.p == pytest.approx(expected, rel=0.04)


def test_pairs_without_a_logarithm_are_left_out(survey):
    changed = survey.copy(deep=True)
    table, _ = factors.pairs(survey, "unit")
    changed["sensitivity"].loc[{"network": table["worse_network"].iloc[:2].tolist()}] = 0
    changed["mean_transitions"].loc[{"network": table["better_network"].iloc[:3].tolist()}] = np.nan
    rows = factors.factor_rows(changed, "synthetic", FAST)
    gap, norm, transitions = (row for row in rows if ".unit." in row.question.key)
    assert gap.n == len(table)
    assert norm.n == len(table) - 2
    assert "2 with J = 0 at every test point of a side" in norm.left_out
    assert transitions.n == len(table) - 3
    assert "3 without measured transitions" in transitions.left_out


def test_lbfgs_rows_state_the_deviation_and_the_exception(survey):
    rows = [
        row
        for row in factors.factor_rows(survey, "synthetic", FAST)
        if row.question.quantity.startswith("lbfgs")
    ]
    assert all("DEVIATION: optimizer, batch size, learning rate" in row.note for row in rows)
    agrees = "do not follow generalization for this factor, so that 'contradicted' here agrees"
    assert [agrees in row.note for row in rows] == [False, False, True]


def test_the_units_thresholds_are_told_beside_their_transitions(survey):
    rows = factors.factor_rows(survey, "synthetic", FAST)
    told = [row.question.quantity for row in rows if "two thresholds" in row.note]
    assert told == ["unit: transitions"]
    (row,) = (row for row in rows if row.question.quantity in told)
    assert "untrained networks already differ" in row.note


def dealt_out(survey, count, shift):
    """All pairs fitted, of `count` architectures; the worse gap moves by `shift` of each."""
    changed = survey.copy(deep=True)
    members = np.flatnonzero(survey["pair_labels"] != "")
    changed["status"][members] = "fitted"
    place = np.zeros(survey.sizes["network"], int)
    place[members] = np.arange(len(members)) // 2 % count
    changed["depth"] = ("network", 1 + place)
    changed["width"] = ("network", np.full(len(place), 64))
    changed["unit"] = ("network", np.full(len(place), "relu", object))
    noise = generator(0, "dealt out").normal(0, 0.02, len(place))
    worse = (survey["side_labels"] == "random").to_numpy()
    changed["gap"] = ("network", 0.2 + noise + np.where(worse, np.array(shift)[place], 0))
    return changed


def test_an_interval_of_pairs_that_are_alike_is_that_of_architectures(survey):
    """Six architectures, one of which moves against the others: over pairs it is too narrow."""
    shift = (0.1, 0.1, 0.1, 0.1, 0.1, -0.15)
    changed = dealt_out(survey, 6, shift)
    row = factors.factor_rows(changed, "synthetic", FAST)[0]
    table, _ = factors.pairs(changed, "labels")
    differences = table["worse_gap"] - table["better_gap"]
    assert row.n == 30
    assert row.result.estimate == pytest.approx(differences.mean())
    # p is that of the test over pairs all the same
    assert row.result.p == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert row.result.p < 0.05
    # architectures of equal size: the standard error of the mean of their means
    means = differences.groupby(table["depth"]).mean()
    error = means.std() / np.sqrt(6)
    half = (row.result.high - row.result.low) / 2
    assert half == pytest.approx(stats.t.ppf(0.975, 5) * error, rel=0.1)
    assert row.result.low < 0 < row.result.high
    assert verdict(row, 0.01, FAST) == "not supported"
    assert "interval over architectures, whose standard error is the larger" in row.note
    assert "30 pairs" in row.note
    assert "6 architectures" in row.note
    assert row.question.test.endswith("bootstrap over pairs or architectures")


def test_an_interval_of_pairs_that_are_not_alike_is_that_of_pairs(survey):
    changed = dealt_out(survey, 6, (0.1,) * 6)
    # what differs lies within the architectures: each has as much of it as the others
    pair = np.array([int(name[-4:] or 0) for name in survey["pair_labels"].to_numpy()])
    worse = (survey["side_labels"] == "random").to_numpy()
    changed["gap"] += np.where(worse, np.where(pair // 6 % 2 == 0, 0.05, -0.05), 0)
    row = factors.factor_rows(changed, "synthetic", FAST)[0]
    table, _ = factors.pairs(changed, "labels")
    differences = table["worse_gap"] - table["better_gap"]
    half = (row.result.high - row.result.low) / 2
    assert half == pytest.approx(stats.t.ppf(0.975, 29) * stats.sem(differences), rel=0.1)
    assert "interval over pairs, whose standard error is the larger" in row.note


def test_pairs_of_few_architectures_are_taken_as_independent(survey):
    row = factors.factor_rows(dealt_out(survey, 4, (0.1, 0.1, 0.1, -0.1)), "synthetic", FAST)[0]
    assert row.note.endswith(
        "4 architectures, fewer than 5 clusters: pairs are taken as independent"
    )
    assert row.question.test.endswith("bootstrap over pairs")
    table, _ = factors.pairs(dealt_out(survey, 4, (0.1, 0.1, 0.1, -0.1)), "labels")
    error = stats.sem(table["worse_gap"] - table["better_gap"])
    half = (row.result.high - row.result.low) / 2
    assert half == pytest.approx(stats.t.ppf(0.975, 29) * error, rel=0.1)


def test_windows_are_a_twelfth_of_pi_around_three_angles():
    theta = 2 * np.pi * np.arange(24) / 24
    assert np.flatnonzero(paths.near(theta, paths.ANCHORS)).tolist() == [
        3, 4, 5, 11, 12, 13, 19, 20, 21,
    ]  # fmt: skip
    assert np.flatnonzero(paths.near(theta, paths.MIDPOINTS)).tolist() == [
        0, 1, 7, 8, 9, 15, 16, 17, 23,
    ]  # fmt: skip
    middles = theta + np.pi / 24
    assert paths.near(middles, paths.ANCHORS).sum() == 6


def slow_ratios(ellipses, state, measure, kind):
    """A network's two log-ratios by loops over ellipses and angles."""
    angle = ellipses["angle"].to_numpy()
    step = 2 * math.pi / len(angle)
    result = {}
    for name in ellipses["network"].to_numpy():
        top = {"anchor": 0.0, "middle": 0.0, "kind": 0.0, "random": 0.0}
        bottom = dict.fromkeys(top, 0.0)
        for place in (kind, "random"):
            chosen = ellipses.sel(network=name, kind=place)
            values = chosen[measure].sel(state=state).to_numpy()
            arcs = chosen["arc_length"].to_numpy()
            for ellipse in range(ellipses.sizes["ellipse"]):
                for position, theta in enumerate(angle):
                    at = theta + (step / 2 if measure == "transitions" else 0)
                    size = arcs[ellipse, position] if measure == "transitions" else 1
                    phase = math.degrees(at) % 120
                    where = ["kind" if place == kind else "random"]
                    if place == kind and abs(phase - 60) < 15.001:
                        where.append("anchor")
                    if place == kind and min(phase, 120 - phase) < 15.001:
                        where.append("middle")
                    for key in where:
                        top[key] += values[ellipse, position]
                        bottom[key] += size
        level = {key: top[key] / bottom[key] for key in top}
        result[name] = (
            math.log(level["anchor"] / level["middle"]),
            math.log(level["kind"] / level["random"]),
        )
    return result


@pytest.mark.parametrize("measure", ["jacobian_norm", "transitions"])
@pytest.mark.parametrize("state", ["initial", "trained"])
def test_log_ratios_are_those_of_a_loop(ellipses, measure, state):
    few = ellipses.isel(network=slice(0, 3))
    found = paths.log_ratios(few, state)
    for name, expected in slow_ratios(few, state, measure, "one class").items():
        columns = [f"{measure}|one class|near", f"{measure}|one class|data"]
        assert found.loc[name, columns].tolist() == pytest.approx(expected)


def test_path_rows_test_trained_networks_and_show_the_same_ones_untrained(survey, ellipses):
    rows = paths.path_rows(survey, ellipses, "synthetic", FAST)
    assert len(rows) == 16
    trained = [row for row in rows if not row.question.control]
    controls = [row for row in rows if row.question.control]
    assert len(trained) == len(controls) == 8
    assert [row.n for row in trained] == [row.n for row in controls]
    values = paths.log_ratios(ellipses, "trained")["jacobian_norm|different classes|near"]
    assert trained[0].result.estimate == pytest.approx(values.mean())
    assert trained[0].result.p == pytest.approx(stats.wilcoxon(values).pvalue)
    assert all(row.note.startswith("control: ") for row in controls)
    assert all(f"{row.question.quantity}, untrained" in
               {other.question.quantity for other in controls} for row in trained)  # fmt: skip


def test_networks_without_a_ratio_are_left_out_of_the_control_too(survey, ellipses):
    changed = ellipses.copy(deep=True)
    changed["jacobian_norm"][dict(network=0, state=1, kind=0)] = 0  # noqa: C408
    changed["transitions"][dict(network=slice(1, 3), state=0, kind=2)] = 0  # noqa: C408
    rows = paths.path_rows(survey, changed, "synthetic", FAST)
    everyone = ellipses.sizes["network"]
    expected = {
        "Jacobian norm": {"different classes": (1, 1), "one class": (0, 0)},
        "transition density": {"different classes": (0, 2), "one class": (0, 2)},
    }
    for row in rows:
        quantity = row.question.quantity
        measure = "Jacobian norm" if quantity.startswith("Jacobian") else "transition density"
        kind = "one class" if "one class" in quantity else "different classes"
        missing = expected[measure][kind][0 if "anchors" in quantity else 1]
        assert row.n == everyone - missing
        assert (f"{missing} with" in row.left_out.split("diverged")[-1]) == (missing > 0)


def test_random_label_networks_are_no_part_of_c1(survey, ellipses):
    changed = survey.copy(deep=True)
    names = ellipses["network"].to_numpy()
    changed["labels"].loc[{"network": names[:3]}] = "random"
    rows = paths.path_rows(changed, ellipses, "synthetic", FAST)
    assert {row.n for row in rows} == {len(names) - 3}
    assert all("3 trained on random labels" in row.left_out for row in rows)
    kept = paths.log_ratios(ellipses.isel(network=slice(3, None)), "trained")
    assert rows[0].result.estimate == pytest.approx(
        kept["jacobian_norm|different classes|near"].mean()
    )


def test_angles_with_zero_norm_are_counted_among_those_a_row_uses(survey, ellipses):
    changed = ellipses.copy(deep=True)
    norm = changed["jacobian_norm"]
    # angles 8, 24, 40 of 48 are anchors; 4 is in no window
    for kind, angles in (("different classes", [4, 8, 9]), ("random", [4, 5])):
        norm.loc[{"state": "trained", "kind": kind}][3, 0, angles] = 0
    # a network without a ratio takes its zeros along
    norm.loc[{"state": "trained", "kind": "different classes"}][0] = 0
    rows = paths.path_rows(survey, changed, "synthetic", FAST)
    networks = ellipses.sizes["network"]
    # three ellipses; windows of five angles around each of six places, or all angles of two kinds
    near, data = 3 * 30, 3 * 48 * 2
    expected = {
        ("different classes", "at the anchors"): ((2, 0), (networks - 1) * near),
        ("different classes", "ellipses of"): ((5, 0), (networks - 1) * data),
        ("one class", "at the anchors"): ((0, 0), networks * near),
        ("one class", "ellipses of"): ((2, 0), networks * data),
    }
    counted = 0
    for row in rows:
        if not row.question.quantity.startswith("Jacobian norm"):
            assert "angles" not in row.left_out
            continue
        (zeros,) = {
            f"{count[row.question.control]} of {total:,} angles with J = 0, kept as 0 in the means"
            for (kind, start), (count, total) in expected.items()
            if f"ellipses of {kind}" in row.question.quantity
            and row.question.quantity.startswith(f"Jacobian norm, {start}")
        }
        assert row.left_out.endswith(f"; {zeros}")
        counted += 1
    assert counted == 8


def test_path_rows_need_thirty_networks(survey, ellipses):
    for count, too_few in ((29, True), (30, False)):
        part = ellipses.isel(network=slice(0, count))
        rows = paths.path_rows(survey, part, "synthetic", FAST)
        assert {row.n for row in rows} == {count}
        assert {row.too_few for row in rows} == {too_few}


@pytest.mark.parametrize("present", [False, True])
def test_no_ellipses_are_too_few(survey, ellipses, present):
    none = ellipses.isel(network=slice(0, 0)) if present else None
    rows = paths.path_rows(survey, none, "synthetic", FAST)
    assert len(rows) == 16
    assert all(row.too_few and row.n == 0 for row in rows)
    assert "fitted but not measured" in rows[0].left_out
