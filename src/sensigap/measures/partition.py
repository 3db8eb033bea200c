"""The exact partition of a window in a plane into linear regions, as polygons (STUDY, 'Slices').

Inside a region of the layers below, a unit's pre-activation is linear over the plane, so a
threshold is a straight line and regions are convex. Layer by layer, unit by unit, every polygon
with corners on both sides of the line is cut into two. Polygons share their corners, and a crossing
is computed once for each edge, so neighbours agree on it and areas add up to the window's.

Many lines through one point (zero biases and a plane through 0) would leave slivers from rounding:
|z - tau| <= 1e-12 max |z| counts as on the line, and a crossing closer to a corner than 1e-10 of
the window is taken to be at the corner.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from sensigap.isolation import isolated
from sensigap.measures.checks import as_array, as_stack, check_index, check_range
from sensigap.measures.polygons.layers import SNAP, Layer, network_layers
from sensigap.networks import Stack

#: a crossing closer to a corner than this share of the window's longer side is at the corner
MERGE = 1e-10
#: corners of polygons held at once, in one layer; more are done group by group
GROUP_CORNERS = 40_000


@dataclasses.dataclass(frozen=True)
class Partition:
    """Polygons that cover a window.

    Attributes:
        corners: coordinates (corner, 2) in the plane.
        rings: corners of all polygons, each counter-clockwise, one polygon after the other.
        starts: where each polygon starts in `rings`; one entry more than polygons.
    """

    corners: np.ndarray
    rings: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def polygon(self, index: int) -> np.ndarray:
        """Corners (corner, 2) of a polygon."""
        return self.corners[self.rings[self.starts[index] : self.starts[index + 1]]]

    def areas(self) -> np.ndarray:
        """Areas (polygon)."""
        here = self.corners[self.rings]
        there = here[self._next()]
        return (
            np.add.reduceat(here[:, 0] * there[:, 1] - here[:, 1] * there[:, 0], self.starts[:-1])
            / 2
        )

    def centres(self) -> np.ndarray:
        """Means of the corners (polygon, 2), points inside the polygons."""
        sums = np.add.reduceat(self.corners[self.rings], self.starts[:-1], axis=0)
        return sums / np.diff(self.starts)[:, None]

    def edges(self) -> np.ndarray:
        """Pairs of corners (edge, 2), each edge once, the smaller index first."""
        pairs = np.stack([self.rings, self.rings[self._next()]], 1)
        return np.unique(np.sort(pairs, axis=1), axis=0)

    def neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        """Edges between two polygons: their corners (edge, 2), and the two polygons (edge, 2)."""
        low, high = np.sort(np.stack([self.rings, self.rings[self._next()]]), axis=0)
        owner = np.repeat(np.arange(len(self)), np.diff(self.starts))
        key = low * len(self.corners) + high
        order = np.argsort(key, kind="stable")
        first = np.flatnonzero(key[order][1:] == key[order][:-1])
        here, there = order[first], order[first + 1]
        return np.stack([low[here], high[here]], 1), np.stack([owner[here], owner[there]], 1)

    def _next(self) -> np.ndarray:
        following = np.arange(1, len(self.rings) + 1)
        following[self.starts[1:] - 1] = self.starts[:-1]
        return following


@isolated()
def partition(
    networks: Stack | nn.Sequential,
    network: int,
    frame: np.ndarray | torch.Tensor,
    window: tuple[float, float, float, float],
    *,
    layer: int | None = None,
) -> Partition:
    """The linear regions of one network over a window of a plane.

    Args:
        networks: a stack, or one network that `from_sequential` takes.
        network: index of the network in the stack.
        frame: (3, d): origin and the vectors of x and y (`paths.plane`).
        window: least and largest x, least and largest y, in units of the input.
        layer: hidden layer, from 0, up to which regions are told apart; None: the last one.

    Raises:
        TypeError: the network is none, or a layer is not what its class says; names its place.
        ValueError: the layer or the window does not exist; the frame has another shape; it, weights
            or pre-activations are not finite.
    """
    stack, _ = as_stack(networks)
    check_index(network, len(stack))
    plane = as_array(frame, "frame", (3, stack.inputs))
    layers = network_layers(stack, network)
    if layer is not None:
        if not 0 <= layer < len(layers):
            raise ValueError(f"layer: expected 0 to {len(layers) - 1}, found {layer}")
        layers = layers[: layer + 1]
    return _joined([part for part, _ in partition_parts(layers, plane, window)])


def partition_parts(
    layers: list[Layer], frame: np.ndarray, window: tuple[float, float, float, float]
) -> Iterator[tuple[Partition, np.ndarray]]:
    """The partition by some layers, part by part, so that it need not be in memory as a whole.

    Every region is in one part. Parts border on lines of layers before the last one.

    Args:
        layers: the hidden layers whose regions are told apart.
        frame, window: as for `partition`.

    Yields:
        The part's polygons, and the last layer's code in each: bits (polygon, word), one for each
        unit and threshold, whether the unit is above it.

    Raises:
        ValueError: the window does not exist, or pre-activations overflow.
    """
    left, right, bottom, top = window
    if not (left < right and bottom < top and np.isfinite(window).all()):
        raise ValueError(f"window: expected x and y from less to more, found {window}")
    corners = np.array([[left, bottom], [right, bottom], [right, top], [left, top]], float)
    start = Partition(corners, np.arange(4), np.array([0, 4]))
    if not layers:
        yield start, np.zeros((1, 0), np.uint64)
        return
    # the plane's three vectors go through the first layer, no point of the plane does
    origin, x, y = frame.astype(np.float64) @ layers[0].weight
    z = origin + corners @ np.stack([x, y]) + layers[0].bias
    merge = MERGE * max(right - left, top - bottom)
    yield from _deepen(layers, start, z, merge)


def _deepen(
    layers: list[Layer], polygons: Partition, z: np.ndarray, merge: float
) -> Iterator[tuple[Partition, np.ndarray]]:
    """Cuts the polygons by the layers; z are the first one's pre-activations (corner, unit).

    Yields polygons and the last layer's codes in them (`partition_parts`).
    """
    first, rest = layers[0], layers[1:]
    check_range(float(z.min()), float(z.max()), "a hidden layer")
    taus = [tau for _, tau in first.thresholds]
    if taus:
        # of several thresholds each has its own lines; z comes back from the first one's
        lines = z if len(taus) == 1 else np.tile(z, len(taus))
        lines -= np.repeat(taus, first.width)
        cutter = _Cutter(polygons, lines, merge)
        for unit in range(lines.shape[1]):
            cutter.cut(unit)
        polygons = cutter.result()
        if not rest:
            yield polygons, cutter.codes(polygons)
            return
        z = cutter.lines.view()[:, : first.width]
        z += taus[0]
        del cutter, lines
    if not rest:
        yield polygons, np.zeros((len(polygons), 0), np.uint64)
        return
    groups = [(polygons, z)]
    if len(polygons.corners) > GROUP_CORNERS:
        groups = [_group(polygons, z, chosen) for chosen in _quarters(polygons)]
    del polygons, z
    while groups:
        part, outputs = groups.pop()
        first.apply(outputs, outputs)
        yield from _deepen(rest, part, rest[0].evaluate(outputs), merge)


class _Cutter:
    """Polygons that are being cut by the lines of one layer.

    A polygon that is cut gets a new ring at the end of `refs`, and its other part is a new polygon.
    `lines` (corner, line) are a layer's z - tau, exactly 0 on the line.
    """

    def __init__(self, polygons: Partition, lines: np.ndarray, merge: float) -> None:
        self.corners = _Growing(polygons.corners)  # appending copies: the argument stays as it is
        self.tolerance = SNAP * np.abs(lines).max(initial=0.0)
        lines[np.abs(lines) <= self.tolerance] = 0.0
        self.lines = _Growing(lines)
        self.refs = _Growing(polygons.rings)
        self.start = _Growing(polygons.starts[:-1].copy())
        self.size = _Growing(np.diff(polygons.starts))
        #: the polygon at the layer's beginning of which a polygon is a part
        self.root = _Growing(np.arange(len(polygons)))
        self.crossed = self._crossed(polygons)
        self.merge = merge

    def _crossed(self, polygons: Partition) -> np.ndarray:
        """Whether a line has corners of a polygon on both sides: (line, polygon)."""
        lines = self.lines.view()
        # sides packed into words, so that a polygon's corners are combined 64 lines at a time
        above, below = _packed(lines > 0), _packed(lines < 0)
        offsets = polygons.starts[:-1]
        both = np.bitwise_or.reduceat(above[polygons.rings], offsets, axis=0)
        both &= np.bitwise_or.reduceat(below[polygons.rings], offsets, axis=0)
        bits = np.unpackbits(both.view(np.uint8), axis=1, count=lines.shape[1])
        return np.ascontiguousarray(bits.T).view(bool)

    def codes(self, polygons: Partition) -> np.ndarray:
        """Which lines polygons that none of them cuts any more are above: bits (polygon, word)."""
        above = _packed(self.lines.view() > 0)
        return np.bitwise_or.reduceat(above[polygons.rings], polygons.starts[:-1], axis=0)

    def cut(self, unit: int) -> None:
        """Cuts all polygons by one line."""
        chosen = np.flatnonzero(self.crossed[unit][self.root.view()])
        chosen = self._both_sides(chosen, unit)
        if len(chosen) and self._merge_into_corners(chosen, unit):
            chosen = self._both_sides(chosen, unit)
        if not len(chosen):
            return
        sizes, corner, following = self._rings(chosen)
        side = np.sign(self.lines.view()[corner, unit])
        cut = np.flatnonzero(side * side[following] < 0)
        new = self._crossings(corner[cut], corner[following[cut]], unit)
        # rings with the crossings inserted, on which the sides are +1, -1, and 0 on the line
        inserted = np.zeros(len(corner), np.int64)
        inserted[cut] = 1
        old_at = np.arange(len(corner)) + np.cumsum(inserted) - inserted
        ring = np.empty(len(corner) + len(cut), np.int64)
        ring_side = np.zeros(len(ring), np.int8)
        ring[old_at], ring[old_at[cut] + 1] = corner, new
        ring_side[old_at] = side
        owner = np.repeat(np.repeat(np.arange(len(chosen)), sizes), 1 + inserted)
        for sign in (1, -1):
            kept = ring_side * sign >= 0
            length = np.bincount(owner[kept], minlength=len(chosen))
            begin = len(self.refs) + np.cumsum(length) - length
            self.refs.append(ring[kept])
            if sign == 1:
                self.start.view()[chosen], self.size.view()[chosen] = begin, length
            else:
                self.start.append(begin)
                self.size.append(length)
                self.root.append(self.root.view()[chosen])

    def _rings(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ring sizes of some polygons, their corners, and for each the index of the next one."""
        sizes = self.size.view()[chosen]
        ends = np.cumsum(sizes)
        shift = np.repeat(self.start.view()[chosen] - (ends - sizes), sizes)
        following = np.arange(1, ends[-1] + 1)
        following[ends - 1] = ends - sizes
        return sizes, self.refs.view()[np.arange(ends[-1]) + shift], following

    def _both_sides(self, chosen: np.ndarray, unit: int) -> np.ndarray:
        """Those of some polygons that have corners on both sides of a line."""
        if not len(chosen):
            return chosen
        sizes, corner, _ = self._rings(chosen)
        value = self.lines.view()[corner, unit]
        offsets = np.cumsum(sizes) - sizes
        return chosen[
            (np.maximum.reduceat(value, offsets) > 0) & (np.minimum.reduceat(value, offsets) < 0)
        ]

    def _merge_into_corners(self, chosen: np.ndarray, unit: int) -> bool:
        """Puts corners on the line to which it comes closer than `merge` along an edge."""
        _, corner, following = self._rings(chosen)
        a, b = corner, corner[following]
        lines, corners = self.lines.view(), self.corners.view()
        za, zb = lines[a, unit], lines[b, unit]
        cut = np.flatnonzero(za * zb < 0)
        a, b, t = a[cut], b[cut], za[cut] / (za[cut] - zb[cut])
        length = np.hypot(*(corners[b] - corners[a]).T)
        near = np.concatenate([a[t * length <= self.merge], b[(1 - t) * length <= self.merge]])
        lines[near, unit] = 0.0
        return bool(len(near))

    def _crossings(self, a: np.ndarray, b: np.ndarray, unit: int) -> np.ndarray:
        """New corners where a line cuts the edges from a to b, one for both polygons of an edge."""
        n = len(self.corners)
        key, which = np.unique(np.minimum(a, b) * n + np.maximum(a, b), return_inverse=True)
        low, high = key // n, key % n
        corners, lines = self.corners.view(), self.lines.view()
        t = (lines[low, unit] / (lines[low, unit] - lines[high, unit]))[:, None]
        self.corners.append(corners[low] + t * (corners[high] - corners[low]))
        values = lines[high]
        values -= lines[low]
        values *= t
        values += lines[low]
        values[np.abs(values) <= self.tolerance] = 0.0
        values[:, unit] = 0.0
        self.lines.append(values)
        return n + which

    def result(self) -> Partition:
        """The polygons as they are now."""
        sizes, corner, _ = self._rings(np.arange(len(self.start)))
        return Partition(self.corners.view().copy(), corner, np.append(0, np.cumsum(sizes)))


class _Growing:
    """An array that is appended to, with room to spare."""

    def __init__(self, values: np.ndarray) -> None:
        self._buffer = values
        self._length = len(values)

    def __len__(self) -> int:
        return self._length

    def view(self) -> np.ndarray:
        """What has been appended so far; writes go through."""
        return self._buffer[: self._length]

    def append(self, values: np.ndarray) -> None:
        """Appends rows."""
        length = self._length + len(values)
        if length > len(self._buffer):
            buffer = np.empty((length + length // 2, *self._buffer.shape[1:]), self._buffer.dtype)
            buffer[: self._length] = self.view()
            self._buffer = buffer
        self._buffer[self._length : length] = values
        self._length = length


def _packed(bits: np.ndarray) -> np.ndarray:
    """Booleans (row, column) as words (row, column / 64)."""
    words = np.zeros((len(bits), 8 * -(-bits.shape[1] // 64)), np.uint8)
    words[:, : -(-bits.shape[1] // 8)] = np.packbits(bits, axis=1)
    return words.view(np.uint64)


def _quarters(polygons: Partition) -> list[np.ndarray]:
    """The polygons in four groups of equal number, by place."""
    centre = polygons.centres()
    by_x = np.array_split(np.argsort(centre[:, 0], kind="stable"), 2)
    return [
        part
        for half in by_x
        for part in np.array_split(half[np.argsort(centre[half, 1], kind="stable")], 2)
        if len(part)
    ]


def _group(polygons: Partition, z: np.ndarray, chosen: np.ndarray) -> tuple[Partition, np.ndarray]:
    """Some of the polygons with their own corners, and the pre-activations there."""
    sizes = np.diff(polygons.starts)[chosen]
    ends = np.cumsum(sizes)
    at = np.arange(ends[-1]) + np.repeat(polygons.starts[chosen] - (ends - sizes), sizes)
    used, rings = np.unique(polygons.rings[at], return_inverse=True)
    return Partition(polygons.corners[used], rings, np.append(0, ends)), z[used]


def _joined(parts: list[Partition]) -> Partition:
    """Partitions side by side; corners on the border between two of them stay apart."""
    before = np.cumsum([0, *(len(part.corners) for part in parts)])
    sizes = np.concatenate([np.diff(part.starts) for part in parts])
    return Partition(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.rings + n for part, n in zip(parts, before, strict=False)]),
        np.append(0, np.cumsum(sizes)),
    )
