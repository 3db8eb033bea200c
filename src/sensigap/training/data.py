"""What networks are trained on, in which groups, and what is kept of their training."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from sensigap.datasets.images import Images, standardise, training_subset
from sensigap.networks import weights_dtype
from sensigap.spec import NetworkSpec
from sensigap.training.augmentation import ImageTable, Variant
from sensigap.training.schedule import Record
from sensigap.training.trainer import Data


def subset(spec: NetworkSpec) -> tuple[Any, ...]:
    """What networks must share to train on the same images in the same dtype."""
    return spec.train_size, spec.subset_seed, spec.precision


def shape(spec: NetworkSpec) -> tuple[Any, ...]:
    """What networks must share to be stacked."""
    return spec.depth, spec.width, spec.batch_size, spec.optimizer


def order(spec: NetworkSpec) -> tuple[Any, ...]:
    """Sorts the networks of a cohort: by subset, by shape, and within a stack."""
    # within a stack: networks of one schedule are checked together, equal units run together
    return *subset(spec), *shape(spec), spec.steps, spec.unit, spec.seed, spec.id


def training_data(
    images: Images, specs: Sequence[NetworkSpec], device: str, table_bytes: int
) -> Data:
    """What networks of one training subset and precision train on and are tested on."""
    spec = specs[0]
    dtype = weights_dtype(spec.precision)
    subset = training_subset(images, spec.train_size, spec.subset_seed)
    table = ImageTable(
        images.train_images[subset],
        {Variant.of(spec) for spec in specs if spec.augmented},
        dtype=dtype,
        device=device,
        table_bytes=table_bytes,
    )
    return Data(
        table,
        images.train_labels[subset],
        torch.from_numpy(standardise(images.test_images)).to(device, dtype),
        images.test_labels,
        images.classes,
    )


_CURVES: dict[str, Callable[[Record], list[float]]] = {
    "loss": lambda record: record.loss,
    "accuracy": lambda record: record.accuracy,
    "gradient_norm": lambda record: record.gradient_norm,
    "seconds": lambda record: record.seconds,
}


def training_dataset(
    specs: Sequence[NetworkSpec], records: Sequence[Record], parameters: Sequence[int]
) -> xr.Dataset:
    """The training store of networks: schema 'training'.

    Learning curves lie on the union of the networks' checks, NaN where a network had none.

    Args:
        specs: the networks.
        records: of their training.
        parameters: how many weights and biases each has.
    """
    steps = np.array(sorted({step for record in records for step in record.steps}), np.int64)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name in ("status", "steps_done", "fit_step"):
        variables[name] = (("network",), np.array([getattr(record, name) for record in records]))
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "train_seconds"):
        variables[name] = (("network",), np.array([getattr(r, name) for r in records], np.float64))
    variables["parameters"] = (("network",), np.array(parameters, np.int64))
    for name, curve in _CURVES.items():
        values = np.full((len(specs), len(steps)), np.nan)
        for k, record in enumerate(records):
            values[k, np.searchsorted(steps, record.steps)] = curve(record)
        variables[f"curve_{name}"] = (("network", "check"), values)
    return xr.Dataset(
        variables,
        {"network": [spec.id for spec in specs], "step": ("check", steps)},
    )
