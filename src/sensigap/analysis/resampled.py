"""Statistics of many resamples at once, from how often each observation is in each of them.

A resample is a column of counts. Sorting is done once: a value's rank within a resample is the
running sum of the counts in sorted order, so ranks of all resamples cost one cumulative sum.
Every function takes `counts` (observation, resample) of any numeric dtype and returns a float64
(resample,) with NaN where the statistic has no value (a constant input, one class only).
"""

from collections.abc import Iterator

import numpy as np

#: values worked on at once, a few arrays of which fit the second-level cache; and the fewest
#: resamples, since a value's counts are copied as a row
_CHUNK = 1 << 16
_FEWEST = 32
#: Newton steps at most, and the relative step after which none is needed
_STEPS = 30
_SMALL_STEP = 1e-4


def _chunks(counts: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Resamples a few at a time, as float64 (observation, resample)."""
    size = max(_FEWEST, _CHUNK // max(1, len(counts)))
    for start in range(0, counts.shape[1], size):
        part = slice(start, start + size)
        yield part, counts[:, part].astype(np.float64)


class Ranking:
    """Values in sorted order, and where they tie."""

    def __init__(self, values: np.ndarray) -> None:
        """Sorts values (observation,), which must be finite."""
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self.tied = len(starts) < len(values)
        self.starts = starts
        self.ends = np.r_[starts[1:], len(values)] - 1
        self.group = np.repeat(np.arange(len(starts)), self.ends - starts + 1)

    def below(self, counts: np.ndarray) -> np.ndarray:
        """Counts in sorted order -> those below each value plus half of those that tie with it."""
        running = np.cumsum(counts, axis=0)
        if not self.tied:
            running -= 0.5 * counts
            return running
        first = running[self.starts] - counts[self.starts]
        return (0.5 * (first + running[self.ends]))[self.group]

    def centred(self, counts: np.ndarray) -> np.ndarray:
        """Average ranks within each resample minus their mean, in the values' own order."""
        ordered = self.below(counts[self.order])
        ordered -= 0.5 * counts.sum(axis=0)
        ranks = np.empty_like(ordered)
        ranks[self.order] = ordered
        return ranks


def rank_correlation(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Spearman's correlation of x and y (observation,) in each resample, ties at average ranks."""
    rank_x, rank_y = Ranking(x), Ranking(y)
    result = np.empty(counts.shape[1])
    for part, weights in _chunks(counts):
        a, b = rank_x.centred(weights), rank_y.centred(weights)
        weighted = weights * a
        result[part] = _ratio(
            np.einsum("ij,ij->j", weighted, b),
            np.einsum("ij,ij->j", weighted, a),
            np.einsum("ij,ij,ij->j", weights, b, b),
        )
    return result


def _ratio(covariance: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    result = np.full(len(covariance), np.nan)
    product = first * second
    varying = product > 0
    result[varying] = covariance[varying] / np.sqrt(product[varying])
    return np.clip(result, -1, 1)


def auc(score: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of `score` for the observations that are `positive` (bool).

    The probability that a positive one scores higher than a negative one, ties counting half.
    """
    ranking = Ranking(score)
    is_positive = positive[ranking.order].astype(np.float64)
    result = np.full(counts.shape[1], np.nan)
    for part, weights in _chunks(counts):
        ordered = weights[ranking.order]
        negatives = ordered * (1 - is_positive)[:, None]
        positives = ordered - negatives
        pairs = positives.sum(axis=0) * negatives.sum(axis=0)
        wins = np.einsum("ij,ij->j", positives, ranking.below(negatives))
        defined = pairs > 0
        chunk = np.full(len(pairs), np.nan)
        chunk[defined] = wins[defined] / pairs[defined]
        result[part] = chunk
    return result


def logistic_slope(
    x: np.ndarray, positive: np.ndarray, counts: np.ndarray, start: tuple[float, float]
) -> np.ndarray:
    """Slope of the logistic regression of `positive` on x in each resample, by Newton's method.

    Args:
        x: (observation,).
        positive: (observation,) bool.
        counts: (observation, resample).
        start: (constant, slope) of the fit to the data, from which few steps are needed.

    Returns:
        (resample,); NaN where Newton's method does not converge (the classes are separated).
    """
    centre = x.mean()
    moved = x - centre
    powers = np.stack([np.ones_like(moved), moved, moved**2])
    target = positive.astype(np.float64)[:, None]
    at_start = _logistic((start[0] + start[1] * x)[:, None])
    # all resamples start from the same fit, so that their first step is two matrix products
    first_terms = powers[:2] * (target - at_start).T
    second_terms = powers * (at_start * (1 - at_start)).T
    result = np.empty(counts.shape[1])
    for part, weights in _chunks(counts):
        constant = np.full(weights.shape[1], start[0] + start[1] * centre)
        slope = np.full(weights.shape[1], start[1])
        up, along = _newton_step(first_terms @ weights, second_terms @ weights)
        constant, slope = constant + up, slope + along
        for _ in range(_STEPS):
            fitted = _logistic(moved[:, None] * slope + constant)
            residual = target - fitted
            residual *= weights
            # the variance of each observation, in place of its probability
            fitted *= 1 - fitted
            fitted *= weights
            up, along = _newton_step(powers[:2] @ residual, powers @ fitted)
            constant, slope = constant + up, slope + along
            # Newton's error is squared by each step: at most 1e-8 is left after the last
            if not np.any(np.abs(along) > _SMALL_STEP * (1 + np.abs(slope))):
                break
        converged = np.abs(along) <= _SMALL_STEP * (1 + np.abs(slope))
        result[part] = np.where(converged, slope, np.nan)
    return result


def _logistic(log_odds: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-log_odds)), within what exp can hold."""
    values = np.clip(-log_odds, -700, 700)
    np.exp(values, out=values)
    values += 1
    return np.divide(1, values, out=values)


def _newton_step(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps of constant and slope; NaN where the second derivatives are singular.

    Args:
        first: sums of (1, x) times the residuals, (2, resample).
        second: sums of (1, x, x^2) times the variances, (3, resample).
    """
    determinant = second[0] * second[2] - second[1] ** 2
    safe = np.where(determinant > 1e-12 * second[0] * second[2], determinant, np.nan)
    return (
        (second[2] * first[0] - second[1] * first[1]) / safe,
        (second[0] * first[1] - second[1] * first[0]) / safe,
    )


def correlation_given_rank(
    x: np.ndarray, y: np.ndarray, given: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Correlation of the rank residuals of x and y after a cubic in the rank of `given`.

    The regressors are 1, r, r^2 and r^3, r being the rank of `given` within the resample, scaled to
    within -1 and 1 (STATISTICS, section 6).

    Args:
        x: (observation,).
        y: (observation,).
        given: (observation,), -inf allowed.
        counts: (observation, resample).
    """
    rankings = [Ranking(values) for values in (x, y, given)]
    result = np.empty(counts.shape[1])
    for part, weights in _chunks(counts):
        a, b, r = (ranking.centred(weights) for ranking in rankings)
        total = weights.sum(axis=0)
        r = r * (2 / np.maximum(total - 1, 1))
        powers = [np.ones_like(r), r, r**2, r**3]
        sums = [np.einsum("ij,ij->j", weights, powers[k]) for k in range(4)]
        weighted = [weights * power for power in powers]
        sums += [np.einsum("ij,ij->j", weighted[3], powers[k]) for k in range(1, 4)]
        gram = np.stack([np.stack([sums[i + j] for j in range(4)], -1) for i in range(4)], -2)
        moments = np.stack(
            [np.stack([np.einsum("ij,ij->j", w, v) for w in weighted], -1) for v in (a, b)], -2
        )
        diagonal = np.arange(4)
        gram[:, diagonal, diagonal] += 1e-12 * np.maximum(total, 1)[:, None]
        solved = np.linalg.solve(gram, moments.transpose(0, 2, 1))
        explained = moments @ solved
        own = [np.einsum("ij,ij,ij->j", weights, v, v) for v in (a, b)]
        rest = [total_of - explained[:, k, k] for k, total_of in enumerate(own)]
        for left, total_of in zip(rest, own, strict=True):
            left[left <= 1e-9 * total_of] = 0
        both = np.einsum("ij,ij,ij->j", weights, a, b) - explained[:, 0, 1]
        result[part] = _ratio(both, rest[0], rest[1])
    return result
