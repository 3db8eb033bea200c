"""Exact transitions: how many boundaries of linear regions a path in input space crosses.

Along a segment every layer's pre-activations are piecewise linear. Layer by layer, the crossings of
the units' thresholds have closed form; they are inserted as new points of the path, and the next
layer is evaluated at all points. All decisions are in float64, whatever the weights' dtype: in
float32 pairs of close crossings are lost and rounding noise is counted (MEASURES).

Decisions for degenerate cases, with z the pre-activation and tau a threshold:

* |z - tau| <= 1e-12 max |z| (over the path and the layer's units) is rounding, and counts as z = tau.
* A point where z = tau has the side of the last point before it that has one. So a touch counts
  nothing, a passage through a vertex or along an edge counts once, a path that runs along a boundary
  and returns to its side counts nothing, and an edge of length zero or a dead unit counts nothing.
* Equal units count each. Crossings at one place stand in any order; the sort is by (edge, position
  on it), two keys, so that the end of an edge is not taken for the start of the next.
* A unit with two thresholds that passes both in one piece counts twice.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from sensitivity.networks import Stack

#: |z - tau| up to this share of max |z| counts as z = tau
SNAP = 1e-12
#: points of paths evaluated at once: as many as the second-level cache holds
CHUNK_ROWS = 2048


@dataclasses.dataclass(frozen=True)
class Crossings:
    """Every transition of one network on some paths, as arrays of one length, in no given order.

    Attributes:
        path: index of the path.
        layer: hidden layer, from 0.
        unit: unit in the layer.
        threshold: 0 for the lower bound of the clamp, 1 for the upper one.
        position: place on the path, in edges: 2.5 is the middle of the edge from vertex 2 to 3.
    """

    path: np.ndarray
    layer: np.ndarray
    unit: np.ndarray
    threshold: np.ndarray
    position: np.ndarray


def transitions(
    stack: Stack, vertices: torch.Tensor | Iterable[torch.Tensor], *, closed: bool = True
) -> torch.Tensor:
    """Exact number of transitions of each network on each polygon (STUDY, 'Measures').

    Args:
        stack: the networks.
        vertices: polygons (point, vertex, d), or an iterable of such chunks, which are then held in
            memory one at a time.
        closed: whether an edge leads from the last vertex to the first.

    Returns:
        int64 tensor (network, point): the sum over hidden units of |change of code| along the path,
        where the code of a unit is the number of its thresholds that lie below.

    Raises:
        ValueError: the vertices have another shape, or are not finite.
    """
    networks = [network_layers(stack, k) for k in range(len(stack))]
    chunks = [vertices] if isinstance(vertices, torch.Tensor) else vertices
    counts = [np.zeros((len(stack), 0), np.int64)]
    for chunk in chunks:
        paths = check_vertices(chunk, stack.inputs)
        counts.append(np.stack([count(layers, paths, closed) for layers in networks]))
    return torch.from_numpy(np.concatenate(counts, 1)).to(stack.device)


def crossings(
    stack: Stack, network: int, vertices: torch.Tensor, *, closed: bool = True
) -> Crossings:
    """Where on polygons (point, vertex, d) one network of a stack has its transitions.

    Raises:
        ValueError: the vertices have another shape, or are not finite.
    """
    paths = check_vertices(vertices, stack.inputs)
    found = []
    layers = network_layers(stack, network)
    for start, stop, _, events in _chunks(layers, paths, closed, record=True):
        del stop
        found += [np.stack([path + start, *rest]) for path, *rest in events]
    path, layer, unit, threshold, position = np.concatenate([np.zeros((5, 0)), *found], 1)
    return Crossings(*(v.astype(np.int64) for v in (path, layer, unit, threshold)), position)


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
        raise ValueError(f"vertices: expected finite values, found others on the path of point {point}")
    return paths


def count(layers: list[Layer], paths: np.ndarray, closed: bool) -> np.ndarray:
    """Transitions (path) of one network on float64 paths (path, vertex, d)."""
    counts = np.zeros(paths.shape[0], np.int64)
    for start, stop, chunk, _ in _chunks(layers, paths, closed, record=False):
        counts[start:stop] = chunk
    return counts


def _chunks(
    layers: list[Layer], paths: np.ndarray, closed: bool, *, record: bool
) -> Iterator[tuple[int, int, np.ndarray, list[tuple[np.ndarray, ...]]]]:
    """Walks the paths some at a time: as many as gave about CHUNK_ROWS rows at the deepest layer."""
    rows = 4 * paths.shape[1]
    start = 0
    while start < paths.shape[0] and layers:
        stop = min(paths.shape[0], start + max(1, CHUNK_ROWS // rows))
        counts, events, deepest = _walk(layers, paths[start:stop], closed, record)
        rows = max(1, deepest // (stop - start))
        yield start, stop, counts, events
        start = stop


def _walk(
    layers: list[Layer], paths: np.ndarray, closed: bool, record: bool
) -> tuple[np.ndarray, list[tuple[np.ndarray, ...]], int]:
    """Counts (path), events and rows at the deepest layer of some paths (path, vertex, d).

    Points of all paths stand below each other as rows; a closed path's first point is repeated as
    its last. `starts` and `ends` are the first and last rows of the paths.
    """
    n_paths, size, _ = paths.shape
    first = layers[0]
    z = np.matmul(paths.reshape(n_paths * size, -1), first.weight)
    z += first.bias
    if closed:
        z = z.reshape(n_paths, size, -1)
        z = np.concatenate([z, z[:, :1]], 1).reshape(n_paths * (size + 1), -1)
        size += 1
    starts = np.arange(n_paths) * size
    ends = starts + size - 1
    place = np.tile(np.arange(size, dtype=float), n_paths) if record else None
    counts = np.zeros(n_paths, np.int64)
    events = []
    for l, layer in enumerate(layers):
        if l:
            z = np.matmul(h, layer.weight)
            z += layer.bias
            if closed:
                z[ends] = z[starts]  # equal but for rounding, which must not change the side
        path = np.repeat(np.arange(n_paths), ends - starts + 1)
        row, unit, t, threshold = _layer_crossings(z, layer, path, starts, ends, closed)
        counts += np.bincount(path[row], minlength=n_paths)
        if place is not None:
            where = place[row] + t * (place[np.minimum(row + 1, len(place) - 1)] - place[row])
            events.append((path[row], np.full(len(row), l), unit, threshold, where))
        if l == len(layers) - 1:
            break
        inside = (t > 0) & (t < 1)  # the others are at points that are there already
        if not inside.all():
            row, unit, t, threshold = row[inside], unit[inside], t[inside], threshold[inside]
        h, old, new = _insert(z, layer, row, unit, t, threshold)
        starts, ends = old[starts], old[ends]
        if place is not None:
            merged = np.empty(len(h))
            merged[old] = place
            merged[new] = place[row] + t * (place[row + 1] - place[row])
            place = merged
    return counts, events, len(z)


def _layer_crossings(
    z: np.ndarray,
    layer: Layer,
    path: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    closed: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Crossings between a row and the next: (row, unit, t, threshold), sorted by row, then t.

    Sets entries of `z` that take part in a crossing to the threshold where they differ from it by
    rounding only.
    """
    tolerance = SNAP * np.maximum.reduceat(np.maximum(z.max(1), -z.min(1)), starts)
    parts = []
    for index, tau in layer.thresholds:
        row, unit, t = _threshold_crossings(z, tau, path, starts, ends, tolerance, closed)
        parts.append((row, unit, t, np.full(len(row), index)))
    if not parts:
        return (*np.zeros((2, 0), np.int64), np.zeros(0), np.zeros(0, np.int64))
    row, unit, t, threshold = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = sort_order(row, t)
    return row[order], unit[order], t[order], threshold[order]


def _threshold_crossings(
    z: np.ndarray,
    tau: float,
    path: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    tolerance: np.ndarray,
    closed: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crossings (row, unit, t) of one threshold; those that are at a point have t = 0."""
    above = z > tau
    row, unit, before, after = _changes(z, above, tau, ends)
    limit = tolerance[path[row]]
    doubtful = (np.abs(before) <= limit) | (np.abs(after) <= limit)
    if not doubtful.any():
        return row, unit, before / (before - after)
    # rare: a value at the threshold; only where it changes the side must it be looked at
    units = np.unique(unit[doubtful])
    above[:, units] = _sides(z, units, tau, tolerance[path], starts[path], ends[path])
    row, unit, before, after = _changes(z, above, tau, ends)
    t = before / (before - after)
    if closed:
        # a path that starts on the boundary, and leaves and returns on different sides of it
        which, turned = np.nonzero(above[starts] != above[ends])
        row = np.concatenate([row, starts[which]])
        unit = np.concatenate([unit, turned])
        t = np.concatenate([t, np.zeros(len(which))])
    return row, unit, t


def _changes(
    z: np.ndarray, above: np.ndarray, tau: float, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where `above` changes from a row to the next of the same path: row, unit, z - tau at both."""
    change = above[1:] != above[:-1]
    change[ends[:-1]] = False
    at = np.flatnonzero(change)
    width = z.shape[1]
    row = at // width
    flat = z.reshape(-1)
    before, after = flat.take(at), flat.take(at + width)
    if tau:
        before -= tau
        after -= tau
    return row, at - row * width, before, after


def _sides(
    z: np.ndarray,
    units: np.ndarray,
    tau: float,
    tolerance: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
) -> np.ndarray:
    """Whether some units are above tau, where a value at tau takes the side of the last point before.

    At the start of a path, where there is none before, it takes that of the first after. Sets the
    values at tau to tau exactly. `tolerance`, `start` and `end` belong to each row's path.
    """
    values = z[:, units] - tau
    at = np.abs(values) <= tolerance[:, None]
    values[at] = 0.0
    z[:, units] = values + tau
    rows = np.arange(len(z))[:, None]
    source = np.maximum.accumulate(np.where(at, -1, rows), 0)
    later = np.minimum.accumulate(np.where(at, len(z), rows)[::-1], 0)[::-1]
    source = np.where(source >= start[:, None], source, later)
    known = source <= end[:, None]
    return np.take_along_axis(values > 0, np.where(known, source, 0), 0) & known


def sort_order(row: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Indices that sort by row, then t."""
    order = np.argsort(row + t)  # fast; right unless two sums round to one another's order
    r, s = row[order], t[order]
    if (np.diff(r) < 0).any() or ((r[1:] == r[:-1]) & (s[1:] < s[:-1])).any():
        order = np.lexsort((t, row))
    return order


def _insert(
    z: np.ndarray,
    layer: Layer,
    row: np.ndarray,
    unit: np.ndarray,
    t: np.ndarray,
    threshold: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The layer's outputs at the old rows and at sorted crossings, and the new indices of both."""
    n, width = z.shape
    k = len(row)
    after = np.bincount(row, minlength=n)
    old = np.arange(n) + np.cumsum(after) - after
    new = np.arange(k) + row + 1
    crossing = z.take(row, axis=0)
    step = z.take(row + 1, axis=0)
    step -= crossing
    step *= t[:, None]
    crossing += step
    crossing[np.arange(k), unit] = np.where(threshold == 0, layer.low, layer.high)
    h = np.empty((n + k, width))
    h[old] = z
    h[new] = crossing
    np.clip(h, layer.low, layer.high, out=h)
    return h, old, new
