"""The wild cluster bootstrap, for regressions with few clusters.

Cameron, Gelbach and Miller (2008): residuals under the null are multiplied by one random weight a
cluster. The interval holds every slope whose own test, with the same weights, is not rejected, so
that it and p cannot disagree.
"""

import math

import numpy as np

from sensigap.analysis.bootstrap import DoesNotApply, Result

#: Webb's (2014) six weights: mean 0, variance 1, and enough different draws with few clusters
WEIGHTS = np.array([-math.sqrt(1.5), -1.0, -math.sqrt(0.5), math.sqrt(0.5), 1.0, math.sqrt(1.5)])
#: how far from the estimate the interval's ends are looked for, in standard errors
_REACH = 1e3


def wild_cluster(
    y: np.ndarray,
    x: np.ndarray,
    design: np.ndarray,
    clusters: np.ndarray,
    rng: np.random.Generator,
    *,
    resamples: int,
    alpha: float,
) -> Result:
    """Slope of y on x beside `design`, its interval and p.

    Args:
        y: (observation,).
        x: (observation,), not a combination of the columns of `design`.
        design: (observation, column) of full rank, with the constant.
        clusters: (observation,) integers from 0.
        rng: draws the weights.
        resamples: how many.
        alpha: the interval holds 1 - alpha.

    Raises:
        DoesNotApply: no slope, however large, is rejected at `alpha`.
    """
    basis = np.linalg.qr(design)[0]
    y_rest, x_rest = (v - basis @ (basis.T @ v) for v in (y, x))
    squares = float(x_rest @ x_rest)
    estimate = float(x_rest @ y_rest) / squares
    member = (clusters[:, None] == np.arange(clusters.max() + 1)).astype(float)

    def parts(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By a cluster's weight: shift of the slope (cluster,), scores (cluster, cluster)."""
        blocks = member * residual[:, None]
        shift = x_rest @ blocks / squares
        blocks = blocks - basis @ (basis.T @ blocks) - np.outer(x_rest, shift)
        return shift, (member * x_rest[:, None]).T @ blocks

    # the restricted residual y_rest - slope * x_rest is linear in the slope, and so is the rest
    shift_y, scores_y = parts(y_rest)
    shift_x, scores_x = parts(x_rest)
    weights = rng.choice(WEIGHTS, size=(resamples, member.shape[1]))
    own = member.T @ (x_rest * (y_rest - estimate * x_rest))
    error = math.sqrt(float(own @ own)) / squares

    def p_value(slope: float) -> float:
        observed = abs(estimate - slope) / error
        shifts = weights @ (shift_y - slope * shift_x)
        scores = weights @ (scores_y - slope * scores_x).T
        errors = np.sqrt(np.einsum("rc,rc->r", scores, scores)) / squares
        # the comparison |shift| / error >= observed, without a division
        beyond = np.abs(shifts) >= observed * errors * (1 - 1e-9)
        return (1 + int(beyond.sum())) / (resamples + 1)

    def end(side: int) -> float:
        """Where p falls through alpha, by bisection."""
        inner, outer = 0.0, 4.0
        while p_value(estimate + side * outer * error) > alpha:
            inner, outer = outer, 2 * outer
            if outer > _REACH:
                raise DoesNotApply("the wild bootstrap rejects no slope: too few clusters")
        for _ in range(30):
            middle = (inner + outer) / 2
            if p_value(estimate + side * middle * error) > alpha:
                inner = middle
            else:
                outer = middle
        return estimate + side * (inner + outer) / 2 * error

    return Result(
        estimate, end(-1), end(1), p_value(0.0), f"{resamples} wild resamples, Webb's weights"
    )
