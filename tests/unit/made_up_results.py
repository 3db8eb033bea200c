"""A made-up study's folder: surveys, tables, and three networks that have weights."""

import json

import numpy as np

from measure_helpers import spec
from sensigap import records, weights
from sensigap import survey as stores
from sensigap.datasets.store import prepare
from sensigap.networks import initial
from synthetic import ellipses, survey

SPECS = [
    spec(depth=2, width=8, seed=0),
    spec(depth=2, width=8, seed=1),
    spec(depth=1, width=16, unit="hardtanh"),
]
COHORT = "digits-aaaa"


def write_study(root):
    """Writes results, and returns the study's folder."""
    drawn = survey(networks=20, samples=30, pairs=0)
    names = drawn["network"].to_numpy().astype(object)
    names[: len(SPECS)] = [one.id for one in SPECS]
    cohorts = np.array([COHORT] * len(names), object)
    drawn = drawn.assign_coords(network=names, cohort=("network", cohorts))
    stores.write(
        drawn,
        root / "demo" / "survey" / "digits.zarr",
        "survey",
        groups={"ellipses": ellipses(drawn)},
        attributes=stores.provenance(configuration=json.dumps({"study": "demo"}))
        | {"images": "digits-1234", "device": "cpu"},
    )
    pair, one = SPECS[:2], SPECS[2:]
    stacks = [(pair, initial(pair, 64, 10)), (one, initial(one, 64, 10))]
    weights.save(root / "networks" / COHORT / "weights.safetensors", stacks)
    prepare("digits", root / "datasets" / "digits-1234.zarr", data_root=None)
    return root / "demo"


def write_tables(study):
    """Writes tables, a figure and a report, of made-up content, with their records."""
    (study / "figures").mkdir()
    for record, file in {
        "claims.record.json": "claims.csv",
        "leaderboard.record.json": "leaderboard.csv",
        "figures/record.json": "figures/sensitivity.png",
        "report.record.json": "report.html",
    }.items():
        (study / file).write_text(f"key,of\n1,{file}\n")
        records.write_record(study / record, [study / file], "code")
    (study / "design.csv").write_text("network\n")
