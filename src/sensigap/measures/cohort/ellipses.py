"""Jacobian norms and transitions along ellipses, of a cohort's chosen networks."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr

from sensigap import datasets, seeds, selection, survey
from sensigap.measures import paths
from sensigap.measures.cohort.members import fitted, network_coordinate, stacked
from sensigap.measures.ellipses import ellipse_transitions
from sensigap.measures.jacobian import jacobian_norm
from sensigap.networks import initial
from sensigap.progress import Progress
from sensigap.schema import ELLIPSE_KINDS, ELLIPSE_STATES
from sensigap.spec import NetworkSpec


def measure_ellipses(
    weights: Path,
    curves: Path,
    store: Path,
    output: Path,
    *,
    share: float,
    count: int,
    angles: int,
    seed: int,
    device: str = "cpu",
) -> None:
    """Jacobian norms and transitions along ellipses, before and after training (STUDY, C1).

    Args:
        weights, curves, store: as for `jacobian.measure_jacobian`.
        output: store to write, schema 'ellipses'.
        share: of the fitted networks, chosen by a seeded hash of their ids: so whether a network
            is measured depends on no other, nor on the study that it is in.
        count: ellipses of each kind, a network's own: with shared ones, networks would agree for
            the ellipses' sake, and a test over networks would take them for independent.
        angles: angles on an ellipse, a multiple of 24: then anchors and midpoints are among them.
        seed: of the choice, the anchors and the random ellipses.
        device: where the Jacobians and the products behind the transitions are computed, as
            torch.device takes it.
    """
    images = datasets.load(store)
    theta = np.arange(angles) * (2 * np.pi / angles)
    members = [
        (spec, stack)
        for spec, stack in fitted(weights, curves)
        if selection.chosen(spec.id, "ellipses", share, seed)
    ]
    progress = Progress(max(2 * len(members), 1), f"ellipses of {len(members)} networks")
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
            progress.advance()
    both = (len(members), len(ELLIPSE_STATES), *shape)
    dims = ("network", "state", "kind", "ellipse", "angle")
    dataset = xr.Dataset(
        {
            "jacobian_norm": (dims, stacked(norms, shape).reshape(both)),
            "transitions": (dims, stacked(counts, shape).astype(np.int64).reshape(both)),
            "arc_length": (("network", "kind", "ellipse", "angle"), stacked(lengths, shape)),
        },
        network_coordinate(members)
        | {
            "state": ("state", list(ELLIPSE_STATES)),
            "kind": ("kind", list(ELLIPSE_KINDS)),
            "angle": ("angle", theta),
        },
    )
    attributes = survey.provenance(measure="ellipses", count=count, seed=seed, device=device)
    survey.write(dataset, output, "ellipses", attributes=attributes)


def _ellipses(images: datasets.Images, spec: NetworkSpec, count: int, seed: int) -> np.ndarray:
    """Ellipses (kind x count, 3, d) through the spec's training subset."""
    subset = datasets.training_subset(images, spec.train_size, spec.subset_seed)
    made = []
    for index, kind in enumerate(ELLIPSE_KINDS):
        for number in range(count):
            draws = seeds.generator(seed, f"ellipses of {spec.id}", index, number)
            if kind == "random":
                made.append(paths.random_ellipse(images.inputs, draws))
            else:
                anchors = subset[paths.anchors_of(kind, images.train_labels[subset], draws)]
                made.append(paths.ellipse(datasets.standardise(images.train_images[anchors])))
    return np.stack(made)
