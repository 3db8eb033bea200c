"""The contract of every store: its dimensions, coordinates, variables, units and dtypes.

`write` and `read` check a Dataset against its contract, so that a store on disk is what this page
says. Stores are Zarr format 2, consolidated, with variable-length strings: in trials the one
combination that xarray writes and opens without a warning, also with groups and with the
timestamp files that a workflow engine leaves inside a directory.
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sensitivity.spec import FACTOR_SIDES, NetworkSpec

ELLIPSE_KINDS = ("different classes", "one class", "random")
ELLIPSE_STATES = ("initial", "trained")


@dataclasses.dataclass(frozen=True)
class Variable:
    """What a variable or coordinate is: dimensions, kind of dtype, description, unit."""

    dims: tuple[str, ...]
    #: 'float', 'int', 'bool' or 'str'
    kind: str
    long_name: str
    units: str = "1"


@dataclasses.dataclass(frozen=True)
class Contract:
    """The variables and coordinates that a store must hold; nothing else may be in it."""

    coordinates: Mapping[str, Variable]
    variables: Mapping[str, Variable]


_NETWORK = {
    "network": Variable(("network",), "str", "network id: hash of what decides its weights")
}
_SAMPLE = {
    "sample": Variable(("sample",), "int", "index in the published test set"),
    "label": Variable(("sample",), "int", "true class"),
}
_HYPERPARAMETERS = {
    "depth": Variable(("network",), "int", "hidden layers"),
    "width": Variable(("network",), "int", "units in each hidden layer"),
    "unit": Variable(("network",), "str", "hidden unit"),
    "optimizer": Variable(("network",), "str", "optimizer"),
    "learning_rate": Variable(("network",), "float", "learning rate"),
    "batch_size": Variable(("network",), "int", "images in a step"),
    "gain": Variable(("network",), "float", "initial weights are N(0, gain^2 / fan_in)"),
    "steps": Variable(("network",), "int", "optimizer steps at most"),
    "seed": Variable(("network",), "int", "seed of weights, batches, labels and augmentation"),
    "train_size": Variable(("network",), "int", "training images"),
    "subset_seed": Variable(("network",), "int", "seed of the training subset"),
    "labels": Variable(("network",), "str", "training labels: true or random"),
    "max_shift": Variable(("network",), "int", "largest random translation", "pixel"),
    "flip": Variable(("network",), "bool", "random horizontal flips"),
    "stop": Variable(("network",), "str", "stop rule: steps, fitted or loss"),
    "fit_accuracy": Variable(("network",), "float", "training accuracy that counts as fitted"),
    "target_loss": Variable(("network",), "float", "training loss of stop rule 'loss'", "nat"),
    "precision": Variable(("network",), "str", "dtype of weights and training"),
}
_MEMBERSHIP = {
    "cohort": Variable(("network",), "str", "the job that trained the network"),
    "in_survey": Variable(("network",), "bool", "member of the survey (C0, C2, C5)"),
    "in_ellipses": Variable(("network",), "bool", "chosen for the ellipses (C1)"),
    "in_slices": Variable(("network",), "bool", "chosen for the slices"),
} | {
    f"{column}_{factor}": Variable(("network",), "str", f"{text} of factor {factor}, '' for none")
    for factor in FACTOR_SIDES
    for column, text in (("pair", "pair"), ("side", "side in the pair"))
}
_OUTCOMES = {
    "status": Variable(("network",), "str", "fitted, not fitted or diverged"),
    "steps_done": Variable(("network",), "int", "optimizer steps made"),
    "fit_step": Variable(
        ("network",), "int", "first check that found the network fitted, -1: none"
    ),
    "parameters": Variable(("network",), "int", "weights and biases"),
    "train_loss": Variable(("network",), "float", "cross-entropy, whole training set", "nat"),
    "train_accuracy": Variable(("network",), "float", "accuracy, whole training set"),
    "test_loss": Variable(("network",), "float", "cross-entropy, whole test set", "nat"),
    "test_accuracy": Variable(("network",), "float", "accuracy, whole test set"),
    "train_seconds": Variable(
        ("network",), "float", "training time, its share of the stack's", "s"
    ),
}
_POINTS = {
    "jacobian_norm": Variable(
        ("network", "sample"), "float", "||J||_F of the softmax output; 0 where J = 0"
    ),
    "jacobian_norm_log10": Variable(
        ("network", "sample"), "float", "log10 ||J||_F of the softmax output; -inf where J = 0"
    ),
    "logit_jacobian_norm": Variable(("network", "sample"), "float", "||A||_F of the logits"),
    "jacobian_zero": Variable(("network",), "int", "test points at which J = 0 exactly"),
    "loss": Variable(("network", "sample"), "float", "cross-entropy at the point", "nat"),
    "margin": Variable(("network", "sample"), "float", "true logit minus the best other"),
    "confidence": Variable(("network", "sample"), "float", "largest class probability"),
    "target_probability": Variable(("network", "sample"), "float", "probability of the true class"),
    "squared_probabilities": Variable(
        ("network", "sample"), "float", "sum_i f_i^2 (1 - 2 f_i + sum_j f_j^2)"
    ),
}
_TRANSITIONS = {
    "transitions": Variable(
        ("network", "sample"),
        "float",
        "exact transitions on the translation polygon; NaN: not measured",
    )
}
_CURVES = {
    "loss": Variable(("network", "check"), "float", "cross-entropy, whole training set", "nat"),
    "accuracy": Variable(("network", "check"), "float", "accuracy, whole training set"),
    "gradient_norm": Variable(("network", "check"), "float", "norm of the last minibatch gradient"),
    "seconds": Variable(("network", "check"), "float", "training time so far", "s"),
}
_CHECK = {"step": Variable(("check",), "int", "optimizer steps made at the check")}

CONTRACTS = {
    "dataset": Contract({}, {}),
    "images": Contract(
        {"sample": Variable(("sample",), "int", "index in the training or test set")},
        {
            "image": Variable(
                ("sample", "channel", "row", "column"), "int", "pixels as published, uint8"
            ),
            "label": Variable(("sample",), "int", "true class"),
        },
    ),
    "training": Contract(
        _NETWORK | _CHECK, _OUTCOMES | {f"curve_{name}": v for name, v in _CURVES.items()}
    ),
    "jacobian": Contract(_NETWORK | _SAMPLE, _POINTS),
    "transitions": Contract(_NETWORK | _SAMPLE, _TRANSITIONS),
    "ellipses": Contract(
        _NETWORK
        | {
            "state": Variable(("state",), "str", "initial or trained weights"),
            "kind": Variable(("kind",), "str", "anchors of the ellipse"),
            "angle": Variable(("angle",), "float", "angle on the ellipse", "rad"),
        },
        {
            "jacobian_norm": Variable(
                ("network", "state", "kind", "ellipse", "angle"), "float", "||J||_F at the angle"
            ),
            "transitions": Variable(
                ("network", "state", "kind", "ellipse", "angle"),
                "int",
                "transitions from this angle to the next",
            ),
            "arc_length": Variable(
                ("network", "kind", "ellipse", "angle"),
                "float",
                "length of the arc from this angle to the next, in standardised inputs",
            ),
        },
    ),
    "slices": Contract(
        _NETWORK
        | {
            "state": Variable(("state",), "str", "initial or trained weights"),
            "x": Variable(("x",), "float", "first coordinate in the plane, standardised inputs"),
            "y": Variable(("y",), "float", "second coordinate in the plane, standardised inputs"),
        },
        {
            "boundary": Variable(
                ("network", "state", "y", "x"),
                "bool",
                "a boundary of the last hidden layer's regions passes to the next grid point",
            ),
            "predicted": Variable(("network", "state", "y", "x"), "int", "predicted class"),
            "anchor_x": Variable(("network", "anchor"), "float", "x of the three training points"),
            "anchor_y": Variable(("network", "anchor"), "float", "y of the three training points"),
            "anchor_label": Variable(("network", "anchor"), "int", "class of the training points"),
        },
    ),
    "survey": Contract(
        _NETWORK | _SAMPLE | _HYPERPARAMETERS | _MEMBERSHIP,
        _OUTCOMES
        | _POINTS
        | _TRANSITIONS
        | {
            "gap": Variable(("network",), "float", "generalization gap: train - test accuracy"),
            "sensitivity": Variable(("network",), "float", "mean of ||J||_F over all test points"),
            "mean_transitions": Variable(
                ("network",), "float", "mean transitions over the chosen test points"
            ),
        },
    ),
    "curves": Contract(_NETWORK | _CHECK, _CURVES),
}
#: group of a survey or of a data set's store -> contract
GROUPS = {
    "training": "curves",
    "ellipses": "ellipses",
    "slices": "slices",
    "train": "images",
    "test": "images",
}

_KINDS = {"float": "f", "int": "iu", "bool": "b", "str": "OUT"}


class ContractError(ValueError):
    """A store does not hold what its contract says."""


def provenance(**extra: Any) -> dict[str, str]:
    """Attributes that say where a store comes from: versions, code, host kind, and `extra`."""
    names = ("sensitivity", "torch", "numpy", "xarray", "zarr", "snakemake")
    versions = {}
    for name in names:
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


def validate(dataset: xr.Dataset, contract: str, where: str) -> None:
    """Raises `ContractError` with every way in which `dataset` departs from its contract."""
    expected = CONTRACTS[contract]
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
            f"{role} {name!r} is not in the contract; expected: {', '.join(wanted)}"
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
        raise ContractError(
            f"{where} is not a valid {contract!r} store:\n  {listed}\n"
            "Delete it and run the workflow again; if it comes back, this is a bug."
        )


def _is_kind(dtype: Any, kind: str) -> bool:
    if kind == "str":
        return not isinstance(dtype, np.dtype) or dtype.kind in "OUT"
    return isinstance(dtype, np.dtype) and dtype.kind in _KINDS[kind]


def describe(dataset: xr.Dataset, contract: str) -> xr.Dataset:
    """The dataset with long_name and units of its contract on every variable and coordinate."""
    expected = CONTRACTS[contract]
    described = dataset.copy()
    for name, variable in {**expected.coordinates, **expected.variables}.items():
        if name in described:
            described[name].attrs = {"long_name": variable.long_name, "units": variable.units}
    return described


def write(
    dataset: xr.Dataset,
    path: str | Path,
    contract: str,
    *,
    groups: Mapping[str, xr.Dataset] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Validates and writes a store whole: to a temporary name beside `path`, then renamed.

    Args:
        dataset: the root group.
        path: the store's directory; an existing one is replaced.
        contract: a key of `CONTRACTS`.
        groups: further Datasets, by name of their group (`GROUPS`).
        attributes: of the root group; see `provenance`.

    Raises:
        ContractError: a Dataset does not hold what its contract says.
    """
    path = Path(path)
    validate(dataset, contract, str(path))
    for name, group in (groups or {}).items():
        validate(group, GROUPS[name], f"{path}, group {name}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    root = _encodable(describe(dataset, contract))
    root.attrs = dict(attributes or {})
    root.to_zarr(temporary, mode="w", zarr_format=2, consolidated=not groups)
    for position, (name, group) in enumerate((groups or {}).items()):
        _encodable(describe(group, GROUPS[name])).to_zarr(
            temporary, mode="a", group=name, zarr_format=2, consolidated=False
        )
        if position == len(groups or {}) - 1:
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


def read(path: str | Path, contract: str, *, group: str | None = None) -> xr.Dataset:
    """Opens a store and checks it against its contract; values load when they are used.

    Raises:
        FileNotFoundError: there is no store.
        ContractError: it does not hold what the contract says.
    """
    path = Path(path)
    if not (path / ".zmetadata").exists():
        raise FileNotFoundError(
            f"{path}: no consolidated Zarr store there; run the workflow to make it, "
            "or delete what is there if a write was cut short"
        )
    dataset = xr.open_zarr(path, group=group, zarr_format=2, consolidated=True, chunks=None)
    validate(dataset, contract, str(path) + (f", group {group}" if group else ""))
    return dataset


def hyperparameters(spec: NetworkSpec) -> dict[str, Any]:
    """The coordinates on `network` that a spec gives."""
    return {name: getattr(spec, name) for name in _HYPERPARAMETERS}
