"""Exact transitions along ellipses x(theta) = c + a cos theta + b sin theta (STUDY, 'Ellipses for C1').

Inside a linear region every pre-activation is C + P cos phi + Q sin phi, phi the angle from the
middle of an arc. An arc of half-width delta is kept as pre-activations at its start, middle and end,
ends shared with the next arc. With T = tan(delta / 2) and v = tan(phi / 2) / T, which runs over
[-1, 1], (1 + T^2 v^2) (z - tau) is a quadratic in v, so a unit crosses a threshold at most twice on
an arc: once where the ends are on different sides, twice or never where they are on one side, and
twice only if the middle Bernstein coefficient is on the other. Crossings split the arcs, layer by
layer. All in float64. A touch counts nothing: two crossings need a discriminant above 1e-12 of its
terms.
"""

from collections.abc import Iterator

import numpy as np

from sensitivity.measures.transitions import (
    CHUNK_ROWS,
    Crossings,
    Layer,
    network_layers,
    sort_order,
)
from sensitivity.networks import Stack

#: discriminants up to this share of their terms are a touch
TOUCH = 1e-12
#: arcs of an ellipse at the start; more only cost, fewer would make tan(delta / 2) large
ARCS = 4


def ellipse_crossings(stack: Stack, network: int, ellipses: np.ndarray) -> Crossings:
    """Where on ellipses (ellipse, 3, d), rows c, a, b, one network of a stack has its transitions.

    Returns:
        `Crossings` whose `path` is the ellipse and whose `position` is the angle in radians, in
        [0, 2 pi].

    Raises:
        ValueError: the ellipses have another shape, or are not finite.
    """
    if ellipses.ndim != 3 or ellipses.shape[1:] != (3, stack.inputs):
        raise ValueError(
            f"ellipses: expected shape (ellipse, 3, {stack.inputs}), found {ellipses.shape}"
        )
    if not np.isfinite(ellipses).all():
        raise ValueError("ellipses: expected finite values, found others")
    found = [np.stack(part) for part in _chunks(network_layers(stack, network), ellipses)]
    path, layer, unit, threshold, angle = np.concatenate([np.zeros((5, 0)), *found], 1)
    return Crossings(*(v.astype(np.int64) for v in (path, layer, unit, threshold)), angle)


def ellipse_transitions(stack: Stack, ellipses: np.ndarray, count: int) -> np.ndarray:
    """Transitions between `count` equally spaced angles, the first 0, for each network and ellipse.

    Args:
        stack: the networks.
        ellipses: (ellipse, 3, d), rows c, a, b.
        count: number of angles; entry i counts from 2 pi i / count to the next.

    Returns:
        int64 (network, ellipse, count).

    Raises:
        ValueError: the ellipses have another shape, or are not finite.
    """
    counts = np.zeros((len(stack), len(ellipses), count), np.int64)
    for k in range(len(stack)):
        found = ellipse_crossings(stack, k, ellipses)
        bins = np.floor(found.position * (count / (2 * np.pi))).astype(np.int64) % count
        flat = np.bincount(found.path * count + bins, minlength=len(ellipses) * count)
        counts[k] = flat.reshape(len(ellipses), count)
    return counts


def _chunks(layers: list[Layer], ellipses: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Walks the ellipses some at a time: as many as gave about CHUNK_ROWS rows at the deepest layer."""
    rows = 8 * ARCS
    start = 0
    while start < len(ellipses) and layers:
        stop = min(len(ellipses), start + max(1, CHUNK_ROWS // rows))
        events, deepest = _walk(layers, ellipses[start:stop])
        for path, *rest in events:
            yield (path + start, *rest)
        rows = max(1, deepest // (stop - start))
        start = stop


def _walk(layers: list[Layer], ellipses: np.ndarray) -> tuple[list[tuple[np.ndarray, ...]], int]:
    """Events (path, layer, unit, threshold, angle) by layer, and rows at the deepest layer.

    Row r of `edge` is the start of arc r and the end of arc r - 1, row r of `middle` the middle of
    arc r. Each ellipse ends with an arc of width 0, so that its end, the angle 2 pi, has a row too.
    """
    n_paths = len(ellipses)
    size = ARCS + 1
    left = np.tile(np.arange(size) * (2 * np.pi / ARCS), n_paths)  # angle at the start of an arc
    half = np.tile(np.append(np.full(ARCS, np.pi / ARCS), 0.0), n_paths)  # half its width
    last = np.arange(1, n_paths + 1) * size - 1
    path = np.repeat(np.arange(n_paths), size)
    # the first layer needs no point of the ellipses, only the products of c, a and b
    c, a, b = np.moveaxis(ellipses.astype(np.float64) @ layers[0].weight, 1, 0)[:, path]
    edge, middle = (
        c + np.cos(theta)[:, None] * a + np.sin(theta)[:, None] * b + layers[0].bias
        for theta in (left, left + half)
    )
    edge[last] = edge[last - ARCS]
    events = []
    for l, layer in enumerate(layers):
        if l:
            n = len(left)
            both = np.matmul(np.concatenate([edge, middle]), layer.weight)
            both += layer.bias
            edge, middle = both[:n], both[n:]
            edge[last] = edge[np.append(0, last[:-1] + 1)]
        tangent = np.tan(half / 2)
        arc, unit, v, threshold = _arc_crossings(edge, middle, tangent, last, layer)
        angle = left[arc] + half[arc] + 2 * np.arctan(v * tangent[arc])
        events.append((path[arc], np.full(len(arc), l), unit, threshold, angle))
        if l == len(layers) - 1:
            break
        edge, middle, left, half, old = _split(
            edge, middle, left, half, tangent, arc, unit, v, threshold, layer
        )
        path = np.repeat(path, np.diff(np.append(old, len(left))))
        last = old[last]
    return events, 2 * len(left)


def _arc_crossings(
    edge: np.ndarray, middle: np.ndarray, tangent: np.ndarray, last: np.ndarray, layer: Layer
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Crossings (arc, unit, v, threshold), sorted by arc, then v."""
    T2 = (tangent**2)[:-1, None]
    start, end, mid = edge[:-1], edge[1:], middle[:-1]
    parts = []
    for index, tau in layer.thresholds:
        above = edge > tau
        before = above[:-1]
        once = before != above[1:]
        # the middle Bernstein coefficient, (zm - tau)(1 - T^2) - ((zs + ze) / 2 - zm)(1 + T^2)
        control = 2 * mid - (start + end) * ((1 + T2) / 2) - tau * (1 - T2)
        twice = ((control > 0) != before) & ~once
        once[last[:-1]] = twice[last[:-1]] = False
        for several, where in ((False, once), (True, twice)):
            arc, unit = np.nonzero(where)
            zs, zm, ze = (z[arc, unit] - tau for z in (start, mid, end))
            keep, v = _roots(zs, zm, ze, tangent[arc] ** 2, several)
            arc, unit = arc[keep], unit[keep]
            parts.append((arc, unit, v, np.full(len(arc), index)))
    if not parts:
        return (*np.zeros((2, 0), np.int64), np.zeros(0), np.zeros(0, np.int64))
    arc, unit, v, threshold = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = sort_order(arc, (v + 1) / 2)
    return arc[order], unit[order], v[order], threshold[order]


def _roots(
    zs: np.ndarray, zm: np.ndarray, ze: np.ndarray, T2: np.ndarray, several: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Roots v in [-1, 1] of the quadratic through (zs, zm, ze): indices of the arcs, and v.

    With `several` False there is one root an arc, else two or none.
    """
    bend = (ze + zs) / 2 - zm
    qa, qb, qc = zm * T2 + bend * (1 + T2), (ze - zs) / 2 * (1 + T2), zm
    discriminant = qb * qb - 4 * qa * qc
    root = np.sqrt(np.maximum(discriminant, 0.0))
    q = -(qb + np.where(qb >= 0, root, -root)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        r1, r2 = q / qa, qc / q
    if not several:
        # of the two roots of the line the one in [-1, 1]; the other is outside, infinite or 0 / 0
        r1, r2 = (np.where(np.isfinite(r), r, np.inf) for r in (r1, r2))
        v = np.clip(np.where(np.abs(r2) < np.abs(r1), r2, r1), -1.0, 1.0)
        return np.arange(len(v)), v
    real = discriminant > TOUCH * (qb * qb + 4 * np.abs(qa * qc))
    kept = np.flatnonzero(real & (np.abs(qb) < 2 * np.abs(qa)))
    return np.tile(kept, 2), np.clip(np.concatenate([r1[kept], r2[kept]]), -1.0, 1.0)


def _split(
    edge: np.ndarray,
    middle: np.ndarray,
    left: np.ndarray,
    half: np.ndarray,
    tangent: np.ndarray,
    arc: np.ndarray,
    unit: np.ndarray,
    v: np.ndarray,
    threshold: np.ndarray,
    layer: Layer,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Arcs split at sorted crossings: outputs at edges and middles, left, half, old starts' indices."""
    n, k = len(left), len(arc)
    cuts = np.bincount(arc, minlength=n)
    old = np.arange(n) + np.cumsum(cuts) - cuts
    new = np.arange(k) + arc + 1
    parent = np.repeat(np.arange(n), cuts + 1)
    # angles of the new arcs' starts and ends, from their parent's middle
    begin = np.empty(n + k)
    begin[old], begin[new] = -half, 2 * np.arctan(v * tangent[arc])
    finish = np.append(begin[1:], 0.0)
    finish[old + cuts] = half
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.tan((begin + finish) / 4) / tangent[parent]
    at = np.where(np.isfinite(at), at, 0.0)  # of an arc of width 0
    new_edge = np.empty((n + k, edge.shape[1]))
    crossing = _between(edge, middle, tangent, arc, v)
    crossing[np.arange(k), unit] = np.where(threshold == 0, layer.low, layer.high)
    new_edge[old], new_edge[new] = edge, crossing
    whole = old[cuts == 0]
    new_middle = _between(edge, middle, tangent, parent, at)
    new_middle[whole] = middle[cuts == 0]
    np.clip(new_edge, layer.low, layer.high, out=new_edge)
    np.clip(new_middle, layer.low, layer.high, out=new_middle)
    new_half = np.maximum((finish - begin) / 2, 0.0)
    return new_edge, new_middle, left[parent] + half[parent] + begin, new_half, old


def _between(
    edge: np.ndarray, middle: np.ndarray, tangent: np.ndarray, arc: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """Pre-activations (row, unit) at places v of arcs, from those at the arcs' ends and middles."""
    T2 = tangent[arc] ** 2
    scale = 1 / (1 + T2 * v * v)
    ends = (1 + T2) * scale / 2
    z = middle[arc] * ((1 - v * v) * scale)[:, None]
    z += edge[arc] * (ends * (v * v - v))[:, None]
    z += edge[np.minimum(arc + 1, len(edge) - 1)] * (ends * (v * v + v))[:, None]
    return z
