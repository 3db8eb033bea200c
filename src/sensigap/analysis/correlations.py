"""C0 and C2: what goes with the generalization gap across the fitted networks of a survey."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import statsmodels.api as sm
import xarray as xr
from scipy import stats
from statsmodels.regression.linear_model import RegressionResults
from statsmodels.stats.diagnostic import het_breuschpagan

from sensigap.analysis import resampled
from sensigap.analysis.bootstrap import (
    MINIMUM_CLUSTERS,
    DoesNotApply,
    Result,
    resample_counts,
    summarise,
)
from sensigap.analysis.survey_table import (
    LeftOut,
    dummies,
    sensitive,
    survey_members,
    varying,
)
from sensigap.analysis.verdicts import Question, Row, Settings, answer
from sensigap.analysis.wild_bootstrap import wild_cluster

#: from here on the clustered standard error's own t test is trusted (STUDY: C2)
CLUSTERED_ERRORS = 30
#: from this rise of R2 by the square of log10 sensitivity on, the regression is called not linear
BENT = 0.05
#: resamples of the wild bootstrap, in those of the others: its p counts resamples, and Holm's
#: correction over hundreds of rows must still be able to bring the smallest one below 0.05
WILD_FACTOR = 10

_Statistic = Callable[[np.ndarray], np.ndarray]


def size_and_loss(survey: xr.Dataset, dataset: str, settings: Settings) -> list[Row]:
    """C0: gap against the number of parameters and the training loss: raw, and within the rest."""
    table, left_out = survey_members(survey)
    size = _ranks("C0.size", "C0", dataset, "gap and number of parameters", -1)
    loss = _ranks("C0.loss", "C0", dataset, "gap and training loss", 0)
    # depth and width make the number of parameters, so they get no dummies beside it
    size_rows = _raw_and_within(
        size, "parameters", table, left_out, settings, apart=("depth", "width")
    )
    return size_rows + _raw_and_within(loss, "train_loss", table, left_out, settings)


def _ranks(family: str, claim: str, dataset: str, quantity: str, claimed: int) -> Question:
    return Question(
        key=f"{family}.raw",
        claim=claim,
        dataset=dataset,
        quantity=quantity,
        test="Spearman, bootstrap clustered by architecture",
        effect="Spearman's rho",
        claimed=claimed,
    )


def _raw_and_within(
    raw: Question,
    column: str,
    table: pd.DataFrame,
    left_out: LeftOut,
    settings: Settings,
    *,
    apart: tuple[str, ...] = (),
) -> list[Row]:
    """Rank correlation of the gap with a column, and the same within hyper-parameters.

    Args:
        raw: asks the first.
        column: of `table`.
        table: the networks.
        left_out: what was left out of them.
        settings: of the tests.
        apart: hyper-parameters that get no dummies.
    """
    within = dataclasses.replace(
        raw,
        key=f"{raw.key.removesuffix('.raw')}.within",
        quantity=f"{raw.quantity} within hyper-parameters",
        test="Spearman of rank residuals after dummies, bootstrap clustered by architecture",
        effect="partial Spearman's rho",
    )
    n, minimum = len(table), settings.minimum_networks
    return [
        answer(raw, n, str(left_out), minimum, lambda: _rank(raw, table, column, settings)),
        answer(
            within,
            n,
            str(left_out),
            minimum,
            lambda: _within(within, table, column, apart, settings),
        ),
    ]


def sensitivity_and_gap(survey: xr.Dataset, dataset: str, settings: Settings) -> list[Row]:
    """C2: gap against log10 sensitivity: raw, within hyper-parameters, and by regression."""
    table, left_out = sensitive(*survey_members(survey))
    clusters = table["architecture"].nunique()
    errors = (
        f"{clusters} architecture clusters in the errors"
        if clusters >= CLUSTERED_ERRORS
        else "wild bootstrap clustered by architecture"
    )
    regression = Question(
        key="C2.ols",
        claim="C2",
        dataset=dataset,
        quantity="gap on log10 sensitivity within hyper-parameters",
        test=f"OLS with dummies, {errors}",
        effect="gap per decade of sensitivity",
        claimed=1,
    )
    raw = _ranks("C2", "C2", dataset, "gap and log10 sensitivity", 1)
    return [
        *_raw_and_within(raw, "sensitivity_log10", table, left_out, settings),
        answer(
            regression,
            len(table),
            str(left_out),
            settings.minimum_networks,
            lambda: _regression(regression, table, settings),
        ),
    ]


def _rank(question: Question, table: pd.DataFrame, column: str, settings: Settings) -> Result:
    gap, x = gap_and(table, column)
    return _clustered(
        question, table, lambda counts: resampled.rank_correlation(x, gap, counts), settings
    )


def _within(
    question: Question,
    table: pd.DataFrame,
    column: str,
    apart: tuple[str, ...],
    settings: Settings,
) -> Result:
    gap, x = gap_and(table, column)
    names = [name for name in varying(table) if name not in apart]
    design = dummies_or_refusal(table, names)
    result = _clustered(
        question,
        table,
        lambda counts: resampled.partial_rank_correlation(x, gap, design, counts),
        settings,
    )
    return _noted(result, f"dummies for {', '.join(names) or 'nothing: none varies'}")


def _clustered(
    question: Question, table: pd.DataFrame, statistic: _Statistic, settings: Settings
) -> Result:
    """A correlation with the bootstrap over architectures."""
    codes, levels = architecture_codes(table)
    estimate = float(statistic(np.ones((len(table), 1)))[0])
    rng = question.draws(settings)
    counts = resample_counts(rng, levels, settings.bootstrap)[codes]
    result = summarise(
        estimate,
        statistic(counts),
        units=levels,
        alpha=settings.alpha,
        null=question.null,
        scale="correlation",
    )
    largest = np.bincount(codes).max() / len(codes)
    return _noted(result, f"{levels} architectures, the largest holds {largest:.0%}")


def _regression(question: Question, table: pd.DataFrame, settings: Settings) -> Result:
    """OLS of the gap on log10 sensitivity and dummies, errors clustered by architecture."""
    gap, x = gap_and(table, "sensitivity_log10")
    design = dummies_or_refusal(table, varying(table))
    codes, levels = architecture_codes(table)
    residual = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    if np.linalg.norm(residual) <= 1e-8 * np.linalg.norm(x - x.mean()):
        raise DoesNotApply("the hyper-parameters determine the sensitivity")
    model = sm.OLS(gap, np.column_stack([x, design]))
    plain = model.fit()
    if plain.ssr <= 1e-12 * plain.centered_tss:
        raise DoesNotApply("the regression leaves no residuals")
    if levels >= CLUSTERED_ERRORS:
        fit = model.fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)
        low, high = fit.conf_int(settings.alpha)[0]
        result = Result(
            float(fit.params[0]), float(low), float(high), float(fit.pvalues[0]), "clustered errors"
        )
    else:
        rng = question.draws(settings)
        result = wild_cluster(
            gap,
            x,
            design,
            codes,
            rng,
            resamples=WILD_FACTOR * settings.bootstrap,
            alpha=settings.alpha,
        )
    uneven = het_breuschpagan(plain.resid, model.exog)[0] / len(gap)
    bent = sm.OLS(gap, np.column_stack([x, (x - x.mean()) ** 2, design])).fit()
    return _noted(
        result,
        f"{levels} architectures; {_linearity(plain, bent)}; residuals: skewness "
        f"{float(stats.skew(plain.resid)):.2g}, the regressors explain {uneven:.0%} of the "
        "variance of their squares (uneven variance, for which the errors allow)",
    )


def _linearity(plain: RegressionResults, bent: RegressionResults) -> str:
    """R2 without and with the square of log10 sensitivity; 'not linear' where they differ much."""
    rises = bent.rsquared - plain.rsquared > BENT
    return (
        f"{'not linear: ' if rises else ''}R2 {plain.rsquared:.2f}, with the square of the "
        f"sensitivity's logarithm {bent.rsquared:.2f}"
    )


def gap_and(table: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Gap and another column (network,).

    Raises:
        DoesNotApply: one of them is not finite, or the same for all.
    """
    gap, x = table["gap"].to_numpy(float), table[column].to_numpy(float)
    for name, values in (("gap", gap), (column, x)):
        if not np.isfinite(values).all():
            raise DoesNotApply(f"{name} is not finite for {(~np.isfinite(values)).sum()} networks")
        if np.ptp(values) == 0:
            raise DoesNotApply(f"{name} is the same for all networks")
    return gap, x


def architecture_codes(table: pd.DataFrame) -> tuple[np.ndarray, int]:
    """The architecture of each network as a number from 0 (network,), and how many there are.

    Raises:
        DoesNotApply: too few for a bootstrap over them.
    """
    codes, levels = pd.factorize(table["architecture"], sort=True)
    if len(levels) < MINIMUM_CLUSTERS:
        raise DoesNotApply(f"{len(levels)} architectures, fewer than {MINIMUM_CLUSTERS} clusters")
    return codes, len(levels)


def dummies_or_refusal(table: pd.DataFrame, names: list[str]) -> np.ndarray:
    """`dummies` of the named hyper-parameters (network, column).

    Raises:
        DoesNotApply: they leave fewer than 10 degrees of freedom.
    """
    design = dummies(table, names)
    spare = len(table) - design.shape[1] - 1
    if spare < 10:
        raise DoesNotApply(
            f"{design.shape[1]} dummies leave {spare} degrees of freedom, fewer than 10"
        )
    return design


def _noted(result: Result, text: str) -> Result:
    return Result(result.estimate, result.low, result.high, result.p, f"{text}; {result.note}")
