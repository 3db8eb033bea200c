"""Puts the stores of a data set's cohorts together into its survey."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sensigap import survey
from sensigap.cohorts import WEIGHTS
from sensigap.declarations import MEASURES, Measure
from sensigap.integrity import MissingFileError, damaged, is_the_files_fault
from sensigap.records import rows_digest
from sensigap.schema import SCHEMAS
from sensigap.weights_header import check_made_from

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
    design_digest: str | None = None,
) -> None:
    """Writes the survey of one data set from the stores of its cohorts.

    Networks that the design does not name are left out; a cohort's store may hold others. Every
    store must be of the weights that lie beside its cohort's training store.

    Args:
        design: the design table (CSV).
        dataset: the data set; other rows of the design are skipped.
        training: the cohorts' training stores `<cohort>/training.zarr`.
        measures: measure -> its stores; those of measures of chosen networks for cohorts that hold
            any.
        output: the survey store.
        attributes: provenance of the run.
        design_digest: `records.rows_digest` of the data set's rows, None if unknown.

    Raises:
        SchemaError: a store is not as its schema says, or a network of the design is in none.
        DamagedFileError: a store, or the design, is not as it was written, or a store is of other
            weights; it has been moved aside.
    """
    rows = read_design(design, dataset, design_digest)
    names = list(rows)
    weights = {Path(store).parent.name: Path(store).with_name(WEIGHTS) for store in training}
    trained = _join(training, "training", rows, weights, cohort=True)
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
            whole = _with(whole, _join(stores, name, rows, weights), measure)
        elif stores:
            chosen = {network: row for network, row in rows.items() if row[f"in_{name}"]}
            joined = _join(stores, name, chosen, weights)
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


def read_design(
    path: str | Path, dataset: str, digest: str | None = None
) -> dict[str, dict[str, Any]]:
    """Network id -> hyper-parameters and membership, for one data set's rows of a design table.

    Raises:
        FileNotFoundError: there is no table.
        DamagedFileError: the rows have another digest, or cannot be read.
    """
    coordinates = SCHEMAS["survey"].coordinates
    path = Path(path)
    try:
        # byte by byte: no other ends of lines
        text = path.read_bytes().decode()
        if digest is not None and (found := rows_digest(text, dataset)) != digest:
            raise ValueError(f"its rows of {dataset} have the digest {found}, not {digest}")
        return {
            row["network"]: {
                name: _PARSE[coordinates[name].kind](value)
                for name, value in row.items()
                if name in coordinates and name != "network"
            }
            for row in csv.DictReader(io.StringIO(text, newline=""))
            if row["dataset"] == dataset
        }
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{path} is missing: expected the design. Run the workflow again to write it."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        if not is_the_files_fault(error):
            raise
        raise damaged(path, f"{error}", "write it again") from error


def _join(
    stores: Sequence[str | Path],
    schema: str,
    rows: Mapping[str, Any],
    weights: Mapping[str, Path],
    *,
    cohort: bool = False,
) -> xr.Dataset:
    """The networks of the design in several stores of one schema, one after the other."""
    opened = []
    for store in map(Path, stores):
        part = survey.load(store, schema)
        remedy = "train this cohort again" if cohort else "measure these networks again"
        check_made_from(part.attrs, store, weights[store.parent.name], remedy)
        part = part.isel(network=np.flatnonzero([name in rows for name in part["network"].values]))
        if cohort:
            count = part.sizes["network"]
            part["network_cohort"] = ("network", [store.parent.name] * count)
            part["network_device"] = ("network", [part.attrs.get("device", "unknown")] * count)
        if "step" in part.coords:
            # curves of different lengths share one axis of steps
            part = part.swap_dims(check="step")
        opened.append(part)
    joined = xr.concat(
        opened, "network", join="outer", data_vars="minimal", coords="minimal", compat="override"
    )
    return joined.swap_dims(step="check") if "step" in joined.dims else joined
