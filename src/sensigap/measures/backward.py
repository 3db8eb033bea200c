"""The two passes through one network of a stack: forward in float64, backward with class rows.

Rows of the last layer are carried back to the inputs, where their norms and products with one
another are wanted. For these the first layer W_1 (width x d) need not be multiplied out: g W_1 and
g R^T have the same, for the triangular factor R of W_1^T = Q R, which is smaller where width < d.
Behind that there are three routes, and the cheapest one is taken:

* all points of a chunk together, one product a layer, the rows masked by the units' derivatives;
* the same with a row for each unit of the last hidden layer, where these are fewer than the
  classes; products of the classes' rows with them end it;
* point by point, with the weights of the units active there alone: a quarter of each product where
  half of the units are; but the weights are copied for each point, so it takes many rows to pay.

All use weights scaled by powers of two, so that a typical row keeps its size. Where that is not
enough, `rescaled` carries the rows point by point at sizes near 1.
"""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import torch

from sensigap.measures.active import active_pays, carry_active
from sensigap.measures.memory import Memory
from sensigap.networks import Stack

#: columns at least, and blocks at most, in which the triangular factor is multiplied, which skips
#: most of its zeros
TRIANGLE_COLUMNS, TRIANGLE_BLOCKS = 100, 6
#: columns of the first layer multiplied at once, where it is multiplied whole
DIRECT_COLUMNS = 512
#: bytes of the last layer's rows kept, a matrix for each top class
END_BYTES = 2**27
#: points converted to float64 at once
CONVERTED_POINTS = 256


class Backward(Protocol):
    """What `measures.jacobian` needs of a network."""

    classes: int
    #: dtype of the rows
    dtype: torch.dtype
    device: torch.device
    #: values of a row at its widest
    widest: int

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits (point, C) in float64, and the hidden units' derivatives (point, width), at x."""

    def carry(
        self,
        top: torch.Tensor,
        derivatives: list[torch.Tensor],
        *,
        with_top: bool,
        rescaled: bool = False,
        whole: bool = False,
    ) -> tuple[Iterable[torch.Tensor], torch.Tensor]:
        """Rows of the logit Jacobian A, as differences to the row of class t for the other classes.

        Args:
            top: class t at each point (point).
            derivatives: what `forward` gave.
            with_top: whether the row A_t is wanted too, before the others.
            rescaled: whether to keep each point's rows near 1 from layer to layer, so that their
                squares neither overflow nor underflow.
            whole: whether the rows must be those with respect to the inputs, and not only agree
                with them in norms and products with one another.

        Returns:
            Column blocks (point, row, column), which the next call may overwrite, and the power of
            two (point) that is still to be multiplied to them.
        """


class StackBackward:
    """One network of a stack, its weights as the two passes need them; a `Backward`."""

    def __init__(self, stack: Stack, network: int, rows: int) -> None:
        """Takes network `network` of a stack, to carry `rows` rows in all."""
        self.classes, self.dtype, self.device = stack.classes, stack.dtype, stack.device
        self.widest = max(stack.widths, default=stack.inputs)
        self._weights = [w[network].double() for w in stack.weights]
        self._biases = [b[network].double() for b in stack.biases]
        self._bounds = [
            tuple(float(v[network, l]) for v in (stack.shift, stack.low, stack.high))
            for l in range(stack.depth)
        ]
        scaled, powers = zip(*(_scaled(w[network]) for w in stack.weights), strict=True)
        self._power = sum(powers)
        self._head = scaled[-1].T.contiguous()
        self._first = scaled[0] if stack.depth else None
        self._hidden = scaled[1:-1]
        self._norm_blocks = self._blocks(rows)
        self._memory = Memory()
        kept = END_BYTES // max(1, self.classes * self._head.nbytes)
        self._end = functools.lru_cache(max(1, kept))(functools.partial(_end, self._head))

    @functools.cached_property
    def _whole_blocks(self) -> list[tuple[int, torch.Tensor]]:
        """Column blocks of W_1."""
        return self._blocks(0)

    def _blocks(self, rows: int) -> list[tuple[int, torch.Tensor]]:
        """Column blocks (first row that is not zero, matrix) of W_1, or of R^T where cheaper."""
        if self._first is None:
            return []
        inputs, width = self._first.shape
        count = min(max(1, width // TRIANGLE_COLUMNS), TRIANGLE_BLOCKS)
        # the factorisation is in float64 and about three times slower a flop than a product
        triangle = rows * width * width * (1 + 1 / count) + 6 * inputs * width**2
        if width >= inputs or triangle >= 2 * rows * width * inputs:
            return [(0, part.T.contiguous()) for part in self._first.split(DIRECT_COLUMNS, 0)]
        factor = torch.linalg.qr(self._first.double(), mode="r")[1].T.to(self.dtype)
        edges = [width * j // count for j in range(count + 1)]
        return [(a, factor[a:, a:b].contiguous()) for a, b in itertools.pairwise(edges) if b > a]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """See `Backward`; the derivatives are 0 or 1."""
        derivatives = []
        z = self._first_product(x)
        for l, (shift, low, high) in enumerate(self._bounds):
            z = z.add_(self._biases[l] + shift)
            active = z > low
            if high < math.inf:
                active &= z < high
            derivatives.append(active.to(self.dtype))
            z = product(z.clamp_(low, high), self._weights[l + 1])
        return z.add_(self._biases[-1]), derivatives

    def _first_product(self, x: torch.Tensor) -> torch.Tensor:
        """Points x (point, d), of any dtype, times the first layer's weights, in float64."""
        w = self._weights[0]
        if x.dtype == w.dtype or x.device.type != "cpu":
            return product(x.to(w), w)
        # memory that is used again: new memory for all points would cost as much as the product
        converted = w.new_empty(min(len(x), CONVERTED_POINTS), x.shape[1])
        parts = x.split(CONVERTED_POINTS)
        return torch.cat([product(converted[: len(part)].copy_(part), w) for part in parts])

    def carry(
        self,
        top: torch.Tensor,
        derivatives: list[torch.Tensor],
        *,
        with_top: bool,
        rescaled: bool = False,
        whole: bool = False,
    ) -> tuple[Iterable[torch.Tensor], torch.Tensor]:
        """See `Backward`."""
        blocks = self._whole_blocks if whole else self._norm_blocks
        power = torch.full(top.shape, float(self._power), dtype=torch.float64, device=top.device)
        count = self.classes - (not with_top)
        if not rescaled and active_pays(count, self._hidden, blocks, derivatives):
            ends = (self._end(t, with_top) for t in top.tolist())
            memory = self._memory
            parts = carry_active(ends, count, self._hidden, blocks, derivatives, memory=memory)
            return parts, power
        # the rows at the last layer are the same at all points of one top class
        classes, index = top.unique(return_inverse=True)
        of_class = last_rows(self._head, classes, with_top)
        # from one memory to another and back, layer by layer
        rows = self._room(f"rows {len(derivatives) % 2}", len(top), *of_class.shape[1:])
        torch.index_select(of_class, 0, index, out=rows)
        if not rescaled and self._units_pay(count, blocks):
            rows.mul_(derivatives[-1][:, None])
            return self._carry_units(rows, derivatives[:-1], blocks), power
        for l in range(len(derivatives) - 1, -1, -1):
            if rescaled:
                rows = rescale(rows, power)
            rows.mul_(derivatives[l][:, None])
            if l:
                rows = self._times(rows, self._hidden[l - 1].T, name=f"rows {l % 2}")
        if rescaled:
            rows = rescale(rows, power)
        if not blocks:  # no hidden layer: these are the rows at the inputs
            return [rows], power
        return (
            self._times(rows, block, start, name=f"block {k}")
            for k, (start, block) in enumerate(blocks)
        ), power

    def _units_pay(self, rows: int, blocks: list[tuple[int, torch.Tensor]]) -> bool:
        """Whether a row for each unit takes fewer multiplications than one for each class."""
        if not self._hidden:
            return False
        between = [w.numel() for w in self._hidden]
        first = sum(block.numel() for _, block in blocks)
        columns = sum(block.shape[1] for _, block in blocks)
        width = self._hidden[-1].shape[1]
        by_units = width * (sum(between[:-1]) + first + rows * columns)
        return by_units < rows * (sum(between) + first)

    def _carry_units(
        self,
        ends: torch.Tensor,
        derivatives: list[torch.Tensor],
        blocks: list[tuple[int, torch.Tensor]],
    ) -> Iterator[torch.Tensor]:
        """Rows `ends` at the last hidden layer times the rows of its units at the inputs."""
        last = self._hidden[-1].T.contiguous()
        rows = self._room(f"units {len(derivatives) % 2}", len(ends), *last.shape)
        torch.mul(last, derivatives[-1][:, None], out=rows)
        for l in range(len(derivatives) - 1, 0, -1):
            rows = self._times(rows, self._hidden[l - 1].T, name=f"units {l % 2}")
            rows.mul_(derivatives[l - 1][:, None])
        for k, (start, block) in enumerate(blocks):
            units = self._times(rows, block, start, name="units")
            out = self._room(f"block {k}", *ends.shape[:2], block.shape[1])
            yield product(ends, units, out=out)

    def _times(
        self, rows: torch.Tensor, matrix: torch.Tensor, start: int = 0, *, name: str
    ) -> torch.Tensor:
        """Rows (point, row, width), from column `start` on, times a matrix (..., column)."""
        out = self._room(name, *rows.shape[:2], matrix.shape[1])
        product(rows.flatten(0, 1)[:, start:], matrix, out=out.view(-1, matrix.shape[1]))
        return out

    def _room(self, name: str, *shape: int) -> torch.Tensor:
        """An uninitialised tensor; on a device torch itself keeps memory for the next one."""
        if self.device.type != "cpu":
            return torch.empty(shape, dtype=self.dtype, device=self.device)
        return torch.from_numpy(self._memory.room(name, shape, self._head.numpy().dtype))


def last_rows(head: torch.Tensor, top: torch.Tensor, with_top: bool) -> torch.Tensor:
    """Rows (point, row, width) of the last layer `head` (class, width), as `carry` wants them."""
    others = torch.arange(len(head) - 1, device=top.device).expand(len(top), -1)
    top_row = head[top][:, None]
    rows = head[others + (others >= top[:, None])].sub_(top_row)
    return torch.cat([top_row, rows], 1) if with_top else rows


def _end(head: torch.Tensor, top: int, with_top: bool) -> np.ndarray:
    """Rows of the last layer where the top class is `top`, transposed (width, row)."""
    return last_rows(head, torch.tensor([top]), with_top)[0].T.contiguous().numpy()


def rescale(rows: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
    """Scales each point's rows in place to a largest entry in [0.5, 1); adds to its power of 2."""
    if rows.numel() == 0:
        return rows
    flat = rows.flatten(1)
    by = torch.frexp(torch.maximum(flat.amax(1), -flat.amin(1))).exponent.double()
    power += by
    return rows.mul_(torch.ldexp(torch.ones_like(by), -by)[:, None, None])


def product(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """The matrix product; on a CPU by numpy, in trials up to 1.8 times faster than torch there."""
    if a.device.type != "cpu":
        return torch.matmul(a, b, out=out)
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.matmul(a.numpy(), b.numpy(), out=None if out is None else out.numpy())
    return torch.from_numpy(found)


def _scaled(weight: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Weights (in, out) over a power of two, and its exponent: then random rows keep their size."""
    exact = weight.double()
    size = float(torch.linalg.vector_norm(exact)) / math.sqrt(weight.shape[1])
    exponent = math.frexp(size)[1] if 0 < size < math.inf else 0
    # an exponent of another dtype gives a power of float32 in older torch, infinite from 2^128 on
    power = torch.tensor(-exponent, dtype=torch.float64, device=weight.device)
    return torch.ldexp(exact, power).to(weight.dtype), exponent
