"""Region boundaries over a plane of training points, of a cohort's chosen networks."""

import logging
import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

from sensigap import seeds
from sensigap.datasets.images import Images, standardise, training_subset
from sensigap.kinds import STATES
from sensigap.measures import paths
from sensigap.measures.cohort.members import (
    Advance,
    Member,
    network_coordinate,
    once_a_subset,
    silent,
    stacked,
)
from sensigap.measures.slices import Boundaries, last_boundaries, predicted_classes
from sensigap.networks import Stack, initial
from sensigap.spec import NetworkSpec

logger = logging.getLogger(__name__)

#: linear regions of a slice at most, else its boundaries are left out: large networks of the paper
#: (5 x 500 before training) have 2 million, with a boundary segment of 16 bytes for every second
MOST_REGIONS = 4_000_000
#: points along each side of the grid on which the class is kept, for pale colours in a figure
CLASS_POINTS = 200


def measure(
    members: Sequence[Member],
    images: Images,
    *,
    margin: float,
    seed: int,
    device: str = "cpu",
    advance: Advance = silent,
) -> xr.Dataset:
    """The last hidden layer's boundaries over a plane, before and after training (STUDY, 'Slices').

    The plane goes through three training points of different classes; its origin is the point
    closest to 0. Standardised inputs lie on a sphere of radius sqrt(d), so the window reaches
    (1 + margin) sqrt(d) from the origin each way and is the same for all networks of a data set.

    The segments of a network and state are padded with NaN to the longest list. To draw them:

        one = slices.sel(network=name, state="trained").dropna("edge")
        ends = np.stack([one.x0, one.y0, one.x1, one.y1], axis=1).reshape(-1, 2, 2)
        axes.add_collection(matplotlib.collections.LineCollection(ends))

    A network with more than `MOST_REGIONS` linear regions in the window keeps its row, with the
    number of regions -1 and no boundaries.

    Args:
        members: the networks, one a stack.
        images: their data set.
        margin: what the window shows beyond the sphere, as a share of its radius.
        seed: of the three points, which depend on it and the training subset alone.
        device: not used: slices are made on the processor.
        advance: is told the share of the work that has been done since the last call.

    Returns:
        Schema 'slices'.
    """
    reach = (1 + margin) * math.sqrt(images.inputs)
    axis = np.linspace(-reach, reach, CLASS_POINTS)
    part_done = 1 / max(2 * len(members), 1)

    def plane(spec: NetworkSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        subset = training_subset(images, spec.train_size, spec.subset_seed)
        draws = seeds.generator(seed, "slices")
        # ASSUME: of different classes, as the paper's figure shows
        anchors = subset[paths.anchors_of("different classes", images.train_labels[subset], draws)]
        frame, coordinates = paths.plane(standardise(images.train_images[anchors]))
        return frame, coordinates, images.train_labels[anchors]

    plane_of = once_a_subset(plane)
    boundaries, predicted = [], []
    for spec, trained in members:
        frame = plane_of(spec)[0]
        stacks = (initial([spec], images.inputs, images.classes), trained)
        for state, stack in zip(STATES, stacks, strict=True):
            boundaries.append(_boundaries(spec, state, stack, frame, reach))
            predicted.append(predicted_classes(stack, 0, frame, axis, axis))
            advance(part_done)
    both = (len(members), len(STATES))
    planes = [plane_of(spec) for spec, _ in members]
    coordinates = stacked([p[1] for p in planes], (3, 2))
    labels = stacked([p[2] for p in planes], (3,)).astype(np.int64)
    classes = stacked(predicted, (CLASS_POINTS, CLASS_POINTS)).astype(np.int16)
    edges = np.array([len(found.segments) for found in boundaries], np.int64)
    segments = np.full((len(boundaries), edges.max(initial=0), 2, 2), np.nan, np.float32)
    for row, found in zip(segments, boundaries, strict=True):
        row[: len(found.segments)] = found.segments
    segments = segments.reshape(*both, *segments.shape[1:])
    return xr.Dataset(
        {
            f"{name}{end}": (("network", "state", "edge"), segments[..., end, column])
            for end in (0, 1)
            for column, name in enumerate("xy")
        }
        | {
            "edges": (("network", "state"), edges.reshape(both)),
            "regions": (
                ("network", "state"),
                np.array([found.regions for found in boundaries], np.int64).reshape(both),
            ),
            "window": ("network", np.full(len(members), reach)),
            "predicted": (
                ("network", "state", "y", "x"),
                classes.reshape(*both, *classes.shape[1:]),
            ),
            "anchor_x": (("network", "anchor"), coordinates[:, :, 0]),
            "anchor_y": (("network", "anchor"), coordinates[:, :, 1]),
            "anchor_label": (("network", "anchor"), labels),
        },
        network_coordinate(members)
        | {
            "state": ("state", list(STATES)),
            "edge": ("edge", np.arange(segments.shape[2])),
            "x": ("x", axis),
            "y": ("y", axis),
        },
    )


def _boundaries(
    spec: NetworkSpec, state: str, stack: Stack, frame: np.ndarray, reach: float
) -> Boundaries:
    """Those of one network; none and -1 regions if there are too many."""
    found = last_boundaries(stack, 0, frame, (-reach, reach, -reach, reach), most=MOST_REGIONS)
    if found is None:
        logger.warning(
            "slice of network %s, %s: more than %d linear regions, its boundaries are left out",
            spec.id,
            state,
            MOST_REGIONS,
        )
        return Boundaries(np.zeros((0, 2, 2), np.float32), -1)
    return found
