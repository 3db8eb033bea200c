"""Exact transitions of one `nn.Sequential` along paths of inputs of its own shape."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from sensigap.measures.polygons.walk import Crossings, check_by, check_finite
from sensigap.measures.sequential.depth_first import Walk
from sensigap.measures.sequential.stages import Stage, device_of, read


def sequential_transitions(
    model: nn.Sequential,
    vertices: torch.Tensor | Iterable[torch.Tensor],
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
    columns = 0
    with torch.no_grad():
        for chunk in [vertices] if isinstance(vertices, torch.Tensor) else vertices:
            stages, paths = _walkable(model, chunk)
            columns = sum(s.width for s in stages[:-1]) if by == "unit" else len(stages) - 1
            for path in paths:
                walk = Walk(stages, closed=closed, record=False)
                walk.run(path)
                layers = (
                    walk.counts if by == "unit" else [c.sum(keepdims=True) for c in walk.counts]
                )
                counts.append(np.concatenate([np.zeros(0, np.int64), *layers]))
    found = np.array(counts, np.int64).reshape(len(counts), columns)
    return torch.from_numpy(found if by else found.sum(1)).to(device_of(model))


def sequential_crossings(
    model: nn.Sequential, vertices: torch.Tensor, *, closed: bool = True
) -> Crossings:
    """Where on polygons (point, vertex, *shape of an input) a network has its transitions.

    `layer` counts the layers of units, `unit` is the flat index in the layer's outputs.

    Raises:
        TypeError, ValueError: as `sequential_transitions`.
    """
    found: list[Crossings] = []
    with torch.no_grad():
        stages, paths = _walkable(model, vertices)
        for k, path in enumerate(paths):
            walk = Walk(stages, closed=closed, record=True)
            walk.run(path)
            for part in walk.found:
                part.path[:] = k
            found += walk.found
    return Crossings.joined(found)


def _walkable(model: nn.Sequential, vertices: torch.Tensor) -> tuple[list[Stage], torch.Tensor]:
    """The stages of a network and float64 paths, both on the CPU."""
    if vertices.ndim < 3 or vertices.shape[1] == 0:
        raise ValueError(
            "vertices: expected shape (point, vertex, *shape of an input), "
            f"found {tuple(vertices.shape)}"
        )
    stages = read(model, tuple(vertices.shape[2:]), "cpu")
    for stage in stages:
        if stage.unit is not None and stage.unit.thresholds is None:
            raise TypeError(
                f"{stage.unit.name} has no transitions, since it is smooth and the network has no "
                "linear regions: measure the Jacobian norm, or use nn.ReLU or another clamp"
            )
    check_finite(vertices)
    return stages, vertices.detach().double().cpu()
