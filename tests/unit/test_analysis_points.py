"""C5: single points, against scipy, sklearn and statsmodels in loops."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.tools.sm_exceptions import ModelWarning

import synthetic
from sensigap.analysis import point_rows, points, resampled
from sensigap.analysis.bootstrap import DoesNotApply, resample_counts
from sensigap.analysis.errors import Halvings
from sensigap.analysis.point_statistics import STATISTICS
from sensigap.analysis.relation import bounds
from sensigap.analysis.shared_points import SharedPoints
from sensigap.analysis.verdicts import Settings, draws, judge
from sensigap.seeds import generator

SETTINGS = Settings(bootstrap=60, point_networks=22, halvings=20)


@pytest.fixture(scope="module")
def survey():
    return synthetic.survey(
        networks=60, pairs=2, samples=80, transition_points=10, dead_networks=50, dead_points=3
    )


@pytest.fixture(scope="module")
def chosen(survey):
    return points.points(survey, points.point_networks(survey, SETTINGS)[0])


def all_rows(survey, settings=SETTINGS):
    shared = SharedPoints(survey, "made up", settings)
    return {row.question.key: row for row in point_rows.point_rows(shared)}


@pytest.fixture(scope="module")
def rows(survey):
    return all_rows(survey)


def test_networks_are_a_stable_seeded_choice(survey):
    names, left_out = points.point_networks(survey, SETTINGS)
    frame = survey[["status"]].to_dataframe()
    eligible = frame.index[frame["in_survey"] & (frame["status"] == "fitted")]
    assert len(names) == 22
    assert set(names) <= set(eligible)
    assert left_out.count == 60 - 22
    # fewer are a part of more, and other networks change the choice only by being chosen
    fewer, _ = points.point_networks(survey, Settings(point_networks=10))
    assert set(fewer) < set(names)
    part = survey.sel(network=[name for name in eligible if name != names[0]])
    assert set(names[1:]) <= set(points.point_networks(part, SETTINGS)[0])
    assert points.point_networks(survey, Settings(seed=1, point_networks=22))[0] != names


def test_points_with_zero_jacobian_are_left_out_and_counted(survey, chosen):
    for p in chosen:
        norm = survey["jacobian_norm"].sel(network=p.network).to_numpy()
        assert p.sample.tolist() == np.flatnonzero(norm > 0).tolist()
        assert p.log10_norm == pytest.approx(np.log10(norm[p.sample]))
        assert (p.wrong == (survey["margin"].sel(network=p.network)[p.sample] <= 0)).all()
    dropped = sum(80 - len(p.sample) for p in chosen)
    assert dropped > 30
    rows = all_rows(survey)
    for statistic in STATISTICS:
        text = f"; {dropped} of {22 * 80} points with J = 0"
        assert rows[statistic.key].left_out.endswith(text)


def slope(x, wrong):
    """NaN where statsmodels finds no fit."""
    try:
        with np.errstate(over="ignore"):
            model = sm.Logit(wrong.astype(float), sm.add_constant(x))
            return model.fit(disp=0, tol=1e-12, maxiter=100).params[1]
    except (ModelWarning, np.linalg.LinAlgError):
        return math.nan


def given_rank(x, y, given):
    """Correlation of rank residuals after a cubic in the rank of a third."""
    r = 2 * (stats.rankdata(given) - 1) / (len(x) - 1) - 1
    left = [np.polynomial.Polynomial.fit(r, stats.rankdata(v), 3) for v in (x, y)]
    rest = [stats.rankdata(v) - fit(r) for v, fit in zip((x, y), left, strict=True)]
    return stats.pearsonr(*rest).statistic


def rho(x, y):
    return stats.spearmanr(x, y).statistic


#: key -> (statistic of norm, loss, wrong and log doubt; null; to its scale)
SLOW = {
    "C5.loss": (lambda x, loss, wrong, doubt: rho(x, loss), 0, math.atanh),
    "C5.error": (
        lambda x, loss, wrong, doubt: roc_auc_score(wrong, x),
        0.5,
        lambda v: math.log(v / (1 - v)),
    ),
    "C5.slope": (lambda x, loss, wrong, doubt: slope(x, wrong), 0, float),
    "C5.loss.baseline": (
        lambda x, loss, wrong, doubt: rho(x, loss) - rho(doubt, loss),
        0,
        float,
    ),
    "C5.error.baseline": (
        lambda x, loss, wrong, doubt: roc_auc_score(wrong, x) - roc_auc_score(wrong, doubt),
        0,
        float,
    ),
    "C5.loss.given_confidence": (
        lambda x, loss, wrong, doubt: given_rank(x, loss, doubt),
        0,
        math.atanh,
    ),
}


def halves(what="halvings of the test points", count=80):
    member = Halvings(draws(SETTINGS, "made up", what), SETTINGS.halvings, count).member > 0
    return member[:, : SETTINGS.halvings], member[:, SETTINGS.halvings :]


def two_errors(row, values, both, to, null):
    """Asserts the estimate and p of a mean over networks.

    Args:
        values: of each network.
        both: means over networks of each first half, and of each second.
    """
    n = len(values)
    counts = resample_counts(row.question.draws(SETTINGS), n, SETTINGS.bootstrap)
    means = [to(np.repeat(values, column).mean()) for column in counts.T]
    of_halves = [[to(value) for value in half] for half in both]
    V = np.var(means) * n / (n - 1), (np.subtract(*of_halves) ** 2).mean() / 4
    df = sum(V) ** 2 / (V[0] ** 2 / (n - 1) + V[1] ** 2 / 79)
    distance = abs(to(np.mean(values)) - to(null)) / math.sqrt(sum(V))
    assert row.finding.estimate == pytest.approx(np.mean(values), rel=1e-6)
    assert row.finding.p == pytest.approx(2 * stats.t.sf(distance, df), rel=1e-3)


@pytest.mark.parametrize("key", SLOW)
def test_rows_are_means_with_errors_of_networks_and_points(rows, chosen, key):
    row = rows[key]
    statistic, null, to = SLOW[key]
    assert row.n == 22

    def of(p, kept):
        return statistic(p.log10_norm[kept], p.loss[kept], p.wrong[kept], p.log_doubt[kept])

    values = [of(p, np.ones(len(p.sample), bool)) for p in chosen]
    found = [
        np.array([[of(p, half[p.sample]) for p in chosen] for half in member.T])
        for member in halves()
    ]
    # a network without a value in one half is left out of the other half too
    both = np.isfinite(found[0]) & np.isfinite(found[1])
    means = [np.mean(each, axis=1, where=both) for each in found]
    two_errors(row, values, means, to, null)


def test_the_share_within_bounds_is_that_of_a_loop(survey, rows):
    row = rows["C5.bounds"]
    names = points.point_networks(survey, SETTINGS)[0]
    assert row.n == 22
    assert math.isnan(row.finding.p)

    ends = {}
    for name in names:
        p = survey["target_probability"].sel(network=name).to_numpy()
        ends[name] = bounds(p, synthetic.CLASSES)

    def share(name, kept):
        of = survey.sel(network=name)
        norms = of["jacobian_norm"].to_numpy()
        squares = of["logit_jacobian_norm"].to_numpy()[kept] ** 2
        M = math.sqrt(squares.mean() / synthetic.CLASSES)
        low, high = ends[name]
        inside = [
            M * low[k] * (1 - 1e-9) <= norms[k] <= M * high[k] * (1 + 1e-9)
            for k in np.flatnonzero(kept)
        ]
        return np.mean(inside)

    values = [share(name, np.ones(80, bool)) for name in names]
    assert row.finding.estimate == pytest.approx(np.mean(values))
    assert 0 < row.finding.estimate < 1
    first, second = (
        np.array([np.mean([share(name, half) for name in names[:22]]) for half in member.T[:3]])
        for member in halves()
    )
    whole, of_halves = point_rows.inside_bounds(names, SharedPoints(survey, "made up", SETTINGS))
    assert whole == pytest.approx(values)
    assert of_halves.mean(axis=0)[:3] == pytest.approx(first)
    assert of_halves.mean(axis=0)[20:23] == pytest.approx(second)


def test_intervals_cover_the_mean_over_networks_and_points():
    """Crossed data: networks share their points."""
    count, samples, trials = 25, 60, 100
    strengths = (0.3, 0.5)
    truth = np.mean([6 / np.pi * np.arcsin(strength / 2) for strength in strengths])
    settings = Settings(bootstrap=100, halvings=50)
    empty = synthetic.survey(networks=2, pairs=0, samples=samples, transition_points=2)
    covered = 0
    for trial in range(trials):
        rng = generator(trial, "crossed")
        of_points = rng.normal(size=(2, samples))
        shared = SharedPoints(empty, f"crossed {trial}", settings)
        values, of_halves = [], []
        for _ in range(count):
            x, other = 0.6 * of_points + 0.8 * rng.normal(size=(2, samples))
            strength = rng.choice(strengths)
            y = strength * x + np.sqrt(1 - strength**2) * other
            values.append(rho(x, y))
            of_halves.append(resampled.rank_correlation(x, y, shared.halvings.member))
        found = point_rows.over_networks(
            np.array(values), np.array(of_halves), shared, rng, "correlation"
        )
        low, high = found.interval(0.95)
        covered += low <= truth <= high
    # two Monte-Carlo errors below 93%
    assert covered / trials >= 0.93 - 0.044


def test_the_baseline_says_which_predicts_better(survey, chosen, rows):
    norm = np.mean([rho(p.log10_norm, p.loss) for p in chosen])
    doubt = np.mean([rho(p.log_doubt, p.loss) for p in chosen])
    better = sum(rho(p.log10_norm, p.loss) > rho(p.log_doubt, p.loss) for p in chosen)
    which = "the norm" if norm > doubt else "1 - confidence"
    text = (
        f"{which} predicts better: norm {norm:.3f}, 1 - confidence {doubt:.3f}; the norm in "
        f"{better} of 22 networks"
    )
    assert text in rows["C5.loss"].remarks
    assert text in rows["C5.loss.baseline"].remarks
    given = [word for _, word in judge(list(rows.values()), SETTINGS)]
    judged = dict(zip(rows, given, strict=True))
    assert judged["C5.loss.baseline"] == judged["C5.error.baseline"] == "none"
    assert judged["C5.bounds"] == "none"


def test_correlations_given_a_rank_are_loops():
    rng = generator(0, "given")
    x, y, z = rng.integers(0, 40, (3, 50)).astype(float)
    z[:3] = -np.inf
    counts = resample_counts(rng, 50, 12)
    found = resampled.correlation_given_rank(x, y, z, counts)
    for column in range(12):
        drawn = np.repeat(np.arange(50), counts[:, column])
        assert found[column] == pytest.approx(given_rank(x[drawn], y[drawn], z[drawn]), abs=1e-8)
    # a cubic in the rank of what is given leaves nothing
    assert np.isnan(resampled.correlation_given_rank(z, y, z, np.ones((50, 1)))[0])


def test_gee_is_a_pooled_logistic_regression_with_a_sandwich(survey, chosen, rows):
    row = rows["C5.gee"]
    x = np.concatenate([stats.zscore(p.log10_norm) for p in chosen])
    wrong = np.concatenate([p.wrong for p in chosen]).astype(float)
    groups = np.repeat(np.arange(len(chosen)), [len(p.sample) for p in chosen])
    where = np.concatenate([p.sample for p in chosen])
    design = sm.add_constant(x)
    fit = sm.Logit(wrong, design).fit(disp=0, tol=1e-12)
    fitted = fit.predict()
    bread = np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)
    scores = np.array(
        [design[groups == g].T @ (wrong - fitted)[groups == g] for g in range(len(chosen))]
    )
    G = len(chosen)
    networks = (bread @ scores.T @ scores @ bread)[1, 1] * G / (G - 1)
    member = Halvings(row.question.draws(SETTINGS, what="halvings"), SETTINGS.halvings, 80).member
    of_halves = [
        sm.Logit(wrong[half[where] > 0], design[half[where] > 0]).fit(disp=0, tol=1e-12).params[1]
        for half in member.T
    ]
    first, second = np.split(np.array(of_halves), 2)
    V = networks, ((first - second) ** 2).mean() / 4
    df = sum(V) ** 2 / (V[0] ** 2 / (G - 1) + V[1] ** 2 / 79)
    half = stats.t.ppf(0.975, df) * math.sqrt(sum(V))
    assert row.finding.estimate == pytest.approx(fit.params[1], rel=1e-6)
    assert row.finding.high - row.finding.low == pytest.approx(2 * half, rel=1e-4)


def test_a_network_with_norms_over_many_decades_does_not_decide_the_gee(survey, chosen):
    """Its norm says nothing of its errors; in decades its spread would drown all others."""
    changed = survey.copy(deep=True)
    norm = generator(0, "many decades").uniform(-250, 0, 80)
    changed["jacobian_norm_log10"].loc[{"network": chosen[0].network}] = norm
    before, after = (all_rows(each)["C5.gee"] for each in (survey, changed))
    assert before.question.effect == "logistic slope per within-network SD of the log10 norm"
    assert after.finding.estimate == pytest.approx(before.finding.estimate, rel=0.25)
    assert after.finding.p < 1e-3
    used = points.points(changed, [p.network for p in chosen])
    decades = np.concatenate([p.log10_norm - p.log10_norm.mean() for p in used])
    assert abs(slope(decades, np.concatenate([p.wrong for p in used]))) < 0.05


def altered(survey, **values):
    """The survey with a variable of all networks set."""
    changed = survey.copy(deep=True)
    for name, value in values.items():
        fitted = (survey["status"] == "fitted").to_numpy()
        changed[name][fitted] = value
    return changed


def test_networks_with_a_single_class_have_no_auc(survey):
    found = all_rows(altered(survey, margin=1.0))
    assert found["C5.loss"].finding is not None
    for key in ("C5.error", "C5.slope", "C5.error.baseline"):
        assert found[key].too_few
        assert found[key].n == 0
        assert "22 with all points right or all wrong" in found[key].left_out
    assert found["C5.gee"].remarks == ("does not apply: all points right or all wrong",)


def test_one_network_without_errors_is_left_out_of_its_rows(survey, chosen):
    changed = survey.copy(deep=True)
    changed["margin"].loc[{"network": chosen[0].network}] = 2.0
    found = all_rows(changed)
    assert [found[key].n for key in ("C5.loss", "C5.error", "C5.slope", "C5.gee")] == [
        22,
        21,
        21,
        22,
    ]
    assert "1 with all points right or all wrong" in found["C5.error"].left_out


def test_halves_with_one_class_are_left_out_and_many_refused(survey, chosen):
    """Networks with one error: it is in one half only, so no halving has an AUC in both."""
    changed = survey.copy(deep=True)
    margin = np.ones(80)
    margin[20] = -1
    changed["margin"].loc[{"network": chosen[0].network}] = margin
    assert all_rows(changed)["C5.error"].finding is not None
    changed["margin"].loc[{"network": [p.network for p in chosen[:2]]}] = margin
    row = all_rows(changed)["C5.error"]
    assert row.remarks == ("does not apply: no value in 9% of the halved networks",)


def test_separated_networks_have_no_slope(survey):
    changed = survey.copy(deep=True)
    median = survey["jacobian_norm"].median("sample")
    changed["margin"] = (median - survey["jacobian_norm"]).where(survey["margin"].notnull())
    found = all_rows(changed)
    # every AUC is 1, in every network and half: there is no spread to test it by
    assert found["C5.error"].remarks[0].startswith("does not apply: no spread")
    assert found["C5.slope"].too_few
    assert "22 whose norm separates right from wrong" in found["C5.slope"].left_out


def test_a_fit_that_goes_astray_is_left_out_and_not_warned_of(survey):
    """Two points swapped in an otherwise separated network, over hundreds of decades."""
    changed = survey.copy(deep=True)
    norm = np.linspace(-300, 0, 80)
    margin = np.where(norm > -150, -1.0, 1.0)
    margin[[39, 40]] = margin[[40, 39]]
    fitted = (survey["status"] == "fitted").to_numpy()
    changed["jacobian_norm_log10"][fitted] = norm
    changed["margin"][fitted] = margin
    row = all_rows(changed)["C5.slope"]
    names = points.point_networks(changed, SETTINGS)[0]
    assert len({points.logistic_fit(p)[1] for p in points.points(changed, names)}) == 1
    assert row.n == 22
    # half of all halves, and both of a halving, lack one of the two points and are separated
    assert "of the halved networks" in row.remarks[0]


def test_a_fit_that_statsmodels_warns_of_does_not_apply():
    x = np.linspace(-1, 1, 40)
    separated = points.Points("separated", np.arange(40), x, x, x > 0, -x)
    with pytest.raises(DoesNotApply, match="statsmodels cannot fit it"):
        points.logistic_fit(separated)
    assert not points.bends(separated)


def test_constant_norm_or_loss_is_left_out(survey):
    for changed, reason in (
        (altered(survey, jacobian_norm_log10=-1.0), "with the same norm at every point"),
        (altered(survey, loss=0.5), "with the same loss at every point"),
        (altered(survey, jacobian_norm_log10=-np.inf), "with fewer than 3 points"),
    ):
        found = [row for key, row in all_rows(changed).items() if key != "C5.bounds"]
        assert all(row.too_few for row in found)
        assert all(f"22 {reason}" in row.left_out for row in found)


def test_log_odds_that_bend_are_reported():
    rng = generator(0, "bend")
    x = rng.normal(size=2000)
    p = points.Points(
        "straight", np.arange(2000), x, x, rng.random(2000) < 1 / (1 + np.exp(-x)), -x
    )
    bent = points.Points(
        "bent", p.sample, x, x, rng.random(2000) < 1 / (1 + np.exp(-x - x**2 + 1)), -x
    )
    assert not points.bends(p)
    assert points.bends(bent)
