"""Quantile regression on one regressor, of many resamples at once."""

import numpy as np

#: halvings of the slope's bracket, after which 1e-8 of it is left
_STEPS = 30
#: values worked on at once
_CHUNK = 1 << 19


def quantile_slopes(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, quantile: float
) -> np.ndarray:
    """Slope of the quantile regression of y on x and a constant, column by column.

    For a given slope the best constant is a weighted quantile of y - slope x, so the check loss is
    a convex function of the slope alone, whose derivative's change of sign is found by bisection.
    (statsmodels' QuantReg, which takes no weights and one sample at a time, finds the same line to
    its own tolerance.) Where several slopes are as good, it is one of them.

    Args:
        x: (observation,), not all equal.
        y: (observation, column), or one column for all.
        weights: (observation, column) not negative, or one column for all.
        quantile: within 0 and 1.

    Returns:
        (column,); NaN where all of a column's weight lies on one x.
    """
    columns = max(y.shape[1], weights.shape[1])
    result = np.empty(columns)
    size = max(16, _CHUNK // len(x))
    for start in range(0, columns, size):
        part = slice(start, min(start + size, columns))
        width = part.stop - part.start
        of_y, of_w = (
            np.repeat(v, width, axis=1) if v.shape[1] == 1 else v[:, part] for v in (y, weights)
        )
        result[part] = _bisect(x, of_y.T.copy(), of_w.T.astype(float), quantile)
    return result


def _bisect(x: np.ndarray, y: np.ndarray, w: np.ndarray, quantile: float) -> np.ndarray:
    """As `quantile_slopes`, of y and w (column, observation)."""
    steps = np.diff(np.unique(x))
    reach = np.ptp(y, axis=1) / steps.min() + 1e-12
    low, high = -reach, reach.copy()
    total = w.sum(axis=1)
    moment = w @ x
    rows = np.arange(len(y))
    for _ in range(_STEPS):
        slope = (low + high) / 2
        order = np.argsort(y - slope[:, None] * x, axis=1)
        ordered, at = np.take_along_axis(w, order, axis=1), x[order]
        running = np.cumsum(ordered, axis=1)
        # the observation that the line goes through: the first at which the quantile is reached
        k = (running < quantile * total[:, None] * (1 - 1e-12)).sum(axis=1)
        through = at[rows, k]
        below = running[rows, k] - ordered[rows, k]
        moments = np.cumsum(ordered * at, axis=1)
        moment_below = moments[rows, k] - ordered[rows, k] * through
        derivative = (moment_below - below * through) - quantile * (moment - total * through)
        rising = derivative > 0
        high = np.where(rising, slope, high)
        low = np.where(rising, low, slope)
    varies = (w * (x - (moment / total)[:, None]) ** 2).sum(axis=1) > 0
    return np.where(varies, (low + high) / 2, np.nan)
