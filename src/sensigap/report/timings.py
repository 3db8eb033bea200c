"""How long each stage took, from the benchmark files that the jobs of a run leave."""

import logging
from collections.abc import Iterable, Mapping
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


def read_timings(folders: Iterable[Path]) -> pd.DataFrame:
    """The jobs of `read_jobs` by stage, see `by_stage`."""
    return by_stage(read_jobs(folders))


def read_jobs(folders: Iterable[Path]) -> pd.DataFrame:
    """One row a job, from files `<stage>/<name>.tsv` (or `<stage>.tsv`) in the folders.

    A file has a header and one row a run of the job; used are the columns `s` (wall seconds),
    `cpu_time` (seconds) and `max_rss` (MiB), of which any may be missing or hold no number.

    Returns:
        Columns stage, wall_s and cpu_s (sums over runs), peak_mib (maximum), last_s (wall seconds
        of the last run) and ended (when its file was written, seconds of the epoch).
    """
    rows = []
    for folder in folders:
        for path in sorted(folder.rglob("*.tsv")):
            relative = path.relative_to(folder)
            try:
                table = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
            except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
                logger.warning("left out of the timings: %s holds no table (%s)", path, error)
                continue
            numbers = table.reindex(columns=["s", "cpu_time", "max_rss"]).apply(
                pd.to_numeric, errors="coerce"
            )
            rows.append(
                {
                    "stage": relative.parts[0] if len(relative.parts) > 1 else relative.stem,
                    "wall_s": numbers["s"].sum(),
                    "cpu_s": numbers["cpu_time"].sum(min_count=1),
                    "peak_mib": numbers["max_rss"].max(),
                    "last_s": numbers["s"].iloc[-1:].sum(),
                    "ended": path.stat().st_mtime,
                }
            )
    columns = ["stage", "wall_s", "cpu_s", "peak_mib", "last_s", "ended"]
    return pd.DataFrame(rows, columns=columns)


def seconds_at_work(jobs: pd.DataFrame) -> float:
    """Wall seconds in which at least one job of `read_jobs` ran; pauses between runs do not count.

    A job's file is written when the job ends; 0 without jobs.
    """
    total, reached = 0.0, float("-inf")
    ended = jobs["ended"].astype(float)
    for start, end in sorted(zip(ended - jobs["last_s"].astype(float), ended, strict=True)):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def foreseen(timings: pd.DataFrame, expected: Mapping[str, float]) -> float:
    """Seconds that the cost model expects of the stages of `by_stage`, together.

    Args:
        timings: the stages.
        expected: stage -> wall seconds of its jobs by the cost model.
    """
    return float(sum(expected.get(stage, 0.0) for stage in timings["stage"]))


def by_stage(jobs: pd.DataFrame) -> pd.DataFrame:
    """The jobs of `read_jobs`, summed up.

    Returns:
        Columns stage, jobs, wall_s and cpu_s (sums over jobs), peak_mib (maximum), a row a stage.
        Empty without jobs.
    """
    if jobs.empty:
        return pd.DataFrame(columns=COLUMNS)
    stages = (
        jobs.groupby("stage")
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
