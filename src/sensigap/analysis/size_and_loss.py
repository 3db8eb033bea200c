"""C0: what the generalization gap of fitted networks has to do with their size and their loss."""

import dataclasses
import math

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from sensigap.analysis.bootstrap import cluster_variance
from sensigap.analysis.envelope import quantile_slopes
from sensigap.analysis.errors import Estimate, halving_variance
from sensigap.analysis.relation_rows import (
    PARTIAL,
    SPEARMAN,
    interaction_question,
    interaction_row,
    relation_row,
    table_row,
)
from sensigap.analysis.relations import Relation, architecture_resamples, check
from sensigap.analysis.shared_points import SharedPoints
from sensigap.analysis.survey_table import (
    LeftOut,
    networks_table,
    survey_members,
    true_labels,
    varying,
)
from sensigap.analysis.verdicts import Finding, Question, Row, answer, one

#: what C0.size is taken within (STATISTICS, section 6); depth and width make the size
SIZE_DUMMIES = ("unit", "optimizer", "learning_rate", "batch_size", "gain")
#: by which C0's rows may be mixed
AXES = ("gain", "optimizer")
#: quantile of the lower envelope, and below how many networks it is the wider one
QUANTILE, WIDE_QUANTILE, FEW = 0.05, 0.1, 200


def size_and_loss(points: SharedPoints) -> list[Row]:
    """C0: gap against the number of parameters and the training loss (STATISTICS, section 6).

    Args:
        points: of a survey.
    """
    dataset, settings = points.dataset, points.settings
    table, left_out = survey_members(points.survey)
    table = table.assign(log_parameters=np.log10(table["parameters"].to_numpy(float)))
    rows = []
    size = Question(
        key="C0.size",
        claim="C0",
        dataset=dataset,
        quantity="gap and number of parameters within hyper-parameters",
        test=PARTIAL,
        effect="partial Spearman's rho",
        claimed=-1,
        primary=True,
    )
    loss = Question(
        key="C0.loss",
        claim="C0",
        dataset=dataset,
        quantity="gap and training loss",
        test=f"{SPEARMAN}; two one-sided tests of equivalence",
        effect="Spearman's rho",
        claimed=0,
        primary=True,
    )
    size_raw = dataclasses.replace(
        size,
        key="C0.size.raw",
        quantity="gap and number of parameters",
        test=SPEARMAN,
        effect="Spearman's rho",
        primary=False,
    )
    loss_within = dataclasses.replace(
        loss,
        key="C0.loss.within",
        quantity="gap and training loss within hyper-parameters",
        test=f"{PARTIAL}; two one-sided tests of equivalence",
        effect="partial Spearman's rho",
        primary=False,
    )
    for question, column, names, axes in (
        (size, "log_parameters", SIZE_DUMMIES, AXES),
        (size_raw, "log_parameters", (), ()),
        (loss, "train_loss", (), AXES),
        (loss_within, "train_loss", tuple(varying(table)), ()),
    ):

        def make(column: str = column, names: tuple[str, ...] = names) -> Relation:
            return _relation(table, column, names, points)

        rows.append(relation_row(question, make, table, left_out, settings, axes=axes))
        rows += [
            interaction_row(
                interaction_question(question, name), make, table, left_out, settings, name=name
            )
            for name in axes
        ]
    rows.append(_envelope_row(table, left_out, points))
    rows.append(_best_row(table, left_out, points))
    rows += _fit_rate_rows(points)
    return rows


def _relation(
    table: pd.DataFrame, column: str, names: tuple[str, ...], points: SharedPoints
) -> Relation:
    """Gap against a quantity that has no test points: its halves vary in the gap alone."""
    return Relation(
        table=table,
        x=(table[column].to_numpy(float), None),
        y=(table["gap"].to_numpy(float), points.gap(table)),
        points=points.images,
        names=names,
        words=(column, "gap"),
    )


def _envelope_row(table: pd.DataFrame, left_out: LeftOut, points: SharedPoints) -> Row:
    """The paper's own picture: the lower envelope of the gap by size."""
    settings = points.settings
    quantile = WIDE_QUANTILE if len(table) < FEW else QUANTILE
    question = Question(
        key="C0.envelope",
        claim="C0",
        dataset=points.dataset,
        quantity="lower envelope of the gap by number of parameters",
        test=f"quantile regression at {quantile:g}; error over architectures and test points",
        effect="gap per decade of parameters",
        claimed=-1,
    )

    def compute() -> Finding:
        gap, x = table["gap"].to_numpy(float), table["log_parameters"].to_numpy(float)
        check(gap=gap, log_parameters=x)
        counts, levels = architecture_resamples(table, question.draws(settings), settings)
        every = np.ones((len(gap), 1))
        found = Estimate(
            float(quantile_slopes(x, gap[:, None], every, quantile)[0]),
            cluster_variance(quantile_slopes(x, gap[:, None], counts, quantile), levels),
            levels,
            halving_variance(quantile_slopes(x, points.gap(table), every, quantile)),
            points.images,
        )
        return one(question, found, settings)

    return table_row(question, table, left_out, settings, compute)


def _best_row(table: pd.DataFrame, left_out: LeftOut, points: SharedPoints) -> Row:
    """The training loss of the networks that generalize best: a comparison, without verdict."""
    settings = points.settings
    question = Question(
        key="C0.best_tenth",
        claim="C0",
        dataset=points.dataset,
        quantity="training loss of the tenth of networks with the smallest gap",
        test="median percentile; error over architectures and test points",
        effect="median percentile of the training loss",
        claimed=None,
        null=50.0,
    )

    def compute() -> Finding:
        gap, loss = table["gap"].to_numpy(float), table["train_loss"].to_numpy(float)
        check(gap=gap, train_loss=loss)
        counts, levels = architecture_resamples(table, question.draws(settings), settings)
        places = np.arange(len(gap))
        resampled = np.array(
            [
                float(best_percentiles(gap[chosen][:, None], loss[chosen])[0])
                for chosen in (np.repeat(places, column) for column in counts.T)
            ]
        )
        found = Estimate(
            float(best_percentiles(gap[:, None], loss)[0]),
            cluster_variance(resampled, levels),
            levels,
            halving_variance(best_percentiles(points.gap(table), loss)),
            points.images,
        )
        return one(question, found, settings)

    return table_row(question, table, left_out, settings, compute)


def _fit_rate_rows(points: SharedPoints) -> list[Row]:
    """How the share of networks that fit hangs on each axis: 'fitted' selects among them."""
    table = networks_table(points.survey)
    table = table[table["in_survey"].astype(bool)]
    left_out = LeftOut(len(table), "survey networks")
    table = true_labels(table, left_out)
    return [_fit_rate_row(name, table, left_out, points) for name in varying(table)]


def _fit_rate_row(name: str, table: pd.DataFrame, left_out: LeftOut, points: SharedPoints) -> Row:
    """The shares of fitted networks by the levels of one axis: a description, without verdict."""
    question = Question(
        key=f"C0.fitted.{name}",
        claim="C0",
        dataset=points.dataset,
        quantity=f"share of the survey's networks that fit their training set, by {name}",
        test="shares by level, Wilson's intervals in the remarks",
        effect="largest - smallest share",
        claimed=None,
    )

    def compute() -> Finding:
        alpha = 1 - question.level(points.settings)
        shares, remarks = [], []
        for level, rows in table.groupby(name):
            fitted = int((rows["status"] == "fitted").sum())
            shares.append(fitted / len(rows))
            low, high = proportion_confint(fitted, len(rows), alpha, method="wilson")
            remarks.append(
                f"{name} {level}: {shares[-1]:.2f} [{low:.2f}, {high:.2f}] of {len(rows)}"
            )
        spread = max(shares) - min(shares)
        return Finding(spread, math.nan, math.nan, math.nan, 0, tuple(remarks))

    return answer(
        question,
        len(table),
        str(left_out),
        points.settings,
        compute,
        architectures=table["architecture"].nunique(),
        clustered=False,
    )


def best_percentiles(gap: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Median percentile of the loss among the tenth of networks with the smallest gap.

    Args:
        gap: (network, column); those of equal gap are taken in their order.
        loss: (network,).

    Returns:
        (column,) within 0 and 100; 50 for a choice that has nothing to do with the loss.
    """
    percentile = 100 * (stats.rankdata(loss) - 0.5) / len(loss)
    best = np.argsort(gap, axis=0, kind="stable")[: -(-len(loss) // 10)]
    return np.asarray(np.median(percentile[best], axis=0))
