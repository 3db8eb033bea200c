"""How long each stage took, from the benchmark files that the jobs of a run leave."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from sensigap.declarations import MEASURES

logger = logging.getLogger(__name__)

#: stages in the order of a run; others follow in alphabetical order
STAGES = (
    "dataset",
    "design",
    "train",
    *MEASURES,
    "survey",
    "claims",
    "leaderboard",
    "figures",
)
COLUMNS = ["stage", "jobs", "wall_s", "cpu_s", "peak_mib"]


def seconds_at_work(folders: Iterable[Path]) -> float:
    """Wall seconds in which at least one job ran: pauses between runs do not count.

    A job's file is written when the job ends, and holds how long it took; 0 without files.
    """
    spans = []
    for _, path in _files(folders):
        seconds = _numbers(path)["s"].iloc[-1:].fillna(0.0)
        end = path.stat().st_mtime
        spans += [(end - each, end) for each in seconds]
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _files(folders: Iterable[Path]) -> list[tuple[Path, Path]]:
    return [(folder, path) for folder in folders for path in sorted(folder.rglob("*.tsv"))]


def _numbers(path: Path) -> pd.DataFrame:
    """Columns s, cpu_time and max_rss of a file; empty, and said so, where it holds no table."""
    names = ["s", "cpu_time", "max_rss"]
    try:
        table = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        logger.warning("left out of the timings: %s holds no table (%s)", path, error)
        return pd.DataFrame(columns=names, dtype=float)
    return table.reindex(columns=names).apply(pd.to_numeric, errors="coerce")


def read_timings(folders: Iterable[Path]) -> pd.DataFrame:
    """One row a stage, from files `<stage>/<name>.tsv` (or `<stage>.tsv`) in the folders.

    A file has a header and one row a run of a job; used are the columns `s` (wall seconds),
    `cpu_time` (seconds) and `max_rss` (MiB), of which any may be missing or hold no number.

    Returns:
        Columns stage, jobs, wall_s and cpu_s (sums over jobs), peak_mib (maximum). Empty if the
        folders hold no files.
    """
    rows = []
    for folder, path in _files(folders):
        relative = path.relative_to(folder)
        stage = relative.parts[0] if len(relative.parts) > 1 else relative.stem
        numbers = _numbers(path)
        if numbers.empty:
            continue
        rows.append(
            {
                "stage": stage,
                "wall_s": numbers["s"].sum(),
                "cpu_s": numbers["cpu_time"].sum(min_count=1),
                "peak_mib": numbers["max_rss"].max(),
            }
        )
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    stages = (
        pd.DataFrame(rows)
        .groupby("stage")
        .agg(
            jobs=("wall_s", "size"),
            wall_s=("wall_s", "sum"),
            cpu_s=("cpu_s", lambda values: values.sum(min_count=1)),
            peak_mib=("peak_mib", "max"),
        )
        .reset_index()
    )
    order = {stage: position for position, stage in enumerate(STAGES)}
    position = stages["stage"].map(lambda stage: order.get(stage, len(STAGES)))
    return (
        stages.assign(position=position)
        .sort_values(["position", "stage"], ignore_index=True)
        .reindex(columns=COLUMNS)
    )
