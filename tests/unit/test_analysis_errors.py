"""The two parts of an error, and what is made of them, against closed forms and simulation."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sensigap.analysis import envelope, errors, groups, ranks, regression
from sensigap.analysis.bootstrap import DoesNotApply, cluster_variance, resample_counts
from sensigap.analysis.errors import Estimate, Halvings, halving_variance, mean_of_halves
from sensigap.analysis.pair_effects import PairEffect
from sensigap.analysis.verdicts import holm_adjusted, one, union
from sensigap.seeds import generator
from simulated import (
    QUESTION,
    SETTINGS,
    allowance,
    axis_sample,
    crossfit,
    interaction_p,
    means_of,
    pair_sample,
    point_mean,
    relation,
    shared_points,
    slope,
)


def test_an_estimate_without_points_is_students():
    sample = generator(0, "student").normal(0.3, 1, 12)
    found = Estimate(sample.mean(), sample.var(ddof=1) / 12, 12)
    expected = stats.ttest_1samp(sample, 0.1)
    assert found.freedom == pytest.approx(11)
    assert found.p(0.1) == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.9)
    assert found.interval(0.9) == pytest.approx((interval.low, interval.high))


def test_two_parts_are_welchs():
    first, second = generator(0, "welch").normal(0, [[1], [3]], (2, 9))
    second = second[:6]
    found = Estimate(
        first.mean() - second.mean(), first.var(ddof=1) / 9, 9, second.var(ddof=1) / 6, 6
    )
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert found.freedom == pytest.approx(expected.df)
    assert found.p() == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(
    ("scale", "to", "back"),
    [
        ("correlation", math.atanh, math.tanh),
        ("probability", lambda v: math.log(v / (1 - v)), lambda z: 1 / (1 + math.exp(-z))),
    ],
)
def test_intervals_and_p_are_on_the_scale(scale, to, back):
    found = Estimate(0.6, 0.03, 8, 0.01, 50, scale)
    df = 0.04**2 / (0.03**2 / 7 + 0.01**2 / 49)
    half = stats.t.ppf(0.975, df) * 0.2
    assert found.interval(0.95) == pytest.approx((back(to(0.6) - half), back(to(0.6) + half)))
    assert found.p(0.5) == pytest.approx(2 * stats.t.sf((to(0.6) - to(0.5)) / 0.2, df))


def test_equivalence_is_two_one_sided_tests():
    """Of a mean, with scipy's one-sided tests."""
    sample = generator(1, "tost").normal(0.02, 0.3, 40)
    found = Estimate(sample.mean(), sample.var(ddof=1) / 40, 40)
    expected = max(
        stats.ttest_1samp(sample, -0.2, alternative="greater").pvalue,
        stats.ttest_1samp(sample, 0.2, alternative="less").pvalue,
    )
    assert found.equivalence_p(0.2) == pytest.approx(expected)
    correlated = Estimate(0.1, 0.01, 30, scale="correlation")
    z, z0 = math.atanh(0.1), math.atanh(0.2)
    assert correlated.equivalence_p(0.2) == pytest.approx(stats.t.cdf((z - z0) / 0.1, 29))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((math.nan, 0.1, 9), "no value"),
        ((0.1, math.nan, 9), "no error"),
        ((0.1, 0.0, 9), "no spread"),
        ((0.1, 1e-30, 9, 1e-30, 4), "no spread"),
    ],
)
def test_an_estimate_without_value_or_error_does_not_apply(arguments, message):
    with pytest.raises(DoesNotApply, match=message):
        Estimate(*arguments)


def test_halvings_are_halves_and_the_same_each_time():
    halvings = Halvings(generator(0, "halves"), 30, 21)
    member = halvings.member
    assert member.shape == (21, 60)
    assert (member[:, :30].sum(axis=0) == 10).all()
    assert (member[:, :30] + member[:, 30:] == 1).all()
    assert (member == Halvings(generator(0, "halves"), 30, 21).member).all()
    assert len(np.unique(member[:, :30], axis=1).T) > 25
    with pytest.raises(DoesNotApply, match="1 points cannot be halved"):
        Halvings(generator(0, "halves"), 30, 1)


def test_means_of_halves_skip_what_is_missing():
    values = generator(0, "values").normal(size=(3, 20))
    values[1, 4:9] = math.nan
    halvings = Halvings(generator(0, "halves"), 10, 20)
    found = halvings.means(values)
    for column, member in enumerate(halvings.member.T):
        assert found[:, column] == pytest.approx(np.nanmean(values[:, member > 0], axis=1))
    assert halvings.means(values[[0, 2]]) == pytest.approx(found[[0, 2]])
    one_half = values[0, halvings.member[:, 3] > 0]
    assert halvings.sums(values[:1])[0, 3] == pytest.approx(one_half.sum())


@pytest.mark.parametrize("points", [2, 3, 20, 21, 400, 1_001])
@pytest.mark.parametrize("window", [0, 3])
def test_medians_of_halves_are_numpys(points, window, monkeypatch):
    monkeypatch.setattr(errors, "_MEDIAN_WINDOW", window)
    halvings = Halvings(generator(0, "halves"), 25, points)
    draws = generator(points, "values")
    values = np.stack(
        [
            draws.standard_normal(points),
            10.0 ** draws.uniform(-30, 30, points),
            draws.integers(0, 3, points).astype(float),  # ties
            np.zeros(points),
            np.arange(points, dtype=float),
            -np.arange(points, dtype=float),
            np.r_[np.nan, draws.standard_normal(points - 1)],
        ]
    )
    found = halvings.medians(values)
    for column, member in enumerate(halvings.member.T > 0):
        expected = np.median(values[:-1, member], axis=1)
        np.testing.assert_array_equal(found[:-1, column], expected)
    assert np.isnan(found[-1]).all()


def test_medians_of_halves_that_lie_far_from_the_middle():
    """All small values in the first half: no window about the middle holds its median."""
    halvings = Halvings(generator(0, "halves"), 2, 4_000)
    member = halvings.member > 0
    values = np.where(member[:, 0], 0.0, 10.0) + generator(0, "values").random(4_000)
    found = halvings.medians(values[None])[0]
    np.testing.assert_array_equal(found, [np.median(values[half]) for half in member.T])


def test_halving_variance_of_a_mean_is_that_of_the_mean():
    """Over all halvings exactly s^2 / n, here over 4,000."""
    values = generator(0, "mean").normal(2, 3, 40)
    halves = Halvings(generator(0, "halves"), 4000, 40).means(values[None])[0]
    assert halving_variance(halves) == pytest.approx(values.var(ddof=1) / 40, rel=0.05)


def test_halves_without_a_value_are_counted():
    halves = np.arange(40.0)
    halves[3] = math.nan
    expected = [(20.0) ** 2 / 4] * 19
    assert halving_variance(halves) == pytest.approx(np.mean(expected))
    halves[7] = math.nan
    with pytest.raises(DoesNotApply, match="no value in 10% of the halvings"):
        halving_variance(halves)
    with pytest.raises(DoesNotApply, match="no value in 6% of the resamples"):
        cluster_variance(np.r_[np.full(6, np.nan), np.arange(94.0)], 9)


def test_a_network_is_left_out_of_both_halves():
    values = np.ones((20, 4)) * np.arange(20)[:, None]
    values[0, 0] = math.nan
    found = mean_of_halves(values)
    assert found == pytest.approx([10.0, 9.5, 10.0, 9.5])
    values[:5, 1] = math.nan
    with pytest.raises(DoesNotApply, match="no value in 15% of the halved networks"):
        mean_of_halves(values)


def test_holm_is_statsmodels():
    p = generator(0, "holm").random(13) ** 4
    p[3] = p[5]
    assert holm_adjusted(p) == pytest.approx(multipletests(p, method="holm")[1])


# --- pairs ----------------------------------------------------------------------------------------


def test_a_pair_effect_is_the_t_test_of_architecture_means():
    effect = pair_sample(generator(0, "pairs"), 15, 0.4, 2.0)
    means = pd.Series(effect.differences).groupby(effect.architecture).mean()
    assert effect.means == pytest.approx(means.to_numpy())
    found = effect.estimate()
    assert found.value == pytest.approx(means.mean())
    assert found.networks == pytest.approx(stats.sem(means) ** 2)
    of_halves = pd.DataFrame(effect.halves).groupby(effect.architecture).mean().mean()
    first, second = of_halves.to_numpy()[:50], of_halves.to_numpy()[50:]
    assert found.points == pytest.approx(((first - second) ** 2).mean() / 4)
    without = PairEffect(effect.differences, 0 * effect.halves, effect.architecture, 0)
    assert without.estimate().p() == pytest.approx(stats.ttest_1samp(means, 0).pvalue)


def test_sign_flips_are_scipys_permutations():
    effect = pair_sample(generator(3, "pairs"), 9, 0.4, 0.0)
    expected = stats.permutation_test(
        (effect.means,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert effect.sign_flip_p(generator(0, "signs")) == pytest.approx(expected.pvalue)
    many = pair_sample(generator(0, "pairs"), 30, 0.4, 0.0)
    near = stats.permutation_test(
        (many.means,), np.mean, permutation_type="samples", n_resamples=20_000, rng=1
    )
    assert many.sign_flip_p(generator(0, "signs")) == pytest.approx(near.pvalue, abs=0.02)


def test_resampled_pairs_are_those_of_drawn_architectures():
    effect = pair_sample(generator(0, "pairs"), 8, 0.4, 0.0)
    counts = resample_counts(generator(1, "pairs"), 8, 20)
    found = effect.resampled(counts[effect.architecture])
    for column in range(20):
        drawn = np.repeat(effect.means, counts[:, column])
        assert found[column] == pytest.approx(drawn.mean())


@pytest.mark.parametrize("count", [20, 60])
@pytest.mark.parametrize("ratio", [0.0, 2.0])
def test_pairs_hold_their_level_and_cover(count, ratio):
    trials = 400
    for correlation in (0.0, 0.4, 0.8):
        rejected = covered = found_half = 0
        for trial in range(trials):
            rng = generator(trial, f"level {count} {ratio} {correlation}")
            found = pair_sample(rng, count, correlation, ratio).estimate()
            rejected += found.p() < 0.05
            # the effect moves the estimate and nothing else
            found_half += found.p(-0.5) < 0.05
            low, high = found.interval(0.95)
            covered += low <= 0 <= high
        assert rejected / trials <= 0.05 + allowance(0.05, trials), correlation
        assert covered / trials >= 0.93 - allowance(0.05, trials), correlation
        assert covered / trials <= 0.97 + allowance(0.05, trials), correlation
        if count == 60 and not ratio:
            assert found_half / trials > 0.9


def test_pairs_of_skewed_differences_keep_below_a_tenth():
    trials = 400
    rejected = sum(
        pair_sample(generator(t, "skewed"), 20, 0.4, 0.0, errors="exponential").estimate().p()
        < 0.05
        for t in range(trials)
    )
    assert rejected / trials <= 0.10 + allowance(0.1, trials)


def test_architectures_alone_would_reject_a_true_null_too_often():
    """What the second part of the error is for (STATISTICS, section 1)."""
    rejected = 0
    for trial in range(200):
        found = pair_sample(generator(trial, "alone"), 20, 0.4, 2.0).estimate()
        rejected += Estimate(found.value, found.networks, found.clusters).p() < 0.05
    assert rejected / 200 > 0.25


def test_both_together_hold_their_level_where_one_is_null():
    """An intersection-union test with one part far from 0 and one at 0."""
    trials = 400
    rejected = 0
    for trial in range(trials):
        rng = generator(trial, "union")
        parts = {
            "gap": pair_sample(rng, 20, 0.4, 1.0).estimate(),
            "norm": Estimate(5.0, 0.01, 20),
        }
        found = union(QUESTION, parts, SETTINGS, shown="norm", gate="gap")
        rejected += found.p < 0.05
    # one-sided: only a gap above 0 counts
    assert rejected / trials <= 0.025 + allowance(0.025, trials)


# --- correlations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("architectures", [20, 60])
@pytest.mark.parametrize("shared", [0.0, 0.2])
def test_correlations_hold_their_level_and_cover(architectures, shared):
    trials = 100
    truth = 6 / math.pi * math.asin(0.25)
    rejected = covered = 0
    for trial in range(trials):
        rng = generator(trial, f"relation {architectures} {shared}")
        rejected += relation(rng, architectures, 0.0, shared).estimate(rng, SETTINGS).p() < 0.05
        if not shared:
            low, high = (
                relation(rng, architectures, 0.5, 0.0).estimate(rng, SETTINGS).interval(0.95)
            )
            covered += low <= truth <= high
    assert rejected / trials <= 0.05 + allowance(0.05, trials)
    if not shared:
        assert 0.93 - allowance(0.05, trials) <= covered / trials


def test_equivalence_holds_its_level_at_the_edge():
    trials = 100
    # the normal correlation whose Spearman's rho is 0.2
    rho = 2 * math.sin(math.pi * 0.2 / 6)
    rejected = 0
    for trial in range(trials):
        rng = generator(trial, "edge")
        found = relation(rng, 60, rho, 0.0).estimate(rng, SETTINGS)
        rejected += found.equivalence_p(0.2) < 0.05
    assert rejected / trials <= 0.05 + allowance(0.05, trials)


def test_the_jackknife_holds_its_level_with_few_architectures():
    trials = 400
    rejected = 0
    for trial in range(trials):
        rejected += slope(generator(trial, "jackknife level"), 20).p() < 0.05
    assert rejected / trials <= 0.05 + allowance(0.05, trials)


def test_the_jackknife_is_a_loop_of_regressions():
    rng = generator(0, "loop")
    codes = np.repeat(np.arange(9), 6)
    x, y = rng.normal(size=(2, 54))
    design = np.column_stack([np.ones(54), codes == 3, np.arange(54) % 2])
    slope = sm.OLS(y, np.column_stack([x, design])).fit().params[0]
    without = [
        np.linalg.lstsq(np.column_stack([x, design])[codes != g], y[codes != g], rcond=None)[0][0]
        for g in range(9)
    ]
    expected = 8 / 9 * sum((other - slope) ** 2 for other in without)
    assert regression.slopes(x[:, None], y[:, None], design)[0] == pytest.approx(slope)
    assert regression.jackknife(x, y, design, codes, slope) == pytest.approx(expected)


def partial(x, y, design):
    """Pearson's correlation of rank residuals, one sample."""
    left = [
        r - design @ np.linalg.lstsq(design, r, rcond=None)[0] for r in map(stats.rankdata, (x, y))
    ]
    return stats.pearsonr(*left).statistic


def test_ranks_of_resamples_and_columns_are_loops():
    rng = generator(0, "ranks")
    x, y, z = rng.integers(0, 30, (3, 60)).astype(float)
    design = np.column_stack([np.ones(60), np.arange(60) % 3 == 1, np.arange(60) % 3 == 2])
    counts = resample_counts(rng, 60, 25)
    products = ranks.RankResamples(counts, design).covariances([x, y, z])
    for column in range(25):
        drawn = np.repeat(np.arange(60), counts[:, column])
        plain = partial(x[drawn], y[drawn], design[drawn])
        given = partial(
            x[drawn], y[drawn], np.column_stack([design[drawn], stats.rankdata(z[drawn])])
        )
        assert ranks.correlation(products, 0, 1)[column] == pytest.approx(plain)
        assert ranks.correlation(products, 0, 1, 2)[column] == pytest.approx(given)
    columns = rng.normal(size=(3, 60, 4))
    products = ranks.column_products(list(columns), design)
    for column in range(4):
        a, b, c = columns[:, :, column]
        assert ranks.correlation(products, 0, 1)[column] == pytest.approx(partial(a, b, design))
        within = partial(a, b, np.column_stack([design, stats.rankdata(c)]))
        assert ranks.correlation(products, 0, 1, 2)[column] == pytest.approx(within)


def test_columns_without_a_value_or_without_variance_have_no_correlation():
    design = np.ones((30, 1))
    values = generator(0, "none").normal(size=(30, 3))
    other = values[::-1].copy()
    other[0, 0] = math.nan
    other[:, 1] = 2.0
    found = ranks.correlation(ranks.column_products([values, other], design), 0, 1)
    assert np.isnan(found[:2]).all()
    assert found[2] == pytest.approx(stats.spearmanr(values[:, 2], other[:, 2]).statistic)


@pytest.mark.parametrize("quantile", [0.05, 0.1, 0.5])
def test_quantile_regression_is_statsmodels(quantile):
    rng = generator(0, f"quantile {quantile}")
    x = rng.choice([1.0, 1.5, 2.0, 2.2, 3.0], 120)
    y = 0.3 * x + rng.gamma(2, 1, 120)
    counts = resample_counts(rng, 120, 6)
    found = envelope.quantile_slopes(x, y[:, None], counts, quantile)
    for column in range(6):
        drawn = np.repeat(np.arange(120), counts[:, column])

        def loss(slope, drawn=drawn):
            rest = y[drawn] - slope * x[drawn]
            # the best constant goes through an observation
            apart = rest[None] - rest[:, None]
            return np.where(apart > 0, quantile * apart, (quantile - 1) * apart).sum(1).min()

        fit = sm.QuantReg(y[drawn], sm.add_constant(x[drawn])).fit(
            q=quantile, max_iter=5000, p_tol=1e-9
        )
        assert loss(found[column]) <= loss(fit.params[1]) * (1 + 1e-7)
        assert found[column] == pytest.approx(fit.params[1], abs=1e-3)


def test_a_quantile_slope_of_one_x_has_no_value():
    x = np.array([1.0, 1.0, 2.0, 3.0])
    weights = np.array([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = envelope.quantile_slopes(x, np.arange(4.0)[:, None], weights, 0.5)
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


# --- networks with test points -------------------------------------------------------------------


@pytest.mark.parametrize("key", ["C5.loss", "C5.error"])
def test_means_over_networks_hold_their_level_and_cover(key):
    trials = 100
    rejected = covered = 0
    # of normal loss and norm with a correlation of 0.5 at a point
    truth = 6 / math.pi * math.asin(0.25)
    for trial in range(trials):
        null = point_mean(generator(trial, f"points {key}"), key, 0.0)
        rejected += null.p(0.5 if key == "C5.error" else 0.0) < 0.05
        if key == "C5.loss":
            low, high = point_mean(generator(trial, "points"), key, 0.5).interval(0.95)
            covered += low <= truth <= high
    assert rejected / trials <= 0.05 + allowance(0.05, trials)
    if key == "C5.loss":
        assert 0.93 - allowance(0.05, trials) <= covered / trials


@pytest.mark.parametrize("others", [0, 500], ids=["norms at all images", "at some"])
def test_cross_fitting_holds_its_level_and_finds_a_relation(others):
    trials = 100

    def p(trial, rho):
        return crossfit(generator(trial, "crossfit"), 20, rho, others=others).p()

    rejected = sum(p(trial, 0.0) < 0.05 for trial in range(trials))
    assert rejected / trials <= 0.05 + allowance(0.05, trials)
    assert sum(p(trial, 0.8) < 0.05 for trial in range(20)) >= 15


def test_halvings_within_more_points_keep_theirs_and_halve_the_others():
    few = Halvings(generator(0, "few"), 40, 11)
    places = np.sort(generator(0, "places").permutation(30)[:11])
    whole = few.within(generator(0, "others"), places, 30)
    assert (whole.member[places] == few.member).all()
    others = np.setdiff1d(np.arange(30), places)
    first, second = np.split(whole.member, 2, axis=1)
    assert (first + second == 1).all()
    assert set(first[others].sum(axis=0)) == {9.0}
    assert len(np.unique(first[others].T, axis=0)) == 40
    same = few.within(generator(0, "others"), np.arange(11), 11)
    assert (same.member == few.member).all()
    assert few.within(generator(0, "others"), np.arange(1, 12), 12).member.sum() == 40 * 12


def test_the_gaps_error_is_over_the_whole_test_set_where_norms_are_at_some_of_it():
    """Over draws of the images: the gap's variance is that of all images, not of the points."""
    rng = generator(0, "gap over all")
    networks, points, images = 6, 60, 600
    names = [f"n{k}" for k in range(networks)]
    gaps, variances = [], []
    for _ in range(200):
        hard = rng.normal(size=images)
        right = hard + 0.5 * rng.normal(size=(networks, images)) < 1
        places = np.sort(rng.permutation(images)[:points])
        shared = shared_points({"jacobian_norm": np.ones((networks, points))}, right, places)
        table = pd.DataFrame({"gap": 1 - right.mean(axis=1)}, index=names)
        halves = shared.gap(table)
        gaps.append(table["gap"].mean())
        variances.append(halving_variance(halves.mean(axis=0)))
        assert halves.reshape(networks, 2, -1).mean(axis=1) == pytest.approx(
            np.tile(table["gap"], (SETTINGS.halvings, 1)).T
        ), "the mean of two halves is the whole: they are equally large"
    assert np.mean(variances) == pytest.approx(np.var(gaps), rel=0.25)


# --- groups ---------------------------------------------------------------------------------------


def test_an_interaction_is_hotellings_t2():
    """Means of groups that each architecture is in once: the contrasts' T2 in closed form."""
    rng = generator(0, "hotelling")
    axis = axis_sample(rng, 24, 3)
    values = rng.normal(size=24)[axis.architecture] + 0.4 * axis.places + rng.normal(size=72)
    effects, resample = means_of(values, axis)
    found = groups.interaction(
        axis, effects, resample, generator(1, "T2"), resamples=20_000, scale="identity"
    )
    apart = values.reshape(24, 3)[:, 1:] - values.reshape(24, 3)[:, :1]
    T2 = 24 * apart.mean(0) @ np.linalg.solve(np.cov(apart.T), apart.mean(0))
    F = (24 - 3 + 1) / (23 * 2) * T2
    assert found.estimate == pytest.approx(F, rel=0.05)
    assert found.p == pytest.approx(stats.f.sf(found.estimate, 2, 22))
    assert "F(2, 22)" in found.remarks[0]


def test_an_interaction_holds_its_level():
    trials = 100
    rejected = 0
    for trial in range(trials):
        rejected += interaction_p(generator(trial, "interaction"), 20) < 0.05
    assert rejected / trials <= 0.05 + allowance(0.05, trials)


def test_groups_that_are_too_small_are_left_out():
    architecture = np.r_[np.arange(12), np.arange(7).repeat(3), np.arange(9)]
    values = np.repeat(["a", "b", "c"], [12, 21, 9])
    axis = groups.Axis("unit", values, architecture)
    assert list(axis.levels) == ["a", "b", "c"]
    # 'b' has 7 architectures, 'c' 9 members
    assert list(axis.groups) == ["unit a"]
    with pytest.raises(DoesNotApply, match="1 groups with 8 architectures and 10 members"):
        groups.interaction(
            axis, {"unit a": 0.1}, lambda *_: None, generator(0, "x"), resamples=9, scale="identity"
        )


def finding(p=0.5):
    return one(QUESTION, Estimate(0.1, 0.1, 20), SETTINGS).noted(f"p {p}")


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        ([(0.01, 1), (0.01, -1)], "gain"),
        ([(0.01, 1), (0.01, 1)], ""),
        ([(0.01, 1), (0.06, -1)], ""),
        # Holm over three groups: 0.02 x 2 is below, 0.03 x 2 is not
        ([(0.001, 1), (0.02, -1), (0.9, 1)], "gain"),
        ([(0.001, 1), (0.03, -1), (0.9, 1)], ""),
        ([(0.001, 0), (0.001, -1)], ""),
    ],
)
def test_mixed_are_groups_that_are_significant_on_both_sides(tests, expected):
    axis = axis_sample(None, 12, len(tests))

    def test(member, name):
        level = int(axis.places[member][0])
        assert name == f"gain {level}"
        return (*tests[level], "effect")

    found = groups.mixed(finding(), [axis], test, SETTINGS)
    assert found.mixed == expected
    assert any("gain 0 effect (Holm p" in remark for remark in found.remarks)
    if expected:
        assert found.remarks[0] == "significant in opposite directions by gain"


def test_groups_to_which_a_test_does_not_apply_are_passed_over():
    axis = axis_sample(None, 12, 2)

    def test(member, name):
        raise DoesNotApply("no")

    found = groups.mixed(finding(), [axis], test, SETTINGS)
    assert found.mixed == ""
    assert "by gain: no group with 8 architectures and 10 members" in found.remarks
