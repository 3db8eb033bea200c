"""Jacobian norms and transitions along ellipses, of a cohort's chosen networks."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from sensigap import seeds
from sensigap.datasets.images import Images, standardise, training_subset
from sensigap.kinds import ELLIPSE_KINDS, STATES
from sensigap.measures import paths
from sensigap.measures.cohort.members import Advance, Member, network_coordinate, silent, stacked
from sensigap.measures.ellipses import ellipse_transitions
from sensigap.measures.jacobian import jacobian_norm
from sensigap.networks import initial
from sensigap.spec import NetworkSpec


def measure(
    members: Sequence[Member],
    images: Images,
    *,
    count: int,
    angles: int,
    seed: int,
    device: str = "cpu",
    advance: Advance = silent,
) -> xr.Dataset:
    """Jacobian norms and transitions along ellipses, before and after training (STUDY, C1).

    Args:
        members: the networks, one a stack.
        images: their data set.
        count: ellipses of each kind, a network's own: with shared ones, networks would agree for
            the ellipses' sake, and a test over networks would take them for independent.
        angles: angles on an ellipse, a multiple of 24: then anchors and midpoints are among them.
        seed: of the anchors and the random ellipses.
        device: where the Jacobians and the products behind the transitions are computed, as
            torch.device takes it.
        advance: is told the share of the work that has been done since the last call.

    Returns:
        Schema 'ellipses'.
    """
    theta = np.arange(angles) * (2 * np.pi / angles)
    part_done = 1 / max(2 * len(members), 1)
    shape = (len(ELLIPSE_KINDS), count, angles)
    norms, counts, lengths = [], [], []
    for spec, trained in members:
        made = _ellipses(images, spec, count, seed)
        points = paths.ellipse_points(made, theta).reshape(-1, images.inputs)
        lengths.append(paths.arc_lengths(made, angles).reshape(shape))
        for stack in (initial([spec], images.inputs, images.classes), trained):
            on_device = stack.to(torch.device(device))
            norm = jacobian_norm(on_device, torch.from_numpy(points))
            norms.append(norm.cpu().numpy().reshape(shape))
            counts.append(ellipse_transitions(on_device, made, angles).reshape(shape))
            advance(part_done)
    both = (len(members), len(STATES), *shape)
    dims = ("network", "state", "kind", "ellipse", "angle")
    return xr.Dataset(
        {
            "jacobian_norm": (dims, stacked(norms, shape).reshape(both)),
            "transitions": (dims, stacked(counts, shape).astype(np.int64).reshape(both)),
            "arc_length": (("network", "kind", "ellipse", "angle"), stacked(lengths, shape)),
        },
        network_coordinate(members)
        | {
            "state": ("state", list(STATES)),
            "kind": ("kind", list(ELLIPSE_KINDS)),
            "angle": ("angle", theta),
        },
    )


def _ellipses(images: Images, spec: NetworkSpec, count: int, seed: int) -> np.ndarray:
    """Ellipses (kind x count, 3, d) through the spec's training subset."""
    subset = training_subset(images, spec.train_size, spec.subset_seed)
    made = []
    for index, kind in enumerate(ELLIPSE_KINDS):
        for number in range(count):
            draws = seeds.generator(seed, f"ellipses of {spec.id}", index, number)
            if kind == "random":
                made.append(paths.random_ellipse(images.inputs, draws))
            else:
                anchors = subset[paths.anchors_of(kind, images.train_labels[subset], draws)]
                made.append(paths.ellipse(standardise(images.train_images[anchors])))
    return np.stack(made)
