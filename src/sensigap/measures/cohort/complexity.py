"""Complexity measures of a cohort's fitted networks."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from sensigap import seeds
from sensigap.datasets.images import Images, standardise, training_subset
from sensigap.datasets.labels import training_labels
from sensigap.measures import complexity
from sensigap.measures.cohort.members import (
    Advance,
    Member,
    network_coordinate,
    once_a_subset,
    silent,
)
from sensigap.measures.sharpness import sharpness, weight_noise
from sensigap.networks import initial
from sensigap.spec import NetworkSpec

#: what is kept of each network
_MEASURES = (
    *("frobenius_product_log10", "spectral_product_log10", "distance", "spectral_distance"),
    *("path_norm_log10", "fisher_rao_log10", "inverse_margin", "sharpness"),
    "sharpness_magnitude",
)


def measure(
    members: Sequence[Member],
    images: Images,
    *,
    points: int,
    draws: int,
    drop: float,
    seed: int,
    device: str = "cpu",
    advance: Advance = silent,
) -> xr.Dataset:
    """What `measures.complexity` and `measures.sharpness` hold, of every fitted network.

    Training points are those of the network's own subset, unaugmented, with the labels that it was
    trained on, random ones included. The margin is over all of them, Fisher-Rao norm and sharpness
    over a seeded choice that is the same for all networks of a subset.

    Args:
        members: the networks, one a stack.
        images: their data set.
        points: training points for Fisher-Rao norm and sharpness, at most.
        draws: of weight noise, for the sharpness.
        drop: accuracy that the noise may cost.
        seed: of the choice of points and of the noise.
        device: where all is computed, as torch.device takes it.
        advance: is told the share of the work that has been done since the last call.

    Returns:
        Schema 'complexity'.
    """
    place = torch.device(device)
    part_done = 1 / max(len(members), 1)

    def training(spec: NetworkSpec) -> tuple[np.ndarray, torch.Tensor, np.ndarray]:
        subset = training_subset(images, spec.train_size, spec.subset_seed)
        x = torch.from_numpy(standardise(images.train_images[subset])).to(place)
        order = seeds.generator(seed, "complexity points").permutation(len(subset))
        return images.train_labels[subset], x, np.sort(order[:points])

    training_of = once_a_subset(training)
    columns: dict[str, list[float]] = {name: [] for name in _MEASURES}
    shape, noise = None, None
    for spec, stack in members:
        trained = stack.to(place)
        start = initial([spec], images.inputs, images.classes).to(place)
        if noise is None or shape != (spec.depth, spec.width, spec.precision):
            shape = (spec.depth, spec.width, spec.precision)
            noise = weight_noise(trained, draws, seed)
        true_labels, x, chosen = training_of(spec)
        labels = torch.from_numpy(training_labels(spec, true_labels, images.classes))[None]
        some = x[torch.from_numpy(chosen).to(place)], labels[:, chosen]
        found = {
            "frobenius_product_log10": complexity.frobenius_product(trained),
            "spectral_product_log10": complexity.spectral_product(trained),
            "distance": complexity.distance(trained, start),
            "spectral_distance": complexity.spectral_distance(trained, start),
            "path_norm_log10": complexity.path_norm(trained),
            "fisher_rao_log10": complexity.fisher_rao(trained, *some),
            "inverse_margin": complexity.inverse_margin(trained, x, labels),
            "sharpness": sharpness(trained, *some, noise, drop=drop),
            "sharpness_magnitude": sharpness(
                trained, *some, noise, drop=drop, magnitude_aware=True
            ),
        }
        for name, values in found.items():
            columns[name].append(float(values[0]))
        advance(part_done)
    return xr.Dataset(
        {name: ("network", np.array(column, np.float64)) for name, column in columns.items()},
        network_coordinate(members),
    )
