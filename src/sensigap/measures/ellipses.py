"""Exact transitions along ellipses x(theta) = c + a cos theta + b sin theta (STUDY, 'Ellipses').

Inside a linear region every pre-activation is C + P cos phi + Q sin phi, phi the angle from the
middle of an arc. An arc of half-width delta is kept as pre-activations at its start, middle and
end, ends shared with the next arc. With T = tan(delta / 2) and v = tan(phi / 2) / T, which runs
over [-1, 1], (1 + T^2 v^2) (z - tau) is a quadratic in v, so a unit crosses a threshold at most
twice on an arc: once where the ends are on different sides, twice or never where they are on one
side, and twice only if the middle Bernstein coefficient is on the other. Crossings split the arcs,
layer by layer. All in float64; layers are multiplied on the networks' device, all else is done on
the processor. A touch counts nothing: two crossings need a discriminant above 1e-12 of its terms.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from sensigap.isolation import isolated
from sensigap.measures.checks import LARGEST, as_array, as_stack, check_index, check_range
from sensigap.measures.polygons.arrays import NumpyArrays, rows_at_once
from sensigap.measures.polygons.layers import Layer, network_layers
from sensigap.measures.polygons.points import Found
from sensigap.measures.polygons.walk import Crossings
from sensigap.networks import Stack

#: discriminants up to this share of their terms are a touch
TOUCH = 1e-12
#: arcs of an ellipse at the start; more only cost, fewer would make tan(delta / 2) large
ARCS = 4


@isolated()
def ellipse_crossings(
    networks: Stack | nn.Sequential, ellipses: np.ndarray | torch.Tensor, *, network: int = 0
) -> Crossings:
    """Where on ellipses (ellipse, 3, d), rows c, a, b, one network has its transitions.

    Args:
        networks: a stack, or one network that `from_sequential` takes.
        ellipses: see above.
        network: which one of a stack.

    Returns:
        `Crossings` whose `path` is the ellipse and whose `position` is the angle in radians, in
        [0, 2 pi].

    Raises:
        TypeError: the network is none, or a layer is not what its class says; names its place.
        ValueError: the ellipses have another shape; they, weights or pre-activations are not
            finite.
    """
    stack, _ = as_stack(networks)
    check_index(network, len(stack))
    return _crossings(stack, _as_ellipses(ellipses, stack), network)


@isolated()
def ellipse_transitions(
    networks: Stack | nn.Sequential, ellipses: np.ndarray | torch.Tensor, count: int
) -> np.ndarray:
    """Transitions between `count` equally spaced angles, the first 0, for each network and ellipse.

    Args:
        networks: a stack, or one network that `from_sequential` takes.
        ellipses: (ellipse, 3, d), rows c, a, b.
        count: number of angles; entry i counts from 2 pi i / count to the next.

    Returns:
        int64 (network, ellipse, count); for one network without the first axis.

    Raises:
        TypeError, ValueError: as `ellipse_crossings`; also if `count` is not positive.
    """
    stack, alone = as_stack(networks)
    curves = _as_ellipses(ellipses, stack)
    if count < 1:
        raise ValueError(f"count: expected 1 angle or more, found {count}")
    counts = np.zeros((len(stack), len(curves), count), np.int64)
    for k in range(len(stack)):
        found = _crossings(stack, curves, k)
        bins = np.floor(found.position * (count / (2 * np.pi))).astype(np.int64) % count
        flat = np.bincount(found.path * count + bins, minlength=len(curves) * count)
        counts[k] = flat.reshape(len(curves), count)
    return counts[0] if alone else counts


def _as_ellipses(ellipses: object, stack: Stack) -> np.ndarray:
    """Checked ellipses in float64."""
    return as_array(ellipses, "ellipses", ("ellipse", 3, stack.inputs))


def _crossings(stack: Stack, ellipses: np.ndarray, network: int) -> Crossings:
    """See `ellipse_crossings`."""
    return Crossings.joined(list(_walk(network_layers(stack, network), ellipses)))


@dataclasses.dataclass
class _Arcs:
    """The arcs of some ellipses, in order, ellipse after ellipse.

    The end of arc r is the start of arc r + 1. Each ellipse ends with an arc of width 0, so that
    its end, the angle 2 pi, has a row too.

    Attributes:
        edge, middle: pre-activations (arc, unit), or outputs, at the arcs' starts and middles.
        left: angle at the start.
        half: half the width.
        path: the ellipse.
        last: index of each ellipse's last arc, the one of width 0.
    """

    edge: np.ndarray
    middle: np.ndarray
    left: np.ndarray
    half: np.ndarray
    path: np.ndarray
    last: np.ndarray

    @property
    def tangent(self) -> np.ndarray:
        """T = tan(delta / 2) of each arc."""
        return np.tan(self.half / 2)

    def angles(self, arc: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Angles at places v of arcs."""
        return self.left[arc] + self.half[arc] + 2 * np.arctan(v * self.tangent[arc])

    def through(self, layer: Layer) -> "_Arcs":
        """The arcs with the layer's pre-activations, from outputs of the one before."""
        both = layer.evaluate(np.concatenate([self.edge, self.middle]))
        edge, middle = both[: len(self.edge)], both[len(self.edge) :]
        edge[self.last] = edge[np.append(0, self.last[:-1] + 1)]  # the same points
        return dataclasses.replace(self, edge=edge, middle=middle)


def _walk(layers: list[Layer], ellipses: np.ndarray) -> Iterator[Crossings]:
    """Walks the ellipses some at a time: as many as gave about a chunk at the deepest layer."""
    rows = rows_at_once(NumpyArrays(), [layer.width for layer in layers])
    an_ellipse = 16 * ARCS
    start = 0
    while start < len(ellipses) and layers:
        stop = min(len(ellipses), start + max(1, rows // an_ellipse))
        arcs = _start(layers[0], ellipses[start:stop])
        # an upper bound of |x|, then of |z|
        bound = float(np.abs(ellipses[start:stop]).sum(1).max())
        for l, layer in enumerate(layers):
            if l:
                arcs = arcs.through(layer)
            bound = bound * layer.gain[0] + layer.gain[1]
            if not bound < LARGEST:  # seldom, and it may be far above what there is
                both = np.concatenate([arcs.edge, arcs.middle])
                bound = float(np.abs(both).max())
                check_range(float(both.min()), float(both.max()), f"hidden layer {l}")
            found = _arc_crossings(arcs, layer)
            arc = found.point
            yield Crossings(
                start + arcs.path[arc],
                np.full(len(arc), l),
                found.unit,
                found.threshold,
                arcs.angles(arc, 2 * found.t - 1),
            )
            if l < len(layers) - 1:
                arcs = _split(arcs, found, layer)
        an_ellipse = max(1, 2 * len(arcs.left) // (stop - start))
        start = stop


def _start(layer: Layer, ellipses: np.ndarray) -> _Arcs:
    """The first layer's arcs: they need only the products of c, a and b, no point of an ellipse."""
    n, size = len(ellipses), ARCS + 1
    left = np.tile(np.arange(size) * (2 * np.pi / ARCS), n)
    half = np.tile(np.append(np.full(ARCS, np.pi / ARCS), 0.0), n)
    path = np.repeat(np.arange(n), size)
    last = np.arange(1, n + 1) * size - 1
    c, a, b = np.moveaxis(ellipses @ layer.weight, 1, 0)[:, path]
    edge, middle = (
        c + np.cos(theta)[:, None] * a + np.sin(theta)[:, None] * b + layer.bias
        for theta in (left, left + half)
    )
    edge[last] = edge[last - ARCS]
    return _Arcs(edge, middle, left, half, path, last)


def _arc_crossings(arcs: _Arcs, layer: Layer) -> Found:
    """Crossings of the thresholds, `point` the arc and t = (v + 1) / 2."""
    T2 = (arcs.tangent**2)[:-1, None]
    start, end, mid = arcs.edge[:-1], arcs.edge[1:], arcs.middle[:-1]
    parts = []
    for index, tau in layer.thresholds:
        above = arcs.edge > tau
        before = above[:-1]
        once = before != above[1:]
        # the middle Bernstein coefficient, (zm - tau)(1 - T^2) - ((zs + ze) / 2 - zm)(1 + T^2)
        control = 2 * mid - (start + end) * ((1 + T2) / 2) - tau * (1 - T2)
        twice = ((control > 0) != before) & ~once
        once[arcs.last[:-1]] = twice[arcs.last[:-1]] = False
        for two, where in ((False, once), (True, twice)):
            arc, unit = np.nonzero(where)
            zs, zm, ze = (z[arc, unit] - tau for z in (start, mid, end))
            which, v = _roots(zs, zm, ze, T2[arc, 0], two=two)
            arc, unit = arc[which], unit[which]
            index_of = np.full(len(arc), index)
            parts.append(Found(arc, unit, (v + 1) / 2, index_of, np.zeros(len(arc))))
    return Found.joined(parts, NumpyArrays()).sorted(NumpyArrays())


def _roots(
    zs: np.ndarray, zm: np.ndarray, ze: np.ndarray, T2: np.ndarray, *, two: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Roots v in [-1, 1] of the quadratics through (zs, zm, ze): their indices, and v.

    With `two` False each has one root there, else two or none.
    """
    bend = (ze + zs) / 2 - zm
    qa, qb, qc = zm * T2 + bend * (1 + T2), (ze - zs) / 2 * (1 + T2), zm
    discriminant = qb * qb - 4 * qa * qc
    root = np.sqrt(np.maximum(discriminant, 0.0))
    q = -(qb + np.where(qb >= 0, root, -root)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        r1, r2 = q / qa, qc / q
    if not two:
        # of the two roots of the line the one in [-1, 1]; the other is outside, infinite or 0 / 0
        r1, r2 = (np.where(np.isfinite(r), r, np.inf) for r in (r1, r2))
        v = np.clip(np.where(np.abs(r2) < np.abs(r1), r2, r1), -1.0, 1.0)
        return np.arange(len(v)), v
    real = discriminant > TOUCH * (qb * qb + 4 * np.abs(qa * qc))
    kept = np.flatnonzero(real & (np.abs(qb) < 2 * np.abs(qa)))
    return np.tile(kept, 2), np.clip(np.concatenate([r1[kept], r2[kept]]), -1.0, 1.0)


def _split(arcs: _Arcs, found: Found, layer: Layer) -> _Arcs:
    """The arcs split at crossings, with the layer's outputs in place of its pre-activations."""
    n, k = len(arcs.left), len(found)
    arc, v = found.point, 2 * found.t - 1
    cuts = np.bincount(arc, minlength=n)
    old = np.arange(n) + np.cumsum(cuts) - cuts
    new = np.arange(k) + arc + 1
    parent = np.repeat(np.arange(n), cuts + 1)
    # angles of the new arcs' starts and ends, from their parent's middle
    begin = np.empty(n + k)
    begin[old], begin[new] = -arcs.half, 2 * np.arctan(v * arcs.tangent[arc])
    finish = np.append(begin[1:], 0.0)
    finish[old + cuts] = arcs.half
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.tan((begin + finish) / 4) / arcs.tangent[parent]
    at = np.where(np.isfinite(at), at, 0.0)  # of an arc of width 0
    crossing = _between(arcs, arc, v)
    crossing[np.arange(k), found.unit] = np.where(found.threshold == 0, layer.low, layer.high)
    edge = np.empty((n + k, layer.width))
    edge[old], edge[new] = arcs.edge, crossing
    middle = _between(arcs, parent, at)
    middle[old[cuts == 0]] = arcs.middle[cuts == 0]
    layer.apply(edge, edge)
    layer.apply(middle, middle)
    left = arcs.left[parent] + arcs.half[parent] + begin
    half = np.maximum((finish - begin) / 2, 0.0)
    return _Arcs(edge, middle, left, half, arcs.path[parent], old[arcs.last])


def _between(arcs: _Arcs, arc: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Pre-activations (row, unit) at places v of arcs, from those at the arcs' ends and middles."""
    T2 = arcs.tangent[arc] ** 2
    scale = 1 / (1 + T2 * v * v)
    ends = (1 + T2) * scale / 2
    z = arcs.middle[arc] * ((1 - v * v) * scale)[:, None]
    z += arcs.edge[arc] * (ends * (v * v - v))[:, None]
    z += arcs.edge[np.minimum(arc + 1, len(arcs.edge) - 1)] * (ends * (v * v + v))[:, None]
    return z
