"""Exact transitions: how many boundaries of linear regions a path in input space crosses.

All decisions are in float64, whatever the weights' dtype: in float32 pairs of close crossings are
lost and rounding noise is counted. Decisions for degenerate cases, with z the pre-activation and
tau a threshold:

* |z - tau| <= 1e-12 max |z| (over the path's points and the layer's units) is rounding, and counts
  as z = tau.
* A point where z = tau has the side of the last point before it that has one. So a touch counts
  nothing, a passage through a vertex or along an edge counts once, a path that runs along a
  boundary and returns to its side counts nothing; nor does an edge of length 0 or a dead unit.
* Equal units count each. Crossings at one place stand in any order; the sort is by (edge, place on
  it), two keys, so that the end of an edge is not taken for the start of the next.
* A unit with two thresholds that passes both in one piece counts twice.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import nn

from sensigap.isolation import isolated
from sensigap.measures.checks import as_vertices, check_index, check_networks
from sensigap.measures.polygons.arrays import arrays_on
from sensigap.measures.polygons.layers import network_layers
from sensigap.measures.polygons.walk import Crossings, check_by, walk
from sensigap.measures.sequential.transitions import sequential_crossings, sequential_transitions
from sensigap.networks import Stack

#: polygons (point, vertex, ...)
Vertices = torch.Tensor | np.ndarray


def transitions(
    networks: Stack | nn.Sequential,
    vertices: Vertices | Iterable[Vertices],
    *,
    closed: bool = True,
    by: str | None = None,
) -> torch.Tensor:
    """Exact number of transitions of each network on each polygon (STUDY, 'Measures').

    Those of a stack are counted on its device, those of one network by itself on the CPU.

    Args:
        networks: a stack, or one network of affine layers and piecewise linear units (see
            `sequential.stages`).
        vertices: polygons (point, vertex, d), for one network (point, vertex, *shape of an input);
            or an iterable of such chunks, which are then held in memory one at a time.
        closed: whether an edge leads from the last vertex to the first.
        by: None for totals; 'layer' or 'unit' for counts of each hidden layer or unit.

    Returns:
        int64 tensor (network, point): the sum over hidden units of |change of code| along the path,
        where the code of a unit is the number of its thresholds that lie below. With `by`
        (network, point, layer), or (network, point, unit) with the units of the first layer first,
        then those of the second: `.split(stack.widths, 2)` parts the layers. For one network
        without the first axis.

    Raises:
        TypeError: `networks` is something else, a layer is not supported, a unit is smooth, or a
            layer computes something else than its class says (hooks, a method of its own, a mode);
            names its place.
        ValueError: the vertices have another shape; they, weights or pre-activations are not
            finite; `by` is something else.
    """
    check_by(by)
    with isolated():
        check_networks(networks)
    chunks = chunks_of(vertices)
    if isinstance(networks, nn.Sequential):
        return sequential_transitions(networks, chunks, closed=closed, by=by)
    columns = sum(networks.widths) if by == "unit" else networks.depth
    counts = [np.zeros((len(networks), 0, columns), np.int64)]
    # the caller's iterable runs in the caller's modes
    counts += [_count(networks, chunk, closed, by) for chunk in chunks]
    every = torch.from_numpy(np.concatenate(counts, 1)).to(networks.device)
    return every if by else every.sum(2)


@isolated()
def _count(stack: Stack, chunk: Vertices, closed: bool, by: str | None) -> np.ndarray:
    """Counts (network, point, layer or unit) of one chunk."""
    arrays = arrays_on(stack.device)
    paths = arrays.array(as_vertices(chunk, stack.inputs))
    columns = sum(stack.widths) if by == "unit" else stack.depth
    counted = np.zeros((len(stack), len(paths), columns), np.int64)
    for k in range(len(stack)):
        layers = network_layers(stack, k, arrays)
        for where, found, _ in walk(layers, paths, closed=closed, by=by or "layer", arrays=arrays):
            counted[k, where] = found
    return counted


@isolated()
def crossings(
    networks: Stack | nn.Sequential,
    vertices: Vertices,
    *,
    network: int = 0,
    closed: bool = True,
) -> Crossings:
    """Where on polygons one network has its transitions.

    Args:
        networks, vertices, closed: as for `transitions`.
        network: which one of a stack.

    Raises:
        TypeError, ValueError: as `transitions`.
    """
    check_networks(networks)
    if isinstance(networks, nn.Sequential):
        check_index(network, 1)
        return sequential_crossings(networks, vertices, closed=closed)
    check_index(network, len(networks))
    return _crossings(networks, as_vertices(vertices, networks.inputs), network, closed)


def _crossings(stack: Stack, vertices: torch.Tensor, network: int, closed: bool) -> Crossings:
    """See `crossings`."""
    arrays = arrays_on(stack.device)
    layers, paths = network_layers(stack, network, arrays), arrays.array(vertices)
    chunks = walk(layers, paths, closed=closed, record=True, arrays=arrays)
    return Crossings.joined([part for _, _, parts in chunks for part in parts])


@isolated()
def transitions_along(
    networks: Stack | nn.Sequential, vertices: Vertices, bins: int = 1, *, closed: bool = True
) -> torch.Tensor:
    """Transitions on each of `bins` equal parts of each edge, to draw their density along a path.

    Args:
        networks, vertices: as for `transitions`, but no chunks.
        bins: parts of an edge.
        closed: whether an edge leads from the last vertex to the first.

    Returns:
        int64 tensor (network, point, edge x bins), parts in order along the path; for one network
        without the first axis. By the parts' lengths, `part_lengths`, it is transitions per unit
        of distance in input space.

    Raises:
        TypeError, ValueError: as `transitions`; also if `bins` is not positive.
    """
    check_networks(networks)
    stack = None if isinstance(networks, nn.Sequential) else networks
    paths = _divisible(vertices, stack, bins)
    points = len(paths)
    parts = (paths.shape[1] if closed else paths.shape[1] - 1) * bins
    counts = np.zeros((1 if stack is None else len(stack), points * parts), np.int64)
    for k in range(len(counts)):
        if isinstance(networks, nn.Sequential):
            found = sequential_crossings(networks, paths, closed=closed)
        else:
            found = _crossings(networks, paths, k, closed)
        # a crossing at the last vertex is at the end of the last part
        part = np.minimum((found.position * bins).astype(np.int64), parts - 1)
        counts[k] = np.bincount(found.path * parts + part, minlength=points * parts)
    every = torch.from_numpy(counts.reshape(len(counts), points, parts))
    return every[0] if isinstance(networks, nn.Sequential) else every.to(networks.device)


@isolated()
def part_lengths(vertices: Vertices, bins: int = 1, *, closed: bool = True) -> torch.Tensor:
    """Euclidean lengths (point, edge x bins), float64, of the parts of `transitions_along`.

    Raises:
        TypeError, ValueError: as `transitions_along`.
    """
    ends = _divisible(vertices, None, bins).double().flatten(2)
    after = ends.roll(-1, 1) if closed else ends[:, 1:]
    lengths = (after - ends[:, : after.shape[1]]).norm(dim=2) / bins
    return lengths.repeat_interleave(bins, 1)


def chunks_of(vertices: object) -> Iterable[Vertices]:
    """The chunks of polygons: one, or those that an iterable gives.

    Raises:
        TypeError: they are something else.
    """
    if isinstance(vertices, (torch.Tensor, np.ndarray)):
        return [vertices]
    if isinstance(vertices, (str, bytes, Mapping)) or not isinstance(vertices, Iterable):
        raise TypeError(
            "vertices: expected a tensor or array (point, vertex, ...) or an iterable of such "
            f"chunks, found {type(vertices).__name__}"
        )
    return vertices


def _divisible(vertices: Vertices, stack: Stack | None, bins: int) -> torch.Tensor:
    """Paths that can be divided into parts."""
    if not isinstance(bins, int) or bins < 1:
        raise ValueError(f"bins: expected 1 part of an edge or more, found {bins}")
    return as_vertices(vertices, None if stack is None else stack.inputs)
