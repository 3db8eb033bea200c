"""C2: what the generalization gap of fitted networks has to do with their sensitivity."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pandas as pd

from sensigap.analysis.bootstrap import DoesNotApply
from sensigap.analysis.crossfit import crossfitted
from sensigap.analysis.regression import regression
from sensigap.analysis.relation_rows import PARTIAL, SPEARMAN, relation_row, table_row
from sensigap.analysis.relations import Quantity, Relation
from sensigap.analysis.shared_points import AGGREGATES, SharedPoints, unbroken
from sensigap.analysis.survey_table import (
    LeftOut,
    networks_table,
    sensitive,
    survey_members,
    true_labels,
    varying,
)
from sensigap.analysis.verdicts import Question, Row, Settings, one


def sensitivity_and_gap(points: SharedPoints) -> list[Row]:
    """C2: gap against log10 sensitivity, raw, within hyper-parameters and cross-fitted.

    STATISTICS, sections 6 and 7. Beside them, as secondary rows: given confidence, on test error,
    with other aggregates, by regression, and with transitions in the norm's place.

    Args:
        points: of a survey.
    """
    dataset, settings = points.dataset, points.settings
    table, left_out = sensitive(*survey_members(points.survey))
    names = table.index.tolist()
    raw = Question(
        key="C2.raw",
        claim="C2",
        dataset=dataset,
        quantity="gap and log10 sensitivity",
        test=SPEARMAN,
        effect="Spearman's rho",
        claimed=1,
        primary=True,
    )

    @functools.cache
    def make() -> Relation:
        norm = table["sensitivity_log10"].to_numpy(float), points.sensitivity_log10(names)[1]
        return _relation(table, norm, points)

    def given_confidence() -> Relation:
        return dataclasses.replace(
            make(), names=tuple(varying(table)), given=points.doubt_log10(names)
        )

    rows = [_crossfit_row(raw, table, left_out, points)]
    rows += _raw_and_within(raw, make, table, left_out, settings)
    confidence = dataclasses.replace(
        within(raw),
        key="C2.given_confidence",
        quantity="gap and log10 sensitivity within hyper-parameters and mean confidence",
    )
    rows.append(
        relation_row(
            confidence,
            given_confidence,
            table,
            left_out,
            settings,
            remarks=("the rank of log10 of mean 1 - confidence joins the dummies",),
        )
    )
    for aggregate in ("rms", "median", "geometric"):
        rows += _aggregate_rows(raw, aggregate, table, left_out, points)
    rows += _test_error_rows(raw, points)
    rows.append(_regression_row(dataset, make, table, left_out, settings))
    rows += _transitions_rows(raw, table, left_out, points)
    return rows


def within(raw: Question) -> Question:
    """The same question within hyper-parameters, a secondary row."""
    return dataclasses.replace(
        raw,
        key=f"{raw.key.removesuffix('.raw')}.within",
        quantity=f"{raw.quantity} within hyper-parameters",
        test=raw.test.replace(SPEARMAN, PARTIAL),
        effect="partial Spearman's rho",
        primary=False,
    )


def _relation(table: pd.DataFrame, x: Quantity, points: SharedPoints) -> Relation:
    """A quantity against the gap."""
    return Relation(
        table=table,
        x=x,
        y=(table["gap"].to_numpy(float), points.gap(table)),
        points=points.count,
        words=("log10 sensitivity", "gap"),
    )


def _raw_and_within(
    raw: Question,
    make: Callable[[], Relation],
    table: pd.DataFrame,
    left_out: LeftOut,
    settings: Settings,
    *,
    remarks: tuple[str, ...] = (),
) -> list[Row]:
    """A relation raw, and within hyper-parameters."""
    make = functools.cache(make)
    names = tuple(varying(table))
    return [
        relation_row(raw, make, table, left_out, settings, remarks=remarks),
        relation_row(
            within(raw),
            lambda: dataclasses.replace(make(), names=names),
            table,
            left_out,
            settings,
            remarks=remarks,
        ),
    ]


def _crossfit_row(
    raw: Question,
    table: pd.DataFrame,
    left_out: LeftOut,
    points: SharedPoints,
) -> Row:
    question = dataclasses.replace(
        within(raw),
        key="C2.within.crossfit",
        quantity="gap and log10 sensitivity within hyper-parameters, cross-fitted: norm and test "
        "accuracy over different halves of the test points",
        primary=True,
    )
    return table_row(
        question,
        table,
        left_out,
        points.settings,
        lambda: one(question, crossfitted(question, table, points), points.settings),
    )


def _aggregate_rows(
    raw: Question,
    aggregate: str,
    table: pd.DataFrame,
    left_out: LeftOut,
    points: SharedPoints,
) -> list[Row]:
    """Another aggregate of the norm over test points in the arithmetic mean's place."""
    question = dataclasses.replace(
        raw,
        key=f"C2.{aggregate}.raw",
        quantity=f"gap and log10 {AGGREGATES[aggregate]} of the Jacobian norm",
        primary=False,
    )
    values, halves = points.sensitivity_log10(table.index.tolist(), aggregate)
    defined = np.isfinite(values)
    kept, reasons = table[defined], left_out.copy()
    reasons.add(f"with a {AGGREGATES[aggregate]} of 0", int((~defined).sum()))
    remarks: tuple[str, ...] = ()
    if aggregate == "geometric":
        zeros = int(kept["jacobian_zero"].sum())
        of = len(kept) * points.count
        remarks = (f"{zeros:,} of {of:,} points with J = 0 left out of the means",)
    x = values[defined], halves[defined]
    return _raw_and_within(
        question,
        lambda: _relation(kept, x, points),
        kept,
        reasons,
        points.settings,
        remarks=remarks,
    )


def _test_error_rows(raw: Question, points: SharedPoints) -> list[Row]:
    """Test error over all networks that did not diverge: 'fitted' selects, and this does not.

    Networks with J = 0 at every test point, whose output is the same for all, are the least
    sensitive: ranks need no logarithm.
    """
    everyone = networks_table(points.survey)
    everyone = everyone[everyone["in_survey"].astype(bool)]
    left_out = LeftOut(len(everyone), "survey networks")
    table = true_labels(everyone, left_out)
    diverged = table["status"] == "diverged"
    left_out.add("diverged", int(diverged.sum()))
    table = table[~diverged]
    unmeasured = table["sensitivity"].isna()
    left_out.add("without a measured sensitivity", int(unmeasured.sum()))
    table = table[~unmeasured]
    zeros = int((table["sensitivity"] == 0).sum())
    question = dataclasses.replace(
        raw,
        key="C2.test_error.raw",
        quantity="test error and log10 sensitivity, also of networks that do not fit",
        primary=False,
    )

    def make() -> Relation:
        if not (table["status"] == "not fitted").any():
            raise DoesNotApply(
                "the survey has no Jacobian norms of networks that do not fit, and over the fitted "
                "ones test error and gap are the same"
            )
        names = table.index.tolist()
        return Relation(
            table=table,
            x=(
                table["sensitivity"].to_numpy(float),
                10.0 ** points.sensitivity_log10(names)[1],
            ),
            y=(
                1 - table["test_accuracy"].to_numpy(float),
                unbroken(
                    1
                    - table["test_accuracy"].to_numpy(float)[:, None]
                    - points.accuracy_shift(names)
                ),
            ),
            points=points.count,
            words=("sensitivity", "test error"),
        )

    remarks = (f"{zeros} with J = 0 at every test point, the lowest ranks",) if zeros else ()
    return _raw_and_within(question, make, table, left_out, points.settings, remarks=remarks)


def _regression_row(
    dataset: str,
    make: Callable[[], Relation],
    table: pd.DataFrame,
    left_out: LeftOut,
    settings: Settings,
) -> Row:
    question = Question(
        key="C2.ols",
        claim="C2",
        dataset=dataset,
        quantity="gap on log10 sensitivity within hyper-parameters",
        test="OLS with dummies; error by jackknife over architectures (CR3), and test points",
        effect="gap per decade of sensitivity",
        claimed=1,
    )
    return table_row(
        question,
        table,
        left_out,
        settings,
        lambda: one(
            question,
            regression(dataclasses.replace(make(), names=tuple(varying(table)))),
            settings,
        ),
    )


def _transitions_rows(
    raw: Question,
    table: pd.DataFrame,
    left_out: LeftOut,
    points: SharedPoints,
) -> list[Row]:
    """Transitions in the norm's place: the paper found that they do not track the gap."""
    question = dataclasses.replace(
        raw,
        key="C2.transitions.raw",
        quantity="gap and transitions",
        test=f"{SPEARMAN}; two one-sided tests of equivalence",
        claimed=0,
        primary=False,
    )
    measured = table["mean_transitions"].notna()
    kept, reasons = table[measured], left_out.copy()
    reasons.add("without measured transitions", int((~measured).sum()))

    def make() -> Relation:
        # both over the same halves: the transitions over those of their points in each
        halves = points.transitions_by_halves(kept.index.tolist())
        x = kept["mean_transitions"].to_numpy(float), halves
        return dataclasses.replace(
            _relation(kept, x, points),
            # the fewest of any network: a row has one number
            points=int(points.transition_points(kept.index.tolist()).min()),
            words=("transitions", "gap"),
        )

    return _raw_and_within(
        question,
        make,
        kept,
        reasons,
        points.settings,
        remarks=("the paper's statement, from memory: transitions do not track the gap",),
    )
