"""C2 as a regression: OLS with dummies, errors by the jackknife over architectures."""

import numpy as np
import statsmodels.api as sm
from scipy import stats
from statsmodels.regression.linear_model import RegressionResults
from statsmodels.stats.diagnostic import het_breuschpagan

from sensigap.analysis.bootstrap import DoesNotApply
from sensigap.analysis.errors import Estimate, halving_variance
from sensigap.analysis.relations import Relation, check

#: from this rise of R2 by the square of log10 sensitivity on, the regression is called not linear
BENT = 0.05


def regression(relation: Relation) -> Estimate:
    """Slope of y on x beside the dummies.

    DEVIATION: STATISTICS, section 6, names the jackknife with t(G - 1) alone; here test points join
    it, as they do every other row.

    CR3 over architectures for any number of them: the usual clustered errors reject a true null in
    6 to 9% of trials, these in 1 to 3% (STATISTICS, section 3.8).

    Args:
        relation: of x and y, with the names of the dummies.

    Raises:
        DoesNotApply: x or y is constant or not finite, the dummies determine x or are too many, or
            nothing is left over.
    """
    (x, x_halves), (y, y_halves) = relation.x, relation.y
    check(**dict(zip(relation.words, (x, y), strict=True)))
    design = relation.design
    codes, levels = relation.architectures
    residual = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    if np.linalg.norm(residual) <= 1e-8 * np.linalg.norm(x - x.mean()):
        raise DoesNotApply("the hyper-parameters determine the sensitivity")
    plain = sm.OLS(y, np.column_stack([x, design])).fit()
    if plain.ssr <= 1e-12 * plain.centered_tss:
        raise DoesNotApply("the regression leaves no residuals")
    slope = float(plain.params[0])
    points = 0.0
    if x_halves is not None and y_halves is not None:
        points = halving_variance(slopes(x_halves, y_halves, design))
    bent = sm.OLS(y, np.column_stack([x, (x - x.mean()) ** 2, design])).fit()
    uneven = het_breuschpagan(plain.resid, plain.model.exog)[0] / len(y)
    remarks = (
        f"dummies for {', '.join(relation.names) or 'nothing: none varies'}",
        _linearity(plain, bent),
        f"residuals: skewness {float(stats.skew(plain.resid)):.2g}, the regressors explain "
        f"{uneven:.0%} of the variance of their squares (uneven variance, for which the errors "
        "allow)",
    )
    return Estimate(
        slope,
        jackknife(x, y, design, codes, slope),
        levels,
        points,
        relation.points if points else 0,
        remarks=remarks,
    )


def slopes(x: np.ndarray, y: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Slope of each column of y on that of x beside the design: (column,); NaN where x is in it.

    Args:
        x: (observation, column).
        y: (observation, column).
        design: (observation, dummy), of any rank.
    """
    x_rest, y_rest = (v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y))
    squares = np.einsum("oc,oc->c", x_rest, x_rest)
    varies = squares > 1e-16 * np.einsum("oc,oc->c", x, x)
    found = np.full(len(squares), np.nan)
    found[varies] = np.einsum("oc,oc->c", x_rest, y_rest)[varies] / squares[varies]
    return found


def jackknife(
    x: np.ndarray, y: np.ndarray, design: np.ndarray, clusters: np.ndarray, slope: float
) -> float:
    """CR3: (G - 1) / G times the sum over clusters of (slope without it - slope)^2.

    Args:
        x: (observation,).
        y: (observation,).
        design: (observation, dummy).
        clusters: (observation,) integers from 0.
        slope: of all observations.

    Raises:
        DoesNotApply: without one cluster the design determines x.
    """
    G = int(clusters.max()) + 1
    without = np.empty(G)
    for g in range(G):
        kept = clusters != g
        without[g] = slopes(x[kept, None], y[kept, None], design[kept])[0]
    if np.isnan(without).any():
        raise DoesNotApply(
            "the hyper-parameters determine the sensitivity without one architecture"
        )
    return (G - 1) / G * float(((without - slope) ** 2).sum())


def _linearity(plain: RegressionResults, bent: RegressionResults) -> str:
    """R2 without and with the square of log10 sensitivity; 'not linear' where they differ much."""
    rises = bent.rsquared - plain.rsquared > BENT
    return (
        f"{'not linear: ' if rises else ''}R2 {plain.rsquared:.2f}, with the square of the "
        f"sensitivity's logarithm {bent.rsquared:.2f}"
    )
