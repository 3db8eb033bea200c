"""Writes and reads Zarr stores, held to the schemas of `sensigap.schema`.

Every store has a record of its files inside (`sensigap.records`), against which it is held before
it is read: whatever of it is missing or has changed, metadata and chunks of no data included, is
told. Each group carries a checksum of what it means, against which its values are held once they
are read.

Stores are Zarr format 2, consolidated, with variable-length strings: in trials the one
combination that xarray writes and opens without a warning, also with groups and with the
timestamp files that a workflow engine leaves inside a directory.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sensigap import records
from sensigap.files import written_whole
from sensigap.integrity import MissingFileError, damaged, is_the_files_fault
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
#: bytes of a variable that is written by itself
_LARGE = 1 << 26
#: numbers of a variable held at a time for its checksum
_PART = 1 << 22

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
        path: the store's directory; whatever has that name is replaced, a link too.
        schema: a key of `SCHEMAS`.
        groups: further Datasets, by name of their group (`GROUPS`).
        attributes: of the root group; see `provenance`.

    Raises:
        SchemaError: a Dataset does not hold what its schema says.
        WriteError: the disk is full or write-protected.
    """
    path = Path(path)
    attributes = dict(attributes or {})
    validate(dataset, schema, str(path))
    for name, group in (groups or {}).items():
        validate(group, GROUPS[name], f"{path}, group {name}")
    # chunks that hold one value only are written too: Zarr would take NaN of any bits for its fill
    # value, and what is not there cannot be told from what is lost
    options: dict[str, Any] = {"zarr_format": 2, "write_empty_chunks": True}
    with written_whole(path) as temporary:
        root = _encodable(describe(dataset, schema))
        root.attrs = attributes | {CHECKSUM: _checksum(dataset)}
        # xarray holds all that it writes at once; the group's attributes are those of the last call
        large = [str(name) for name, v in root.data_vars.items() if v.nbytes > _LARGE]
        for name in large:
            one = xr.Dataset({name: root[name].variable})
            one.to_zarr(temporary, mode="a", consolidated=False, **options)
        whole = not groups and not large
        rest = root.drop_vars(large)
        rest.to_zarr(temporary, mode="a" if large else "w", consolidated=whole, **options)
        for name, group in (groups or {}).items():
            encodable = _encodable(_apart(describe(group, GROUPS[name]), name, dataset))
            encodable.attrs = {CHECKSUM: _checksum(group)}
            encodable.to_zarr(temporary, mode="a", group=name, consolidated=False, **options)
        if not whole:
            _consolidate(temporary)
        records.write_inside(temporary, attributes.get(records.MADE_BY, ""))


def _apart(group: xr.Dataset, name: str, root: xr.Dataset) -> xr.Dataset:
    """A group that holds some of the networks only, along a dimension of its own.

    The groups of a tree must have the dimensions of its root at the same values (`xr.DataTree`).
    """
    if "network" not in group.indexes or "network" not in root.indexes:
        return group
    everyone = group.indexes["network"].equals(root.indexes["network"])
    return group if everyone else group.rename(network=_dimension(name))


def _dimension(group: str) -> str:
    return f"{group}_network"


def _encodable(dataset: xr.Dataset) -> xr.Dataset:
    """Strings of variable length, and no encoding left over from another store."""
    dataset = dataset.drop_encoding()
    for name, variable in dataset.variables.items():
        if _is_kind(variable.dtype, "str"):
            if any(str(value).endswith("\0") for value in variable.values.ravel()):
                raise SchemaError(
                    f"variable {name!r} has a text that ends in a NUL character, which a store "
                    "loses: expected none"
                )
            dataset[name] = variable.astype(np.dtypes.StringDType())
    return dataset


def _consolidate(path: Path) -> None:
    import zarr

    zarr.consolidate_metadata(str(path), zarr_format=2)


def verify(path: str | Path) -> None:
    """Holds all files of a store against its record.

    Raises:
        MissingFileError: there is nothing at `path`.
        DamagedFileError: something of it is missing or is not as it was written; the store has been
            moved aside, so that the next run of the workflow makes it again.
    """
    path = Path(path)
    if not os.path.lexists(path):
        raise MissingFileError(
            f"{path}: no consolidated Zarr store there; run the workflow to make it"
        )
    if not path.is_dir():
        raise damaged(path, "it is no folder", records.REMEDY)
    for file, why in records.differences(records.of(path)):
        raise damaged(path, f"{file.relative_to(path)}: {why}", records.REMEDY)


def read(
    path: str | Path, schema: str, *, group: str | None = None, verified: bool = False
) -> xr.Dataset:
    """Verifies a store, opens it and checks it against its schema; values load when they are used.

    Args:
        path: the store's folder.
        schema: a key of `SCHEMAS`.
        group: None for the root group; one that holds some of the networks only has them along
            `<group>_network` in the store, and along `network` here.
        verified: whether its files have just been held against their checksums, for another group.

    Raises:
        FileNotFoundError, DamagedFileError: as `verify`.
        SchemaError: it does not hold what the schema says.
    """
    path = Path(path)
    if not verified:
        verify(path)
    where = f"group {group}: " if group else ""
    try:
        dataset = xr.open_zarr(path, group=group, zarr_format=2, consolidated=True, chunks=None)
    except Exception as error:
        raise _unreadable(path, where, error) from error
    if group and _dimension(group) in dataset.dims:
        dataset = dataset.rename({_dimension(group): "network"})
    validate(dataset, schema, str(path) + (f", group {group}" if group else ""))
    return dataset


def _unreadable(path: Path, where: str, error: Exception) -> Exception:
    """The error to raise for a store that was sound a moment ago: Zarr has many words for it."""
    if not is_the_files_fault(error):
        return error
    return damaged(path, f"{where}it cannot be read ({error})", records.REMEDY)


def has_group(path: str | Path, group: str) -> bool:
    """Whether a store has a group."""
    return f"{group}/.zgroup" in records.files(records.of(path))


def load(
    path: str | Path, schema: str, *, group: str | None = None, verified: bool = False
) -> xr.Dataset:
    """As `read`, with all values loaded and held against the checksum of what was to be written.

    Raises:
        FileNotFoundError, DamagedFileError, SchemaError: as `read`.
    """
    path = Path(path)
    dataset = read(path, schema, group=group, verified=verified)
    where = f"group {group}: " if group else ""
    try:
        dataset.load()
    except Exception as error:
        raise _unreadable(path, where, error) from error
    if _checksum(dataset) != dataset.attrs.get(CHECKSUM):
        raise damaged(path, f"{where}its values have another checksum", records.REMEDY)
    return dataset


def _checksum(dataset: xr.Dataset) -> str:
    """SHA-256 of the names, dimensions and values of a group.

    It is of what values mean: NaN is NaN whatever its bits, and -0 is 0.
    """
    digest = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset[name].variable
        digest.update(f"{name} {variable.dims} {variable.shape}".encode())
        if _is_kind(variable.dtype, "str"):
            texts = [str(value) for value in variable.values.ravel()]
            digest.update(json.dumps(texts).encode())
            continue
        digest.update(f" {variable.dtype.str}".encode())
        # by parts: a variable may lie on the disk
        step = max(1, _PART // max(math.prod(variable.shape[1:]), 1))
        parts = range(0, variable.shape[0], step) if variable.dims else (None,)
        for start in parts:
            values = variable.values if start is None else variable[start : start + step].values
            if values.dtype.kind == "f":
                with np.errstate(invalid="ignore"):  # some bits of NaN count as invalid
                    values = np.where(np.isnan(values), values.dtype.type(np.nan), values + 0)
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
