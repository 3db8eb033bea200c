"""Paths through one network: the points at which their pieces end, layer by layer.

Along a segment every layer's pre-activations are piecewise linear. Layer by layer, the crossings of
the units' thresholds have closed form; they become points of the path, and the next layer is
evaluated at all points. `sensitivity.measures.transitions` says what counts as a crossing.

Layout: the points of many paths, network by network, are rows of one matrix, new ones below the old
ones; an index gives their order along the paths. So no row is moved when points are inserted, and a
layer costs one matrix product and a few passes over the rows.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import scipy.sparse
import torch

from sensitivity.networks import Stack

#: |z - tau| up to this share of max |z| counts as z = tau
SNAP = 1e-12
#: bytes of a layer's pre-activations evaluated at once: what the second-level cache holds ...
CHUNK_BYTES = 2**21
#: ... but so many rows at least, below which matrix products are slow
CHUNK_ROWS = 512
#: nanoseconds a multiplication in a matrix product takes; an entry of the sparse matrix that can
#: replace the product takes 20, and 0.5 for each unit (from trials on one core)
PRODUCT_COST = 0.07


@dataclasses.dataclass(frozen=True)
class Crossings:
    """Every transition of one network on some paths, as arrays of one length, in no given order.

    Attributes:
        path: index of the path.
        layer: hidden layer, from 0.
        unit: unit in the layer.
        threshold: 0 for the lower bound of the clamp, 1 for the upper one.
        position: place on the path; on polygons in edges: 2.5 is the middle of the edge from
            vertex 2 to 3; on ellipses the angle in radians.
    """

    path: np.ndarray
    layer: np.ndarray
    unit: np.ndarray
    threshold: np.ndarray
    position: np.ndarray

    @classmethod
    def joined(cls, parts: list["Crossings"]) -> "Crossings":
        """The crossings of all parts."""
        none = np.zeros(0, np.int64)
        every = [cls(none, none, none, none, np.zeros(0)), *parts]
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(p, name) for p in every]) for name in names})


@dataclasses.dataclass(frozen=True)
class Layer:
    """A hidden layer in float64: phi(h @ weight + bias) with phi(z) = min(max(z, low), high)."""

    weight: np.ndarray
    bias: np.ndarray
    low: float
    high: float

    @property
    def thresholds(self) -> list[tuple[int, float]]:
        """(0, low) and (1, high), as far as they are finite."""
        return [(i, tau) for i, tau in enumerate((self.low, self.high)) if np.isfinite(tau)]

    def apply(self, z: np.ndarray, out: np.ndarray) -> None:
        """Writes phi(z) to `out`, which may be z."""
        np.maximum(z, self.low, out=out)
        if np.isfinite(self.high):
            np.minimum(out, self.high, out=out)

    @property
    def width(self) -> int:
        """Number of units."""
        return len(self.bias)

    def evaluate(self, h: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Pre-activations (row, unit), the clamp's shift included, of inputs (row, input)."""
        z = np.matmul(h, self.weight, out=out)
        z += self.bias
        return z


@dataclasses.dataclass
class Found:
    """Crossings of one layer between a point and the next: sorted by point, then t."""

    #: index, in the order along the paths, of the point before
    point: np.ndarray
    unit: np.ndarray
    #: where between the point (0) and the next (1)
    t: np.ndarray
    #: 0 for the lower bound, 1 for the upper one
    threshold: np.ndarray
    #: by how much the slope of the unit's output in t changes there
    kink: np.ndarray

    def __len__(self) -> int:
        return len(self.point)

    def take(self, index: np.ndarray) -> "Found":
        """Some of the crossings."""
        names = [field.name for field in dataclasses.fields(self)]
        return Found(**{name: getattr(self, name)[index] for name in names})

    @classmethod
    def sorted(cls, parts: list["Found"]) -> "Found":
        """The crossings of all parts, sorted."""
        if len(parts) != 1:
            none = np.zeros(0, np.int64)
            every = [cls(none, none, np.zeros(0), none, np.zeros(0)), *parts]
            names = [field.name for field in dataclasses.fields(cls)]
            parts = [cls(**{n: np.concatenate([getattr(p, n) for p in every]) for n in names})]
        return parts[0].take(sort_order(parts[0].point, parts[0].t))


@dataclasses.dataclass
class Points:
    """The points of some paths, in order along each path, path after path.

    Attributes:
        row: row of each point in the matrices of pre-activations. The last point of a closed path
            is its first again, in the same row.
        starts, ends: first and last point of each path.
        closed: whether the paths are closed.
        place: position of each point on its path; None: not wanted.
    """

    row: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    closed: bool
    place: np.ndarray | None

    def path(self) -> np.ndarray:
        """The path of each point."""
        return np.repeat(np.arange(len(self.starts)), self.ends - self.starts + 1)

    def insert(self, found: Found, rows: int) -> "Points":
        """The points with crossings between them, whose rows come after the present `rows`."""
        n, k = len(self.row), len(found)
        after = np.bincount(found.point, minlength=n)
        old = np.arange(n) + np.cumsum(after) - after
        new = np.arange(k) + found.point + 1
        row = np.empty(n + k, np.int64)
        row[old], row[new] = self.row, np.arange(rows, rows + k)
        place = None
        if self.place is not None:
            place = np.empty(n + k)
            place[old], place[new] = self.place, self.between(found)
        return Points(row, old[self.starts], old[self.ends], self.closed, place)

    def between(self, found: Found) -> np.ndarray:
        """Positions of crossings on their paths."""
        if self.place is None:
            raise ValueError("positions were not asked for")
        start, end = (
            self.place[found.point],
            self.place[np.minimum(found.point + 1, len(self.row) - 1)],
        )
        return start + found.t * (end - start)


def network_layers(stack: Stack, network: int) -> list[Layer]:
    """The hidden layers of one network of a stack; the clamps' shifts are added to the biases."""
    layers = []
    for l in range(stack.depth):
        weight = stack.weights[l][network].detach().double().cpu().numpy()
        bias = stack.biases[l][network].detach().double().cpu().numpy()
        shift, low, high = (float(v[network, l]) for v in (stack.shift, stack.low, stack.high))
        layers.append(Layer(np.ascontiguousarray(weight), bias + shift, low, high))
    return layers


def check_vertices(vertices: torch.Tensor, inputs: int) -> np.ndarray:
    """The vertices as a float64 array, or a ValueError that says what is wrong with them."""
    if vertices.ndim != 3 or vertices.shape[2] != inputs or vertices.shape[1] == 0:
        raise ValueError(
            f"vertices: expected shape (point, vertex, {inputs}), found {tuple(vertices.shape)}"
        )
    paths = vertices.detach().double().cpu().numpy()
    if not np.isfinite(paths).all():
        point = int(np.flatnonzero(~np.isfinite(paths).all((1, 2)))[0])
        raise ValueError(
            f"vertices: expected finite values, found others on the path of point {point}"
        )
    return paths


def walk(
    layers: list[Layer], paths: np.ndarray, *, closed: bool, record: bool
) -> Iterator[tuple[slice, np.ndarray, list[Crossings]]]:
    """Walks polygons (path, vertex, d), some at a time: which, their counts, and their crossings.

    As many paths are walked at once as gave about CHUNK_BYTES at the deepest layer.
    """
    rows = max(CHUNK_ROWS, CHUNK_BYTES // (8 * max((layer.width for layer in layers), default=1)))
    a_path = 8 * paths.shape[1]
    start = 0
    while start < paths.shape[0] and layers:
        stop = min(paths.shape[0], start + max(1, rows // a_path))
        counts, crossings, deepest = _walk_together(layers, paths[start:stop], closed, record)
        for part in crossings:
            part.path[:] += start
        a_path = max(1, deepest // (stop - start))
        yield slice(start, stop), counts, crossings
        start = stop


def _walk_together(
    layers: list[Layer], paths: np.ndarray, closed: bool, record: bool
) -> tuple[np.ndarray, list[Crossings], int]:
    """Counts (path), crossings by layer, and points at the deepest layer."""
    n_paths, size, inputs = paths.shape
    z = layers[0].evaluate(paths.reshape(n_paths * size, inputs))
    row = np.arange(n_paths * size).reshape(n_paths, size)
    if closed:
        row = np.concatenate([row, row[:, :1]], 1)
    place = np.tile(np.arange(row.shape[1], dtype=float), n_paths) if record else None
    starts = np.arange(n_paths) * row.shape[1]
    points = Points(row.ravel(), starts, starts + row.shape[1] - 1, closed, place)
    # an upper bound of |h| in the chunk, for a first look at what might be rounding
    bound = float(np.abs(paths).max(initial=0.0))
    counts = np.zeros(n_paths, np.int64)
    crossings = []
    for l, layer in enumerate(layers):
        bound = bound * float(np.abs(layer.weight).sum(0).max()) + float(np.abs(layer.bias).max())
        found = layer_crossings(z, layer, points, SNAP * bound)
        path = points.path()[found.point]
        counts += np.bincount(path, minlength=n_paths)
        if record:
            at = points.between(found)
            crossings.append(
                Crossings(path, np.full(len(found), l), found.unit, found.threshold, at)
            )
        if l == len(layers) - 1:
            break
        inside = (found.t > 0) & (found.t < 1)  # the others are at points that are there already
        if not inside.all():
            found = found.take(inside)
        z_next = next_layer(z, layer, layers[l + 1], points, found)
        points = points.insert(found, len(z))
        z = z_next
    return counts, crossings, len(points.row)


def next_layer(
    z: np.ndarray, layer: Layer, following: Layer, points: Points, found: Found
) -> np.ndarray:
    """Pre-activations of the following layer at the rows of z and, below them, at the crossings."""
    n, width = z.shape
    k = len(found)
    first, sizes = _pieces(found)
    pair_cost, row_cost = 20 + 0.5 * following.width, PRODUCT_COST * width * following.width
    if sizes.sum() * pair_cost < k * row_cost:
        y = np.empty((n + k, following.width))
        layer.apply(z, z)
        following.evaluate(z, out=y[:n])
        _interpolate(y[:n], points, found, out=y[n:])
        y[n:] += _kinks(found, first, sizes, width) @ following.weight
        return y
    h = np.empty((n + k, width))
    layer.apply(z, h[:n])
    new = h[n:]
    _interpolate(z, points, found, out=new)
    new[np.arange(k), found.unit] = np.where(found.threshold == 0, layer.low, layer.high)
    layer.apply(new, new)
    return following.evaluate(h)


def _interpolate(z: np.ndarray, points: Points, found: Found, out: np.ndarray) -> None:
    """Writes to `out` what is at crossings if z is linear between the points."""
    z.take(points.row[found.point + 1], axis=0, out=out, mode="clip")
    before = z.take(points.row[found.point], axis=0)
    out -= before
    out *= found.t[:, None]
    out += before


def _pieces(found: Found) -> tuple[np.ndarray, np.ndarray]:
    """For each crossing, the first crossing on its piece and their number."""
    first = np.flatnonzero(np.diff(found.point, prepend=-1))
    sizes = np.diff(first, append=len(found))
    return np.repeat(first, sizes), np.repeat(sizes, sizes)


def _kinks(
    found: Found, first: np.ndarray, sizes: np.ndarray, width: int
) -> scipy.sparse.csr_matrix:
    """How the outputs at crossings (crossing, unit) depart from lines between the points.

    On a piece, outputs with kinks c_i at t_i are at t the line between the ends minus
    sum_i c_i min(t, t_i) (1 - max(t, t_i)). A crossing is a kink of one unit, so the departure in
    the next layer sums one row of its weights for each crossing on the piece: a product of a sparse
    matrix, cheap where pieces have few crossings and layers many units.
    """
    ends = np.cumsum(sizes)
    other = np.arange(sizes.sum()) + np.repeat(first - ends + sizes, sizes)
    t, t_other = np.repeat(found.t, sizes), found.t[other]
    entries = -found.kink[other] * np.minimum(t, t_other) * (1 - np.maximum(t, t_other))
    return scipy.sparse.csr_matrix(
        (entries, found.unit[other], np.append(0, ends)), (len(found), width)
    )


def layer_crossings(z: np.ndarray, layer: Layer, points: Points, doubt: float) -> Found:
    """Crossings of all thresholds of a layer.

    Args:
        z: pre-activations (row, unit). Those that differ from a threshold by rounding only, and
            could decide a crossing, are set to it.
        layer: the layer.
        points: the points.
        doubt: an upper bound of what is taken for rounding on any path.
    """
    parts = []
    for index, tau in layer.thresholds:
        above = (z > tau).take(points.row, axis=0)
        point, unit, before, after = _changes(z, tau, above, points)
        least = np.minimum(np.abs(before), np.abs(after))
        if least.min(initial=np.inf) <= doubt:
            path, tolerance = points.path(), _tolerance(z, points)
            units = np.unique(unit[least <= tolerance[path[point]]])
            if len(units):
                above[:, units] = _careful_sides(z, tau, units, points, tolerance)
                point, unit, before, after = _with_closing(
                    _changes(z, tau, above, points), above, points
                )
        t = before / (before - after)
        # at the lower bound a slope begins or ends that adds to the output, at the upper it is lost
        kink = np.abs(after - before) * (1 if index == 0 else -1)
        parts.append(Found(point, unit, t, np.full(len(point), index), kink))
    return Found.sorted(parts)


def _changes(
    z: np.ndarray, tau: float, above: np.ndarray, points: Points
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where `above` (point, unit) changes to the next point: point, unit, z - tau at both."""
    change = above[1:] != above[:-1]
    change[points.ends[:-1]] = False
    at = np.flatnonzero(change)
    width = z.shape[1]
    point = at // width
    unit = at - point * width
    flat = z.reshape(-1)
    before = flat.take(points.row[point] * width + unit)
    after = flat.take(points.row[point + 1] * width + unit)
    if tau:
        before -= tau
        after -= tau
    return point, unit, before, after


def _tolerance(z: np.ndarray, points: Points) -> np.ndarray:
    """What is taken for rounding on each path."""
    largest = np.maximum(z.max(1), -z.min(1))[points.row]
    return SNAP * np.maximum.reduceat(largest, points.starts)


def _careful_sides(
    z: np.ndarray, tau: float, units: np.ndarray, points: Points, tolerance: np.ndarray
) -> np.ndarray:
    """Whether some units (point, unit) are above tau, where values may be at tau.

    A value at tau takes the side of the last point before it that has one; at the start of a path,
    where there is none before, that of the first after it. Values at tau are set to it in z.
    """
    path = points.path()
    values = z[points.row[:, None], units]
    at_tau = np.abs(values - tau) <= tolerance[path][:, None]
    z[points.row[:, None], units] = np.where(at_tau, tau, values)
    index = np.arange(len(path))[:, None]
    source = np.maximum.accumulate(np.where(at_tau, -1, index), 0)
    later = np.minimum.accumulate(np.where(at_tau, len(path), index)[::-1], 0)[::-1]
    source = np.where(source >= points.starts[path][:, None], source, later)
    known = source <= points.ends[path][:, None]
    return np.take_along_axis(values > tau, np.where(known, source, 0), 0) & known


def _with_closing(
    changes: tuple[np.ndarray, ...], above: np.ndarray, points: Points
) -> tuple[np.ndarray, ...]:
    """The changes, and those at the start of paths that leave it and return on different sides."""
    if not points.closed:
        return changes
    which, unit = np.nonzero(above[points.starts] != above[points.ends])
    at_start = (points.starts[which], unit, np.zeros(len(which)), np.ones(len(which)))
    return tuple(map(np.concatenate, zip(changes, at_start, strict=True)))


def sort_order(point: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Indices that sort by point, then t in [0, 1]."""
    key = point + t
    order = np.argsort(key)
    # one key sorts fast, but the sum rounds, and t = 1 ties with t = 0 of the next
    if (np.diff(key[order]) <= 1e-9).any():
        order = np.lexsort((t, point))
    return order
