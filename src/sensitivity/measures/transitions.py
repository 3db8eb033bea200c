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

from collections.abc import Iterable

import numpy as np
import torch

from sensitivity.measures.walk import Crossings, check_vertices, network_layers, walk
from sensitivity.networks import Stack


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
        counted = np.zeros((len(stack), len(paths)), np.int64)
        for k, layers in enumerate(networks):
            for where, found, _ in walk(layers, paths, closed=closed, record=False):
                counted[k, where] = found
        counts.append(counted)
    return torch.from_numpy(np.concatenate(counts, 1)).to(stack.device)


def crossings(
    stack: Stack, network: int, vertices: torch.Tensor, *, closed: bool = True
) -> Crossings:
    """Where on polygons (point, vertex, d) one network of a stack has its transitions.

    Raises:
        ValueError: the vertices have another shape, or are not finite.
    """
    paths = check_vertices(vertices, stack.inputs)
    layers = network_layers(stack, network)
    parts = walk(layers, paths, closed=closed, record=True)
    return Crossings.joined([part for _, _, found in parts for part in found])
