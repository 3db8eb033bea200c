"""Region boundaries over a plane of training points, of a cohort's chosen networks."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from sensitivity import datasets, seeds, survey
from sensitivity.contracts import ELLIPSE_STATES
from sensitivity.measures import paths
from sensitivity.measures.cohort.members import (
    fitted,
    network_coordinate,
    once_a_subset,
    stacked,
)
from sensitivity.measures.slices import slice_grid
from sensitivity.networks import initial
from sensitivity.progress import Progress
from sensitivity.spec import NetworkSpec


def measure_slices(
    weights: Path,
    curves: Path,
    store: Path,
    output: Path,
    *,
    networks: Sequence[str],
    resolution: int,
    margin: float,
    seed: int,
) -> None:
    """The last hidden layer's boundaries over a plane, before and after training (STUDY, 'Slices').

    The plane goes through three training points of different classes; its origin is the point
    closest to 0. Standardised inputs lie on a sphere of radius sqrt(d), so the window reaches
    (1 + margin) sqrt(d) from the origin each way and is the same for all networks of a data set.

    Args:
        weights, curves, store: as for `jacobian.measure_jacobian`.
        output: store to write, contract 'slices'.
        networks: ids; those of them that are in the cohort and fitted are measured.
        resolution: grid points along each axis.
        margin: what the window shows beyond the sphere, as a share of its radius.
        seed: of the three points, which depend on it and the training subset alone.
    """
    images = datasets.load(store)
    reach = (1 + margin) * math.sqrt(images.inputs)
    axis = np.linspace(-reach, reach, resolution)
    members = fitted(weights, curves, networks)
    progress = Progress(max(2 * len(members), 1), f"slices of {len(members)} networks")

    def plane(spec: NetworkSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        subset = datasets.training_subset(images, spec.train_size, spec.subset_seed)
        draws = seeds.generator(seed, "slices")
        # ASSUME: of different classes, as the paper's figure shows
        anchors = subset[paths.anchors_of("different classes", images.train_labels[subset], draws)]
        frame, coordinates = paths.plane(datasets.standardise(images.train_images[anchors]))
        return frame, coordinates, images.train_labels[anchors]

    plane_of = once_a_subset(plane)
    boundaries, predicted = [], []
    for spec, trained in members:
        frame = plane_of(spec)[0]
        for stack in (initial([spec], images.inputs, images.classes), trained):
            grid = slice_grid(stack, 0, frame, axis, axis)
            boundaries.append(grid.boundary)
            predicted.append(grid.predicted)
            progress.advance()
    grid_shape = (resolution, resolution)
    both = (len(members), len(ELLIPSE_STATES), *grid_shape)
    planes = [plane_of(spec) for spec, _ in members]
    coordinates = stacked([p[1] for p in planes], (3, 2))
    dims = ("network", "state", "y", "x")
    dataset = xr.Dataset(
        {
            "boundary": (dims, stacked(boundaries, grid_shape).astype(bool).reshape(both)),
            "predicted": (dims, stacked(predicted, grid_shape).astype(np.int64).reshape(both)),
            "anchor_x": (("network", "anchor"), coordinates[:, :, 0]),
            "anchor_y": (("network", "anchor"), coordinates[:, :, 1]),
            "anchor_label": (
                ("network", "anchor"),
                stacked([p[2] for p in planes], (3,)).astype(np.int64),
            ),
        },
        network_coordinate(members)
        | {"state": ("state", list(ELLIPSE_STATES)), "x": ("x", axis), "y": ("y", axis)},
    )
    attributes = survey.provenance(measure="slices", seed=seed, margin=margin, device="cpu")
    survey.write(dataset, output, "slices", attributes=attributes)
