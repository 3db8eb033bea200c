"""The numbers that figures draw, worked out a second time, network by network."""

import numpy as np
import pandas as pd
import pytest

import synthetic
from sensigap.analysis.verdicts import Settings
from sensigap.factors import FACTORS
from sensigap.figures import effects, ellipses, factors, parameters, points, sensitivity, slices
from sensigap.figures.style import PAGE
from sensigap.kinds import ELLIPSE_KINDS, STATES


@pytest.fixture(scope="module")
def surveys():
    small = {"samples": 80, "transition_points": 20, "unfitted": 0.2, "diverged": 0.1}
    return {
        "digits": synthetic.survey(seed=1, networks=60, pairs=8, **small),
        "MNIST": synthetic.survey(seed=2, networks=40, pairs={"labels": 5}, **small),
    }


def counted(dataset):
    """Fitted, not fitted, diverged members of the survey, counted one by one."""
    counts = {"fitted": 0, "not fitted": 0, "diverged": 0}
    for status, member in zip(
        dataset["status"].to_numpy(), dataset["in_survey"].to_numpy(), strict=True
    ):
        counts[status] += int(member)
    return counts


@pytest.mark.parametrize("module", [parameters, sensitivity])
def test_scatters_hold_each_fitted_network_once_and_captions_count_the_others(module, surveys):
    drawn = module.figure(surveys)
    for name, dataset in surveys.items():
        numbers = drawn.numbers[drawn.numbers["dataset"] == name].set_index("network")
        counts = counted(dataset)
        total = sum(counts.values())
        assert len(numbers) == counts["fitted"]
        assert (
            f"{name}: n = {counts['fitted']} fitted networks (left out: "
            f"{total - counts['fitted']} of {total} survey networks: "
            f"{counts['not fitted']} not fitted, {counts['diverged']} diverged)."
        ) in str(drawn.caption)
        for network in numbers.index:
            row = dataset.sel(network=network)
            assert row["status"].item() == "fitted"
            assert row["in_survey"].item()
            for column in numbers.columns.drop("dataset"):
                assert numbers.loc[network, column] == row[column].item()


def test_marks_stand_where_the_numbers_say(surveys):
    drawn = sensitivity.figure({"digits": surveys["digits"]}, hyperparameter="unit")
    left, right = drawn.figure.axes[:2]
    for panel in (left, right):
        (marks,) = panel.collections
        assert np.array_equal(marks.get_offsets(), drawn.numbers[["sensitivity", "gap"]])
    bar = drawn.figure.axes[-1]
    assert [tick.get_text() for tick in bar.get_yticklabels()] == sorted(set(drawn.numbers["unit"]))


def test_spearman_in_the_panel_is_the_rank_correlation_of_the_marks(surveys):
    drawn = sensitivity.figure({"digits": surveys["digits"]})
    ranks = drawn.numbers[["sensitivity", "gap"]].rank()
    rho = np.corrcoef(ranks["sensitivity"], ranks["gap"])[0, 1]
    assert drawn.figure.axes[0].texts[0].get_text() == f"ρ = {rho:.2f}, n = {len(ranks)}"


def test_silent_networks_are_left_out_of_the_logarithmic_axis_and_counted(surveys):
    dataset = surveys["digits"].copy(deep=True)
    fitted = np.flatnonzero(
        (dataset["status"].to_numpy() == "fitted") & dataset["in_survey"].to_numpy()
    )
    dataset["sensitivity"][fitted[:3]] = 0
    drawn = sensitivity.figure({"digits": dataset})
    assert len(drawn.numbers) == len(fitted) - 3
    assert "3 with J = 0 at every test point" in str(drawn.caption)


def test_a_loss_of_zero_stands_at_the_edge_and_is_counted(surveys):
    dataset = surveys["digits"].copy(deep=True)
    dataset["train_loss"][:] = np.where(np.arange(dataset.sizes["network"]) % 2, 0.0, 1e-3)
    drawn = parameters.figure({"digits": dataset})
    zeros = int((drawn.numbers["train_loss"] == 0).sum())
    assert zeros > 0
    assert f"{zeros} networks with a training loss of exactly 0 at the left edge" in str(
        drawn.caption
    )
    marks = drawn.figure.axes[1].collections[0].get_offsets()
    assert set(np.asarray(marks)[:, 0]) == {1e-3, 5e-4}


def test_an_unknown_hyperparameter_is_named(surveys):
    with pytest.raises(ValueError, match="found 'depht'"):
        sensitivity.figure(surveys, hyperparameter="depht")


def test_pairs_are_those_with_both_sides_fitted(surveys):
    drawn = factors.figure(surveys)
    numbers = drawn.numbers.set_index(["dataset", "factor", "pair", "quantity"])
    expected = 0
    for name, dataset in surveys.items():
        for factor, record in FACTORS.items():
            worse, better = (side.name for side in record.sides)
            pairs = dataset[f"pair_{factor}"].to_numpy()
            sides = dataset[f"side_{factor}"].to_numpy()
            both = 0
            for pair in sorted(set(pairs) - {""}):
                (row,) = np.flatnonzero((pairs == pair) & (sides == worse))
                (other,) = np.flatnonzero((pairs == pair) & (sides == better))
                status = dataset["status"].to_numpy()
                if status[row] != "fitted" or status[other] != "fitted":
                    continue
                both += 1
                for quantity, variable in (
                    ("gap", "gap"),
                    ("sensitivity", "sensitivity"),
                    ("transitions", "mean_transitions"),
                ):
                    found = numbers.loc[(name, factor, pair, quantity)]
                    assert found["worse"] == dataset[variable].to_numpy()[row]
                    assert found["better"] == dataset[variable].to_numpy()[other]
                    expected += 1
            total = len(set(pairs) - {""})
            if total:
                assert (
                    f"{name}, {record.title}: n = {both} pair{'' if both == 1 else 's'} "
                    f"(left out: {total - both} of {total} pairs"
                ) in str(drawn.caption) or both == total
    assert len(numbers) == expected


def test_the_share_above_the_diagonal_is_counted(surveys):
    drawn = factors.figure({"MNIST": surveys["MNIST"]})
    numbers = drawn.numbers[drawn.numbers["quantity"] == "gap"]
    above = sum(worse > better for worse, better in numbers[["worse", "better"]].to_numpy())
    assert drawn.figure.axes[0].texts[0].get_text() == f"{above} of {len(numbers)} above"


def test_densities_and_rates_of_points_add_up(surveys):
    dataset = surveys["digits"]
    settings = Settings(point_networks=1000)
    drawn = points.figure({"digits": dataset}, settings)
    panels = dict(tuple(drawn.numbers.groupby("panel")))
    fitted = (dataset["status"] == "fitted") & dataset["in_survey"]
    chosen = dataset.isel(network=np.flatnonzero(fitted.to_numpy()))
    norm = chosen["jacobian_norm"].to_numpy()
    loss = chosen["loss"].to_numpy()
    wrong = chosen["margin"].to_numpy() <= 0
    silent = int((norm == 0).sum())
    assert silent == 10
    assert f"digits: {norm.size - silent:,} points; left out: {silent} with a Jacobian" in str(
        drawn.caption
    )
    kept = norm > 0
    scale = np.sqrt((chosen["logit_jacobian_norm"].to_numpy() ** 2).mean(1) / 10)[:, None]
    for panel, x in (("loss", norm), ("relation", norm / scale)):
        bins = panels[panel]
        assert bins["value"].sum() == kept.sum()
        # each bin, counted by going through the points; edges belong to one side or the other
        for _, row in bins.sample(12, random_state=0).iterrows():
            x_inside = (x[kept] >= row["x_low"] * 0.999999) & (x[kept] <= row["x_high"] * 1.000001)
            y_inside = (loss[kept] >= row["y_low"] * 0.999999) & (
                loss[kept] <= row["y_high"] * 1.000001
            )
            assert (x_inside & y_inside).sum() == pytest.approx(row["value"], abs=1)
    rates = panels["misclassification"]
    assert rates["n"].sum() == kept.sum()
    assert (rates["value"] * rates["n"]).sum() == pytest.approx(wrong[kept].sum())
    assert (rates["low"] <= rates["value"]).all()
    assert (rates["value"] <= rates["high"]).all()
    assert rates["n"].max() - rates["n"].min() <= 3
    assert ((rates["x_low"] <= rates["x"]) & (rates["x"] <= rates["x_high"])).all()
    last = rates.iloc[-1]
    inside = kept & (norm >= last["x_low"])
    assert last["value"] == wrong[inside].mean()
    assert last["x"] == pytest.approx(np.median(norm[inside]))


def test_misclassification_is_of_points_chosen_by_their_norm_alone(surveys):
    """Right points with the smallest losses stay in the rate, though no density can show them."""
    dataset = surveys["digits"].copy(deep=True)
    right = (dataset["margin"] > 2) & (dataset["jacobian_norm"] > 0)
    dataset["loss"] = dataset["loss"].where(~right, 0.0)
    drawn = points.figure({"digits": dataset}, Settings(point_networks=1000))
    fitted = ((dataset["status"] == "fitted") & dataset["in_survey"]).to_numpy()
    chosen = dataset.isel(network=np.flatnonzero(fitted))
    kept = (chosen["jacobian_norm"] > 0).to_numpy()
    lossless = int((chosen["loss"].to_numpy()[kept] == 0).sum())
    assert lossless > 20
    panels = dict(tuple(drawn.numbers.groupby("panel")))
    rates = panels["misclassification"]
    assert rates["n"].sum() == kept.sum()
    assert (rates["value"] * rates["n"]).sum() == pytest.approx(
        (chosen["margin"].to_numpy()[kept] <= 0).sum()
    )
    for panel in ("loss", "relation"):
        assert panels[panel]["value"].sum() == kept.sum() - lossless
    assert (
        f"Of these, {lossless:,} with a loss or a norm over M below 1e-20 (loss of exactly 0: "
        f"{lossless:,}) are in the misclassification rate only."
    ) in str(drawn.caption)


def test_bounds_reach_to_the_smallest_losses():
    dataset = synthetic.survey(networks=20, pairs=0, samples=80, transition_points=5)
    dataset["loss"][:] = np.where(
        np.isfinite(dataset["loss"]), np.geomspace(1e-18, 1, 80)[None], np.nan
    )
    numbers = points.figure({"digits": dataset}).numbers
    bounds = numbers[numbers["panel"] == "bounds"]
    assert bounds["y_low"].min() == pytest.approx(1e-18)
    # with r = 1 - p on m other classes alike, S = r^2 (1 + 1/m) + 2 r^2 / m = r^2 (1 + 3/m)
    small = bounds[bounds["y_low"] < 1e-6]
    assert np.allclose(small["high"] / small["y_low"], 2, rtol=1e-5)
    assert np.allclose(small["low"] / small["y_low"], np.sqrt(1 + 3 / 9), rtol=1e-5)


@pytest.mark.parametrize(("angles", "arcs"), [(24, 24), (192, 48), (72, 24)])
def test_curves_of_ellipses_are_means_over_networks_and_ellipses(surveys, angles, arcs):
    dataset = surveys["digits"]
    group = synthetic.ellipses(dataset, angles=angles, count=2)
    drawn = ellipses.figure({"digits": dataset}, {"digits": group})
    numbers = drawn.numbers.set_index(["quantity", "state", "kind"]).sort_index()
    networks = group.sizes["network"]
    for i, state in enumerate(STATES):
        for j, kind in enumerate(ELLIPSE_KINDS):
            for quantity in ellipses.QUANTITIES:
                curve = numbers.loc[(quantity, state, kind)]
                assert (curve["n"] == networks).all()
                number = angles if quantity == "jacobian_norm" else arcs
                assert len(curve) == number
                for angle in (0, 7, number - 1):
                    # the arcs between neighbouring angles that make up this one
                    parts = slice(angle * angles // number, (angle + 1) * angles // number)
                    values = []
                    for network in range(networks):
                        of_ellipses = []
                        for ellipse in range(2):
                            at = (network, i, j, ellipse, parts)
                            norm = group["jacobian_norm"].to_numpy()[at].sum()
                            count = group["transitions"].to_numpy()[at].sum()
                            arc = group["arc_length"].to_numpy()[network, j, ellipse, parts].sum()
                            of_ellipses.append(
                                {
                                    "jacobian_norm": norm,
                                    "transitions_per_length": count / arc,
                                    "transitions_per_radian": count / (2 * np.pi / number),
                                }[quantity]
                            )
                        values.append(sum(of_ellipses) / 2)
                    row = curve.iloc[angle]
                    assert row["mean"] == pytest.approx(np.mean(values))
                    middle = 0 if quantity == "jacobian_norm" else np.pi / number
                    assert row["angle"] == pytest.approx(2 * np.pi * angle / number + middle)
                    error = 1.96 * np.std(values) / np.sqrt(networks)
                    assert row["high"] - row["low"] == pytest.approx(2 * error, rel=0.2)
                    assert row["low"] < row["mean"] < row["high"]


def test_ellipses_count_the_networks_chosen_but_not_drawn(surveys):
    dataset = surveys["digits"]
    chosen = dataset["in_ellipses"].to_numpy()
    status = dataset["status"].to_numpy()[chosen]
    group = synthetic.ellipses(dataset)
    drawn = ellipses.figure({"digits": dataset}, {"digits": group.isel(network=slice(2, None))})
    n = int((status == "fitted").sum()) - 2
    assert f"digits: n = {n} networks (left out: {len(status) - n} of {len(status)}" in str(
        drawn.caption
    )
    for reason in ("not fitted", "diverged"):
        count = int((status == reason).sum())
        assert (f"{count} {reason}" in str(drawn.caption)) == (count > 0)
    assert "2 fitted but not measured" in str(drawn.caption)


def test_ellipses_are_of_true_labels_and_count_zero_norms(surveys):
    dataset = surveys["digits"].copy(deep=True)
    group = synthetic.ellipses(dataset)
    names = group["network"].to_numpy()
    dataset["labels"].loc[{"network": names[:2]}] = "random"
    group["jacobian_norm"].loc[{"state": "trained"}][:4, :, :, 5] = 0
    drawn = ellipses.figure({"digits": dataset}, {"digits": group})
    assert (drawn.numbers["n"] == len(names) - 2).all()
    assert "2 trained on random labels" in str(drawn.caption)
    total = (len(names) - 2) * 3 * 3 * 48
    # of two networks: three kinds, three ellipses, one angle
    assert f"trained, 18 of {total:,} angles with J = 0, kept as 0 in the curves" in str(
        drawn.caption
    )
    assert f"untrained, 0 of {total:,} angles" in str(drawn.caption)


def test_slices_draw_the_segments_as_measured(surveys):
    groups = {name: synthetic.slices(dataset) for name, dataset in surveys.items()}
    drawn = slices.figure(surveys, groups)
    panels = iter(drawn.figure.axes)
    rows = drawn.numbers.set_index(["dataset", "state"])
    for name, group in groups.items():
        for state, count in zip(STATES, (60, 40), strict=True):
            (lines,) = next(panels).collections
            found = np.array(lines.get_segments())
            stored = group.sel(state=state).squeeze("network").isel(edge=slice(count))
            for end in (0, 1):
                assert np.array_equal(found[:, end, 0], stored[f"x{end}"])
                assert np.array_equal(found[:, end, 1], stored[f"y{end}"])
            row = rows.loc[name, state]
            assert (row["edges"], row["regions"]) == (count, count // 2)
            along = np.linalg.norm(found[:, 1] - found[:, 0], axis=1)
            assert row["boundary_length"] == pytest.approx(along.sum(), rel=1e-6)
            assert f"{count // 2} linear regions and {count} boundary segments" in str(
                drawn.caption
            )
            assert not lines.get_rasterized()


def test_many_segments_are_thin_and_too_many_regions_are_said(surveys, monkeypatch):
    group = synthetic.slices(surveys["digits"])
    usual = slices.figure({"digits": surveys["digits"]}, {"digits": group}).figure.axes[0]
    many = synthetic.slices(surveys["digits"], edges=slices.RASTER_ABOVE + 1)
    # as a network whose boundaries were left out
    many["edges"][:, 1] = 0
    many["regions"][:, 1] = -1
    for name in ("x0", "y0", "x1", "y1"):
        many[name][:, 1] = np.nan
    drawn = slices.figure({"digits": surveys["digits"]}, {"digits": many})
    (lines,), (thick,) = drawn.figure.axes[0].collections, usual.collections
    assert lines.get_rasterized()
    assert lines.get_linewidth()[0] < thick.get_linewidth()[0]
    assert lines.get_alpha() < thick.get_alpha()
    assert drawn.numbers.loc[1, ["regions", "edges", "boundary_length"]].isna().all()
    assert "after training too many regions, boundaries left out" in str(drawn.caption)
    assert drawn.figure.axes[1].texts[-1].get_text() == "too many regions to draw"


def test_more_slices_than_a_page_holds_are_counted(surveys):
    dataset = surveys["digits"].copy(deep=True)
    fitted = np.flatnonzero(dataset["status"].to_numpy() == "fitted")
    chosen = np.isin(np.arange(dataset.sizes["network"]), fitted[:6])
    dataset = dataset.assign_coords(in_slices=("network", chosen))
    drawn = slices.figure({"digits": dataset}, {"digits": synthetic.slices(dataset, edges=8)})
    assert drawn.numbers["network"].nunique() == slices.LIMIT == 4
    assert (
        "n = 4 networks (left out: 2 of 6 networks chosen: "
        "2 measured but not drawn, to keep the figure on a page)"
    ) in str(drawn.caption)


def test_effects_are_those_of_the_tables(surveys):
    surveys = {"digits": surveys["digits"], "mnist": surveys["MNIST"]}
    claims = pd.DataFrame(
        [
            ("C2.raw", "digits", 0.8, 0.7, 0.9, 50, "supported"),
            ("C2.raw", "mnist", 0.5, 0.2, 0.7, 40, "supported"),
            ("C0.size.raw", "digits", -0.4, -0.5, -0.3, 50, "supported"),
            ("C3.labels", "digits", 2.5, 2.2, 2.7, 24, "supported"),
            ("C3.labels.gap", "digits", 0.8, 0.7, 0.9, 24, "none"),
            ("C4.unit", "mnist", 0.3, 0.1, 0.5, 22, "does not speak"),
            ("C4.unit.gap", "mnist", 0.01, -0.01, 0.03, 22, "not supported"),
            ("C4.unit.norm", "mnist", 0.3, 0.1, 0.5, 22, "supported"),
            ("C6.noise.norm", "mnist", np.nan, np.nan, np.nan, 3, "too few networks"),
        ],
        columns=["key", "dataset", "estimate", "low", "high", "n", "verdict"],
    )
    board = pd.DataFrame(
        [
            ("digits", "a", "measure a", 0.1, 0.0, 0.2, 50),
            ("mnist", "a", "measure a", 0.2, 0.1, 0.3, 40),
            ("digits", "b", "measure b", 0.6, 0.5, 0.7, 50),
            ("mnist", "b", "measure b", np.nan, np.nan, np.nan, 2),
        ],
        columns=["dataset", "measure", "label", "within", "within_low", "within_high", "n"],
    )
    drawn = effects.figure(surveys, claims, board, Settings())
    rows = drawn.numbers[["panel", "name", "dataset", "estimate", "low", "high"]]
    assert [tuple(row) for row in rows.to_numpy().tolist()] == [
        ("correlations", "C2.raw", "digits", 0.8, 0.7, 0.9),
        ("correlations", "C2.raw", "mnist", 0.5, 0.2, 0.7),
        # that of random labels is so by construction
        ("gap", "C4.unit.gap", "mnist", 0.01, -0.01, 0.03),
        ("norm", "C3.labels", "digits", 2.5, 2.2, 2.7),
        ("norm", "C4.unit.norm", "mnist", 0.3, 0.1, 0.5),
        # the best first
        ("measures", "b", "digits", 0.6, 0.5, 0.7),
        ("measures", "a", "digits", 0.1, 0.0, 0.2),
        ("measures", "a", "mnist", 0.2, 0.1, 0.3),
    ]
    panels = drawn.figure.axes
    marks = {
        panel.get_title(loc="left"): sorted(
            float(x) for line in panel.lines[1:] for x in line.get_xdata()
        )
        for panel in panels
    }
    assert marks["Correlations"] == [0.5, 0.8]
    assert marks["Measures, within"] == [0.1, 0.2, 0.6]
    assert marks["Factors: Jacobian norm"] == [0.3, 2.5]
    empty = effects.figure(surveys, claims[:0], board[:0], Settings())
    assert empty.numbers.empty


def test_pairs_stand_at_their_difference_or_ratio_above_the_better_side(surveys):
    drawn = factors.figure(surveys)
    painted = drawn.paint(PAGE)
    numbers = drawn.numbers.set_index(["dataset", "factor", "quantity", "worse_network"])
    words = {record.title: name for name, record in FACTORS.items()}
    quantities = {words: name for name, words in factors.QUANTITIES.items()}
    seen = 0
    for marks in painted.marks:
        title, _, quantity = marks.label.removeprefix(f"{marks.dataset}: ").rpartition(", ")
        name = quantities[quantity]
        for (worse, better), x, y in zip(marks.networks, marks.x, marks.y, strict=True):
            row = numbers.loc[(marks.dataset, words[title], name, worse)]
            assert row["better_network"] == better
            assert x == row["better"]
            expected = row["worse"] - x if name == "gap" else row["worse"] / x
            assert y == pytest.approx(expected, rel=1e-12)
            low, high = marks.panel.get_ylim()
            assert low < y < high
            seen += 1
        (line,) = marks.panel.lines
        assert set(line.get_ydata()) == {0.0 if name == "gap" else 1.0}
    assert seen > 100
