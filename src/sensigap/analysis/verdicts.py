"""What a row of the claims table is, and how its verdict follows from its numbers."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from statsmodels.stats.multitest import multipletests

from sensigap.analysis.bootstrap import DoesNotApply, Result
from sensigap.seeds import generator

SUPPORTED = "supported"
CONTRADICTED = "contradicted"
NOT_SUPPORTED = "not supported"
TOO_FEW = "too few networks"
#: C1's rows on untrained networks are compared with, not judged
CONTROL = ""
VERDICTS = (SUPPORTED, CONTRADICTED, NOT_SUPPORTED, TOO_FEW)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the claims are tested: section 'analysis' of a study's configuration."""

    #: resamples of each bootstrap
    bootstrap: int = 2000
    #: decides every resample, and which networks C5 looks at
    seed: int = 0
    #: below this many networks, or pairs, a row has no p
    minimum_networks: int = 20
    #: level of the tests; intervals hold 1 - alpha
    alpha: float = 0.05
    #: a rank correlation within +- this counts as none (C0)
    equivalence: float = 0.2
    #: networks whose single points are analysed (C5)
    point_networks: int = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """What a row asks, before any number is known."""

    #: names the row among all of its data set, whatever is said of it: 'C0.size.raw'
    key: str
    claim: str
    dataset: str
    quantity: str
    test: str
    #: name of the effect size
    effect: str
    #: side of the null on which the claim puts the effect: 1, -1; 0: a claim that there is none
    claimed: int
    null: float = 0.0
    #: to compare with, without a verdict
    control: bool = False
    #: key of another row of the data set without which this row does not speak to the claim
    presumes: str = ""

    def draws(self, settings: Settings, *, what: str = "") -> np.random.Generator:
        """This row's random draws, on which no other row's depend: see `draws`.

        Args:
            settings: of the tests.
            what: is drawn, where a row draws several things.
        """
        return draws(settings, self.dataset, f"{self.key} {what}".strip())


def draws(settings: Settings, dataset: str, key: str) -> np.random.Generator:
    """Random draws that depend on the analysis' seed, the data set and a key alone.

    So they are the same whatever else is asked, and in whatever words.
    """
    return generator(settings.seed, f"analysis {dataset} {key}")


@dataclasses.dataclass(frozen=True)
class Row:
    """A question with its answer; `result` is None where there was none to be had."""

    question: Question
    n: int
    left_out: str
    result: Result | None
    too_few: bool
    note: str


def answer(
    question: Question, n: int, left_out: str, minimum: int, compute: Callable[[], Result]
) -> Row:
    """Answers a question where there are enough networks and its test applies.

    Args:
        question: what is asked.
        n: networks, or pairs of them, that `compute` uses.
        left_out: how many were left out, and why.
        minimum: with fewer the row is 'too few networks'.
        compute: the test; raises `DoesNotApply` with the reason.
    """
    if n < minimum:
        return Row(question, n, left_out, None, True, f"{n} of at least {minimum}")
    try:
        result = compute()
    except DoesNotApply as reason:
        return Row(question, n, left_out, None, False, f"does not apply: {reason}")
    return Row(question, n, left_out, result, False, result.note)


def holm(rows: Sequence[Row], alpha: float) -> np.ndarray:
    """Holm-adjusted p (row,) over all rows that have one; NaN for the others."""
    p = np.array([row.result.p if row.result else math.nan for row in rows])
    adjusted = np.full(len(p), math.nan)
    tested = np.isfinite(p)
    if tested.any():
        adjusted[tested] = multipletests(p[tested], alpha=alpha, method="holm")[1]
    return adjusted


def verdict(row: Row, p_holm: float, settings: Settings) -> str:
    """The verdict that a row's own numbers give (STUDY, 'Statistics').

    A claim of no relation is supported by an interval within +- `equivalence`, and contradicted by
    one beyond it; a claimed effect by an interval clear of the null on its side. A row whose test
    does not apply is 'not supported', as whatever is neither supported nor contradicted.
    """
    question, result = row.question, row.result
    if question.control:
        return CONTROL
    if row.too_few:
        return TOO_FEW
    if result is None:
        return NOT_SUPPORTED
    significant = p_holm < settings.alpha
    if question.claimed == 0:
        inside = -settings.equivalence <= result.low and result.high <= settings.equivalence
        beyond = result.low > settings.equivalence or result.high < -settings.equivalence
        if inside:
            return SUPPORTED
        return CONTRADICTED if significant and beyond else NOT_SUPPORTED
    clear = result.low > question.null or result.high < question.null
    if not (significant and clear):
        return NOT_SUPPORTED
    side = math.copysign(1, result.estimate - question.null)
    return SUPPORTED if side == question.claimed else CONTRADICTED


def judge(
    rows: Sequence[Row], p_holm: Sequence[float] | np.ndarray, settings: Settings
) -> list[tuple[str, str]]:
    """Each row's verdict, and what it says of the row that it presumes ('' where it presumes none).

    A row whose presumed row is not supported does not speak to the claim: whatever its own numbers
    say, it neither supports nor contradicts it.
    """
    given = [verdict(row, p, settings) for row, p in zip(rows, p_holm, strict=True)]
    by_key = {
        (row.question.dataset, row.question.key): own for row, own in zip(rows, given, strict=True)
    }
    judged = []
    for row, own in zip(rows, given, strict=True):
        question = row.question
        if not question.presumes:
            judged.append((own, ""))
            continue
        presumed = by_key[question.dataset, question.presumes]
        if presumed == SUPPORTED:
            judged.append((own, "the gap moved as presumed"))
            continue
        remark = "does not speak to the claim: the gap did not move as presumed"
        judged.append((own if own == TOO_FEW else NOT_SUPPORTED, f"{remark} (its row: {presumed})"))
    return judged
