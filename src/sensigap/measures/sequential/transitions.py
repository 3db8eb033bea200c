"""Exact transitions of one `nn.Sequential` along paths of inputs of its own shape."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from sensigap.isolation import isolated
from sensigap.measures.checks import as_vertices
from sensigap.measures.polygons.walk import Crossings, check_by
from sensigap.measures.sequential.depth_first import Walk
from sensigap.measures.sequential.stages import Network, read_network


def sequential_transitions(
    model: nn.Sequential,
    vertices: torch.Tensor | np.ndarray | Iterable[torch.Tensor | np.ndarray],
    *,
    closed: bool = True,
    by: str | None = None,
) -> torch.Tensor:
    """Exact number of transitions of a network on each polygon (STUDY, 'Measures').

    Path by path on the CPU, whatever the network's device.

    Args:
        model: affine layers and piecewise linear units (see `stages.SUPPORTED`).
        vertices: polygons (point, vertex, *shape of an input), or an iterable of such chunks.
        closed: whether an edge leads from the last vertex to the first.
        by: None for totals; 'layer' or 'unit' for counts of each layer of units or each unit.

    Returns:
        int64 tensor (point): crossings of all units' thresholds along each path. With `by`
        (point, layer), or (point, unit) with the units of the first layer first, flat.

    Raises:
        TypeError: a layer is not supported, or a unit is smooth; names its place.
        ValueError: the vertices have a shape that the network does not take, or are not finite;
            `by` is something else.
    """
    check_by(by)
    counts: list[np.ndarray] = []
    columns, device = 0, torch.device("cpu")
    chunks = [vertices] if isinstance(vertices, (torch.Tensor, np.ndarray)) else vertices
    for chunk in chunks:
        # the caller's iterable runs in the caller's modes
        with isolated():
            network, paths = _walkable(model, chunk)
            stages, device = network.stages, network.device
            columns = sum(s.width for s in stages[:-1]) if by == "unit" else len(stages) - 1
            for path in paths:
                walk = Walk(stages, closed=closed, record=False)
                walk.run(path)
                layers = (
                    walk.counts if by == "unit" else [c.sum(keepdims=True) for c in walk.counts]
                )
                counts.append(np.concatenate([np.zeros(0, np.int64), *layers]))
    found = np.array(counts, np.int64).reshape(len(counts), columns)
    return torch.from_numpy(found if by else found.sum(1)).to(device)


@isolated()
def sequential_crossings(
    model: nn.Sequential, vertices: torch.Tensor | np.ndarray, *, closed: bool = True
) -> Crossings:
    """Where on polygons (point, vertex, *shape of an input) a network has its transitions.

    `layer` counts the layers of units, `unit` is the flat index in the layer's outputs.

    Raises:
        TypeError, ValueError: as `sequential_transitions`.
    """
    found: list[Crossings] = []
    network, paths = _walkable(model, vertices)
    for k, path in enumerate(paths):
        walk = Walk(network.stages, closed=closed, record=True)
        walk.run(path)
        for part in walk.found:
            part.path[:] = k
        found += walk.found
    return Crossings.joined(found)


def _walkable(
    model: nn.Sequential, vertices: torch.Tensor | np.ndarray
) -> tuple[Network, torch.Tensor]:
    """A network, on the CPU, and float64 paths."""
    paths = as_vertices(vertices, None)
    network = read_network(model, tuple(paths.shape[2:]), "cpu")
    for stage in network.stages:
        if stage.unit is not None and stage.unit.thresholds is None:
            raise TypeError(
                f"{stage.unit.name} has no transitions, since it is smooth and the network has no "
                "linear regions: measure the Jacobian norm, or use nn.ReLU or another clamp"
            )
    return network, paths.double().cpu()
