"""On which side of a threshold units are along a chain of points, and where they change it.

A chain is part of a path: consecutive points, between which pre-activations are linear, apart from
kinks that some units may have. Chains come in the order of the path, and `KnownSides` keeps what
one must know of those before. What is decided in degenerate cases is what
`sensigap.measures.transitions` says.
"""

import dataclasses

import numpy as np

from sensigap.measures.sequential.stages import Threshold


@dataclasses.dataclass
class Kinks:
    """Where units change slope between the points of a chain: by unit, then along the path."""

    unit: np.ndarray
    #: index of the point before
    point: np.ndarray
    #: where between the point (0) and the next (1)
    t: np.ndarray
    #: the pre-activation there
    value: np.ndarray
    #: indices of the first ones of their unit after a point
    first: np.ndarray

    @classmethod
    def between(
        cls, z: np.ndarray, unit: np.ndarray, point: np.ndarray, t: np.ndarray, change: np.ndarray
    ) -> "Kinks":
        """The kinks where slopes change by `change`, between pre-activations z (point, unit).

        Between points with values z_0 and z_1, and with slope m after the first, the value at t is
        z_0 + m t + sum_{t_i <= t} c_i (t - t_i); that it is z_1 at 1 gives m.
        """
        new = (unit[1:] != unit[:-1]) | (point[1:] != point[:-1])
        first = np.append(0, np.flatnonzero(new) + 1)
        sizes = np.diff(first, append=len(unit))
        last = first + sizes - 1
        slopes = _running_sums(change, first, sizes)
        offsets = _running_sums(change * t, first, sizes)
        start = z[point[first], unit[first]]
        end = z[point[first] + 1, unit[first]]
        slopes += np.repeat(end - start - (slopes[last] - offsets[last]), sizes)
        value = np.repeat(start, sizes)
        value += t * slopes
        value -= offsets
        return cls(unit, point, t, value, first)


def _running_sums(values: np.ndarray, first: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Sums from the start of each group to each of its members.

    One running sum over all groups, which is set back at each group's start so that rounding stays
    relative to the group.
    """
    steps = values.copy()
    steps[first[1:]] -= np.add.reduceat(values, first)[:-1]
    sums = np.cumsum(steps)
    sums -= np.repeat(sums[first] - values[first], sizes)
    return sums


@dataclasses.dataclass
class Flips:
    """Crossings of a chain, arrays (crossing)."""

    unit: np.ndarray
    #: index of the point before
    point: np.ndarray
    #: where between the point (0) and the next (1)
    t: np.ndarray
    #: change of the pre-activation from the point to the next, where it is linear between
    rise: np.ndarray
    #: 0 for the lower threshold of the unit, 1 for the upper one
    threshold: np.ndarray

    def __len__(self) -> int:
        return len(self.unit)

    @classmethod
    def joined(cls, parts: list["Flips"]) -> "Flips":
        """The crossings of all parts."""
        none = np.zeros(0, np.int64)
        every = [cls(none, none, np.zeros(0), np.zeros(0), none), *parts]
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(p, name) for p in every]) for name in names})

    def take(self, index: np.ndarray) -> "Flips":
        """Some of the crossings."""
        names = [field.name for field in dataclasses.fields(self)]
        return Flips(**{name: getattr(self, name)[index] for name in names})


@dataclasses.dataclass
class KnownSides:
    """The sides of one threshold on which units (unit) were, up to where the path was followed."""

    #: whether the unit was last above
    side: np.ndarray
    #: whether it was first above
    first: np.ndarray
    #: whether it was on either side yet
    known: np.ndarray

    @classmethod
    def empty(cls, width: int) -> "KnownSides":
        """At the start of a path."""
        return cls(*(np.zeros(width, bool) for _ in range(3)))


def threshold_flips(
    z: np.ndarray, kinks: Kinks | None, at: Threshold, tolerance: float, memory: KnownSides
) -> Flips:
    """The crossings of one threshold along a chain.

    Args:
        z: pre-activations (point, unit). Those that differ from the threshold by rounding only, and
            could decide a crossing, are set to it; at kinks too.
        kinks: kinks between the points.
        at: the threshold.
        tolerance: what is taken for rounding.
        memory: the units' sides before the chain; moved on to the chain's end.
    """
    chain = _Chain(z, z > at.tau, kinks, at, memory)
    flips, least = chain.flips()
    doubtful = np.logical_or(*(np.abs(z[[0, -1]] - at.tau) <= tolerance))
    doubtful[flips.unit[least <= tolerance]] = True
    units = np.flatnonzero(doubtful)
    decided = ~doubtful
    if len(units):
        decided[units] = chain.correct(units, tolerance)
        flips, _ = chain.flips()
    new = decided & ~memory.known
    memory.first[new] = chain.above[0, new]
    memory.side[decided] = chain.above[-1, decided]
    memory.known |= decided
    return flips


class _Chain:
    """A chain, and on which side of a threshold units are (`above`) at its points and kinks."""

    def __init__(
        self,
        z: np.ndarray,
        above: np.ndarray,
        kinks: Kinks | None,
        at: Threshold,
        memory: KnownSides,
    ) -> None:
        self.z, self.above, self.at, self.memory = z, above, at, memory
        self.kinks = kinks
        self.above_kinks = kinks.value > at.tau if kinks is not None else np.zeros(0, bool)

    def flips(self) -> tuple[Flips, np.ndarray]:
        """Where sides change, and the least |z - tau| beside each change."""
        z, above, tau = self.z, self.above, self.at.tau
        change = above[1:] != above[:-1]
        parts = [] if self.kinks is None else self._at_kinks(self.kinks, change)
        flat = np.flatnonzero(change)
        point = flat // z.shape[1]
        values = z.reshape(-1)
        before, after = values.take(flat), values.take(flat + z.shape[1])
        t = np.zeros(len(flat)), np.ones(len(flat))
        parts.append(self._flips(flat - point * z.shape[1], point, before, after, t))
        # since the chain before: its last point is the first here, evaluated again with others, so
        # that rounding may have it on the other side
        unit = np.flatnonzero(self.memory.known & (self.memory.side != above[0]))
        zeros = np.zeros(len(unit))
        at_tau = np.full(len(unit), tau)
        parts.append(self._flips(unit, zeros.astype(np.int64), at_tau, z[0, unit], (zeros, zeros)))
        return Flips.joined([f for f, _ in parts]), np.concatenate([least for _, least in parts])

    def _at_kinks(self, kinks: Kinks, change: np.ndarray) -> list[tuple[Flips, np.ndarray]]:
        """Changes of units with kinks, from point to kink to point; taken out of `change`."""
        first, last = kinks.first, np.append(kinks.first[1:], len(kinks.unit)) - 1
        point, unit = kinks.point[first], kinks.unit[first]
        change[point, unit] = False
        side = np.empty_like(self.above_kinks)
        side[1:] = self.above_kinks[:-1]
        side[first] = self.above[point, unit]
        to_kink = np.flatnonzero(side != self.above_kinks)
        from_point = np.zeros(len(side), bool)
        from_point[first] = True
        from_point = from_point[to_kink]
        point, unit = kinks.point[to_kink], kinks.unit[to_kink]
        before = np.where(from_point, self.z[point, unit], kinks.value[to_kink - 1])
        t = np.where(from_point, 0.0, kinks.t[to_kink - 1]), kinks.t[to_kink]
        found = [self._flips(unit, point, before, kinks.value[to_kink], t)]
        point, unit = kinks.point[last], kinks.unit[last]
        left = np.flatnonzero(self.above[point + 1, unit] != self.above_kinks[last])
        point, unit, last = point[left], unit[left], last[left]
        t = kinks.t[last], np.ones(len(last))
        after = self.z[point + 1, unit]
        return [*found, self._flips(unit, point, kinks.value[last], after, t)]

    def _flips(
        self,
        unit: np.ndarray,
        point: np.ndarray,
        before: np.ndarray,
        after: np.ndarray,
        t: tuple[np.ndarray, np.ndarray],
    ) -> tuple[Flips, np.ndarray]:
        """Crossings where z goes from `before` to `after` between two t; the least |z - tau|."""
        rise = after - before
        before = before - self.at.tau
        share = np.divide(-before, rise, out=np.zeros(len(unit)), where=before != 0)
        threshold = np.full(len(unit), self.at.index)
        flips = Flips(unit, point, t[0] + share * (t[1] - t[0]), rise, threshold)
        return flips, np.minimum(np.abs(before), np.abs(after - self.at.tau))

    def correct(self, units: np.ndarray, tolerance: float) -> np.ndarray:
        """Corrects the sides of some units where values may be at tau, and sets such values to it.

        A value at tau takes the side of the last before it that has one; where there is none on
        the path, that of the first after it in the chain.

        Returns:
            for each of the units whether it is on either side anywhere in the chain.
        """
        # points and kinks of each unit in the order of the path, unit after unit
        n, m = len(self.z), len(units)
        value, t = self.z[:, units].T.ravel(), np.full(n * m, -1.0)
        point, member = np.tile(np.arange(n), m), np.repeat(np.arange(m), n)
        of = np.zeros(0, np.int64)
        if self.kinks is not None:
            of = np.flatnonzero(np.isin(self.kinks.unit, units))
            value = np.append(value, self.kinks.value[of])
            t, point = np.append(t, self.kinks.t[of]), np.append(point, self.kinks.point[of])
            member = np.append(member, np.searchsorted(units, self.kinks.unit[of]))
        order = np.lexsort((t, point, member))
        value, member = value[order], member[order]
        at_tau = np.abs(value - self.at.tau) <= tolerance
        value[at_tau] = self.at.tau
        index = np.arange(len(value))
        source = np.maximum.accumulate(np.where(at_tau, -1, index))
        later = np.minimum.accumulate(np.where(at_tau, len(value), index)[::-1])[::-1]
        starts = np.searchsorted(member, np.arange(m))
        ends = np.append(starts[1:], len(value))
        known = self.memory.known[units]
        side = (known & self.memory.side[units])[member]
        after = ~known[member] & (later < ends[member])
        side[after] = value[later[after]] > self.at.tau
        before = source >= starts[member]
        side[before] = value[source[before]] > self.at.tau
        value[order], side[order] = value.copy(), side.copy()
        self.z[:, units] = value[: n * m].reshape(m, n).T
        self.above[:, units] = side[: n * m].reshape(m, n).T
        if self.kinks is not None:
            self.kinks.value[of], self.above_kinks[of] = value[n * m :], side[n * m :]
        return np.logical_or.reduceat(~at_tau, starts)
