"""The pilot of a study: networks of it that are trained first, and what they foretell.

Nobody should find out after the run that nothing fits. A pilot network is one of the study, so that
nothing is trained twice (STATISTICS, section 8).
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensigap import records
from sensigap.config import Analysis
from sensigap.design import Member
from sensigap.factors import FACTORS
from sensigap.needs import ARCHITECTURE, ELLIPSE_NETWORKS, PAIR_ARCHITECTURE
from sensigap.spec import HYPERPARAMETERS

if TYPE_CHECKING:
    import pandas as pd  # the plan of a run, which every job reads, does without

#: networks of the survey at least, and of them with each value of each axis
_LEAST = 40
_A_VALUE = 8
#: pairs of each factor
_A_SIDE = 8
# ASSUME: where the pilot would be more of a study than this, the study is its own pilot
_MOST_OF_STUDY = 0.75
#: level of the intervals
_LEVEL = 0.95
#: a side of a factor is told where less than this share of its networks fits, by its interval
_SELDOM = 0.5
#: the share that must fit of the augmentation share that is made the primary one (STATISTICS, 5)
_OFTEN = 0.8
#: training accuracy from which a network that does not fit is nearly there
_NEAR = 0.97

COLUMNS = (
    *("dataset", "kind", "name", "value", "pilots", "fitted", "share_low", "share_high"),
    *("steps", "in_study", "expected", "expected_low", "expected_high", "needed"),
    *("architectures", "architectures_needed", "outlook"),
)


class PilotError(RuntimeError):
    """The pilot foretells too few networks, and the study asks to stop then."""


def check(record: str | Path) -> None:
    """Looks into the pilot's table, which lies beside its record.

    Raises:
        PilotError: it foretells too few networks for some claim.
        DamagedFileError: the table is not as it was written.
    """
    import pandas as pd

    table = Path(record).with_name("pilot.csv")
    records.verify(record, [table])
    if short(pd.read_csv(table)):
        raise PilotError(
            "The pilot foretells too few networks for some claim, and execution.pilot is stop: the "
            f"run ends here. {table.with_suffix('.txt')} says what to change; set it to warn to go "
            "on as it is. Pilots stay."
        )


def choose(members: Mapping[str, Member]) -> list[str]:
    """The networks of a study that are its pilot, by id.

    Of each data set the first networks of the survey in the order of their ids, until there are 40
    and 8 of each value of each axis, and of each factor the first 8 pairs. Ids are digests, so this
    is a random choice that no other network decides. A data set of which these are nearly all has
    no pilot.
    """
    chosen: list[str] = []
    for dataset in dict.fromkeys(member.spec.dataset for member in members.values()):
        of_dataset = {
            identity: members[identity]
            for identity in sorted(members)
            if members[identity].spec.dataset == dataset
        }
        pilots = dict.fromkeys((*_of_survey(of_dataset), *_of_factors(of_dataset)))
        if len(pilots) <= _MOST_OF_STUDY * len(of_dataset):
            chosen += pilots
    return chosen


def axes(members: Iterable[Member]) -> dict[str, list[Any]]:
    """The hyper-parameters in which networks differ, seeds apart, with their values."""
    values = {
        name: sorted({getattr(member.spec, name) for member in members}, key=_sortable)
        for name, (_, record) in HYPERPARAMETERS.items()
        if record.compared
    }
    return {name: found for name, found in values.items() if len(found) > 1}


def _sortable(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _of_survey(members: Mapping[str, Member]) -> Iterator[str]:
    survey = {identity: member for identity, member in members.items() if member.in_survey}
    names = axes(list(survey.values()))
    count, so_far = 0, Counter[tuple[str, Any]]()
    for identity, member in survey.items():
        values = [(name, getattr(member.spec, name)) for name in names]
        if count < _LEAST or any(so_far[value] < _A_VALUE for value in values):
            count += 1
            so_far.update(values)
            yield identity


def _of_factors(members: Mapping[str, Member]) -> Iterator[str]:
    for sides in pairs(members).values():
        for pair in sorted(sides)[:_A_SIDE]:
            yield from sides[pair]


def pairs(members: Mapping[str, Member]) -> dict[str, dict[str, list[str]]]:
    """Factor -> pair -> its networks, worse side first as the design has them."""
    found: dict[str, dict[str, list[str]]] = {}
    for factor in FACTORS:
        of_factor: dict[str, list[str]] = {}
        for identity, member in members.items():
            if factor in member.pairs:
                of_factor.setdefault(member.pairs[factor][0], []).append(identity)
        if of_factor:
            found[factor] = of_factor
    return found


# --- what they foretell ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Trained:
    """What is known of a network that has been trained."""

    fitted: bool
    #: steps until it fitted, -1 if it did not
    fit_step: int
    train_accuracy: float


@dataclasses.dataclass(frozen=True)
class Findings:
    """The pilot's table, and what a person should know of it."""

    table: "pd.DataFrame"
    #: in words, line by line; the first of each data set names it
    lines: tuple[str, ...]


def read(stores: Iterable[str | Path]) -> dict[str, Trained]:
    """What training left of the networks of some cohorts, by id.

    Raises:
        DamagedFileError: a store is damaged.
        SchemaError: a store does not hold what training leaves.
    """
    from sensigap import survey

    found = {}
    for store in stores:
        training = survey.load(store, "training")
        names = ("network", "status", "fit_step", "train_accuracy")
        columns = (training[name].to_numpy().tolist() for name in names)
        for identity, status, step, accuracy in zip(*columns, strict=True):
            found[identity] = Trained(status == "fitted", int(step), float(accuracy))
    return found


def findings(
    members: Mapping[str, Member],
    trained: Mapping[str, Trained],
    analysis: Analysis,
    fit_accuracy: Callable[[str], float],
) -> Findings:
    """What the networks trained so far foretell of a study.

    Args:
        members: the study's networks.
        trained: those that have been trained; others of these cohorts are left out.
        analysis: the statistics' settings: how many networks a test needs.
        fit_accuracy: of a data set.

    Returns:
        A row for each claim, factor, and value of an axis; shares with Jeffreys' 95% intervals.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    for dataset in dict.fromkeys(member.spec.dataset for member in members.values()):
        of_dataset = {i: m for i, m in members.items() if m.spec.dataset == dataset}
        known = {i: trained[i] for i in of_dataset if i in trained}
        if known:
            made = [
                *_claims(of_dataset, known, analysis),
                *_values(of_dataset, known),
                *_shares(of_dataset, known),
            ]
            rows += [{"dataset": dataset, **row} for row in made]
            lines += _told(dataset, made, known, fit_accuracy(dataset))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return Findings(table, tuple(lines))


ENOUGH, DOUBTFUL, TOO_FEW = "enough", "may be too few", "too few"
_SHORT = (DOUBTFUL, TOO_FEW)


def short(table: "pd.DataFrame") -> bool:
    """Whether by a pilot's table some claim will hardly have the networks that it needs."""
    return bool(table["outlook"].isin(_SHORT).any())


def _claims(
    members: Mapping[str, Member], known: Mapping[str, Trained], analysis: Analysis
) -> Iterator[dict[str, Any]]:
    survey = [identity for identity, member in members.items() if member.in_survey]
    piloted = [known[identity] for identity in survey if identity in known]
    if piloted:
        with_ellipses = [i for i in survey if "ellipses" in members[i].chosen]
        row = _of_networks(("survey", "", ""), piloted)
        for name, identities, needed in (
            ("C0, C2", survey, analysis.minimum_networks),
            ("C1", with_ellipses, max(analysis.minimum_networks, ELLIPSE_NETWORKS)),
        ):
            if identities:
                kinds = _architectures((members[i] for i in identities), ARCHITECTURE)
                least = {"needed": needed, "architectures_needed": analysis.minimum_architectures}
                yield _foretold(row | {"name": name, **least}, len(identities), kinds)
    for factor, sides in pairs(members).items():
        whole = [
            [known[identity] for identity in identities]
            for identities in sides.values()
            if all(identity in known for identity in identities)
        ]
        if not whole:
            continue
        fits = [all(network.fitted for network in pair) for pair in whole]
        steps = _steps([network for pair in whole for network in pair])
        row = _row(("pairs", factor, ""), fits, steps)
        both = (members[identity] for pair in sides.values() for identity in pair)
        kinds = _architectures(both, PAIR_ARCHITECTURE)
        least = {
            "needed": analysis.minimum_networks,
            "architectures_needed": analysis.minimum_architectures,
        }
        yield _foretold(row | least, len(sides), kinds)
        for side in FACTORS[factor].sides:
            networks = [
                network
                for identity, network in known.items()
                if members[identity].pairs.get(factor, ("", ""))[1] == side.name
            ]
            yield _of_networks(("side", factor, side.name), networks)


def _values(
    members: Mapping[str, Member], known: Mapping[str, Trained]
) -> Iterator[dict[str, Any]]:
    """The fitted share of the survey's pilots by each value of each axis."""
    survey = {i: m for i, m in members.items() if m.in_survey}
    for name, values in axes(list(survey.values())).items():
        for value in values:
            networks = [
                known[i]
                for i, member in survey.items()
                if i in known and getattr(member.spec, name) == value
            ]
            if networks:
                yield _of_networks(("axis", name, value), networks)


def _shares(
    members: Mapping[str, Member], known: Mapping[str, Trained]
) -> Iterator[dict[str, Any]]:
    """The fitted share of augmented networks by the share of images that is augmented."""
    by_share: dict[float, list[Trained]] = {}
    for identity, network in known.items():
        spec = members[identity].spec
        if spec.augmented:
            by_share.setdefault(spec.augmentation_share, []).append(network)
    for share, networks in sorted(by_share.items()):
        yield _of_networks(("augmentation_share", "", share), networks)


def _architectures(members: Iterable[Member], names: Sequence[str]) -> int:
    return len({tuple(getattr(member.spec, name) for name in names) for member in members})


def _steps(networks: Sequence[Trained]) -> float:
    """Median steps until the networks that fit did."""
    steps = [network.fit_step for network in networks if network.fitted and network.fit_step >= 0]
    return float(np.median(steps)) if steps else math.nan


def _of_networks(what: tuple[str, str, Any], networks: Sequence[Trained]) -> dict[str, Any]:
    """The share of networks that fits, see `_row`."""
    return _row(what, [network.fitted for network in networks], _steps(networks))


def _row(what: tuple[str, str, Any], fits: Sequence[bool], steps: float) -> dict[str, Any]:
    """The share that fits, of networks or pairs, with its interval."""
    from scipy import stats

    count, total = sum(fits), len(fits)
    # Jeffreys' interval; at none and at all it reaches 0 and 1
    tail = (1 - _LEVEL) / 2
    law = stats.beta(count + 0.5, total - count + 0.5)
    low = float(law.ppf(tail)) if count else 0.0
    high = float(law.ppf(1 - tail)) if count < total else 1.0
    return dict.fromkeys(COLUMNS[1:]) | {
        **dict(zip(("kind", "name", "value"), what, strict=True)),
        "pilots": total,
        "fitted": count,
        "share_low": low,
        "share_high": high,
        "steps": steps,
    }


def _foretold(row: dict[str, Any], in_study: int, architectures: int) -> dict[str, Any]:
    """A row that says what is needed, with what it means for all networks or pairs of the study.

    Its architectures must be enough even if all of them fit.
    """
    expected = in_study * row["fitted"] / row["pilots"]
    most, needed = row["share_high"] * in_study, row["needed"]
    hopeless = most < needed or architectures < row["architectures_needed"]
    return row | {
        "in_study": in_study,
        "expected": expected,
        "expected_low": row["share_low"] * in_study,
        "expected_high": most,
        "architectures": architectures,
        "outlook": TOO_FEW if hopeless else ENOUGH if expected >= needed else DOUBTFUL,
    }


def _told(
    dataset: str, rows: Sequence[Mapping[str, Any]], known: Mapping[str, Trained], enough: float
) -> Iterator[str]:
    """The pilot of a data set in words."""
    fitted = sum(network.fitted for network in known.values())
    yield (
        f"Pilot of {dataset}: {fitted} of {len(known)} networks reach the training accuracy "
        f"{enough:g} that counts as fitted."
    )
    for row in rows:
        if row["needed"] is None:
            continue
        what = "networks" if row["kind"] == "survey" else "pairs"
        steps = (
            "" if math.isnan(row["steps"]) else f", those after {row['steps']:,.0f} steps (median)"
        )
        found, least = row["architectures"], row["architectures_needed"]
        few = f", of {found} architectures, {least} needed" if found < least else ""
        yield (
            f"  {row['name']}: {row['fitted']} of {row['pilots']} {what} fit{steps}; of "
            f"{row['in_study']} {row['expected_low']:.0f} to {row['expected_high']:.0f} are "
            f"expected, {row['needed']} needed{few}: {row['outlook']}"
        )
    shares = [row for row in rows if row["kind"] == "augmentation_share"]
    if shares:
        texts = [f"{row['value']:g}: {row['fitted']} of {row['pilots']}" for row in shares]
        often = [row["value"] for row in shares if row["fitted"] >= _OFTEN * row["pilots"]]
        largest = f"{max(often):g}" if often else "none"
        yield (
            f"  Augmented networks that fit, by augmentation_share: {', '.join(texts)}; the "
            f"largest of which {100 * _OFTEN:.0f}% fit, for primary_share: {largest}."
        )
    if any(row["outlook"] in _SHORT for row in rows):
        yield from _advice(rows, known, enough)


def _advice(
    rows: Sequence[Mapping[str, Any]], known: Mapping[str, Trained], enough: float
) -> Iterator[str]:
    """What to change where too little fits."""
    by_axis: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["kind"] == "axis":
            by_axis.setdefault(row["name"], []).append(row)
    told = False
    for name, values in by_axis.items():
        best = max(values, key=lambda row: row["share_low"])
        worse = [row for row in values if row["share_high"] < best["share_low"]]
        if worse:
            told = True
            texts = [f"{row['value']} ({row['fitted']} of {row['pilots']})" for row in worse]
            yield (
                f"  Seldom fit: {name} {', '.join(texts)}, against {best['value']} "
                f"({best['fitted']} of {best['pilots']}). Leave these values out, or help them."
            )
    if by_axis and not told:
        yield "  No axis tells the networks that fit from the others."
    sides = [row for row in rows if row["kind"] == "side" and row["share_high"] < _SELDOM]
    for row in sides:
        yield (
            f"  Of factor {row['name']} the side {row['value']} fits in {row['fitted']} of "
            f"{row['pilots']}: give it more steps or wider networks, or leave the factor out."
        )
    missed = [network.train_accuracy for network in known.values() if not network.fitted]
    if missed:
        # NaN of networks that diverged
        accuracy = float(np.nanmedian([*missed, 0.0] if np.isnan(missed).all() else missed))
        yield (
            f"  Those that do not fit end at a training accuracy of {accuracy:.3f} in the median: "
            + (
                "nearly there; raise steps, or lower fit_accuracy and say so."
                if accuracy >= _NEAR
                else "far from it; raise steps and width, or lower train_size."
            )
        )
    if any((row["architectures"] or 0) < (row["architectures_needed"] or 0) for row in rows):
        yield (
            "  The error of a row is over architectures (depth, width, unit; in pairs depth and "
            "width): give these axes more values."
        )
    late = [network.fit_step for network in known.values() if network.fitted]
    if late:
        yield (
            f"  Those that fit do so at {int(np.median(late)):,} steps in the median, the last at "
            f"{max(late):,}."
        )
