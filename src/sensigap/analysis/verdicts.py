"""What a row of the claims table is, and how its verdict follows from its numbers."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sensigap.analysis.bootstrap import DoesNotApply
from sensigap.analysis.errors import Estimate
from sensigap.seeds import generator

SUPPORTED = "supported"
CONTRADICTED = "contradicted"
MIXED = "mixed"
NOT_SUPPORTED = "not supported"
SILENT = "does not speak"
IMPRECISE = "too imprecise"
TOO_FEW = "too few networks"
#: controls and comparisons are shown, not judged
NONE = "none"
VERDICTS = (SUPPORTED, CONTRADICTED, MIXED, NOT_SUPPORTED, SILENT, IMPRECISE, TOO_FEW, NONE)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the claims are tested: section 'analysis' of a study's configuration."""

    #: resamples of each bootstrap
    bootstrap: int = 2000
    #: decides every resample, and which networks C5 looks at
    seed: int = 0
    #: below this many networks, or pairs, a row has no p
    minimum_networks: int = 20
    #: the same of architectures
    minimum_architectures: int = 10
    #: level of the tests; intervals hold 1 - alpha
    alpha: float = 0.05
    #: a rank correlation within +- this counts as none (C0, transitions in C2)
    equivalence: float = 0.2
    #: networks whose single points are analysed (C5)
    point_networks: int = 30
    #: of the test points, for their part of the error
    halvings: int = 200
    #: of the test points into one half for sensitivity and one for accuracy (C2)
    crossfit_splits: int = 20


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
    #: side of the null on which the claim puts the effect: 1, -1; 0: a claim that there is none;
    #: None: a control or a comparison, without verdict
    claimed: int | None
    #: None: the effect is compared with no value, so that there is no p
    null: float | None = 0.0
    #: named before looking, and in Holm's family of its data set
    primary: bool = False
    #: to compare with: the same before training
    control: bool = False

    def draws(self, settings: Settings, *, what: str = "") -> np.random.Generator:
        """This row's random draws, on which no other row's depend: see `draws`.

        Args:
            settings: of the tests.
            what: is drawn, where a row draws several things.
        """
        return draws(settings, self.dataset, f"{self.key} {what}".strip())

    def level(self, settings: Settings) -> float:
        """What the row's interval holds: 1 - alpha, for claims of no relation 1 - 2 alpha."""
        return 1 - settings.alpha * (2 if self.claimed == 0 else 1)


def draws(settings: Settings, dataset: str, key: str) -> np.random.Generator:
    """Random draws that depend on the analysis' seed, the data set and a key alone.

    So they are the same whatever else is asked, and in whatever words.
    """
    return generator(settings.seed, f"analysis {dataset} {key}")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a test found: the numbers of a row, and what else its verdict needs."""

    estimate: float
    low: float
    high: float
    #: NaN where there is no null
    p: float
    #: of the null on which the effect lies: 1, -1; 0 where two effects disagree
    side: int
    remarks: tuple[str, ...] = ()
    #: p of an effect that the row presumes to be above 0; 1 where it is below, NaN: presumes none
    gate: float = math.nan
    #: of a claim of no relation: the 1 - alpha interval lies wholly beyond the limits
    beyond: bool = False
    #: of a claim of no relation: it could hardly be shown if it were true
    imprecise: bool = False
    #: the axis whose groups are significant on both sides; '' where there is none
    mixed: str = ""

    def noted(self, *remarks: str, first: bool = False) -> "Finding":
        """The same with further remarks, those that are not ''."""
        given = tuple(text for text in remarks if text)
        joined = given + self.remarks if first else self.remarks + given
        return dataclasses.replace(self, remarks=joined)


def one(question: Question, found: Estimate, settings: Settings) -> Finding:
    """What an estimate says to a question (STATISTICS, section 6: error, equivalence)."""
    low, high = found.interval(question.level(settings))
    null = question.null
    beyond = imprecise = False
    if question.claimed == 0:
        limit = settings.equivalence
        p = found.equivalence_p(limit)
        outer = found.interval(1 - settings.alpha)
        beyond = outer[0] > limit or outer[1] < -limit
        imprecise = found.error > limit / found.quantile(1 - settings.alpha) / 2
    else:
        p = math.nan if null is None else found.p(null)
    side = 0 if null is None else int(np.sign(found.value - null))
    remarks = (*found.remarks, found.parts())
    return Finding(found.value, low, high, p, side, remarks, beyond=beyond, imprecise=imprecise)


def union(
    question: Question,
    parts: Mapping[str, Estimate],
    settings: Settings,
    *,
    shown: str = "",
    gate: str = "",
) -> Finding:
    """An intersection-union test: all parts on the same side of 0, p the largest of theirs.

    Args:
        question: what is asked.
        parts: words -> an estimate with null 0.
        settings: of the tests.
        shown: the part whose effect the row shows; '': the one with the largest p.
        gate: the part that is presumed to be above 0, on whichever side the others are; '': none.

    Returns:
        p is 1 where the parts disagree, or what is presumed is below 0: that is no evidence for
        either side.
    """
    values = {name: part.p() for name, part in parts.items()}
    signs = {int(np.sign(part.value)) for name, part in parts.items() if name != gate}
    side = signs.pop() if len(signs) == 1 else 0
    gate_p = math.nan
    if gate:
        above = parts[gate].value > 0
        gate_p = values[gate] if above else 1.0
        side = side if above else 0
    p = max(values.values()) if side else 1.0
    shown = shown or max(values, key=lambda name: values[name])
    low, high = parts[shown].interval(question.level(settings))
    remarks = []
    for name, part in parts.items():
        ends = part.interval(question.level(settings))
        remarks.append(
            f"{name} {part.value:.3g} [{ends[0]:.3g}, {ends[1]:.3g}], p {values[name]:.2g}, "
            f"{part.parts()}"
        )
        remarks += part.remarks
    if not side:
        remarks.append(f"{gate} is not above 0" if gate_p == 1 else "their signs differ")
    return Finding(parts[shown].value, low, high, p, side, tuple(remarks), gate=gate_p)


@dataclasses.dataclass(frozen=True)
class Row:
    """A question with its answer; `finding` is None where there was none to be had."""

    question: Question
    n: int
    architectures: int
    left_out: str
    finding: Finding | None
    too_few: bool
    remarks: tuple[str, ...]


def answer(
    question: Question,
    n: int,
    left_out: str,
    settings: Settings,
    compute: Callable[[], Finding],
    *,
    architectures: int,
    minimum: int | None = None,
    clustered: bool = True,
    instead: Callable[[], str] = lambda: "",
) -> Row:
    """Answers a question where there are enough networks and its test applies.

    Args:
        question: what is asked.
        n: networks, or pairs of them, that `compute` uses.
        left_out: how many were left out, and why.
        settings: of the tests.
        compute: the test; raises `DoesNotApply` with the reason.
        architectures: of those networks or pairs.
        minimum: fewest networks; None: that of the settings.
        clustered: whether the error is over architectures, so that they must be enough.
        instead: what is said where there are too few.
    """
    minimum = settings.minimum_networks if minimum is None else minimum
    few = [f"{n} of at least {minimum}"] if n < minimum else []
    if clustered and architectures < settings.minimum_architectures:
        few.append(f"{architectures} architectures of at least {settings.minimum_architectures}")
    if few:
        remarks = tuple(text for text in (", ".join(few), instead()) if text)
        return Row(question, n, architectures, left_out, None, True, remarks)
    try:
        found = compute()
    except DoesNotApply as reason:
        remarks = (f"does not apply: {reason}",)
        return Row(question, n, architectures, left_out, None, False, remarks)
    return Row(question, n, architectures, left_out, found, False, found.remarks)


def holm(rows: Sequence[Row]) -> np.ndarray:
    """Holm-adjusted p (row,) over the primary rows of each data set that have one; NaN elsewhere.

    Rows that are too few, or do not apply, have no p and do not count.
    """
    adjusted = np.full(len(rows), math.nan)
    for _, places, p in _families(rows):
        adjusted[places] = holm_adjusted(p)
    return adjusted


def _families(rows: Sequence[Row]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Data set by data set: the places of its primary rows with a p, and these p."""
    found = []
    for dataset in dict.fromkeys(row.question.dataset for row in rows):
        tested = [
            (place, row.finding.p)
            for place, row in enumerate(rows)
            if row.question.dataset == dataset
            and row.question.primary
            and row.finding is not None
            and not math.isnan(row.finding.p)
        ]
        if tested:
            places, p = zip(*tested, strict=True)
            found.append((dataset, np.array(places), np.array(p)))
    return found


def holm_adjusted(p: np.ndarray) -> np.ndarray:
    """Holm-adjusted p (test,) of a family: times m, m - 1, ..., from the smallest on, and rising.

    The same as statsmodels' multipletests, which collects garbage each time (0.4 s a call).
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def gates(rows: Sequence[Row]) -> np.ndarray:
    """What each row's presumed effect has for p (row,), adjusted as the row's own; NaN: none.

    ASSUME: 'significantly above 0' is meant at the row's own level, so this is Holm's adjustment
    with this p in the place of the row's; a secondary row's stays as it is.
    """
    result = np.array([row.finding.gate if row.finding else math.nan for row in rows])
    for _, places, p in _families(rows):
        for position, place in enumerate(places):
            if not math.isnan(result[place]):
                replaced = p.copy()
                replaced[position] = result[place]
                result[place] = holm_adjusted(replaced)[position]
    return result


def verdict(row: Row, p: float, gate: float, settings: Settings) -> str:
    """The verdict that a row's numbers give (STATISTICS, section 6).

    ASSUME: a test that does not apply to the data says nothing of the claim: 'does not speak'.

    Args:
        row: question and finding.
        p: of the row, adjusted where it is primary.
        gate: p of what it presumes, adjusted in the same way; NaN where it presumes nothing.
        settings: of the tests.
    """
    question, found = row.question, row.finding
    if question.claimed is None:
        return NONE
    if row.too_few:
        return TOO_FEW
    if found is None:
        return SILENT
    if found.mixed:
        return MIXED
    significant = p < settings.alpha
    if question.claimed == 0:
        if significant:
            return SUPPORTED
        if found.beyond:
            return CONTRADICTED
        return IMPRECISE if found.imprecise else NOT_SUPPORTED
    if not math.isnan(gate) and not gate < settings.alpha:
        return SILENT
    if significant and found.side:
        return SUPPORTED if found.side == question.claimed else CONTRADICTED
    return NOT_SUPPORTED


def judge(rows: Sequence[Row], settings: Settings) -> list[tuple[float, str]]:
    """Each row's Holm-adjusted p (NaN for secondary rows) and its verdict."""
    adjusted, presumed = holm(rows), gates(rows)
    judged = []
    for row, p_holm, gate in zip(rows, adjusted, presumed, strict=True):
        own = row.finding.p if row.finding else math.nan
        p = float(p_holm) if row.question.primary else own
        judged.append((float(p_holm), verdict(row, p, float(gate), settings)))
    return judged
