"""Puts the stores of a data set's cohorts together into its survey."""

import csv
import dataclasses
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core.indexing import (
    ExplicitIndexer,
    IndexingSupport,
    LazilyIndexedArray,
    explicit_indexing_adapter,
)

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
            whole = _with(whole, stores, measure, rows, weights)
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


def _with(
    whole: xr.Dataset,
    stores: Sequence[str | Path],
    measure: Measure,
    rows: Mapping[str, Any],
    weights: Mapping[str, Path],
) -> xr.Dataset:
    """A measure joined to the survey: for all its networks, at all its test points.

    NaN where nothing was measured, -1 for counts. The first measure with test points decides which
    there are; others may hold some of them. What is at test points stays in the cohorts' stores
    until it is written, a variable at a time: one of 10,000 networks at as many points has 0.8 GB.
    """
    names = whole["network"].values.tolist()
    place = {network: row for row, network in enumerate(names)}
    at_points = {
        name: variable.dims[1]
        for name, variable in measure.schema.variables.items()
        if variable.dims[0] == "network" and len(variable.dims) == 2
    }
    parts: list[_Part] = []
    kept: list[xr.Dataset] = []
    samples = whole["sample"].to_numpy() if "sample" in whole.coords else None
    for path, part in _parts(stores, measure.name, rows, weights):
        if at_points and samples is None:
            samples = part["sample"].to_numpy()
            labels = "sample", part["label"].to_numpy()
            whole = whole.assign_coords(sample=samples, label=labels)
        for summary in measure.summaries:
            mean = part[summary.of].mean("sample", skipna=not summary.every_point)
            part = part.assign({summary.name: mean})  # noqa: PLW2901
        if samples is not None and at_points:
            there = part["network_row"].to_numpy()
            here = np.array([place[name] for name in part["network"].to_numpy().tolist()], int)
            shared = np.flatnonzero(np.isin(part["sample"], samples))
            columns = np.searchsorted(samples, part["sample"].to_numpy()[shared])
            parts.append(_Part(path, there, here, shared, columns))
        kept.append(part.drop_dims({*at_points.values()}).drop_vars("network_row"))
    joined = xr.concat(kept, "network", data_vars="minimal", coords="minimal", compat="override")
    joined = joined.reindex(network=names)
    for name, variable in measure.schema.variables.items():
        if variable.kind == "int" and name in joined:
            joined[name] = joined[name].fillna(-1).astype(np.int64)
    for name, dimension in at_points.items():
        kind = measure.schema.variables[name].kind
        of = whole if dimension == "sample" else parts[0].opened
        size = of.sizes[dimension]
        values = _AtPoints(name, parts, dimension, (len(names), size), kind)
        whole[name] = xr.Variable(("network", dimension), LazilyIndexedArray(values))
    return xr.merge([whole, joined], join="exact", compat="override")


@dataclasses.dataclass(frozen=True)
class _Part:
    """Where the networks and test points of a cohort's store stand in the survey."""

    store: Path
    #: rows of the store, and of the survey
    there: np.ndarray
    here: np.ndarray
    #: test points of the store, and of the survey
    points: np.ndarray
    columns: np.ndarray

    @functools.cached_property
    def opened(self) -> xr.Dataset:
        """The store, which has been verified, without a cache of what is read of it."""
        options = {"zarr_format": 2, "consolidated": True}
        return xr.open_dataset(
            self.store, engine="zarr", chunks=None, cache=False, backend_kwargs=options
        )


class _AtPoints(BackendArray):
    """A variable at all test points, read from the cohorts' stores when it is asked for.

    Counts keep the type that the stores have them in: of 10,000 networks at as many images, whether
    they are right has 0.1 GB as int8.
    """

    def __init__(
        self, name: str, parts: Sequence[_Part], dimension: str, shape: tuple[int, int], kind: str
    ) -> None:
        self.name, self.parts, self.dimension, self.shape = name, parts, dimension, shape
        stored = {part.opened[name].dtype for part in parts} if kind == "int" else {np.float64}
        self.dtype = np.result_type(*stored)

    def __getitem__(self, key: ExplicitIndexer) -> Any:
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        single = not isinstance(key[0], slice)
        rows = np.atleast_1d(np.arange(self.shape[0])[key[0]])
        place = np.full(self.shape[0], -1)
        place[rows] = np.arange(len(rows))
        missing = -1 if self.dtype.kind == "i" else np.nan
        values = np.full((len(rows), self.shape[1]), missing, self.dtype)
        for part in self.parts:
            wanted = place[part.here] >= 0
            if wanted.any():
                found = part.opened[self.name].isel(network=part.there[wanted]).to_numpy()
                rows = place[part.here[wanted]]
                if self.dimension == "sample":
                    values[rows[:, None], part.columns[None]] = found[:, part.points]
                else:
                    values[rows] = found
        values = values[:, key[1]]
        return values[0] if single else values


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
    for store, part in _parts(stores, schema, rows, weights, cohort=cohort):
        part = part.drop_vars("network_row")  # noqa: PLW2901
        if cohort:
            count = part.sizes["network"]
            part["network_cohort"] = ("network", [store.parent.name] * count)
            part["network_device"] = ("network", [part.attrs.get("device", "unknown")] * count)
        if "step" in part.coords:
            # curves of different lengths share one axis of steps
            part = part.swap_dims(check="step")  # noqa: PLW2901
        opened.append(part)
    joined = xr.concat(
        opened, "network", join="outer", data_vars="minimal", coords="minimal", compat="override"
    )
    return joined.swap_dims(step="check") if "step" in joined.dims else joined


def _parts(
    stores: Sequence[str | Path],
    schema: str,
    rows: Mapping[str, Any],
    weights: Mapping[str, Path],
    *,
    cohort: bool = False,
) -> Iterator[tuple[Path, xr.Dataset]]:
    """The networks of the design in each of several stores; `network_row` is theirs there."""
    for store in map(Path, stores):
        part = survey.load(store, schema)
        remedy = "train this cohort again" if cohort else "measure these networks again"
        check_made_from(part.attrs, store, weights[store.parent.name], remedy)
        wanted = np.flatnonzero([name in rows for name in part["network"].values])
        part = part.isel(network=wanted)
        yield store, part.assign(network_row=("network", wanted))
