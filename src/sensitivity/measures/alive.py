"""Rows carried backwards by the weights of the units that are alive at each point, on a CPU.

A masked product spends as much on dead units as on alive ones. Where half of the units are alive, a
quarter of the weights between two layers suffices; but they must be copied for each point, which
pays where there are many weights and many rows use the copy.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

#: nanoseconds on one core, from trials: a multiplication in one float32 product for all points, or
#: in one for each point; masking one entry of a row; copying one weight; the rest of a layer
PRODUCT_COST, ALIVE_PRODUCT_COST, MASK_COST, COPY_COST, LAYER_COST = 0.022, 0.027, 0.2, 1.0, 1e4

#: first row that is not zero, matrix: the column blocks of a lower triangular one
Blocks = Sequence[tuple[int, torch.Tensor]]


def alive_pays(
    rows: int, hidden: Sequence[torch.Tensor], blocks: Blocks, derivatives: Sequence[torch.Tensor]
) -> bool:
    """Whether this route is cheaper than masked products, by counting; see `carry_alive`."""
    if len(derivatives) < 2 or derivatives[0].device.type != "cpu":
        return False
    alive = [float(d.mean()) * d.shape[1] for d in derivatives]
    masked, copied = 0.0, LAYER_COST * (len(hidden) + len(blocks))
    for w, a, b in zip(hidden, alive[:-1], alive[1:], strict=True):
        masked += (PRODUCT_COST * w.shape[0] + MASK_COST) * rows * w.shape[1]
        copied += (ALIVE_PRODUCT_COST * rows + COPY_COST) * a * b
    for start, block in blocks:
        share = alive[0] / (start + len(block))
        masked += PRODUCT_COST * rows * block.numel()
        copied += (ALIVE_PRODUCT_COST * rows + COPY_COST / 4) * share * block.numel()
    return copied < masked


def carry_alive(
    ends: torch.Tensor,
    index: torch.Tensor,
    hidden: Sequence[torch.Tensor],
    blocks: Blocks,
    derivatives: Sequence[torch.Tensor],
) -> list[torch.Tensor]:
    """Rows from the last hidden layer to the inputs.

    Args:
        ends: rows (end, row, width) at the last hidden layer.
        index: which of the ends each point has (point).
        hidden: weights (in, out) between hidden layers.
        blocks: of the first layer: (width, columns) in all.
        derivatives: of the hidden units, 0 or 1 (point, width).

    Returns:
        For each block, the rows (point, row, column).
    """
    masks = [d.numpy() != 0 for d in derivatives]
    weights = [w.numpy() for w in hidden]
    first = [(start, block.numpy()) for start, block in blocks]
    columns = ends.mT.contiguous().numpy()  # (end, unit, row)
    size = (len(index), ends.shape[1])
    parts = [torch.empty(*size, block.shape[1], dtype=ends.dtype) for _, block in blocks]
    memory = _Memory(max(w.size for w in [*weights, *(block for _, block in first)]), columns.dtype)
    for point, end in enumerate(index.tolist()):
        alive = [np.flatnonzero(mask[point]) for mask in masks]
        g = columns[end].take(alive[-1], 0)  # (unit, row)
        for w, into, out in zip(weights[::-1], alive[-2::-1], alive[:0:-1], strict=True):
            g = memory.taken(memory.taken(w, into, 0), out, 1) @ g
        for part, (start, block) in zip(parts, first, strict=True):
            skipped = int(np.searchsorted(alive[0], start))
            taken = memory.taken(block, alive[0][skipped:] - start, 0)
            np.matmul(g[skipped:].T, taken, out=part[point].numpy())
    return parts


class _Memory:
    """Memory for copies, used again and again, since new memory costs more than a copy."""

    def __init__(self, size: int, dtype: np.dtype) -> None:
        self._of_axis = np.empty((2, size), dtype)

    def taken(self, matrix: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
        """Some rows (axis 0) or columns (axis 1) of a matrix; one copy an axis lives at a time."""
        size = (*matrix.shape[:axis], len(indices), *matrix.shape[axis + 1 :])
        out = self._of_axis[axis, : math.prod(size)].reshape(size)
        return matrix.take(indices, axis, out=out, mode="clip")
