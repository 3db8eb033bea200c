"""Rows carried backwards by the weights of the units that are active at each point, on a CPU.

A masked product spends as much on dead units as on active ones. Where half of the units are active,
a quarter of the weights between two layers suffices; but they must be copied for each point, which
pays where there are many weights and many rows use the copy.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from sensigap.measures.memory import Memory

#: nanoseconds on one core, from trials: a multiplication in one float32 product for all points, or
#: in one for each point; masking one entry of a row; copying one weight; the rest of a layer
PRODUCT_COST, ALIVE_PRODUCT_COST, MASK_COST, COPY_COST, LAYER_COST = 0.022, 0.027, 0.2, 1.0, 1e4

#: first row that is not zero, matrix: the column blocks of a lower triangular one
Blocks = Sequence[tuple[int, torch.Tensor]]


def active_pays(
    rows: int, hidden: Sequence[torch.Tensor], blocks: Blocks, derivatives: Sequence[torch.Tensor]
) -> bool:
    """Whether this route is cheaper than masked products, by counting; see `carry_active`."""
    if len(derivatives) < 2 or derivatives[0].device.type != "cpu":
        return False
    active = [float(d.mean()) * d.shape[1] for d in derivatives]
    masked, copied = 0.0, LAYER_COST * (len(hidden) + len(blocks))
    for w, a, b in zip(hidden, active[:-1], active[1:], strict=True):
        masked += (PRODUCT_COST * w.shape[0] + MASK_COST) * rows * w.shape[1]
        copied += (ALIVE_PRODUCT_COST * rows + COPY_COST) * a * b
    for start, block in blocks:
        share = active[0] / (start + len(block))
        masked += PRODUCT_COST * rows * block.numel()
        copied += (ALIVE_PRODUCT_COST * rows + COPY_COST / 4) * share * block.numel()
    return copied < masked


def carry_active(
    ends: Iterable[np.ndarray],
    rows: int,
    hidden: Sequence[torch.Tensor],
    blocks: Blocks,
    derivatives: Sequence[torch.Tensor],
    *,
    memory: Memory,
) -> list[torch.Tensor]:
    """Rows from the last hidden layer to the inputs.

    Args:
        ends: for each point its rows at the last hidden layer, transposed (width, row).
        rows: their number.
        hidden: weights (in, out) between hidden layers.
        blocks: of the first layer: (width, columns) in all; rows contiguous in memory, since else
            numpy would copy all of one for each point.
        derivatives: of the hidden units, 0 or 1 (point, width).
        memory: to write to.

    Returns:
        For each block, the rows (point, row, column), in the memory.
    """
    layers = [_active(d.numpy()) for d in derivatives]
    weights = [w.numpy() for w in hidden]
    first = [(start, block.numpy()) for start, block in blocks]
    parts = [
        memory.room(f"block {k}", (len(derivatives[0]), rows, block.shape[1]), block.dtype)
        for k, (_, block) in enumerate(first)
    ]
    for point, (end, *active) in enumerate(zip(ends, *layers, strict=True)):
        g = end.take(active[-1], 0)  # (unit, row)
        for w, into, out in zip(weights[::-1], active[-2::-1], active[:0:-1], strict=True):
            into_rows = _taken(w, into, 0, "rows", memory)
            g = _taken(into_rows, out, 1, "columns", memory) @ g
        for part, (start, block) in zip(parts, first, strict=True):
            skipped = int(np.searchsorted(active[0], start))
            taken = _taken(block, active[0][skipped:] - start, 0, "rows", memory)
            np.matmul(g[skipped:].T, taken, out=part[point])
    return [torch.from_numpy(part) for part in parts]


def _active(derivatives: np.ndarray) -> list[np.ndarray]:
    """Indices of the active units at each point, from derivatives (point, unit)."""
    point, unit = np.nonzero(derivatives)
    return np.split(unit, np.searchsorted(point, np.arange(1, len(derivatives))))


def _taken(
    matrix: np.ndarray, indices: np.ndarray, axis: int, name: str, memory: Memory
) -> np.ndarray:
    """Some rows (axis 0) or columns (axis 1) of a matrix."""
    shape = (*matrix.shape[:axis], len(indices), *matrix.shape[axis + 1 :])
    return matrix.take(indices, axis, out=memory.room(name, shape, matrix.dtype), mode="clip")
