"""Slices: the last hidden layer's regions over a plane through three inputs, on a grid."""

import dataclasses

import numpy as np
import torch

from sensitivity.networks import Stack

#: grid points evaluated at once
CHUNK_POINTS = 4096


@dataclasses.dataclass(frozen=True)
class GridSlice:
    """One network over a grid in a plane.

    Attributes:
        boundary: (y, x), whether a boundary of the last hidden layer's regions passes between the
            grid point and the next one in x or in y.
        predicted: (y, x), the class with the largest logit.
    """

    boundary: np.ndarray
    predicted: np.ndarray


def slice_grid(
    stack: Stack, network: int, frame: np.ndarray, x: np.ndarray, y: np.ndarray
) -> GridSlice:
    """The last hidden layer's boundaries, and the class, on a grid in a plane (STUDY, 'Slices').

    Args:
        stack: the networks.
        network: the network's index in the stack.
        frame: (3, d): origin and the unit vectors of x and y (`paths.plane`).
        x, y: coordinates of the grid's columns and rows, in units of the input.
    """
    one = stack.select([network]).to(torch.float64)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    codes, classes = [], []
    for start in range(0, len(grid), CHUNK_POINTS):
        points = grid[start : start + CHUNK_POINTS] @ frame[1:] + frame[0]
        h = torch.from_numpy(points).to(one.device)[None]
        z = h
        for l in range(one.depth):
            z = torch.baddbmm(one.biases[l][:, None], h, one.weights[l])
            h = one.clamp(l, z)
        shifted = z + one.shift[:, -1, None, None]
        # 0 below, 1 between, 2 above; a ReLU unit is never above
        code = (shifted > one.low[:, -1, None, None]).to(torch.int8)
        code += (shifted >= one.high[:, -1, None, None]).to(torch.int8)
        logits = torch.baddbmm(one.biases[-1][:, None], h, one.weights[-1])
        codes.append(code[0].cpu().numpy())
        classes.append(logits[0].argmax(1).cpu().numpy())
    by_place = np.concatenate(codes).reshape(len(y), len(x), -1)
    boundary = np.zeros((len(y), len(x)), bool)
    boundary[:, :-1] |= (by_place[:, 1:] != by_place[:, :-1]).any(2)
    boundary[:-1] |= (by_place[1:] != by_place[:-1]).any(2)
    return GridSlice(boundary, np.concatenate(classes).reshape(len(y), len(x)))
