"""Rows that are rank correlations over networks, with the axes they may be mixed by."""

import contextlib
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from sensigap.analysis.bootstrap import DoesNotApply, to_scale
from sensigap.analysis.groups import Axis, interaction, mixed
from sensigap.analysis.relations import Relation
from sensigap.analysis.survey_table import LeftOut
from sensigap.analysis.verdicts import Finding, Question, Row, Settings, answer, one

SPEARMAN = "Spearman; error over architectures and test points"
PARTIAL = "Spearman of rank residuals after dummies; error over architectures and test points"


def relation_row(
    question: Question,
    make: Callable[[], Relation],
    table: pd.DataFrame,
    left_out: LeftOut,
    settings: Settings,
    *,
    axes: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> Row:
    """The row of a relation, and what the groups of its axes say.

    Args:
        question: what is asked.
        make: the relation, of the networks of `table`; raises `DoesNotApply`.
        table: those networks.
        left_out: what was left out of them.
        settings: of the tests.
        axes: hyper-parameters by which it may be mixed.
        remarks: what else is said.
    """

    def compute() -> Finding:
        relation = make()
        found = one(question, relation.estimate(question.draws(settings), settings), settings)

        # ASSUME: a claim of no relation is mixed where groups have relations of opposite signs
        def test(member: np.ndarray, name: str) -> tuple[float, int, str]:
            of_group = relation.some(member).estimate(question.draws(settings, what=name), settings)
            return of_group.p(), int(np.sign(of_group.value)), f"{of_group.value:.2f}"

        found = mixed(found, [axis(table, name) for name in axes], test, settings)
        return found.noted(*remarks)

    return table_row(question, table, left_out, settings, compute)


def interaction_row(
    question: Question,
    make: Callable[[], Relation],
    table: pd.DataFrame,
    left_out: LeftOut,
    settings: Settings,
    *,
    name: str,
) -> Row:
    """Whether a relation differs between the groups of a hyper-parameter.

    Args:
        question: what is asked.
        make, table, left_out, settings: as `relation_row`.
        name: the hyper-parameter.
    """

    def compute() -> Finding:
        relation = make()
        by = axis(table, name)
        effects = {}
        for group, member in by.groups.items():
            with contextlib.suppress(DoesNotApply):
                effects[group] = float(to_scale("correlation", relation.some(member).value()))

        def resample(member: np.ndarray, counts: np.ndarray) -> np.ndarray:
            return relation.some(member).resampled(counts)

        rng = question.draws(settings)
        return interaction(
            by, effects, resample, rng, resamples=settings.bootstrap, scale="correlation"
        )

    return table_row(question, table, left_out, settings, compute)


def table_row(
    question: Question,
    table: pd.DataFrame,
    left_out: LeftOut,
    settings: Settings,
    compute: Callable[[], Finding],
) -> Row:
    """The row of a question about the networks of a table, with architectures as clusters.

    Args:
        question, settings, compute: as `verdicts.answer`.
        table: the networks that `compute` uses.
        left_out: what was left out of them.
    """
    return answer(
        question,
        len(table),
        str(left_out),
        settings,
        compute,
        architectures=table["architecture"].nunique(),
    )


def interaction_question(of: Question, name: str) -> Question:
    """What `interaction_row` asks of the relation of another row."""
    return Question(
        key=f"{of.key}.by_{name}",
        claim=of.claim,
        dataset=of.dataset,
        quantity=f"{of.quantity}: differs by {name}",
        test="F of the groups' effects, from one bootstrap over architectures",
        effect="F",
        claimed=None,
    )


def axis(table: pd.DataFrame, name: str) -> Axis:
    """A hyper-parameter of a table's networks as an axis."""
    codes = pd.factorize(table["architecture"], sort=True)[0]
    return Axis(name, table[name].to_numpy(), codes)
