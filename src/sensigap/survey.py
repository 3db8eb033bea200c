"""Writes and reads Zarr stores, held to the schemas of `sensigap.schema`.

Stores are Zarr format 2, consolidated, with variable-length strings: in trials the one
combination that xarray writes and opens without a warning, also with groups and with the
timestamp files that a workflow engine leaves inside a directory.
"""

import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sensigap.files import temporary_name
from sensigap.integrity import damaged
from sensigap.schema import GROUPS, SCHEMAS

#: packages whose versions are kept with every store
PACKAGES = (
    "sensigap",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "statsmodels",
    "scikit-learn",
    "pandas",
    "xarray",
    "zarr",
    "matplotlib",
    "snakemake",
)
#: attribute with the SHA-256 of a group's values
CHECKSUM = "sha256"
REMEDY = "make it again"

_KINDS = {"float": "f", "int": "iu", "bool": "b", "str": "OUT"}


class SchemaError(ValueError):
    """A store does not hold what its schema says."""


def provenance(**extra: Any) -> dict[str, str]:
    """Attributes that say where a store comes from: versions, code, host kind, and `extra`."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "versions": json.dumps(versions),
        "code": _code_version(),
        **{
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in extra.items()
        },
    }


def _code_version() -> str:
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return "unknown: no git"
    return described.stdout.strip() or "unknown: not a git checkout"


def validate(dataset: xr.Dataset, schema: str, where: str) -> None:
    """Raises `SchemaError` with every way in which `dataset` departs from its schema."""
    expected = SCHEMAS[schema]
    faults = []
    for role, wanted, found in (
        ("coordinate", expected.coordinates, dataset.coords),
        ("variable", expected.variables, dataset.data_vars),
    ):
        faults += [
            f"{role} {name!r} is missing; present: {', '.join(map(str, found)) or 'none'}"
            for name in wanted
            if name not in found
        ]
        faults += [
            f"{role} {name!r} is not in the schema; expected: {', '.join(wanted)}"
            for name in found
            if name not in wanted
        ]
        for name, variable in wanted.items():
            if name not in found:
                continue
            if found[name].dims != variable.dims:
                faults.append(
                    f"{role} {name!r}: expected dims {variable.dims}, found {found[name].dims}"
                )
            if not _is_kind(found[name].dtype, variable.kind):
                faults.append(
                    f"{role} {name!r}: expected {variable.kind}, found {found[name].dtype}"
                )
    if "network" in dataset.coords:
        names = dataset["network"].to_index()
        if not names.is_unique:
            twice = sorted(set(names[names.duplicated()]))[:3]
            faults.append(f"networks stand more than once: {', '.join(twice)}")
    if faults:
        listed = "\n  ".join(faults)
        raise SchemaError(
            f"{where} is not a valid {schema!r} store:\n  {listed}\n"
            "Delete it and run the workflow again; if it comes back, this is a bug."
        )


def _is_kind(dtype: Any, kind: str) -> bool:
    if kind == "str":
        return not isinstance(dtype, np.dtype) or dtype.kind in "OUT"
    return isinstance(dtype, np.dtype) and dtype.kind in _KINDS[kind]


def describe(dataset: xr.Dataset, schema: str) -> xr.Dataset:
    """The dataset with long_name and units of its schema on every variable and coordinate."""
    expected = SCHEMAS[schema]
    described = dataset.copy()
    for name, variable in {**expected.coordinates, **expected.variables}.items():
        if name in described:
            described[name].attrs = {"long_name": variable.long_name, "units": variable.units}
    return described


def write(
    dataset: xr.Dataset,
    path: str | Path,
    schema: str,
    *,
    groups: Mapping[str, xr.Dataset] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Validates and writes a store whole: to a temporary name beside `path`, then renamed.

    Args:
        dataset: the root group.
        path: the store's directory; an existing one is replaced.
        schema: a key of `SCHEMAS`.
        groups: further Datasets, by name of their group (`GROUPS`).
        attributes: of the root group; see `provenance`.

    Raises:
        SchemaError: a Dataset does not hold what its schema says.
    """
    path = Path(path)
    validate(dataset, schema, str(path))
    for name, group in (groups or {}).items():
        validate(group, GROUPS[name], f"{path}, group {name}")
    temporary = temporary_name(path)
    shutil.rmtree(temporary, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    root = _encodable(describe(dataset, schema))
    root.attrs = dict(attributes or {}) | {CHECKSUM: _checksum(dataset)}
    root.to_zarr(temporary, mode="w", zarr_format=2, consolidated=not groups)
    for name, group in (groups or {}).items():
        encodable = _encodable(describe(group, GROUPS[name]))
        encodable.attrs = {CHECKSUM: _checksum(group)}
        encodable.to_zarr(temporary, mode="a", group=name, zarr_format=2, consolidated=False)
    if groups:
        _consolidate(temporary)
    shutil.rmtree(path, ignore_errors=True)
    temporary.replace(path)


def _encodable(dataset: xr.Dataset) -> xr.Dataset:
    """Strings of variable length, and no encoding left over from another store."""
    dataset = dataset.drop_encoding()
    for name, variable in dataset.variables.items():
        if _is_kind(variable.dtype, "str"):
            dataset[name] = variable.astype(np.dtypes.StringDType())
    return dataset


def _consolidate(path: Path) -> None:
    import zarr

    zarr.consolidate_metadata(str(path), zarr_format=2)


def read(path: str | Path, schema: str, *, group: str | None = None) -> xr.Dataset:
    """Opens a store and checks it against its schema; values load when they are used.

    Raises:
        FileNotFoundError: there is no store.
        SchemaError: it does not hold what the schema says.
    """
    path = Path(path)
    if not (path / ".zmetadata").exists():
        raise FileNotFoundError(
            f"{path}: no consolidated Zarr store there; run the workflow to make it, "
            "or delete what is there if a write was cut short"
        )
    dataset = xr.open_zarr(path, group=group, zarr_format=2, consolidated=True, chunks=None)
    validate(dataset, schema, str(path) + (f", group {group}" if group else ""))
    return dataset


def load(path: str | Path, schema: str, *, group: str | None = None) -> xr.Dataset:
    """As `read`, with all values loaded and held against the checksum that was written.

    Raises:
        FileNotFoundError, SchemaError: as `read`.
        DamagedFileError: the values are not those that were written; the store has been moved
            aside, so that the next run of the workflow makes it again.
    """
    path = Path(path)
    dataset = read(path, schema, group=group)
    where = f"group {group}: " if group else ""
    try:
        dataset.load()
    except (OSError, RuntimeError, ValueError) as error:
        raise damaged(path, f"{where}it cannot be read ({error})", REMEDY) from error
    if _checksum(dataset) != dataset.attrs.get(CHECKSUM):
        raise damaged(path, f"{where}its values have another checksum", REMEDY)
    return dataset


def _checksum(dataset: xr.Dataset) -> str:
    """SHA-256 of the names, dimensions and values of a group."""
    digest = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset[name].variable
        digest.update(f"{name} {variable.dims} {variable.shape}".encode())
        if _is_kind(variable.dtype, "str"):
            digest.update("\0".join(map(str, variable.values.ravel())).encode())
        else:
            digest.update(np.ascontiguousarray(variable.values).data)
    return digest.hexdigest()
