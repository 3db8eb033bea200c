"""The points at which the linear pieces of paths end, and crossings between them.

The pre-activations at the points of many paths are rows of one matrix, new ones below the old ones;
an index gives their order along the paths. So no row is moved when points are inserted.
"""

import dataclasses

from sensigap.measures.polygons.arrays import Array, Arrays


@dataclasses.dataclass
class Found:
    """Crossings of one layer between a point and the next."""

    #: index, in the order along the paths, of the point before
    point: Array
    unit: Array
    #: where between the point (0) and the next (1)
    t: Array
    #: 0 for the lower bound, 1 for the upper one
    threshold: Array
    #: by how much the slope of the unit's output in t changes there
    kink: Array

    def __len__(self) -> int:
        return len(self.point)

    def take(self, index: Array) -> "Found":
        """Some of the crossings."""
        return Found(
            self.point[index],
            self.unit[index],
            self.t[index],
            self.threshold[index],
            self.kink[index],
        )

    @classmethod
    def joined(cls, parts: list["Found"], arrays: Arrays) -> "Found":
        """The crossings of all parts."""
        if len(parts) == 1:
            return parts[0]
        none = arrays.zeros(0)
        every = [cls(none, none, arrays.empty(0), none, arrays.empty(0)), *parts]
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(arrays.lib.concatenate([getattr(p, name) for p in every]) for name in names))

    def sorted(self, arrays: Arrays) -> "Found":
        """The crossings by point, then t."""
        return self.take(arrays.sort_order(self.point, self.t))


@dataclasses.dataclass
class Points:
    """The points of some paths, in order along each path, path after path.

    Attributes:
        row: row of each point in the matrices of pre-activations. The last point of a closed path
            is its first again, in the same row.
        starts, ends: first and last point of each path.
        closed: whether the paths are closed.
        place: position of each point on its path, in edges; None: not wanted.
        arrays: the kind of the arrays.
    """

    row: Array
    starts: Array
    ends: Array
    closed: bool
    place: Array | None
    arrays: Arrays

    @classmethod
    def vertices(cls, paths: int, size: int, closed: bool, place: bool, arrays: Arrays) -> "Points":
        """The vertices of `paths` paths, `size` each, in rows one after the other."""
        row = arrays.arange(paths * size).reshape(paths, size)
        starts = arrays.arange(paths) * (size + closed)
        if closed:
            row = arrays.lib.concatenate([row, row[:, :1]], 1)
        edges = None
        if place:
            edges = arrays.empty(paths * (size + closed))
            edges.reshape(paths, size + closed)[:] = arrays.arange(size + closed)
        return cls(row.reshape(-1), starts, starts + (size + closed - 1), closed, edges, arrays)

    def __len__(self) -> int:
        return len(self.row)

    def path(self) -> Array:
        """The path of each point."""
        sizes = self.ends - self.starts + 1
        return self.arrays.repeat(self.arrays.arange(len(self.starts)), sizes, len(self))

    def insert(self, found: Found, rows: int) -> "Points":
        """The points with sorted crossings between them, whose rows follow the present `rows`."""
        arrays, n, k = self.arrays, len(self), len(found)
        after = arrays.lib.bincount(found.point, minlength=n)
        old = arrays.lib.cumsum(after, 0)
        old -= after
        old += arrays.arange(n)
        new = found.point + arrays.arange(1, k + 1)
        row = arrays.zeros(n + k)
        row[old], row[new] = self.row, arrays.arange(rows, rows + k)
        place = None
        if self.place is not None:
            place = arrays.empty(n + k)
            place[old], place[new] = self.place, self.between(found)
        return Points(row, old[self.starts], old[self.ends], self.closed, place, arrays)

    def between(self, found: Found) -> Array:
        """Positions of crossings on their paths."""
        if self.place is None:
            raise ValueError("positions were not asked for")
        start, end = self.place[found.point], self.place[found.point + 1]
        return start + found.t * (end - start)
