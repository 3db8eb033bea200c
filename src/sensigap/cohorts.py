"""Cohorts: the networks that one job trains. A cohort never changes, and the plan only grows.

`extend` is a pure function of the cohorts that exist and the design: a network that has a cohort
keeps it, new networks form new cohorts, and networks that no study names any more stay where they
are. So an extended study trains and measures only what is new, and studies share their networks.

A cohort is the folder `<dataset>-<digest>` with `networks.csv`, one row a network; the digest is of
the networks' ids, so a table that lost a row does not pass.
"""

import csv
import dataclasses
import hashlib
import io
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sensigap.files import CHECKPOINT, written_whole
from sensigap.integrity import MissingFileError, damaged
from sensigap.spec import HYPERPARAMETERS, NetworkSpec
from sensigap.weights_header import HeaderError, read_header

#: network id -> (cohort, spec)
Plan = dict[str, tuple[str, NetworkSpec]]

TABLE = "networks.csv"
WEIGHTS = "weights.safetensors"
TRAINING = "training.zarr"

_FIELDS = {field.name: field.default for field in dataclasses.fields(NetworkSpec)}
_KINDS: dict[str, Callable[[str], object]] = {
    name: (lambda text: {"True": True, "False": False}[text]) if kind is bool else kind
    for name, (kind, _) in HYPERPARAMETERS.items()
}


class CohortError(ValueError):
    """A cohort's table cannot be read and its weights do not say which networks they are."""


def name_of(dataset: str, identities: Iterable[str]) -> str:
    """The name of the cohort of these networks."""
    digest = hashlib.sha256("".join(sorted(identities)).encode()).hexdigest()
    return f"{dataset}-{digest[:12]}"


def dataset_of(cohort: str) -> str:
    """The data set of a cohort."""
    return cohort.rpartition("-")[0]


def extend(
    plan: Plan,
    specs: Iterable[NetworkSpec],
    budget: float,
    cost: Callable[[NetworkSpec], float],
) -> Plan:
    """The plan with a cohort for every spec that has none yet.

    Args:
        plan: the cohorts that exist; their networks keep them.
        specs: the design's networks.
        budget: about what a cohort may cost; a network that costs more is one alone.
        cost: of training and measuring a network, in the unit of `budget`.

    Returns:
        A new plan: the old one and, after it, the new cohorts.
    """
    new: dict[str, dict[str, NetworkSpec]] = {}
    for spec in specs:
        if spec.id not in plan:
            new.setdefault(spec.dataset, {})[spec.id] = spec
    extended = dict(plan)
    for dataset, wanted in new.items():
        # same-shaped networks side by side, since they step together
        ordered = sorted(
            wanted.values(),
            key=lambda s: (
                s.optimizer == "lbfgs",
                s.width,
                s.depth,
                s.batch_size,
                s.optimizer,
                s.steps,
                s.id,
            ),
        )
        for members in _cut(ordered, budget, cost):
            cohort = name_of(dataset, (spec.id for spec in members))
            for spec in members:
                extended[spec.id] = (cohort, spec)
    return extended


def _cut(
    specs: list[NetworkSpec], budget: float, cost: Callable[[NetworkSpec], float]
) -> list[list[NetworkSpec]]:
    """Consecutive groups of about equal cost, each about `budget` at most."""
    costs = np.array([cost(spec) for spec in specs])
    target = costs.sum() / math.ceil(costs.sum() / budget)
    # the middle of a network's stretch of the total decides, so that no rest is left at the end
    places = ((np.cumsum(costs) - costs / 2) / target).astype(int)
    groups: dict[int, list[NetworkSpec]] = {}
    for place, spec in zip(places.tolist(), specs, strict=True):
        groups.setdefault(place, []).append(spec)
    return list(groups.values())


def members(plan: Plan, networks: Iterable[str]) -> dict[str, list[str]]:
    """Cohort -> those of `networks` that it trained, for cohorts that hold any."""
    found: dict[str, list[str]] = {}
    for identity in networks:
        found.setdefault(plan[identity][0], []).append(identity)
    return found


def specs_by_cohort(plan: Plan) -> dict[str, list[NetworkSpec]]:
    """Cohort -> all its networks in the order of their ids, those of no study included."""
    found: dict[str, list[NetworkSpec]] = {}
    for _, (cohort, spec) in sorted(plan.items()):
        found.setdefault(cohort, []).append(spec)
    return found


def read_all(
    folder: str | Path, datasets: Iterable[str], asked: Container[str] | None = None
) -> Plan:
    """The cohorts that exist, of some data sets.

    A cohort of which nothing is trained counts where all its networks are asked for: one that an
    earlier design planned would train networks that nobody wants any more.

    A network may be in two, where two studies were planned at the same time: the one that has
    weights counts, then the one of the least name.

    Args:
        folder: holds the cohorts' folders; an empty plan where there is none.
        datasets: names of data sets.
        asked: ids of the networks that a study asks for; None: of any.

    Raises:
        CohortError: a cohort that has weights cannot be read.
    """
    wanted = set(datasets)
    plan: Plan = {}
    trained: dict[str, bool] = {}
    for place in sorted(Path(folder).glob("*-*/")):
        if dataset_of(place.name) not in wanted:
            continue
        has_weights = (place / WEIGHTS).is_file()
        specs = _read(place, has_weights)
        begun = has_weights or (place / (WEIGHTS + CHECKPOINT)).is_file()
        if not begun and asked is not None and any(spec.id not in asked for spec in specs):
            continue
        for spec in specs:
            if spec.id not in plan or (has_weights and not trained[spec.id]):
                plan[spec.id] = place.name, spec
                trained[spec.id] = has_weights
    return plan


def _read(place: Path, has_weights: bool) -> list[NetworkSpec]:
    """The networks of a cohort by its table, else by its weights; [] where it has neither."""
    try:
        specs = read_table(place / TABLE)
    except (FileNotFoundError, CohortError) as error:
        if not has_weights:
            # nothing was trained yet: its networks are planned anew
            return []
        try:
            texts = read_header(place / WEIGHTS)["specs"].values()
            specs = [NetworkSpec.from_json(text) for text in texts]
            _check_name(specs, place.name)
        except (OSError, HeaderError, TypeError, ValueError) as second:
            raise CohortError(
                f"{place}: expected a cohort with {TABLE} or {WEIGHTS} that say which networks it "
                f"holds, but {error}, and {WEIGHTS}: {second}. Restore one of them, or delete the "
                "folder: its networks are then trained again."
            ) from second
    return specs


def table(specs: Iterable[NetworkSpec], fields: Iterable[str] = tuple(_FIELDS)) -> str:
    """A cohort's networks as CSV, one row each, in the order of their ids."""
    fields = list(fields)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["network", *fields])
    writer.writerows(
        [spec.id, *(getattr(spec, name) for name in fields)]
        for spec in sorted(specs, key=lambda spec: spec.id)
    )
    return text.getvalue()


def write_table(specs: Iterable[NetworkSpec], path: str | Path) -> None:
    """Writes a cohort's table, whole."""
    with written_whole(Path(path)) as temporary:
        temporary.write_text(table(specs), encoding="utf-8")


def read_table(path: str | Path) -> list[NetworkSpec]:
    """The networks of a cohort's table.

    Fields that a later version added may lack; those networks have their defaults.

    Raises:
        FileNotFoundError: there is no table.
        CohortError: it is not as it was written.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode()
        reader = csv.DictReader(io.StringIO(text, newline=""))
        specs = [_spec(row) for row in reader]
        _check_name(specs, path.parent.name)
        fields = [name for name in reader.fieldnames or () if name in _FIELDS]
        if table(specs, fields) != text:
            raise ValueError("its text is not as it was written")
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise CohortError(
            f"{path}: expected the networks of {path.parent.name}, one row each, but {error}"
        ) from error
    return specs


def load_table(path: str | Path) -> list[NetworkSpec]:
    """As `read_table`, for a job that needs the table.

    Raises:
        MissingFileError: there is no table.
        DamagedFileError: it is not as it was written; it has been moved aside, so that the next run
            of the workflow writes it again.
    """
    try:
        return read_table(path)
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{path} is missing: expected a cohort's networks. Run the workflow again to write it."
        ) from error
    except CohortError as error:
        raise damaged(Path(path), str(error), "write it again") from error


def fault(path: str | Path) -> str:
    """What is wrong with a table that is there; '' if nothing is."""
    try:
        read_table(path)
    except (CohortError, FileNotFoundError) as error:
        return str(error)
    return ""


def _check_name(specs: Sequence[NetworkSpec], cohort: str) -> None:
    name = name_of(dataset_of(cohort), (spec.id for spec in specs))
    if name != cohort:
        raise ValueError(f"its {len(specs)} networks are those of {name}")


def _spec(row: Mapping[str, str]) -> NetworkSpec:
    values = {
        name: _KINDS.get(name, str)(row[name])
        for name in _FIELDS
        if name in row or _FIELDS[name] is dataclasses.MISSING
    }
    spec = NetworkSpec(**values)  # type: ignore[arg-type]
    if spec.id != row["network"]:
        raise ValueError(f"network {row['network']} has hyper-parameters of {spec.id}")
    return spec
