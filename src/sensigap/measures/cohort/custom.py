"""What functions of one's own say of a cohort's networks."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from sensigap import custom, seeds
from sensigap.custom import CustomMeasureError
from sensigap.datasets.images import Images, standardise, training_subset
from sensigap.datasets.labels import training_labels
from sensigap.measures.cohort.members import (
    Advance,
    Member,
    network_coordinate,
    once_a_subset,
    silent,
)
from sensigap.spec import NetworkSpec


@dataclasses.dataclass(frozen=True)
class Data:
    """What a function may look at beside the network; no test label.

    Attributes:
        train_images: the network's training images, standardised, float32 (sample, d).
        train_labels: the labels that it was trained on, int64 (sample,).
        test_images: the test images, as train_images.
        classes: how many classes there are.
        spec: the network's hyper-parameters.
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    classes: int
    spec: NetworkSpec


def measure(
    members: Sequence[Member],
    images: Images,
    *,
    functions: Mapping[str, Mapping[str, str]],
    device: str = "cpu",
    advance: Advance = silent,
) -> xr.Dataset:
    """Calls every function on every network.

    torch's global generator is seeded by the network's id and the function's label before each
    call, so that a function that draws from it gives the same number again.

    Args:
        members: the networks, one a stack.
        images: their data set.
        functions: label -> `function`, a reference as `sensigap.custom.source` takes it.
        device: where networks and data lie, as torch.device takes it.
        advance: is told the share of the work that has been done since the last call.

    Returns:
        Schema 'custom'.

    Raises:
        CustomMeasureError: a function is not there, or fails, or returns no number.
    """
    loaded = {label: custom.load(asked["function"]) for label, asked in functions.items()}
    test_images = torch.from_numpy(standardise(images.test_images)).to(device)

    def subset(spec: NetworkSpec) -> tuple[torch.Tensor, np.ndarray]:
        chosen = training_subset(images, spec.train_size, spec.subset_seed)
        inputs = torch.from_numpy(standardise(images.train_images[chosen])).to(device)
        return inputs, images.train_labels[chosen]

    subset_of = once_a_subset(subset)
    values = np.full((len(members), len(loaded)), np.nan)
    for row, (spec, stack) in enumerate(members):
        inputs, true_labels = subset_of(spec)
        labels = training_labels(spec, true_labels, images.classes)
        data = Data(inputs, torch.from_numpy(labels).to(device), test_images, images.classes, spec)
        for column, (label, function) in enumerate(loaded.items()):
            # each function gets a network of its own, which it may change
            network = stack.to(device).sequential(0).eval()
            with torch.random.fork_rng():
                drawn = seeds.share(0, "custom measure", f"{spec.id} {label}")
                torch.manual_seed(int(drawn * 2**53))
                try:
                    values[row, column] = _number(function(network, data))
                except Exception as error:
                    reference = functions[label]["function"]
                    line = custom.failed_at(error, custom.source(reference))
                    raise CustomMeasureError(
                        f"{reference}, of measure {label!r}, failed {f'at {line} ' if line else ''}"
                        f"on network {spec.id}: {custom.in_words(error)}. Expected a number; try "
                        "it with sensigap.open(...).network(id)"
                    ) from error
            if math.isinf(values[row, column]):
                values[row, column] = math.nan
        advance(1 / max(len(members), 1))
    return xr.Dataset(
        {"value": (("network", "function"), values)},
        network_coordinate(members) | {"function": ("function", list(loaded))},
    )


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, torch.Tensor) else value)
