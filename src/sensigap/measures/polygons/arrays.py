"""The arrays in which transitions are counted: of numpy on a processor, of torch on a device.

Most code is operators and indexing, which both write alike; here is what they write differently. On
a processor numpy does this work 1.3 to 1.5 times faster than torch, mostly for its arrays that are
written to again: memory fresh from the operating system costs more than the arithmetic.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
import torch

from sensigap.measures.memory import Memory

#: an array of the kind in use: np.ndarray or torch.Tensor
Array = Any


def sort_order(point: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Indices that sort by point, then t in [0, 1]."""
    key = point + t
    order = np.argsort(key)
    # one key sorts fast, but the sum rounds, and t = 1 ties with t = 0 of the next
    key = key[order]
    if (key[1:] - key[:-1] <= 1e-9).any():
        order = np.lexsort((t, point))
    return order


class NumpyArrays:
    """numpy, on a processor."""

    lib: Any = np
    #: bytes of a layer's pre-activations evaluated at once: what a core's caches hold ...
    chunk_bytes = 2**22
    #: ... but so many rows at least, below which calls cost more than what they do
    chunk_rows = 512
    sort_order = staticmethod(sort_order)

    def __init__(self) -> None:
        self._memory = Memory()

    def room(self, name: str, rows: int, width: int, dtype: Any = np.float64) -> Array:
        """An uninitialised matrix, in the memory of the last one of this name."""
        return self._memory.room(name, (rows, width), dtype)

    def array(self, values: torch.Tensor) -> Array:
        """The values in float64."""
        return values.detach().double().cpu().numpy()

    def host(self, values: Array) -> np.ndarray:
        """The values as an array of numpy."""
        return values

    def arange(self, *bounds: int) -> Array:
        """As numpy's."""
        return np.arange(*bounds)

    def zeros(self, *shape: int) -> Array:
        """int64 zeros."""
        return np.zeros(shape, np.int64)

    def empty(self, size: int) -> Array:
        """An uninitialised float64 vector."""
        return np.empty(size)

    def nonzero(self, mask: Array) -> Array:
        """Flat indices of what is true."""
        return np.flatnonzero(mask)

    def repeat(self, values: Array, counts: Array, total: int) -> Array:
        """Each value as often as its count; the counts add up to `total`."""
        return np.repeat(values, counts)

    def above(self, z: Array, tau: float, row: Array) -> Array:
        """Whether the values in some rows of z exceed tau."""
        found = np.greater(z, tau, out=self.room("above", len(z), z.shape[1], np.bool_))
        out = self.room("above in order", len(row), z.shape[1], np.bool_)
        return found.take(row, axis=0, out=out, mode="clip")

    def changes(self, above: Array) -> Array:
        """Where a row differs from the next."""
        out = self.room("changes", len(above) - 1, above.shape[1], np.bool_)
        return np.not_equal(above[1:], above[:-1], out=out)

    def interpolate(self, z: Array, before: Array, after: Array, t: Array) -> Array:
        """(1 - t) z[before] + t z[after], rows of z, as a product with a sparse matrix."""
        k = len(t)
        columns, entries = np.empty((k, 2), np.int32), np.empty((k, 2))
        columns[:, 0], columns[:, 1] = before, after
        np.subtract(1, t, out=entries[:, 0])
        entries[:, 1] = t
        ends = np.arange(0, 2 * k + 1, 2, dtype=np.int32)
        shape = (k, len(z))
        return scipy.sparse.csr_matrix((entries.ravel(), columns.ravel(), ends), shape) @ z

    def running_maximum(self, values: Array) -> Array:
        """The largest value so far, down each column."""
        return np.maximum.accumulate(values, 0)

    def flip(self, values: Array) -> Array:
        """The rows from last to first."""
        return values[::-1]

    def largest(self, values: Array, starts: Array, path: Array) -> Array:
        """The largest of each path's values; paths start at `starts`, `path` has each value's."""
        return np.maximum.reduceat(values, starts)


class TorchArrays:
    """torch, on a device."""

    lib: Any = torch
    #: as for numpy, for the many cores of a device; with what the steps between need a chunk takes
    #: about three times as much memory, up to ten times where every unit lies on its thresholds
    chunk_bytes = 2**28
    chunk_rows = 512

    def __init__(self, device: torch.device | str) -> None:
        self.device = device

    def room(self, name: str, rows: int, width: int, dtype: torch.dtype = torch.float64) -> Array:
        """An uninitialised matrix; torch keeps freed memory for the next one by itself."""
        return torch.empty(rows, width, dtype=dtype, device=self.device)

    def array(self, values: torch.Tensor) -> Array:
        """The values in float64 on the device."""
        return values.detach().to(self.device, torch.float64)

    def host(self, values: Array) -> np.ndarray:
        """The values as an array of numpy."""
        return values.cpu().numpy()

    def arange(self, *bounds: int) -> Array:
        """As torch's."""
        return torch.arange(*bounds, device=self.device)

    def zeros(self, *shape: int) -> Array:
        """int64 zeros."""
        return torch.zeros(shape, dtype=torch.int64, device=self.device)

    def empty(self, size: int) -> Array:
        """An uninitialised float64 vector."""
        return torch.empty(size, dtype=torch.float64, device=self.device)

    def nonzero(self, mask: Array) -> Array:
        """Flat indices of what is true."""
        return torch.nonzero(mask.flatten())[:, 0]

    def repeat(self, values: Array, counts: Array, total: int) -> Array:
        """Each value as often as its count; `total`, so that the device need not be waited for."""
        return torch.repeat_interleave(values, counts, output_size=total)

    def above(self, z: Array, tau: float, row: Array) -> Array:
        """Whether the values in some rows of z exceed tau."""
        return (z > tau)[row]

    def changes(self, above: Array) -> Array:
        """Where a row differs from the next."""
        return above[1:] != above[:-1]

    def interpolate(self, z: Array, before: Array, after: Array, t: Array) -> Array:
        """(1 - t) z[before] + t z[after], rows of z."""
        return z[before].mul_((1 - t)[:, None]).addcmul_(z[after], t[:, None])

    def running_maximum(self, values: Array) -> Array:
        """The largest value so far, down each column."""
        return torch.cummax(values, 0).values

    def flip(self, values: Array) -> Array:
        """The rows from last to first."""
        return torch.flip(values, [0])

    def largest(self, values: Array, starts: Array, path: Array) -> Array:
        """The largest of each path's values; paths start at `starts`, `path` has each value's."""
        none = torch.full((len(starts),), -math.inf, dtype=values.dtype, device=self.device)
        return none.scatter_reduce(0, path, values, "amax")

    def sort_order(self, point: Array, t: Array) -> Array:
        """Indices that sort by point, then t."""
        order = torch.argsort(t)
        return order[torch.argsort(point[order], stable=True)]


Arrays = NumpyArrays | TorchArrays


def arrays_on(device: torch.device) -> Arrays:
    """Arrays for networks on this device."""
    return NumpyArrays() if device.type == "cpu" else TorchArrays(device)


def rows_at_once(arrays: Arrays, widths: Sequence[int]) -> int:
    """Rows of pre-activations in a chunk, for layers of some widths."""
    return max(arrays.chunk_rows, arrays.chunk_bytes // (8 * max(widths, default=1)))
