"""Takes over results that were copied without their time stamps: verifies them, then dates them.

A workflow engine compares time stamps; after a plain copy they are in the order of copying, and it
would make everything again. Only what was verified is dated anew, in the order of the stages.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import xarray as xr

from sensigap import cohorts, records, survey, weights
from sensigap.integrity import DamagedFileError, damaged
from sensigap.schema import GROUPS, SCHEMAS
from sensigap.weights_header import check_made_from

#: seconds between two stages, more than any file system rounds by
_APART_S = 4.0
_Check = Callable[[Path], object]


def adopt(root: str | Path) -> list[str]:
    """Verifies everything in a results folder and sets its time stamps in the order of the stages.

    What is damaged is moved aside, so that the next run makes it again, and what follows from it.

    Args:
        root: the results folder.

    Returns:
        What was damaged, a line each.

    Raises:
        FileNotFoundError: there is no such folder, or it holds no results.
    """
    root = Path(root)
    outputs = list(_outputs(root))
    if not outputs:
        raise FileNotFoundError(
            f"{root}: expected a results folder with networks or studies, found none there; name "
            "the folder that holds datasets/ and networks/"
        )
    found = []
    stages = 1 + max(stage for stage, _, _ in outputs)
    newest = time.time()
    for stage, path, check in outputs:
        try:
            check(path)
        except (DamagedFileError, survey.SchemaError, OSError) as error:
            found.append(str(error))
            continue
        _date(path, newest - _APART_S * (stages - stage))
    for timing in [*root.glob("networks/*/train.tsv"), *root.glob("*/timings/**/*.tsv")]:
        # the engine takes a job to be as old as the oldest of its outputs and its timing
        _date(timing, newest)
    return found


def _outputs(root: Path) -> Iterator[tuple[int, Path, _Check]]:
    """(stage, file or store, how it is verified), stage by stage."""
    for path in sorted(root.glob("datasets/*.zarr")):
        yield 0, path, lambda path: _store(path, "dataset")
    for path in sorted(root.glob(f"networks/*/{cohorts.TABLE}")):
        yield 1, path, cohorts.load_table
    for path in sorted(root.glob(f"networks/*/{cohorts.WEIGHTS}")):
        yield 2, path, weights.load
    for path in sorted(root.glob(f"networks/*/{cohorts.TRAINING}")):
        yield 2, path, lambda path: _of_weights(path, "training", path.with_name(cohorts.WEIGHTS))
    for path in sorted(p for p in root.glob("*/measures/*/*.zarr") if p.stem in SCHEMAS):
        yield 3, path, lambda path: _measure(root, path)
    for path in sorted(root.glob("*/design.csv")):
        yield 3, path, _nothing
    for path in sorted(root.glob("*/survey/*.zarr")):
        yield 4, path, lambda path: _store(path, "survey")
    for stage, name in (
        (5, "claims.record.json"),
        (5, "leaderboard.record.json"),
        (6, "figures/record.json"),
        (7, "report.record.json"),
    ):
        for record in sorted(root.glob(f"*/{name}")):
            yield from _recorded(stage, record)


def _recorded(stage: int, record: Path) -> Iterator[tuple[int, Path, _Check]]:
    """A record and the files that it speaks for."""
    bad = dict(records.differences(record))

    def check(path: Path) -> None:
        if path in bad and os.path.lexists(path):
            raise damaged(path, bad[path], records.REMEDY)

    for name in records.files(record):
        yield stage, record.parent / name, check
    yield stage, record, check


def _store(path: Path, schema: str) -> xr.Dataset:
    """Verifies a store with all its groups; returns the root group."""
    root = survey.load(path, schema)
    for group in GROUPS:
        if survey.has_group(path, group):
            survey.load(path, GROUPS[group], group=group, verified=True)
    return root


def _of_weights(path: Path, schema: str, weights: Path) -> None:
    """Verifies a store that must be of the weights that are there, if any are."""
    attributes = _store(path, schema).attrs
    if weights.exists():
        check_made_from(attributes, path, weights, records.REMEDY)


def _measure(root: Path, path: Path) -> None:
    _of_weights(path, path.stem, root / "networks" / path.parent.name / cohorts.WEIGHTS)


def _nothing(path: Path) -> None:
    """The design hangs on the configuration alone: every run compares it by itself."""


def _date(path: Path, seconds: float) -> None:
    """Sets the time stamps of a file, or of a store with all that is in it."""
    for inner in [*path.rglob("*"), path] if path.is_dir() else [path]:
        os.utime(inner, (seconds, seconds))
