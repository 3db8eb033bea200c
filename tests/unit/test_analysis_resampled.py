"""Statistics of many resamples at once, against scipy, statsmodels and sklearn on each resample."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.metrics import roc_auc_score

from sensigap.analysis import resampled
from sensigap.analysis.bootstrap import resample_counts
from sensigap.analysis.ranks import partial_rank_correlation
from sensigap.seeds import generator

OBSERVATIONS = 120
RESAMPLES = 40


@pytest.fixture
def rng():
    return generator(0, "test resampled")


@pytest.fixture
def counts(rng):
    return resample_counts(rng, OBSERVATIONS, RESAMPLES)


def expanded(counts, column):
    """The observations of a resample, written out."""
    return np.repeat(np.arange(len(counts)), counts[:, column])


@pytest.fixture(params=["distinct", "tied"])
def pair(request, rng):
    x = rng.normal(size=OBSERVATIONS)
    y = x + rng.normal(size=OBSERVATIONS)
    return (np.round(x, 1), np.round(y)) if request.param == "tied" else (x, y)


def test_counts_are_resamples(counts):
    assert counts.shape == (OBSERVATIONS, RESAMPLES)
    assert (counts.sum(axis=0) == OBSERVATIONS).all()
    # an observation is missing from a resample with probability (1 - 1/n)^n
    assert (counts == 0).mean() == pytest.approx((1 - 1 / OBSERVATIONS) ** OBSERVATIONS, abs=0.02)


def test_counts_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    whole = resample_counts(generator(3, "counts"), 7, 50)
    monkeypatch.setattr("sensigap.analysis.bootstrap._DRAWS", 20)
    assert (resample_counts(generator(3, "counts"), 7, 50) == whole).all()


def test_rank_correlation_is_scipys(pair, counts):
    found = resampled.rank_correlation(*pair, counts)
    for column in range(RESAMPLES):
        drawn = expanded(counts, column)
        expected = stats.spearmanr(pair[0][drawn], pair[1][drawn]).statistic
        assert found[column] == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_over_many_chunks(pair, counts, monkeypatch):
    whole = resampled.rank_correlation(*pair, counts)
    monkeypatch.setattr(resampled, "_CHUNK", 1)
    monkeypatch.setattr(resampled, "_FEWEST", 3)
    assert resampled.rank_correlation(*pair, counts) == pytest.approx(whole, abs=1e-14)


def test_rank_correlation_of_a_constant_has_no_value(counts):
    x = np.zeros(OBSERVATIONS)
    assert np.isnan(resampled.rank_correlation(x, np.arange(OBSERVATIONS), counts)).all()


def test_partial_rank_correlation_is_that_of_residuals(pair, counts, rng):
    levels = rng.integers(0, 4, OBSERVATIONS)
    # one level is rare, so that some resamples lack it
    levels[0] = 4
    design = np.column_stack(
        [np.ones(OBSERVATIONS), *[(levels == level).astype(float) for level in range(1, 5)]]
    )
    assert (counts[0] == 0).any()
    assert (counts[0] > 0).any()
    found = partial_rank_correlation(*pair, design, counts)
    for column in range(RESAMPLES):
        drawn = expanded(counts, column)
        ranks = [stats.rankdata(values[drawn]) for values in pair]
        residuals = [r - design[drawn] @ np.linalg.lstsq(design[drawn], r)[0] for r in ranks]
        expected = stats.pearsonr(*residuals).statistic
        assert found[column] == pytest.approx(expected, abs=1e-8)


def test_partial_rank_correlation_has_no_value_where_the_design_explains_all(counts):
    level = (np.arange(OBSERVATIONS) % 2).astype(float)
    design = np.column_stack([np.ones(OBSERVATIONS), level])
    found = partial_rank_correlation(level, np.arange(OBSERVATIONS).astype(float), design, counts)
    assert np.isnan(found).all()


def test_auc_is_sklearns(pair, counts):
    positive = pair[1] > 0.5
    found = resampled.auc(pair[0], positive, counts)
    for column in range(RESAMPLES):
        drawn = expanded(counts, column)
        expected = roc_auc_score(positive[drawn], pair[0][drawn])
        assert found[column] == pytest.approx(expected, abs=1e-12)


def test_auc_of_one_class_has_no_value(counts):
    score = np.arange(OBSERVATIONS).astype(float)
    only = np.zeros(OBSERVATIONS, bool)
    only[0] = True
    found = resampled.auc(score, only, counts)
    assert (np.isnan(found) == (counts[0] == 0)).all()
    assert np.isnan(found).any()


def fit(x, positive):
    return sm.Logit(positive.astype(float), sm.add_constant(x)).fit(disp=0, tol=1e-12)


def test_logistic_slope_is_statsmodels(pair, counts):
    x, positive = 3 + pair[0], pair[1] > 0.5
    found = resampled.logistic_slope(x, positive, counts, tuple(fit(x, positive).params))
    for column in range(RESAMPLES):
        drawn = expanded(counts, column)
        expected = fit(x[drawn], positive[drawn]).params[1]
        assert found[column] == pytest.approx(expected, rel=1e-6)


def test_logistic_slope_does_not_depend_on_a_reasonable_start(pair, counts):
    x, positive = pair[0], pair[1] > 0.5
    at_fit = resampled.logistic_slope(x, positive, counts, tuple(fit(x, positive).params))
    assert resampled.logistic_slope(x, positive, counts, (0.0, 0.0)) == pytest.approx(
        at_fit, rel=1e-6
    )


def test_logistic_slope_of_separated_classes_has_no_value():
    x = np.linspace(-1, 1, 20)
    positive = x > 0
    # separated, but for two observations that only the second resample has
    positive[[5, 15]] = [True, False]
    counts = np.ones((20, 2))
    counts[[5, 15], 0] = 0
    found = resampled.logistic_slope(x, positive, counts, tuple(fit(x, positive).params))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(fit(x, positive).params[1], rel=1e-6)
