"""Intervals and p of the bootstraps, against closed forms, plain loops and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from sensigap.analysis import resampled
from sensigap.analysis.bootstrap import DoesNotApply, resample_counts, summarise
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
