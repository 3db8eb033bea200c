"""C5: single points, against scipy, sklearn and statsmodels in loops."""

import re

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.metrics import roc_auc_score

import synthetic
from sensigap.analysis import points
from sensigap.analysis.bootstrap import DoesNotApply, resample_counts
from sensigap.analysis.verdicts import Question, Settings, draws
from sensigap.seeds import generator

SETTINGS = Settings(bootstrap=60, point_networks=22)


@pytest.fixture(scope="module")
def survey():
    return synthetic.survey(
        networks=60, pairs=2, samples=80, transition_points=10, dead_networks=50, dead_points=3
    )


@pytest.fixture(scope="module")
def chosen(survey):
    return points.points(survey, points.point_networks(survey, SETTINGS)[0])


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
    rows = points.point_rows(survey, "synthetic", SETTINGS)
    for row in rows[:3]:
        assert row.left_out.endswith(f"; {dropped} of {22 * 80} points with J = 0")


def slope(x, wrong):
    return sm.Logit(wrong.astype(float), sm.add_constant(x)).fit(disp=0, tol=1e-12).params[1]


STATISTICS = {
    "loss and log10": lambda x, loss, wrong: stats.spearmanr(x, loss).statistic,
    "misclassification by": lambda x, loss, wrong: roc_auc_score(wrong, x),
    "misclassification on": lambda x, loss, wrong: slope(x, wrong),
}


@pytest.mark.parametrize("position", range(3))
def test_rows_are_means_over_networks_with_a_plain_two_way_bootstrap(survey, chosen, position):
    row = points.point_rows(survey, "synthetic", SETTINGS)[position]
    prefix, statistic = list(STATISTICS.items())[position]
    assert row.question.quantity.startswith(prefix)
    assert row.n == 22
    values = [statistic(p.log10_norm, p.loss, p.wrong) for p in chosen]
    assert row.result.estimate == pytest.approx(np.mean(values), rel=1e-6)

    resamples = SETTINGS.bootstrap
    counts = resample_counts(draws(SETTINGS, "synthetic", "C5 points"), 80, resamples)
    drawn = resample_counts(row.question.draws(SETTINGS, what="networks"), 22, resamples)
    means = []
    for column in range(resamples):
        total = 0.0
        for network, p in enumerate(chosen):
            if drawn[network, column]:
                order = np.repeat(np.arange(len(p.sample)), counts[p.sample, column])
                total += drawn[network, column] * statistic(
                    p.log10_norm[order], p.loss[order], p.wrong[order]
                )
        means.append(total / 22)
    low, high = np.quantile(means, [0.025, 0.975])
    assert f"percentile interval {low:.3g} to {high:.3g}" in row.note
    to_scale, back = (
        (np.arctanh, np.tanh),
        (lambda v: np.log(v / (1 - v)), lambda v: 1 / (1 + np.exp(-v))),
        (np.asarray, np.asarray),
    )[position]
    half = stats.t.ppf(0.975, 21) * np.std(to_scale(np.array(means))) * np.sqrt(22 / 21)
    centre = to_scale(np.mean(values))
    assert row.result.low == pytest.approx(back(centre - half), rel=1e-5)
    assert row.result.high == pytest.approx(back(centre + half), rel=1e-5)


def test_interval_covers_the_mean_over_networks_and_points():
    """Crossed data: networks share their points; the interval is rather too wide than narrow."""
    count, samples = 25, 80
    strengths = (0.3, 0.5)
    truth = np.mean([6 / np.pi * np.arcsin(strength / 2) for strength in strengths])
    settings = Settings(bootstrap=100)
    question = Question(
        key="C5.rho",
        claim="C5",
        dataset="crossed",
        quantity="rho",
        test="t",
        effect="rho",
        claimed=1,
    )
    covered, trials = 0, 150
    for trial in range(trials):
        rng = generator(trial, "crossed")
        of_points = rng.normal(size=(2, samples))
        used = []
        for network in range(count):
            x, other = 0.6 * of_points + 0.8 * rng.normal(size=(2, samples))
            strength = rng.choice(strengths)
            y = strength * x + np.sqrt(1 - strength**2) * other
            used.append(points.Points(str(network), np.arange(samples), y, x, y > 0))
        counts = resample_counts(rng, samples, settings.bootstrap)
        found = points._over_networks(question, points._STATISTICS[0], used, counts, settings)
        covered += found.low <= truth <= found.high
    assert covered / trials >= 0.93


def test_gee_is_a_pooled_logistic_regression_with_a_sandwich(survey, chosen):
    row = points.point_rows(survey, "synthetic", SETTINGS)[3]
    x = np.concatenate([stats.zscore(p.log10_norm) for p in chosen])
    wrong = np.concatenate([p.wrong for p in chosen]).astype(float)
    groups = np.repeat(np.arange(len(chosen)), [len(p.sample) for p in chosen])
    design = sm.add_constant(x)
    fit = sm.Logit(wrong, design).fit(disp=0, tol=1e-12)
    fitted = fit.predict()
    bread = np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)
    scores = np.array(
        [design[groups == g].T @ (wrong - fitted)[groups == g] for g in range(len(chosen))]
    )
    error = np.sqrt((bread @ scores.T @ scores @ bread)[1, 1])
    half = stats.t.ppf(0.975, len(chosen) - 1) * error
    assert row.result.estimate == pytest.approx(fit.params[1], rel=1e-6)
    assert row.result.high - row.result.low == pytest.approx(2 * half, rel=1e-5)
    assert row.result.p == pytest.approx(
        2 * stats.t.sf(fit.params[1] / error, len(chosen) - 1), rel=1e-3
    )


def test_a_network_with_norms_over_many_decades_does_not_decide_the_gee(survey, chosen):
    """Its norm says nothing of its errors; in decades its spread would drown all others."""
    changed = survey.copy(deep=True)
    norm = generator(0, "many decades").uniform(-250, 0, 80)
    changed["jacobian_norm_log10"].loc[{"network": chosen[0].network}] = norm
    before, after = (
        points.point_rows(each, "synthetic", SETTINGS)[3] for each in (survey, changed)
    )
    assert before.question.effect == "logistic slope per within-network SD of the log10 norm"
    assert after.result.estimate == pytest.approx(before.result.estimate, rel=0.25)
    assert after.result.p < 1e-3
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


def test_a_few_resamples_without_a_value_are_counted(survey, chosen):
    """One network has three errors, none of which is in some resamples."""
    changed = survey.copy(deep=True)
    margin = np.ones(80)
    margin[[20, 40, 60]] = -1
    changed["margin"].loc[{"network": chosen[0].network}] = margin
    row = points.point_rows(changed, "synthetic", SETTINGS)[1]
    counts = resample_counts(draws(SETTINGS, "synthetic", "C5 points"), 80, SETTINGS.bootstrap)
    without = int((counts[[20, 40, 60]] == 0).all(axis=0).sum())
    assert without > 0
    assert f"no value in {without} of {22 * SETTINGS.bootstrap} resampled networks" in row.note


def test_networks_with_a_single_class_have_no_auc(survey):
    changed = altered(survey, margin=1.0)
    rows = points.point_rows(changed, "synthetic", SETTINGS)
    assert rows[0].result is not None
    for row in rows[1:3]:
        assert row.too_few
        assert row.n == 0
        assert "22 with all points right or all wrong" in row.left_out
    assert rows[3].note == "does not apply: all points right or all wrong"


def test_one_network_without_errors_is_left_out_of_its_rows(survey, chosen):
    changed = survey.copy(deep=True)
    changed["margin"].loc[{"network": chosen[0].network}] = 2.0
    rows = points.point_rows(changed, "synthetic", SETTINGS)
    assert [row.n for row in rows] == [22, 21, 21, 22]
    assert "1 with all points right or all wrong" in rows[1].left_out


def test_separated_networks_have_no_slope(survey):
    changed = survey.copy(deep=True)
    median = survey["jacobian_norm"].median("sample")
    changed["margin"] = (median - survey["jacobian_norm"]).where(survey["margin"].notnull())
    rows = points.point_rows(changed, "synthetic", SETTINGS)
    assert rows[1].result.estimate == pytest.approx(1)
    assert rows[2].too_few
    assert "22 whose norm separates right from wrong" in rows[2].left_out


def test_a_fit_that_goes_astray_is_left_out_and_not_warned_of(survey):
    """Two points swapped in an otherwise separated network, over hundreds of decades."""
    changed = survey.copy(deep=True)
    norm = np.linspace(-300, 0, 80)
    margin = np.where(norm > -150, -1.0, 1.0)
    margin[[39, 40]] = margin[[40, 39]]
    fitted = (survey["status"] == "fitted").to_numpy()
    changed["jacobian_norm_log10"][fitted] = norm
    changed["margin"][fitted] = margin
    rows = points.point_rows(changed, "synthetic", SETTINGS)
    names = points.point_networks(changed, SETTINGS)[0]
    slopes = {points.logistic_fit(p)[1] for p in points.points(changed, names)}
    assert len(slopes) == 1
    assert rows[2].n == 22
    # three fifths of all resamples lack one of the two points and are separated
    assert re.fullmatch(r"does not apply: no value in [3-6]\d% of the resamples", rows[2].note)


def test_a_fit_that_statsmodels_warns_of_does_not_apply():
    x = np.linspace(-1, 1, 40)
    separated = points.Points("separated", np.arange(40), x, x, x > 0)
    with pytest.raises(DoesNotApply, match="statsmodels cannot fit it"):
        points.logistic_fit(separated)
    assert not points._bends(separated)


def test_constant_norm_or_loss_is_left_out(survey):
    for changed, reason in (
        (altered(survey, jacobian_norm_log10=-1.0), "with the same norm at every point"),
        (altered(survey, loss=0.5), "with the same loss at every point"),
        (altered(survey, jacobian_norm_log10=-np.inf), "with fewer than 3 points"),
    ):
        rows = points.point_rows(changed, "synthetic", SETTINGS)
        assert all(row.too_few for row in rows)
        assert all(f"22 {reason}" in row.left_out for row in rows)


def test_log_odds_that_bend_are_reported():
    rng = generator(0, "bend")
    x = rng.normal(size=2000)
    p = points.Points("straight", np.arange(2000), x, x, rng.random(2000) < 1 / (1 + np.exp(-x)))
    bent = points.Points("bent", p.sample, x, x, rng.random(2000) < 1 / (1 + np.exp(-x - x**2 + 1)))
    assert not points._bends(p)
    assert points._bends(bent)
