"""C0 and C2: what goes with the generalization gap across the fitted networks of a survey."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import statsmodels.api as sm
import xarray as xr
from scipy import stats
from statsmodels.stats.diagnostic import het_breuschpagan

from sensitivity.analysis import resampled
from sensitivity.analysis.bootstrap import DoesNotApply, Result, resample_counts, summarise
from sensitivity.analysis.survey_table import dummies, sensitive, survey_members, varying
from sensitivity.analysis.verdicts import Question, Row, Settings, answer
from sensitivity.analysis.wild_bootstrap import wild_cluster
from sensitivity.seeds import generator

#: with fewer architectures neither bootstrap says anything
MINIMUM_CLUSTERS = 5
#: from here on the clustered standard error's own t test is trusted (STUDY: C2)
CLUSTERED_ERRORS = 30
#: resamples of the wild bootstrap, in those of the others: its p counts resamples, and Holm's
#: correction over hundreds of rows must still be able to bring the smallest one below 0.05
WILD_FACTOR = 10

_Statistic = Callable[[np.ndarray], np.ndarray]


def size_and_loss(survey: xr.Dataset, dataset: str, settings: Settings) -> list[Row]:
    """C0: gap against the number of parameters, and against the training loss."""
    table, left_out = survey_members(survey)
    rows = []
    for quantity, column, claimed in (
        ("gap and number of parameters", "parameters", -1),
        ("gap and training loss", "train_loss", 0),
    ):
        question = Question(
            claim="C0",
            dataset=dataset,
            quantity=quantity,
            test="Spearman, bootstrap clustered by architecture",
            effect="Spearman's rho",
            claimed=claimed,
        )

        def compute(question: Question = question, column: str = column) -> Result:
            return _rank(question, table, column, settings)

        rows.append(answer(question, len(table), str(left_out), settings.minimum_networks, compute))
    return rows


def sensitivity_and_gap(survey: xr.Dataset, dataset: str, settings: Settings) -> list[Row]:
    """C2: gap against log10 sensitivity: raw, within hyper-parameters, and by regression."""
    table, left_out = sensitive(*survey_members(survey))
    minimum = settings.minimum_networks
    clusters = table["architecture"].nunique()
    errors = (
        f"{clusters} architecture clusters in the errors"
        if clusters >= CLUSTERED_ERRORS
        else "wild bootstrap clustered by architecture"
    )
    raw = Question(
        claim="C2",
        dataset=dataset,
        quantity="gap and log10 sensitivity",
        test="Spearman, bootstrap clustered by architecture",
        effect="Spearman's rho",
        claimed=1,
    )
    within = Question(
        claim="C2",
        dataset=dataset,
        quantity="gap and log10 sensitivity within hyper-parameters",
        test="Spearman of rank residuals after dummies, bootstrap clustered by architecture",
        effect="partial Spearman's rho",
        claimed=1,
    )
    regression = Question(
        claim="C2",
        dataset=dataset,
        quantity="gap on log10 sensitivity within hyper-parameters",
        test=f"OLS with dummies, {errors}",
        effect="gap per decade of sensitivity",
        claimed=1,
    )
    return [
        answer(
            raw,
            len(table),
            str(left_out),
            minimum,
            lambda: _rank(raw, table, "sensitivity_log10", settings),
        ),
        answer(
            within, len(table), str(left_out), minimum, lambda: _within(within, table, settings)
        ),
        answer(
            regression,
            len(table),
            str(left_out),
            minimum,
            lambda: _regression(regression, table, settings),
        ),
    ]


def _rank(question: Question, table: pd.DataFrame, column: str, settings: Settings) -> Result:
    gap, x = _inputs(table, column)
    return _clustered(
        question, table, lambda counts: resampled.rank_correlation(x, gap, counts), settings
    )


def _within(question: Question, table: pd.DataFrame, settings: Settings) -> Result:
    gap, x = _inputs(table, "sensitivity_log10")
    names = varying(table)
    design = _design(table, names)
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
    codes, levels = _clusters(table)
    estimate = float(statistic(np.ones((len(table), 1)))[0])
    rng = generator(settings.seed, f"bootstrap {question.purpose}")
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
    gap, x = _inputs(table, "sensitivity_log10")
    design = _design(table, varying(table))
    codes, levels = _clusters(table)
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
        rng = generator(settings.seed, f"bootstrap {question.purpose}")
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
        f"{levels} architectures; R2 {plain.rsquared:.2f}, with the square of the sensitivity's "
        f"logarithm {bent.rsquared:.2f}; residuals: skewness {float(stats.skew(plain.resid)):.2g}, "
        f"the regressors explain {uneven:.0%} of the variance of their squares (uneven variance, "
        "for which the errors allow)",
    )


def _inputs(table: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Gap and another column (network,), both of which must vary."""
    gap, x = table["gap"].to_numpy(float), table[column].to_numpy(float)
    for name, values in (("gap", gap), (column, x)):
        if not np.isfinite(values).all():
            raise DoesNotApply(f"{name} is not finite for {(~np.isfinite(values)).sum()} networks")
        if np.ptp(values) == 0:
            raise DoesNotApply(f"{name} is the same for all networks")
    return gap, x


def _clusters(table: pd.DataFrame) -> tuple[np.ndarray, int]:
    codes, levels = pd.factorize(table["architecture"], sort=True)
    if len(levels) < MINIMUM_CLUSTERS:
        raise DoesNotApply(f"{len(levels)} architectures, fewer than {MINIMUM_CLUSTERS} clusters")
    return codes, len(levels)


def _design(table: pd.DataFrame, names: list[str]) -> np.ndarray:
    design = dummies(table, names)
    spare = len(table) - design.shape[1] - 1
    if spare < 10:
        raise DoesNotApply(
            f"{design.shape[1]} dummies leave {spare} degrees of freedom, fewer than 10"
        )
    return design


def _noted(result: Result, text: str) -> Result:
    return Result(result.estimate, result.low, result.high, result.p, f"{text}; {result.note}")
