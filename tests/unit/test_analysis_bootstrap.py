"""Intervals and p of the bootstraps, against closed forms, plain loops and simulation."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from sensigap.analysis import resampled
from sensigap.analysis.bootstrap import DoesNotApply, resample_counts, signed_rank, summarise
from sensigap.analysis.wild_bootstrap import WEIGHTS, wild_cluster
from sensigap.seeds import generator


def test_mean_has_students_interval_and_p():
    values = generator(0, "mean").normal(0.3, 1, 40)
    counts = resample_counts(generator(1, "mean"), 40, 20_000)
    found = summarise(float(values.mean()), values @ counts / 40, units=40, alpha=0.05)
    expected = stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval(0.95)
    assert found.estimate == values.mean()
    assert found.low == pytest.approx(interval.low, abs=0.01)
    assert found.high == pytest.approx(interval.high, abs=0.01)
    assert found.p == pytest.approx(expected.pvalue, rel=0.1)


@pytest.mark.parametrize("scale", ["identity", "correlation", "probability"])
def test_interval_and_p_agree_about_the_null(scale):
    null = 0.5 if scale == "probability" else 0.0
    spread = generator(0, "spread").normal(0, 0.05, 500)
    for estimate in np.linspace(null, null + 0.2, 41):
        found = summarise(estimate, estimate + spread, units=25, alpha=0.05, null=null, scale=scale)
        assert (found.low > null) == (found.p < 0.05)
        assert found.low < found.estimate < found.high


def test_two_sided():
    spread = generator(0, "spread").normal(0, 0.05, 500)
    above, below = (
        summarise(sign * 0.1, sign * (0.1 + spread), units=25, alpha=0.05) for sign in (1, -1)
    )
    assert above.p == pytest.approx(below.p)
    assert above.low == pytest.approx(-below.high)


def test_correlation_interval_stays_within_one():
    values = np.clip(generator(0, "near one").normal(0.98, 0.05, 1000), -1, 1)
    found = summarise(0.98, values, units=30, alpha=0.05, scale="correlation")
    assert -1 < found.low < 0.98 < found.high < 1


def test_resamples_that_all_agree():
    found = summarise(1.0, np.ones(199), units=30, alpha=0.05, scale="correlation")
    assert (found.low, found.high, found.p) == (1.0, 1.0, 2 / 200)
    assert "all resamples agree" in found.note
    assert summarise(0.0, np.zeros(199), units=30, alpha=0.05).p == 1


def test_a_few_undefined_resamples_are_counted_and_many_refused():
    values = generator(0, "undefined").normal(0, 1, 100)
    values[:5] = math.nan
    assert "no value in 5 of 100 resamples" in summarise(0, values, units=9, alpha=0.05).note
    values[:6] = math.nan
    with pytest.raises(DoesNotApply, match="no value in 6 of 100 resamples"):
        summarise(0, values, units=9, alpha=0.05)
    with pytest.raises(DoesNotApply, match="no value on these data"):
        summarise(math.nan, values, units=9, alpha=0.05)


def clustered_sample(rng, clusters, size, correlation):
    """Networks in clusters: x is shared in part, y follows x at a given normal correlation."""
    shared_x, shared_y = rng.normal(size=(2, clusters, 1))
    x = 0.6 * shared_x + 0.8 * rng.normal(size=(clusters, size))
    other = 0.6 * shared_y + 0.8 * rng.normal(size=(clusters, size))
    y = correlation * x + math.sqrt(1 - correlation**2) * other
    return x.ravel(), y.ravel(), np.repeat(np.arange(clusters), size)


def test_cluster_bootstrap_is_a_plain_loop_over_clusters():
    x, y, codes = clustered_sample(generator(0, "clusters"), 12, 5, 0.5)
    counts = resample_counts(generator(1, "clusters"), 12, 30)
    found = resampled.rank_correlation(x, y, counts[codes])
    for column in range(30):
        drawn = np.concatenate(
            [
                np.flatnonzero(codes == cluster)
                for cluster in range(12)
                for _ in range(counts[cluster, column])
            ]
        )
        expected = stats.spearmanr(x[drawn], y[drawn]).statistic
        assert found[column] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("clusters", "size"), [(12, 6), (40, 4)])
def test_cluster_bootstrap_covers_the_truth(clusters, size):
    """95% intervals of Spearman's rho hold it in about 95% of samples; p < 0.05 in 5% at rho 0."""
    correlation = 0.5
    truth = 6 / math.pi * math.asin(correlation / 2)
    covered = rejected = 0
    samples = 400
    for sample in range(samples):
        rng = generator(sample, f"coverage {clusters}")
        for value in (correlation, 0.0):
            x, y, codes = clustered_sample(rng, clusters, size, value)
            counts = resample_counts(rng, clusters, 200)[codes]
            found = summarise(
                resampled.rank_correlation(x, y, np.ones((len(x), 1)))[0],
                resampled.rank_correlation(x, y, counts),
                units=clusters,
                alpha=0.05,
                scale="correlation",
            )
            if value:
                covered += found.low <= truth <= found.high
            else:
                rejected += found.p < 0.05
    assert 0.92 <= covered / samples <= 0.98
    assert 0.02 <= rejected / samples <= 0.08


def test_signed_rank_is_scipys_with_the_mean():
    values = generator(0, "paired").normal(0.3, 1, 45)
    found = signed_rank(values, generator(1, "paired"), resamples=5000, alpha=0.05)
    assert found.p == pytest.approx(stats.wilcoxon(values).pvalue)
    assert found.estimate == pytest.approx(values.mean())
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.low == pytest.approx(interval.low, abs=0.03)
    assert found.high == pytest.approx(interval.high, abs=0.03)
    assert f"{(values > 0).sum()} above 0, {(values < 0).sum()} below, 0 at 0" in found.note


def test_signed_rank_keeps_zeros_and_ties():
    values = np.repeat([0.0, 0.1, 0.2, -0.1], [10, 12, 6, 3])
    found = signed_rank(values, generator(1, "paired"), resamples=500, alpha=0.05)
    assert found.p == pytest.approx(stats.wilcoxon(values, zero_method="pratt").pvalue)
    assert "18 above 0, 3 below, 10 at 0" in found.note


def test_signed_rank_of_skewed_differences_gives_the_sign_test_too():
    values = generator(0, "skewed").exponential(1, 60) - 0.3
    found = signed_rank(values, generator(1, "paired"), resamples=500, alpha=0.05)
    sign = stats.binomtest(int((values > 0).sum()), 60).pvalue
    assert f"sign test p {sign:.2g}" in found.note


def test_signed_rank_of_zeros_does_not_apply():
    with pytest.raises(DoesNotApply, match="all 30 differences are zero"):
        signed_rank(np.zeros(30), generator(0, "zeros"), resamples=100, alpha=0.05)


def test_signed_rank_of_equal_differences():
    found = signed_rank(np.full(30, 0.2), generator(0, "equal"), resamples=100, alpha=0.05)
    assert found.p < 1e-6
    assert found.low == found.high == pytest.approx(0.2)


def regression_sample(rng, clusters, size, slope):
    codes = np.repeat(np.arange(clusters), size)
    x = rng.normal(size=clusters)[codes] * 0.5 + rng.normal(size=clusters * size)
    level = (np.arange(len(x)) % 3 == 0).astype(float)
    y = slope * x + level + rng.normal(size=clusters)[codes] * 0.7 + rng.normal(size=len(x))
    return y, x, np.column_stack([np.ones(len(x)), level]), codes


def slow_wild_p(sample, slope, rng, resamples):
    """The restricted wild cluster bootstrap by regressions in a loop."""
    y, x, design, codes = sample

    def t(outcome, against):
        fit = sm.OLS(outcome, np.column_stack([x, design])).fit(
            cov_type="cluster", cov_kwds={"groups": codes, "use_correction": False}
        )
        return abs(fit.params[0] - against) / fit.bse[0]

    restricted = sm.OLS(y - slope * x, design).fit()
    observed = t(y, slope)
    weights = rng.choice(WEIGHTS, size=(resamples, codes.max() + 1))
    beyond = sum(
        t(restricted.fittedvalues + slope * x + row[codes] * restricted.resid, slope)
        >= observed * (1 - 1e-9)
        for row in weights
    )
    return (1 + beyond) / (resamples + 1)


def test_wild_bootstrap_is_a_loop_of_regressions():
    sample = regression_sample(generator(0, "wild"), 9, 8, 0.2)
    found = wild_cluster(*sample, generator(1, "wild"), resamples=299, alpha=0.05)
    y, x, design, _ = sample
    assert found.estimate == pytest.approx(sm.OLS(y, np.column_stack([x, design])).fit().params[0])
    assert found.p == slow_wild_p(sample, 0.0, generator(1, "wild"), 299)


def test_wild_interval_holds_the_slopes_that_are_not_rejected():
    sample = regression_sample(generator(2, "wild"), 9, 8, 0.3)
    found = wild_cluster(*sample, generator(1, "wild"), resamples=199, alpha=0.05)
    assert found.low < found.estimate < found.high
    width = found.high - found.low
    for end, inside in ((found.low, 1), (found.high, -1)):
        for side, within in ((inside, True), (-inside, False)):
            slope = end + side * 0.02 * width
            p = slow_wild_p(sample, slope, generator(1, "wild"), 199)
            assert (p > 0.05) == within


def test_wild_bootstrap_holds_its_level_with_few_clusters():
    samples = 300
    rejected = covered = 0
    for sample in range(samples):
        rng = generator(sample, "wild level")
        null = regression_sample(rng, 8, 6, 0.0)
        found = wild_cluster(*null, rng, resamples=199, alpha=0.05)
        rejected += found.p < 0.05
        covered += found.low <= 0 <= found.high
    assert 0.02 <= rejected / samples <= 0.09
    assert 0.91 <= covered / samples <= 0.98


def test_wild_bootstrap_of_too_few_clusters_does_not_apply():
    sample = regression_sample(generator(0, "wild"), 2, 20, 0.2)
    with pytest.raises(DoesNotApply, match="too few clusters"):
        wild_cluster(*sample, generator(1, "wild"), resamples=99, alpha=0.05)


def test_webbs_weights_have_mean_0_and_variance_1():
    assert WEIGHTS.mean() == pytest.approx(0, abs=1e-15)
    assert (WEIGHTS**2).mean() == pytest.approx(1)
