"""Time and memory of a survey of many networks: its assembly, and each stage after it.

    python benchmarks/large_survey.py [--networks 10000] [--points 10000] [--folder FOLDER]

Writes the stores of cohorts with values of `tests/unit/synthetic.py` (80 bytes a network and point:
8 GB for the paper's study), then runs assembly, claims, leaderboard, figures and report, a process
each. Prints the table of benchmarks/README.md: wall seconds, and the most memory that each took.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / part) for part in ("src", "tests/unit")]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import xarray as xr  # noqa: E402

DATASET = "mnist"
#: networks drawn at a time, and in a cohort
DRAWN, COHORT = 1_000, 250
CHECKS = 20


def write_stores(folder: Path, networks: int, points: int) -> None:
    """The design and the cohorts' stores."""
    import synthetic
    from sensigap import survey
    from sensigap.schema import SCHEMAS

    rows = []
    for start in range(0, networks, DRAWN):
        count = min(DRAWN, networks - start)
        drawn = synthetic.survey(
            networks=count,
            samples=points,
            transition_points=min(600, points),
            ragged=True,
            pairs=0 if start else 24,
            seed=start,
        )
        # those of pairs come on top
        names = [f"{start:06x}{k:06x}" for k in range(drawn.sizes["network"])]
        drawn = drawn.assign_coords(network=np.array(names, object))
        rows.append(drawn.reset_coords()[list(_design(drawn))].to_dataframe())
        for first in range(0, len(names), COHORT):
            part = drawn.isel(network=slice(first, first + COHORT))
            cohort = folder / "cohorts" / f"{DATASET}-{start:06x}{first:06x}"
            attributes = {"weights": write_weights(cohort)}
            for schema in ("training", "jacobian", "transitions", "complexity"):
                described = SCHEMAS[schema]
                store = part.reset_coords()[
                    [n for n in (*described.variables, *described.coordinates) if n in part]
                ]
                if schema == "training":
                    curve = ("network", "check"), np.zeros((part.sizes["network"], CHECKS))
                    missing = [n for n in described.variables if n not in store]
                    store = store.assign(dict.fromkeys(missing, curve))
                    store = store.assign_coords(step=("check", 1 + np.arange(CHECKS)))
                if schema == "transitions":
                    measured = np.flatnonzero((~np.isnan(store["transitions"])).any("network"))
                    store = store.isel(sample=measured)
                store = store.set_coords([n for n in described.coordinates if n in store])
                store = store.drop_vars([n for n in store.coords if n not in described.coordinates])
                survey.write(store, cohort / f"{schema}.zarr", schema, attributes=attributes)
    table = pd.concat(rows).rename_axis("network").reset_index()
    table.insert(1, "dataset", DATASET)
    table.to_csv(folder / "design.csv", index=False, lineterminator="\n")


def _design(drawn: xr.Dataset) -> list[str]:
    """The coordinates of a survey that a design table holds."""
    return [
        str(name)
        for name, values in drawn.coords.items()
        if values.dims == ("network",) and name not in ("network", "cohort")
    ]


def write_weights(cohort: Path) -> str:
    """A file of no weights, whose header names it."""
    cohort.mkdir(parents=True)
    known = json.dumps({"specs": {}, "sha256": cohort.name})
    header = json.dumps({"__metadata__": {"sensigap": known}}).encode()
    (cohort / "weights.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return cohort.name


def assembly(folder: Path) -> None:
    """Puts the survey together."""
    from sensigap.assembly import assemble

    stores = {
        schema: sorted((folder / "cohorts").glob(f"*/{schema}.zarr"))
        for schema in ("training", "jacobian", "transitions", "complexity")
    }
    assemble(
        folder / "design.csv",
        DATASET,
        training=stores.pop("training"),
        measures=stores,
        output=folder / f"{DATASET}.zarr",
        attributes={},
    )


def claims(folder: Path) -> None:
    """Tests the claims."""
    from sensigap.analysis.claims import write_claims
    from sensigap.analysis.verdicts import Settings

    write_claims({DATASET: folder / f"{DATASET}.zarr"}, folder / "claims.csv", Settings())


def leaderboard(folder: Path) -> None:
    """Makes the leaderboard."""
    from sensigap.analysis.leaderboard import write_leaderboard
    from sensigap.analysis.verdicts import Settings

    write_leaderboard({DATASET: folder / f"{DATASET}.zarr"}, folder / "board.csv", Settings())


def figures(folder: Path) -> None:
    """Draws all figures."""
    from sensigap.analysis.verdicts import Settings
    from sensigap.figures import FIGURES, Sources, draw

    sources = Sources(
        {DATASET: folder / f"{DATASET}.zarr"},
        folder / "board.csv",
        folder / "claims.csv",
        Settings(),
    )
    for name in FIGURES:
        draw(name, sources, folder / "figures" / name)


def report(folder: Path) -> None:
    """Writes the report."""
    from sensigap.figure_names import FIGURES
    from sensigap.report import build

    build(
        study="large",
        alpha=0.05,
        config_text="",
        claims=folder / "claims.csv",
        leaderboard=folder / "board.csv",
        figures={name: folder / "figures" / name for name in FIGURES},
        surveys={DATASET: folder / f"{DATASET}.zarr"},
        timings=[],
        output=folder / "report.html",
    )


def measured(stage: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    """Wall seconds and peak GB of a stage in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(_run, stage, folder).result()


def _run(stage: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    start = time.perf_counter()
    stage(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return time.perf_counter() - start, peak


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", nargs="+", help="stages, where the stores are there already")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="large-survey-"))
    try:
        if not (folder / "design.csv").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_stores(folder, given.networks, given.points)
        print("| stage | wall s | peak GB |\n|---|---|---|")
        for stage in (assembly, claims, leaderboard, figures, report):
            if not given.only or stage.__name__ in given.only:
                seconds, peak = measured(stage, folder)
                print(f"| {stage.__name__} | {seconds:.0f} | {peak:.1f} |", flush=True)
    finally:
        if not given.folder:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
