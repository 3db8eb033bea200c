"""Exact transitions of one network read from an `nn.Sequential`, along one path at a time.

As in `polygons.walk`, every layer's pre-activations are linear between the points at which lower
layers have crossings. A convolutional network has too many of these to hold all of them at
once, so the path is walked depth first: a chain of consecutive points at one layer is cut,
with the crossings between its points, into blocks that share an end; the next layer is evaluated on
a block, and walked to its depth, before the next block. At every moment each layer holds one chain
of at most `Walk.rows` points and 3, whatever the number of crossings.

The walk passes each layer in the order of the path, so a layer keeps the side on which each unit
was last, from chain to chain; what is decided, and how, is as `sensigap.measures.transitions`
says. The tolerance's max |z| is over the path's vertices and what was walked of the path.

Before the last unit, the crossings need not become points. Where few outputs of the layers between
see one unit, as in a convolution, a crossing gives these few outputs a `Kink`, and each of them is
followed through its own kinks only. Blocks are cut so that there are at most `KINKS` of them.
"""

import dataclasses
import math

import numpy as np
import scipy.sparse
import torch

from sensigap.measures.checks import check_range
from sensigap.measures.polygons.arrays import sort_order
from sensigap.measures.polygons.layers import SNAP
from sensigap.measures.polygons.walk import Crossings
from sensigap.measures.sequential.sides import Flips, Kinks, KnownSides, threshold_flips
from sensigap.measures.sequential.stages import Stage, Unit

#: bytes of a chain of points at the widest layer: what the second-level cache holds ...
CHUNK_BYTES = 2**21
#: ... but so many points at least
LEAST_ROWS = 32
#: kinks held at once, unless one crossing makes more
KINKS = 2**17
#: the time that a kink takes, in times of a value at a point
KINK_COST = 8.0


class Walk:
    """The walk along one path.

    Attributes:
        counts: crossings so far, one int64 array (unit) a layer.
        found: their parts, where they are recorded.
        rows: points of a chain, at most, apart from its ends.
        held, peak: points held, now and at most: no more than rows + 3 at each layer, and as many
            again while a layer is evaluated.
    """

    def __init__(self, stages: list[Stage], *, closed: bool, record: bool) -> None:
        units = [(stage, stage.unit) for stage in stages if stage.unit is not None]
        self.stages = [stage for stage, _ in units]
        self.units: list[Unit] = [unit for _, unit in units]
        self.closed, self.record = closed, record
        self.counts = [np.zeros(stage.width, np.int64) for stage in self.stages]
        self.found: list[Crossings] = []
        widest = max((max(s.width, math.prod(s.inputs)) for s in self.stages), default=1)
        self.rows = max(LEAST_ROWS, CHUNK_BYTES // (8 * widest))
        self.memories = [
            {at.index: KnownSides.empty(stage.width) for at in unit.thresholds or ()}
            for stage, unit in units
        ]
        self.scales = [0.0] * len(units)
        self.held = self.peak = 0

    def run(self, vertices: torch.Tensor) -> None:
        """Walks along the path through float64 vertices (vertex, *shape of an input)."""
        if not self.stages:
            return
        for part in vertices.split(self.rows):
            x = part
            for l, (stage, unit) in enumerate(zip(self.stages, self.units, strict=True)):
                z = stage.evaluate(x)
                self._look(l, z.numpy())
                x = unit.module(z)
        path = torch.cat([vertices, vertices[:1]]) if self.closed else vertices
        for start in range(0, max(len(path) - 1, 1), self.rows):
            x = path[start : start + self.rows + 1]
            place = np.arange(start, start + len(x), dtype=float)
            self._step(0, self.stages[0].evaluate(x), place, None)
        if self.closed:
            self._close()

    def _look(self, l: int, z: np.ndarray) -> None:
        """Keeps the largest |z| of a layer; raises a ValueError where it overflows."""
        largest, least = float(z.max(initial=0.0)), float(z.min(initial=0.0))
        check_range(least, largest, self.units[l].name)
        self.scales[l] = max(self.scales[l], largest, -least)

    def _step(self, l: int, z: torch.Tensor, place: np.ndarray, kinks: Kinks | None) -> None:
        """Counts the crossings of layer l along a chain, and walks the layers above it.

        Args:
            l: the layer.
            z: its pre-activations at the chain's points (point, *shape).
            place: positions of the points on the path.
            kinks: where pre-activations change slope between the points.
        """
        rows = z.reshape(len(z), -1).numpy()
        self._hold(len(rows))
        self._look(l, rows)
        tolerance = SNAP * self.scales[l]
        flips = Flips.joined(
            [
                threshold_flips(rows, kinks, at, tolerance, self.memories[l][at.index])
                for at in self.units[l].thresholds or ()
            ]
        )
        self.counts[l] += np.bincount(flips.unit, minlength=rows.shape[1])
        if self.record:
            end = np.minimum(flips.point + 1, len(place) - 1)
            start = place[flips.point]
            self._record(l, flips.unit, flips.threshold, start + flips.t * (place[end] - start))
        if l + 1 < len(self.stages):
            inside = (flips.t > 0) & (flips.t < 1)  # the others are at points of the chain
            flips = flips.take(np.flatnonzero(inside))
            flips = flips.take(sort_order(flips.point, flips.t))
            self._blocks(l, rows, place, flips)
        self.held -= len(rows)

    def _hold(self, points: int) -> None:
        """Notes that so many more points are held."""
        self.held += points
        self.peak = max(self.peak, self.held)

    def _record(self, l: int, unit: np.ndarray, threshold: np.ndarray, at: np.ndarray) -> None:
        zeros = np.zeros(len(unit), np.int64)
        self.found.append(Crossings(zeros, zeros + l, unit, threshold, at))

    def _close(self) -> None:
        """Counts units that leave the first point and return to it on different sides."""
        for l, memories in enumerate(self.memories):
            for index, memory in memories.items():
                unit = np.flatnonzero(memory.known & (memory.first != memory.side))
                self.counts[l][unit] += 1
                if self.record:
                    self._record(l, unit, np.full(len(unit), index), np.zeros(len(unit)))

    def _blocks(self, l: int, rows: np.ndarray, place: np.ndarray, flips: Flips) -> None:
        """Cuts a chain with its crossings into blocks, and walks them at the next layer."""
        line = Line.of(rows, flips, self.units[l])
        end = np.minimum(line.point + 1, len(rows) - 1)
        places = place[line.point] + line.t * (place[end] - place[line.point])
        above = self.stages[l + 1]
        reach = math.prod(layer.reach for layer in above.layers)
        values = rows.shape[1] + above.width  # at a point, here and above
        with_kinks = l + 2 == len(self.stages) and reach * KINK_COST <= values
        step = max(1, KINKS // reach) if with_kinks else self.rows
        for start in range(0, max(len(places) - 1, 1), step):
            block = np.arange(start, min(start + step + 1, len(places)))
            points, between = block, block[:0]
            if with_kinks:
                is_point = line.crossing[block] < 0
                is_point[[0, -1]] = True
                points, between = block[is_point], block[~is_point]
            h = line.outputs(points).reshape(-1, *above.inputs)
            self._hold(len(h))
            y = above.evaluate(h)
            self.held -= len(h)
            del h
            kinks = line.kinks(points, between, above, y) if len(between) else None
            self._step(l + 1, y, places[points], kinks)


@dataclasses.dataclass
class Line:
    """A chain with its crossings in the order of the path, arrays (entry).

    Attributes:
        rows: pre-activations at the chain's points.
        flips: the crossings, sorted.
        unit: the units of the layer.
        crossing: for each entry the index of the crossing; -1: it is a point of the chain.
        point: for each entry, the index of the point that it is or that is before it.
        t: for each entry, where between the point and the next.
    """

    rows: np.ndarray
    flips: Flips
    unit: Unit
    crossing: np.ndarray
    point: np.ndarray
    t: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, flips: Flips, unit: Unit) -> "Line":
        """The points of a chain and its crossings, put in order."""
        n, k = len(rows), len(flips)
        after = np.bincount(flips.point, minlength=n)
        new = np.arange(k) + flips.point + 1
        crossing, t = np.full(n + k, -1), np.zeros(n + k)
        crossing[new], t[new] = np.arange(k), flips.t
        return cls(rows, flips, unit, crossing, np.repeat(np.arange(n), after + 1), t)

    def outputs(self, entries: np.ndarray) -> torch.Tensor:
        """Outputs of the units (entry, unit) at some entries."""
        z = self.rows.take(self.point[entries], axis=0)
        at = np.flatnonzero(self.crossing[entries] >= 0)
        crossing = self.crossing[entries[at]]
        step = self.rows.take(self.point[entries[at]] + 1, axis=0)
        step -= z[at]
        step *= self.t[entries[at], None]
        z[at] += step
        z[at, self.flips.unit[crossing]] = self._of_threshold("tau", crossing)
        return self.unit.module(torch.from_numpy(z))

    def _of_threshold(self, name: str, crossing: np.ndarray) -> np.ndarray:
        """A property of the thresholds that some crossings are of."""
        values = np.zeros(2)
        for at in self.unit.thresholds or ():
            values[at.index] = getattr(at, name)
        return values[self.flips.threshold[crossing]]

    def kinks(
        self, points: np.ndarray, between: np.ndarray, above: Stage, y: torch.Tensor
    ) -> Kinks | None:
        """Kinks of the next stage's outputs at the crossings between some points, if any.

        Args:
            points: entries at which the outputs are known.
            between: the other entries, all crossings.
            above: the next stage.
            y: its outputs at the points.
        """
        # where the two entries beside a crossing lie between the chain's points
        before = np.searchsorted(points, between) - 1
        start, end = points[before], points[before + 1]
        t_start = self.t[start]
        t_end = np.where(self.point[end] == self.point[start], self.t[end], 1.0)
        length = t_end - t_start
        t = np.zeros(len(between))
        np.divide(self.t[between] - t_start, length, out=t, where=length > 0)
        crossing = self.crossing[between]
        rise = np.abs(self.flips.rise[crossing]) * length
        change = rise * self._of_threshold("jump", crossing)
        source, index = np.arange(len(between)), self.flips.unit[crossing]
        for layer in above.layers:
            seen = layer.seen(index, change)
            source, index, change = source[seen.source], seen.output, seen.value
        # sorts by output and sums what comes to one output by several ways
        size = (len(between), above.width)
        by_output = scipy.sparse.coo_array((change, (source, index)), size).tocsc()
        output = np.repeat(np.arange(above.width), np.diff(by_output.indptr))
        source = by_output.indices
        if len(output) == 0:
            return None
        values = y.reshape(len(y), -1).numpy()
        return Kinks.between(values, output, before[source], t[source], by_output.data)
