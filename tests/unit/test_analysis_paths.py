"""C1: log-ratios on ellipses and their errors, against plain loops."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import synthetic
from sensigap.analysis import paths
from sensigap.analysis.bootstrap import resample_counts
from sensigap.analysis.errors import Halvings
from sensigap.analysis.survey_table import networks_table
from sensigap.analysis.verdicts import Settings, draws, judge

FAST = Settings(bootstrap=100, halvings=40)


@pytest.fixture(scope="module")
def survey():
    return synthetic.survey(networks=140, pairs=2, samples=60, transition_points=20)


@pytest.fixture(scope="module")
def ellipses(survey):
    return synthetic.ellipses(survey, count=4)


def all_rows(survey, ellipses):
    return {row.question.key: row for row in paths.path_rows(survey, ellipses, "made up", FAST)}


@pytest.fixture(scope="module")
def rows(survey, ellipses):
    return all_rows(survey, ellipses)


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


def slow_level(ellipses, name, term, which):
    """A network's mean norm or transition density in a window, by loops over some ellipses."""
    angle = ellipses["angle"].to_numpy()
    step = 2 * math.pi / len(angle)
    chosen = ellipses.sel(network=name, kind=term.kind)
    values = chosen[term.measure].sel(state=term.state).to_numpy()
    arcs = chosen["arc_length"].to_numpy()
    top = bottom = 0.0
    for ellipse in which:
        for position, theta in enumerate(angle):
            phase = math.degrees(theta + (step / 2 if term.measure == "transitions" else 0)) % 120
            inside = {
                "anchors": abs(phase - 60) < 15.001,
                "between": min(phase, 120 - phase) < 15.001,
                "whole": True,
            }[term.window]
            if inside:
                top += values[ellipse, position]
                if term.measure == "transitions":
                    bottom += arcs[ellipse, position]
                elif values[ellipse, position] > 0:
                    bottom += 1
    return math.log(top / bottom)


def slow_ratio(ellipses, name, terms, which):
    """`which` ellipses by kind."""
    return sum(term.sign * slow_level(ellipses, name, term, which[term.kind]) for term in terms)


def everything(ellipses):
    return dict.fromkeys(ellipses["kind"].to_numpy().tolist(), range(ellipses.sizes["ellipse"]))


ORDER = {
    "ln between / data": paths.ratio("jacobian_norm", "one class", "near", "trained", -1),
    "ln random / between": paths.ratio("jacobian_norm", "one class", "random", "trained"),
}
CHANGE = (
    *paths.ratio("transitions", "different classes", "near", "trained"),
    *paths.ratio("transitions", "different classes", "near", "initial", -1),
)


@pytest.mark.parametrize(
    ("measure", "comparison", "state"),
    [
        ("jacobian_norm", "near", "trained"),
        ("jacobian_norm", "data", "initial"),
        ("transitions", "near", "initial"),
        ("transitions", "data", "trained"),
    ],
)
def test_log_ratios_are_those_of_a_loop(ellipses, measure, comparison, state):
    few = ellipses.isel(network=slice(0, 3))
    terms = paths.ratio(measure, "one class", comparison, state)
    found = paths.Ellipses(few, "made up", FAST).effect(terms)[0]
    expected = [slow_ratio(few, name, terms, everything(few)) for name in few["network"].to_numpy()]
    assert found.tolist() == pytest.approx(expected)


def slow_parts(survey, ellipses, row, terms, what=""):
    """Estimate, error and degrees of freedom of a mean log-ratio, by loops."""
    names = ellipses["network"].to_numpy()
    values = np.array([slow_ratio(ellipses, name, terms, everything(ellipses)) for name in names])
    architecture = networks_table(survey).loc[names, "architecture"]
    codes, levels = pd.factorize(architecture, sort=True)
    G = len(levels)
    counts = resample_counts(row.question.draws(FAST, what=what), G, FAST.bootstrap)
    drawn = [values[np.repeat(np.arange(len(values)), column[codes])].mean() for column in counts.T]
    member = {
        kind: Halvings(
            draws(FAST, "made up", f"halvings of ellipses, {kind}"),
            FAST.halvings,
            ellipses.sizes["ellipse"],
        ).member
        > 0
        for kind in ellipses["kind"].to_numpy().tolist()
    }
    # 4 ellipses have 6 halves, 36 pairs of them over two kinds
    seen = {}
    halves = []
    for column in range(2 * FAST.halvings):
        which = {kind: tuple(np.flatnonzero(of[:, column])) for kind, of in member.items()}
        key = tuple(which[term.kind] for term in terms)
        if key not in seen:
            seen[key] = np.mean([slow_ratio(ellipses, name, terms, which) for name in names])
        halves.append(seen[key])
    first, second = np.split(np.array(halves), 2)
    V = np.var(drawn) * G / (G - 1), ((first - second) ** 2).mean() / 4
    df = sum(V) ** 2 / (V[0] ** 2 / (G - 1) + V[1] ** 2 / (ellipses.sizes["ellipse"] - 1))
    return values.mean(), math.sqrt(sum(V)), df


@pytest.fixture(scope="module")
def few(survey):
    """30 networks and 24 angles, for loops."""
    return synthetic.ellipses(survey, count=4, angles=24).isel(network=slice(0, 30))


def test_rows_are_means_with_errors_of_architectures_and_triples(survey, few):
    found = all_rows(survey, few)
    near = paths.ratio("jacobian_norm", "different classes", "near", "trained")
    for key, terms in (("C1.transitions", CHANGE), ("C1.norm.different.near", near)):
        row = found[key]
        centre, error, df = slow_parts(survey, few, row, terms)
        assert row.n == 30
        assert row.finding.estimate == pytest.approx(centre)
        half = stats.t.ppf(0.975, df) * error
        assert (row.finding.low, row.finding.high) == pytest.approx((centre - half, centre + half))
        assert row.finding.p == pytest.approx(2 * stats.t.sf(abs(centre) / error, df), rel=1e-6)


def test_the_order_is_the_weaker_of_two_steps(survey, few):
    row = all_rows(survey, few)["C1.order.one"]
    parts = {what: slow_parts(survey, few, row, terms, what) for what, terms in ORDER.items()}
    p = {
        what: 2 * stats.t.sf(abs(centre) / error, df) for what, (centre, error, df) in parts.items()
    }
    weaker = max(p, key=lambda what: p[what])
    assert row.finding.p == pytest.approx(p[weaker])
    assert row.finding.estimate == pytest.approx(parts[weaker][0])
    assert row.finding.side == 1
    assert any(remark.startswith("untrained: ln between / data") for remark in row.remarks)


def test_rows_and_which_are_primary(rows):
    primary = [key for key, row in rows.items() if row.question.primary]
    assert primary == ["C1.order.different", "C1.order.one", "C1.transitions"]
    controls = [key for key, row in rows.items() if row.question.control]
    assert len(controls) == 8
    for key in controls:
        assert key.endswith(".untrained")
        row, trained = rows[key], rows[key.removesuffix(".untrained")]
        assert row.question.claimed is None
        assert trained.question.claimed == -1
        assert row.n == trained.n
        assert "control: the same networks before training" in row.remarks
    assert [key for key in rows if key.endswith(".change")] == [
        "C1.transitions.different.data.change",
        "C1.transitions.one.near.change",
        "C1.transitions.one.data.change",
    ]
    for key, row in rows.items():
        per_radian = any(remark.startswith("per radian: ") for remark in row.remarks)
        assert per_radian == ("transitions" in key)


@pytest.mark.parametrize(
    ("near", "data", "order", "change"),
    [
        # 'near' is ln (anchors / midpoints) / 1, 'data' the level of data against random ellipses
        (-0.5, -0.4, "supported", "supported"),
        (0.5, 0.6, "contradicted", "contradicted"),
        # nearer is quieter, but random ellipses are quieter still
        (-0.5, 0.6, "not supported", "supported"),
        (0.0, 0.0, "not supported", "not supported"),
    ],
)
def test_the_verdicts_of_the_order(survey, near, data, order, change):
    made = synthetic.ellipses(survey, near=near, data=data)
    found = list(all_rows(survey, made).values())
    given = {
        row.question.key: word for row, (_, word) in zip(found, judge(found, FAST), strict=True)
    }
    assert given["C1.order.different"] == given["C1.order.one"] == order
    assert given["C1.transitions"] == change
    if order == "not supported" and near:
        assert "their signs differ" in next(iter(found)).remarks


def test_networks_without_a_ratio_are_left_out_of_the_control_too(survey, ellipses):
    changed = ellipses.copy(deep=True)
    changed["jacobian_norm"][dict(network=0, state=1, kind=0)] = 0  # noqa: C408
    changed["transitions"][dict(network=slice(1, 3), state=0, kind=2)] = 0  # noqa: C408
    found = all_rows(survey, changed)
    everyone = ellipses.sizes["network"]
    missing = {
        "C1.norm.different.near": 1,
        "C1.norm.different.data.untrained": 1,
        "C1.norm.one.near": 0,
        "C1.order.different": 1,
        "C1.order.one": 0,
        "C1.transitions": 0,
        "C1.transitions.one.near": 0,
        "C1.transitions.one.data": 2,
        "C1.transitions.one.data.change": 2,
    }
    for key, count in missing.items():
        assert found[key].n == everyone - count
        told = "with J = 0" if "norm" in key or "order" in key else "without transitions"
        assert (f"{count} {told}" in found[key].left_out) == (count > 0)


def test_random_label_networks_are_no_part_of_c1(survey, ellipses):
    changed = survey.copy(deep=True)
    names = ellipses["network"].to_numpy()
    changed["labels"].loc[{"network": names[:3]}] = "random"
    found = all_rows(changed, ellipses)
    assert {row.n for row in found.values()} == {len(names) - 3}
    assert all("3 trained on random labels" in row.left_out for row in found.values())
    kept = all_rows(survey, ellipses.isel(network=slice(3, None)))
    assert found["C1.norm.one.near"].finding.estimate == kept["C1.norm.one.near"].finding.estimate


def test_angles_with_zero_norm_are_counted_among_those_a_row_uses(survey, ellipses):
    changed = ellipses.copy(deep=True)
    norm = changed["jacobian_norm"]
    # angles 8, 24, 40 of 48 are anchors; 4 is in no window
    for kind, angles in (("different classes", [4, 8, 9]), ("random", [4, 5])):
        norm.loc[{"state": "trained", "kind": kind}][3, 0, angles] = 0
    # a network without a ratio takes its zeros along
    norm.loc[{"state": "trained", "kind": "different classes"}][0] = 0
    found = all_rows(survey, changed)
    networks = ellipses.sizes["network"]
    # four ellipses; windows of five angles around each of six places, or all angles of two kinds
    near, data, order = 4 * 30, 4 * 48 * 2, 4 * (30 + 48)
    for key, zeros, total in (
        ("C1.norm.different.near", 2, (networks - 1) * near),
        ("C1.norm.different.near.untrained", 0, (networks - 1) * near),
        ("C1.norm.different.data", 5, (networks - 1) * data),
        ("C1.norm.one.data", 2, networks * data),
        ("C1.order.different", 4, (networks - 1) * order),
    ):
        text = f"{zeros} of {total:,} angles with J = 0, left out of the means"
        assert found[key].left_out.endswith(f"; {text}"), key
    terms = paths.ratio("jacobian_norm", "different classes", "near", "trained")
    name = changed["network"].to_numpy()[3]
    drawn = paths.Ellipses(changed, "made up", FAST).effect(terms)[0][3]
    assert drawn == pytest.approx(slow_ratio(changed, name, terms, everything(changed)))
    assert "angles" not in found["C1.transitions"].left_out


def test_path_rows_need_thirty_networks(survey, ellipses):
    for count, too_few in ((29, True), (30, False)):
        found = all_rows(survey, ellipses.isel(network=slice(0, count)))
        assert {row.n for row in found.values()} == {count}
        assert {row.too_few for row in found.values()} == {too_few}


def test_path_rows_need_ten_architectures(survey, ellipses):
    changed = survey.copy(deep=True)
    changed["width"] = ("network", np.full(survey.sizes["network"], 64))
    changed["unit"] = ("network", np.full(survey.sizes["network"], "relu", object))
    found = all_rows(changed, ellipses)
    assert all(row.too_few and row.architectures == 4 for row in found.values())


def test_one_ellipse_of_a_kind_cannot_be_halved(survey, ellipses):
    found = all_rows(survey, ellipses.isel(ellipse=slice(0, 1)))
    for row in found.values():
        assert row.remarks == ("does not apply: fewer than two ellipses of a kind",)


@pytest.mark.parametrize("present", [False, True])
def test_no_ellipses_are_too_few(survey, ellipses, present):
    none = ellipses.isel(network=slice(0, 0)) if present else None
    found = all_rows(survey, none)
    assert len(found) == 22
    assert all(row.too_few and row.n == 0 for row in found.values())
    assert "fitted but not measured" in found["C1.transitions"].left_out
