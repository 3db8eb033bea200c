"""Puts the stores of a data set's cohorts together into its survey."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sensigap import survey
from sensigap.schema import SCHEMAS

_PARSE: dict[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": lambda text: {"True": True, "False": False}[text],
}


def assemble(
    design: str | Path,
    dataset: str,
    *,
    training: Sequence[str | Path],
    jacobian: Sequence[str | Path],
    transitions: Sequence[str | Path],
    complexity: Sequence[str | Path],
    ellipses: Sequence[str | Path],
    slices: Sequence[str | Path],
    output: str | Path,
    attributes: Mapping[str, str],
) -> None:
    """Writes the survey of one data set from the stores of its cohorts.

    Networks that the design no longer names are left out; a cohort's store may hold them still.

    Args:
        design: the design table (CSV).
        dataset: the data set; other rows of the design are skipped.
        training: the cohorts' training stores `<cohort>/training.zarr`.
        jacobian, transitions, complexity: the cohorts' measures.
        ellipses, slices: measures of the chosen networks, for cohorts that hold any.
        output: the survey store.
        attributes: provenance of the run.

    Raises:
        SchemaError: a store is not as its schema says, or a network of the design is in none.
    """
    rows = read_design(design, dataset)
    parts = {
        "training": _join(training, "training", rows, cohort=True),
        "jacobian": _join(jacobian, "jacobian", rows),
        "transitions": _join(transitions, "transitions", rows),
        "complexity": _join(complexity, "complexity", rows),
    }
    names = list(rows)
    missing = sorted(set(names) - set(parts["training"]["network"].values.tolist()))
    if missing:
        raise survey.SchemaError(
            f"{len(missing)} networks of {design} are in no training store, {missing[0]} for one: "
            "expected each network of the design to have been trained; run the workflow again"
        )
    outcomes = parts["training"].reindex(network=names)
    curves = outcomes[[name for name in outcomes if str(name).startswith("curve_")]]
    outcomes = outcomes.drop_vars([*curves.data_vars, "step"])
    whole = xr.merge(
        [
            outcomes,
            _on(names, parts["jacobian"]),
            _on(names, parts["transitions"].drop_vars("label"), sample=parts["jacobian"]["sample"]),
            _on(names, parts["complexity"]),
        ],
        join="exact",
        compat="override",
    )
    whole["jacobian_zero"] = whole["jacobian_zero"].fillna(-1).astype(np.int64)
    whole["gap"] = whole["train_accuracy"] - whole["test_accuracy"]
    whole["sensitivity"] = whole["jacobian_norm"].mean("sample", skipna=False)
    whole["mean_transitions"] = whole["transitions"].mean("sample")
    for name in rows[names[0]]:
        whole = whole.assign_coords({name: ("network", [rows[network][name] for network in names])})
    devices = set(map(str, whole["network_device"].values))
    whole = whole.drop_vars("network_device").rename({"network_cohort": "cohort"})
    whole = whole.set_coords("cohort")
    groups = {
        "training": curves.rename({str(n): str(n).removeprefix("curve_") for n in curves.data_vars})
    }
    for name, stores in (("ellipses", ellipses), ("slices", slices)):
        chosen = {network: row for network, row in rows.items() if row[f"in_{name}"]}
        joined = _join(stores, name, chosen) if stores else None
        if joined is not None and joined.sizes["network"]:
            groups[name] = joined
    whole_attributes = dict(attributes) | {"device": ", ".join(sorted(devices))}
    survey.write(whole, output, "survey", groups=groups, attributes=whole_attributes)


def read_design(path: str | Path, dataset: str) -> dict[str, dict[str, Any]]:
    """Network id -> hyper-parameters and membership, for one data set's rows of a design table."""
    coordinates = SCHEMAS["survey"].coordinates
    with Path(path).open(newline="") as file:
        return {
            row["network"]: {
                name: _PARSE[coordinates[name].kind](value)
                for name, value in row.items()
                if name in coordinates and name != "network"
            }
            for row in csv.DictReader(file)
            if row["dataset"] == dataset
        }


def _join(
    stores: Sequence[str | Path], schema: str, rows: Mapping[str, Any], *, cohort: bool = False
) -> xr.Dataset:
    """The networks of the design in several stores of one schema, one after the other."""
    opened = []
    for store in stores:
        part = survey.load(store, schema)
        part = part.isel(network=np.flatnonzero([name in rows for name in part["network"].values]))
        if cohort:
            count = part.sizes["network"]
            part["network_cohort"] = ("network", [Path(store).parent.name] * count)
            part["network_device"] = ("network", [part.attrs.get("device", "unknown")] * count)
        if "step" in part.coords:
            # curves of different lengths share one axis of steps
            part = part.swap_dims(check="step")
        opened.append(part)
    joined = xr.concat(
        opened, "network", join="outer", data_vars="minimal", coords="minimal", compat="override"
    )
    return joined.swap_dims(step="check") if "step" in joined.dims else joined


def _on(names: list[str], part: xr.Dataset, **index: Any) -> xr.Dataset:
    """A measure for all networks: NaN where it was not measured."""
    return part.reindex(network=names, **index)
