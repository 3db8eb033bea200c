"""From one layer to the next: its crossings, and the next layer's pre-activations there."""

import math

import numpy as np
import scipy.sparse

from sensigap.measures.polygons.arrays import Array, Arrays, NumpyArrays
from sensigap.measures.polygons.layers import SNAP, Layer
from sensigap.measures.polygons.points import Found, Points

#: nanoseconds on one core: a multiplication in a matrix product; an element of a row interpolated
#: for it; an entry of the sparse matrix that can replace the product, and its part for each unit
PRODUCT_COST, ROW_COST, ENTRY_COST, ELEMENT_COST = 0.055, 2.0, 20.0, 0.33


def layer_crossings(z: Array, layer: Layer, points: Points, doubt: float) -> Found:
    """Crossings of all thresholds of a layer, in no given order.

    Args:
        z: pre-activations (row, unit). Those that differ from a threshold by rounding only, and
            could decide a crossing, are set to it.
        layer: the layer.
        points: the points.
        doubt: an upper bound of what is taken for rounding on any path.
    """
    lib = points.arrays.lib
    parts = []
    for index, tau in layer.thresholds:
        above = points.arrays.above(z, tau, points.row)
        point, unit, before, after = _changes(z, tau, above, points)
        least = lib.minimum(abs(before), abs(after))
        smallest = float(least.min()) if len(least) else math.inf
        # seldom; so first by a bound, then by the largest value here, then path by path
        if smallest <= doubt and smallest <= SNAP * float(max(z.max(), -z.min())):
            path, tolerance = points.path(), _tolerance(z, points)
            units = lib.unique(unit[least <= tolerance[path[point]]])
            if len(units):
                above[:, units] = _careful_sides(z, tau, units, points, tolerance)
                changes = _changes(z, tau, above, points)
                point, unit, before, after = _with_closing(changes, above, points)
        gap = before - after
        # at the lower bound a slope begins or ends that adds to the output, at the upper it is lost
        kink = abs(gap) if index == 0 else -abs(gap)
        parts.append(Found(point, unit, before / gap, lib.full_like(point, index), kink))
    return Found.joined(parts, points.arrays)


def _changes(z: Array, tau: float, above: Array, points: Points) -> tuple[Array, ...]:
    """Where `above` (point, unit) changes to the next point: point, unit, z - tau at both."""
    change = points.arrays.changes(above)
    change[points.ends[:-1]] = False
    width = z.shape[1]
    at = points.arrays.nonzero(change)
    point = at // width
    unit = at - point * width
    flat = z.reshape(-1)
    before = flat[points.row[point] * width + unit]
    after = flat[points.row[point + 1] * width + unit]
    if tau:
        before -= tau
        after -= tau
    return point, unit, before, after


def _tolerance(z: Array, points: Points) -> Array:
    """What is taken for rounding on each path."""
    lib = points.arrays.lib
    largest = lib.maximum(lib.amax(z, 1), -lib.amin(z, 1))[points.row]
    return SNAP * points.arrays.largest(largest, points.starts, points.path())


def _careful_sides(z: Array, tau: float, units: Array, points: Points, tolerance: Array) -> Array:
    """Whether some units (point, unit) are above tau, where values may be at tau.

    A value at tau takes the side of the last point before it that has one; at the start of a path,
    where there is none before, that of the first after it. Values at tau are set to it in z.
    """
    arrays, path, n = points.arrays, points.path(), len(points)
    rows = points.row[:, None]
    values = z[rows, units]
    at_tau = abs(values - tau) <= tolerance[path][:, None]
    values[at_tau] = tau
    z[rows, units] = values
    index = arrays.arange(n)[:, None]
    before = arrays.running_maximum(arrays.lib.where(at_tau, -1, index))
    from_end = arrays.lib.where(at_tau, -1, n - 1 - index)
    after = n - 1 - arrays.flip(arrays.running_maximum(arrays.flip(from_end)))
    source = arrays.lib.where(before >= points.starts[path][:, None], before, after)
    known = source <= points.ends[path][:, None]
    above = values > tau
    return above[arrays.lib.where(known, source, 0), arrays.arange(len(units))] & known


def _with_closing(changes: tuple[Array, ...], above: Array, points: Points) -> tuple[Array, ...]:
    """The changes, and those at the start of paths that leave it and return on different sides."""
    if not points.closed:
        return changes
    arrays, width = points.arrays, above.shape[1]
    at = arrays.nonzero(above[points.starts] != above[points.ends])
    which = at // width
    zeros = arrays.empty(len(at))
    zeros[:] = 0.0
    at_start = (points.starts[which], at - which * width, zeros, zeros + 1)
    return tuple(arrays.lib.concatenate(pair) for pair in zip(changes, at_start, strict=True))


def deepen(
    z: Array, layer: Layer, following: Layer, points: Points, found: Found, *, name: str
) -> tuple[Array, Points]:
    """The following layer's pre-activations at all points, and the points, crossings among them.

    A crossing changes the following layer along one direction only, so between two points at which
    it is evaluated its values at crossings are a line with a few kinks, each a multiple of a row of
    its weights. On a processor it is evaluated at the points and, of the crossings on a piece, at
    one in some; at the others kinks are summed.

    Args:
        z: pre-activations (row, unit); overwritten.
        layer: their layer.
        following: the next one.
        points: the points.
        found: the layer's crossings.
        name: of the memory to write to.
    """
    arrays = points.arrays
    inside = (found.t > 0) & (found.t < 1)  # the others are at points that are there already
    if not bool(inside.all()):
        found = found.take(inside)
    order = arrays.sort_order(found.point, found.t)
    evaluated, bent = _divided(found, order, _stride(layer.width, following.width, arrays))
    n, k, m = len(z), len(z) + len(evaluated), len(z) + len(found)
    # the weights stand above, so that one sparse product sums rows of both
    lead = layer.width if len(bent) else 0
    both = arrays.room(name, lead + m, following.width)
    y = both[lead:]
    if len(evaluated):
        before, after = points.row[evaluated.point], points.row[evaluated.point + 1]
        h = arrays.interpolate(z, before, after, evaluated.t)
        h[arrays.arange(len(h)), evaluated.unit] = layer.bounds[evaluated.threshold]
        layer.apply(h, h)
        following.evaluate(h, out=y[n:k])
    layer.apply(z, z)
    following.evaluate(z, out=y[:n])
    if len(evaluated):
        points = points.insert(evaluated, n)
    if len(bent):
        both[:lead] = following.weight
        y[k:] = _lines_with_kinks(bent, points.row, lead, k) @ both[: lead + k]
        points = points.insert(bent, k)
    return y, points


def _stride(width: int, following: int, arrays: Arrays) -> int:
    """Of how many crossings on a piece one is evaluated; the cost of a crossing is least there.

    With stride s it is about (row / s + s entry), with the costs of a row of the product and of an
    entry of the sparse matrix. On a device, and where it saves little, all are evaluated.
    """
    if not isinstance(arrays, NumpyArrays):
        return 1
    row = width * (PRODUCT_COST * following + ROW_COST)
    stride = round(math.sqrt(row / (ENTRY_COST + ELEMENT_COST * following)))
    return stride if stride > 2 else 1


def _divided(found: Found, order: Array, stride: int) -> tuple[Found, Found]:
    """Every stride-th of the crossings on each piece, and the others, both in order.

    The others are given between the points that there are when the first ones are inserted.
    """
    if stride == 1:
        return found.take(order), found.take(order[:0])
    first, sizes = _pieces(found.point[order])
    rank = np.arange(len(found)) - np.repeat(first, sizes)
    chosen = rank % stride == stride - 1
    evaluated, bent = found.take(order[chosen]), found.take(order[~chosen])
    if len(evaluated) == 0:
        return evaluated, bent
    ahead = np.cumsum(chosen)[~chosen]
    point = np.concatenate([[-1], evaluated.point, [-1]])
    t = np.concatenate([[0.0], evaluated.t, [0.0]])
    start = np.where(point[ahead] == bent.point, t[ahead], 0.0)
    span = np.where(point[ahead + 1] == bent.point, t[ahead + 1], 1.0) - start
    bent.point += ahead
    bent.t = (bent.t - start) / np.where(span > 0, span, 1.0)
    bent.kink *= span
    return evaluated, bent


def _pieces(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of sorted crossings after points: the first on each piece that has any, and their number."""
    first = np.flatnonzero(point[1:] != point[:-1]) + 1
    bounds = np.concatenate([[0], first, [len(point)]])
    return bounds[:-1], bounds[1:] - bounds[:-1]


def _lines_with_kinks(
    found: Found, row: np.ndarray, lead: int, rows: int
) -> scipy.sparse.csr_matrix:
    """How outputs at sorted crossings sum rows of the weights (`lead` rows) and outputs (`rows`).

    On a piece, outputs with kinks c_i at t_i are at t the line between the ends minus
    sum_i c_i min(t, t_i) (1 - max(t, t_i)); a kink of one unit is a multiple of its weights.
    """
    k = len(found)
    first, sizes = _pieces(found.point)
    others = np.repeat(sizes, sizes)  # crossings on the same piece, itself among them
    ends = np.cumsum(others)
    pairs = int(ends[-1])
    mine = np.repeat(np.arange(k), others)
    other = np.arange(pairs) + np.repeat(np.repeat(first, sizes) - ends + others, others)
    t, t_other = found.t[mine], found.t[other]
    place = np.arange(pairs) + 2 * mine  # the entries for the ends come last
    line = ends + 2 * np.arange(k)
    columns, entries = np.empty(pairs + 2 * k, np.int32), np.empty(pairs + 2 * k)
    columns[place] = found.unit[other]
    entries[place] = -found.kink[other] * np.minimum(t, t_other) * (1 - np.maximum(t, t_other))
    columns[line], entries[line] = lead + row[found.point], 1 - found.t
    columns[line + 1], entries[line + 1] = lead + row[found.point + 1], found.t
    starts = np.append(0, line + 2).astype(np.int32)
    return scipy.sparse.csr_matrix((entries, columns, starts), (k, lead + rows))
