"""Paths through one network: the points at which their pieces end, layer by layer.

Along a segment every layer's pre-activations are piecewise linear. Layer by layer, the crossings of
the units' thresholds have closed form; they become points of the path, and the next layer is
evaluated at all points. `sensigap.measures.transitions` says what counts as a crossing.

The points of many paths go together: `points` has the layout, `deepen` the step to the next layer,
and `arrays` what differs between a processor and a device.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from sensigap.measures.checks import LARGEST, check_range
from sensigap.measures.polygons.arrays import Array, Arrays, NumpyArrays, rows_at_once
from sensigap.measures.polygons.deepen import deepen, layer_crossings
from sensigap.measures.polygons.layers import SNAP, Layer
from sensigap.measures.polygons.points import Points

#: a first guess of the points at the deepest layer: each edge crosses this share of all units ...
CROSSED = 0.25
#: ... and after paths that cross few of them, this share of the guess at least for the next ones,
#: which may cross more
LEAST_GUESS = 1 / 8


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


def check_by(by: str | None) -> None:
    """Raises a ValueError unless counts can be given by this."""
    if by not in (None, "layer", "unit"):
        raise ValueError(f"by: expected None, 'layer' or 'unit', found {by!r}")


def walk(
    layers: list[Layer],
    paths: Array,
    *,
    closed: bool,
    by: str = "layer",
    record: bool = False,
    arrays: Arrays | None = None,
) -> Iterator[tuple[slice, np.ndarray, list[Crossings]]]:
    """Walks polygons (path, vertex, d), some at a time: which, their counts, and their crossings.

    As many paths are walked at once as probably give `arrays.chunk_bytes` at the deepest layer, one
    at least.

    Args:
        layers: the network.
        paths: the polygons, float64.
        closed: whether they are closed.
        by: the counts' second axis: 'layer', or 'unit' for the units of all layers in one row.
        record: whether the crossings are wanted.
        arrays: the kind of the arrays; None: numpy's.

    Raises:
        ValueError: pre-activations overflow.
    """
    if not layers:
        return
    arrays = arrays or NumpyArrays()
    widths = [layer.width for layer in layers]
    rows = rows_at_once(arrays, widths)
    guess = paths.shape[1] * (1 + CROSSED * sum(widths[:-1]))  # points of a path
    a_path = guess
    start = 0
    while start < paths.shape[0]:
        stop = min(paths.shape[0], start + max(1, int(rows / a_path)))
        counts, crossings, deepest = _walk_together(
            layers, paths[start:stop], arrays, closed=closed, by=by, record=record
        )
        for part in crossings:
            part.path[:] += start
        a_path = max(deepest / (stop - start), guess * LEAST_GUESS)
        yield slice(start, stop), arrays.host(counts), crossings
        start = stop


def _walk_together(
    layers: list[Layer], paths: Array, arrays: Arrays, *, closed: bool, by: str, record: bool
) -> tuple[Array, list[Crossings], int]:
    """Counts (path, layer or unit), crossings by layer, and points at the deepest layer."""
    n_paths, size, inputs = paths.shape
    points = Points.vertices(n_paths, size, closed, record, arrays)
    z = arrays.room("layer 0", n_paths * size, layers[0].width)
    layers[0].evaluate(paths.reshape(n_paths * size, inputs), out=z)
    # an upper bound of |h| in the chunk, for a first look at what might be rounding
    bound = float(max(paths.max(), -paths.min()))
    counts, crossings = [], []
    for l, layer in enumerate(layers):
        bound = bound * layer.gain[0] + layer.gain[1]
        if not bound < LARGEST:  # seldom, and it may be far above what there is
            bound = float(max(z.max(), -z.min()))
            check_range(float(z.min()), float(z.max()), f"hidden layer {l}")
        found = layer_crossings(z, layer, points, SNAP * bound)
        path = points.path()[found.point]
        if by == "unit":
            units = arrays.lib.bincount(
                path * layer.width + found.unit, minlength=n_paths * layer.width
            )
            counts.append(units.reshape(n_paths, layer.width))
        else:
            counts.append(arrays.lib.bincount(path, minlength=n_paths)[:, None])
        if record:
            columns = (path, found.unit, found.threshold, points.between(found))
            path_, unit, threshold, at = (arrays.host(column) for column in columns)
            crossings.append(Crossings(path_, np.full(len(found), l), unit, threshold, at))
        if l < len(layers) - 1:
            z, points = deepen(z, layer, layers[l + 1], points, found, name=f"layer {(l + 1) % 2}")
    return arrays.lib.concatenate(counts, 1), crossings, len(points)
