"""Slices: the last hidden layer's boundaries, and the class, over a plane through three inputs."""

import dataclasses

import numpy as np
import torch

from sensigap.isolation import isolated
from sensigap.measures.checks import as_array, check_index, check_stack
from sensigap.measures.partition import partition_parts
from sensigap.measures.polygons.layers import network_layers
from sensigap.networks import Stack
from sensigap.tensors import check_finite

#: points of the plane evaluated at once
CHUNK_POINTS = 4096


@dataclasses.dataclass(frozen=True)
class Boundaries:
    """The last hidden layer's boundaries over a window of a plane.

    Attributes:
        segments: both ends of each (segment, 2, 2), coordinates in the plane, float32: exact up to
            a rounding that no drawing shows.
        regions: linear regions in the window, of all hidden layers together.
    """

    segments: np.ndarray
    regions: int


@isolated()
def last_boundaries(
    stack: Stack,
    network: int,
    frame: np.ndarray,
    window: tuple[float, float, float, float],
    *,
    most: int,
) -> Boundaries | None:
    """Where units of the last hidden layer pass a threshold, in a plane (STUDY, 'Slices').

    Of the edges of the exact partition (`partition.partition`), those between two regions with
    different codes of the last hidden layer; the others are boundaries of earlier layers only.

    Args:
        stack: the networks.
        network: the network's index in the stack.
        frame: (3, d): origin and the unit vectors of x and y (`paths.plane`).
        window: least and largest x, least and largest y, in units of the input.
        most: linear regions at most.

    Returns:
        The boundaries; None if there are more than `most` linear regions, found before all of
        them are.

    Raises:
        TypeError, ValueError: as `partition.partition`.
    """
    check_stack(stack)
    check_index(network, len(stack))
    plane = as_array(frame, "frame", (3, stack.inputs))
    layers = network_layers(stack, network)
    segments, regions = [np.zeros((0, 2, 2), np.float32)], 0
    # parts border on lines of earlier layers, so edges within parts are all that are needed
    for part, codes in partition_parts(layers, plane, window):
        regions += len(part)
        if regions > most:
            return None
        edges, sides = part.neighbours()
        differ = (codes[sides[:, 0]] != codes[sides[:, 1]]).any(1)
        segments.append(part.corners[edges[differ]].astype(np.float32))
    return Boundaries(np.concatenate(segments), regions)


@isolated()
def predicted_classes(
    stack: Stack, network: int, frame: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """The class with the largest logit on a grid in a plane: (y, x).

    Args:
        stack: the networks.
        network: the network's index in the stack.
        frame: as for `last_boundaries`.
        x, y: coordinates of the grid's columns and rows, in units of the input.

    Raises:
        TypeError, ValueError: as `partition.partition`; also for logits that are not finite.
    """
    check_stack(stack)
    check_index(network, len(stack))
    plane = as_array(frame, "frame", (3, stack.inputs))
    columns, rows = as_array(x, "x", ("column",)), as_array(y, "y", ("row",))
    one = stack.select([network]).to(torch.float64)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    classes = []
    for start in range(0, len(grid), CHUNK_POINTS):
        points = grid[start : start + CHUNK_POINTS] @ plane[1:] + plane[0]
        logits = one.logits(torch.from_numpy(points).to(one.device))
        check_finite(logits, "logits", "scale the weights or the plane down")
        classes.append(logits[0].argmax(1).cpu().numpy())
    return np.concatenate(classes).reshape(len(y), len(x))
