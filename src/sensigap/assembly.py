"""Puts the stores of a data set's cohorts together into its survey."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sensigap import survey
from sensigap.declarations import MEASURES, Measure
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
    measures: Mapping[str, Sequence[str | Path]],
    output: str | Path,
    attributes: Mapping[str, str],
) -> None:
    """Writes the survey of one data set from the stores of its cohorts.

    Networks that the design does not name are left out; a cohort's store may hold others.

    Args:
        design: the design table (CSV).
        dataset: the data set; other rows of the design are skipped.
        training: the cohorts' training stores `<cohort>/training.zarr`.
        measures: measure -> its stores; those of measures of chosen networks for cohorts that hold
            any.
        output: the survey store.
        attributes: provenance of the run.

    Raises:
        SchemaError: a store is not as its schema says, or a network of the design is in none.
    """
    rows = read_design(design, dataset)
    names = list(rows)
    trained = _join(training, "training", rows, cohort=True)
    missing = sorted(set(names) - set(trained["network"].values.tolist()))
    if missing:
        raise survey.SchemaError(
            f"{len(missing)} networks of {design} are in no training store, {missing[0]} for one: "
            "expected each network of the design to have been trained; run the workflow again"
        )
    outcomes = trained.reindex(network=names)
    curves = outcomes[[name for name in outcomes if str(name).startswith("curve_")]]
    whole = outcomes.drop_vars([*curves.data_vars, "step"])
    groups = {
        "training": curves.rename({str(n): str(n).removeprefix("curve_") for n in curves.data_vars})
    }
    for name, measure in MEASURES.items():
        stores = measures.get(name, ())
        if not measure.group:
            whole = _with(whole, _join(stores, name, rows), measure)
        elif stores:
            chosen = {network: row for network, row in rows.items() if row[f"in_{name}"]}
            joined = _join(stores, name, chosen)
            if joined.sizes["network"]:
                groups[measure.group] = joined
    whole["gap"] = whole["train_accuracy"] - whole["test_accuracy"]
    for name in rows[names[0]]:
        whole = whole.assign_coords({name: ("network", [rows[network][name] for network in names])})
    devices = set(map(str, whole["network_device"].values))
    whole = whole.drop_vars("network_device").rename({"network_cohort": "cohort"})
    whole = whole.set_coords("cohort")
    whole_attributes = dict(attributes) | {"device": ", ".join(sorted(devices))}
    survey.write(whole, output, "survey", groups=groups, attributes=whole_attributes)


def _with(whole: xr.Dataset, part: xr.Dataset, measure: Measure) -> xr.Dataset:
    """A measure joined to the survey: for all its networks, at all its test points.

    NaN where nothing was measured, -1 for counts. The first measure with test points decides which
    there are; others may hold some of them.
    """
    index: dict[str, Any] = {"network": whole["network"].values}
    if "sample" in part.coords and "sample" in whole.coords:
        part = part.drop_vars("label")
        index["sample"] = whole["sample"]
    part = part.reindex(index)
    for name, variable in measure.schema.variables.items():
        if variable.kind == "int":
            part[name] = part[name].fillna(-1).astype(np.int64)
    for summary in measure.summaries:
        part[summary.name] = part[summary.of].mean("sample", skipna=not summary.every_point)
    return xr.merge([whole, part], join="exact", compat="override")


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
