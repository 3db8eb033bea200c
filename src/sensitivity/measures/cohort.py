"""The measures of one cohort, from its weights and data set to a store."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import xarray as xr

from sensitivity import datasets, seeds, survey
from sensitivity.measures import paths
from sensitivity.measures.ellipses import ellipse_transitions
from sensitivity.measures.jacobian import jacobian_norm, measure_points
from sensitivity.measures.slices import slice_grid
from sensitivity.measures.transitions import transitions
from sensitivity.networks import Stack, initial
from sensitivity.progress import Progress
from sensitivity.spec import NetworkSpec
from sensitivity.weights import load as load_weights

logger = logging.getLogger(__name__)
Made = TypeVar("Made")

#: bytes of polygons held at once
POLYGON_BYTES = 2**25


def measure_jacobian(
    weights: Path, curves: Path, store: Path, output: Path, *, device: str = "cpu"
) -> None:
    """Jacobian norms, loss and margin of every fitted network at every test point.

    Args:
        weights: the cohort's weights (safetensors).
        curves: the cohort's training store, whose status says which networks are fitted.
        store: the data set's store.
        output: store to write, contract 'jacobian'.
        device: where the Jacobians are computed, as torch.device takes it.
    """
    images = datasets.load(store)
    x = torch.from_numpy(datasets.standardise(images.test_images))
    labels = torch.from_numpy(images.test_labels)
    members = _fitted(weights, curves)
    progress = Progress(max(len(members), 1), f"Jacobian norms of {len(members)} networks")
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in survey.CONTRACTS["jacobian"].variables
    }
    for _, stack in members:
        for name, values in _point_measures(stack.to(torch.device(device)), x, labels).items():
            columns[name].append(values.cpu().numpy())
        progress.advance()
    empty = {1: np.zeros(0, np.int64), 2: np.zeros((0, len(labels)))}
    variables = survey.CONTRACTS["jacobian"].variables
    dataset = xr.Dataset(
        {
            name: (variables[name].dims, np.stack(c) if c else empty[len(variables[name].dims)])
            for name, c in columns.items()
        },
        _sample_coordinates(members, np.arange(len(labels)), images.test_labels),
    )
    attributes = survey.provenance(measure="jacobian", device=device)
    survey.write(dataset, output, "jacobian", attributes=attributes)


def _point_measures(stack: Stack, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """What contract 'jacobian' holds, for a stack of one network: (point,) tensors, float64."""
    measured = measure_points(stack, x)
    z = measured.logits[0]
    labels = labels.to(z.device)
    true = z.gather(1, labels[:, None])[:, 0]
    others = z.scatter(1, labels[:, None], -torch.inf)
    f = torch.softmax(z, 1).sort(1, descending=True).values
    # sum_i f_i^2 ((1 - f_i)^2 + sum_{j != i} f_j^2); for the top class 1 - f would cancel
    squares = (f**2).sum(1, keepdim=True)
    brackets = (1 - f) ** 2 + squares - f**2
    brackets[:, 0] = f[:, 1:].sum(1) ** 2 + (f[:, 1:] ** 2).sum(1)
    log = measured.log10_norm["softmax"][0]
    return {
        "jacobian_norm": measured.norm("softmax")[0],
        "jacobian_norm_log10": log,
        "logit_jacobian_norm": measured.norm("logits")[0],
        "jacobian_zero": (log == -torch.inf).sum(),
        # log(1 + sum_{j != y} exp(z_j - z_y)), which keeps losses below 1e-16
        "loss": torch.logaddexp(torch.zeros_like(true), others.logsumexp(1) - true),
        "margin": true - others.amax(1),
        "confidence": f[:, 0],
        "target_probability": torch.log_softmax(z, 1).gather(1, labels[:, None])[:, 0].exp(),
        "squared_probabilities": (f**2 * brackets).sum(1),
    }


def measure_transitions(
    weights: Path, curves: Path, store: Path, output: Path, *, points: int, seed: int
) -> None:
    """Exact transitions of every fitted network at a seeded subset of the test points.

    Args:
        weights, curves, store: as for `measure_jacobian`.
        output: store to write, contract 'transitions'; `sample` holds the chosen points only.
        points: number of test points, all of them if there are fewer. The choice depends on `seed`
            and the data set alone, so that it is the same for all networks.
        seed: of the choice.
    """
    images = datasets.load(store)
    available = len(images.test_labels)
    draws = seeds.generator(seed, "transition points")
    samples = np.sort(draws.permutation(available)[: min(points, available)])
    chosen = images.test_images[samples]
    x = datasets.standardise(chosen).reshape(chosen.shape)
    members = _fitted(weights, curves)
    progress = Progress(max(len(members) * len(x), 1), f"transitions of {len(members)} networks")

    def chunks() -> Iterator[torch.Tensor]:
        size = max(1, POLYGON_BYTES // (8 * images.inputs * chosen.shape[3]))
        for start in range(0, len(x), size):
            yield torch.from_numpy(paths.translations(x[start : start + size].astype(np.float64)))
            progress.advance(min(size, len(x) - start))

    counts = [transitions(stack, chunks())[0].numpy() for _, stack in members]
    dataset = xr.Dataset(
        {"transitions": (("network", "sample"), _stacked(counts, (len(x),)).astype(np.float64))},
        _sample_coordinates(members, samples, images.test_labels[samples]),
    )
    attributes = survey.provenance(measure="transitions", points=points, seed=seed, device="cpu")
    survey.write(dataset, output, "transitions", attributes=attributes)


def measure_ellipses(
    weights: Path,
    curves: Path,
    store: Path,
    output: Path,
    *,
    networks: Sequence[str],
    count: int,
    angles: int,
    seed: int,
    device: str = "cpu",
) -> None:
    """Jacobian norms and transitions along ellipses, before and after training (STUDY, C1).

    Args:
        weights, curves, store: as for `measure_jacobian`.
        output: store to write, contract 'ellipses'.
        networks: ids; those of them that are in the cohort and fitted are measured.
        count: ellipses of each kind. Their anchors depend on `seed`, the number of the ellipse and
            the training subset alone, so that they are the same for networks of one subset.
        angles: angles on an ellipse, a multiple of 24: then anchors and midpoints are among them.
        seed: of the anchors and the random ellipses.
        device: where the Jacobians are computed, as torch.device takes it.
    """
    images = datasets.load(store)
    theta = np.arange(angles) * (2 * np.pi / angles)
    members = _fitted(weights, curves, networks)
    progress = Progress(max(2 * len(members), 1), f"ellipses of {len(members)} networks")
    ellipses_of = _once_a_subset(lambda spec: _ellipses(images, spec, count, seed))
    shape = (len(paths.ELLIPSE_KINDS), count, angles)
    norms, counts, lengths = [], [], []
    for spec, trained in members:
        made = ellipses_of(spec)
        points = paths.ellipse_points(made, theta).reshape(-1, images.inputs)
        lengths.append(paths.arc_lengths(made, angles).reshape(shape))
        for stack in (initial([spec], images.inputs, images.classes), trained):
            norm = jacobian_norm(stack.to(torch.device(device)), torch.from_numpy(points))
            norms.append(norm.cpu().numpy().reshape(shape))
            counts.append(ellipse_transitions(stack, made, angles).reshape(shape))
            progress.advance()
    both = (len(members), len(survey.ELLIPSE_STATES), *shape)
    dims = ("network", "state", "kind", "ellipse", "angle")
    dataset = xr.Dataset(
        {
            "jacobian_norm": (dims, _stacked(norms, shape).reshape(both)),
            "transitions": (dims, _stacked(counts, shape).astype(np.int64).reshape(both)),
            "arc_length": (("network", "kind", "ellipse", "angle"), _stacked(lengths, shape)),
        },
        _network_coordinate(members)
        | {
            "state": ("state", list(survey.ELLIPSE_STATES)),
            "kind": ("kind", list(paths.ELLIPSE_KINDS)),
            "angle": ("angle", theta),
        },
    )
    attributes = survey.provenance(measure="ellipses", count=count, seed=seed, device=device)
    survey.write(dataset, output, "ellipses", attributes=attributes)


def _ellipses(images: datasets.Images, spec: NetworkSpec, count: int, seed: int) -> np.ndarray:
    """Ellipses (kind x count, 3, d) through the spec's training subset."""
    subset = datasets.training_subset(images, spec.train_size, spec.subset_seed)
    made = []
    for index, kind in enumerate(paths.ELLIPSE_KINDS):
        for number in range(count):
            draws = seeds.generator(seed, "ellipses", index, number)
            if kind == "random":
                made.append(paths.random_ellipse(images.inputs, draws))
            else:
                anchors = subset[paths.anchors_of(kind, images.train_labels[subset], draws)]
                made.append(paths.ellipse(datasets.standardise(images.train_images[anchors])))
    return np.stack(made)


def measure_slices(
    weights: Path,
    curves: Path,
    store: Path,
    output: Path,
    *,
    networks: Sequence[str],
    resolution: int,
    margin: float,
    seed: int,
) -> None:
    """The last hidden layer's boundaries over a plane, before and after training (STUDY, 'Slices').

    The plane goes through three training points of different classes; its origin is the point
    closest to 0. Standardised inputs lie on a sphere of radius sqrt(d), so the window reaches
    (1 + margin) sqrt(d) from the origin each way and is the same for all networks of a data set.

    Args:
        weights, curves, store: as for `measure_jacobian`.
        output: store to write, contract 'slices'.
        networks: ids; those of them that are in the cohort and fitted are measured.
        resolution: grid points along each axis.
        margin: what the window shows beyond the sphere, as a share of its radius.
        seed: of the three points, which depend on it and the training subset alone.
    """
    images = datasets.load(store)
    reach = (1 + margin) * math.sqrt(images.inputs)
    axis = np.linspace(-reach, reach, resolution)
    members = _fitted(weights, curves, networks)
    progress = Progress(max(2 * len(members), 1), f"slices of {len(members)} networks")

    def plane(spec: NetworkSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        subset = datasets.training_subset(images, spec.train_size, spec.subset_seed)
        draws = seeds.generator(seed, "slices")
        # ASSUME: of different classes, as the paper's figure shows
        anchors = subset[paths.anchors_of("different classes", images.train_labels[subset], draws)]
        frame, coordinates = paths.plane(datasets.standardise(images.train_images[anchors]))
        return frame, coordinates, images.train_labels[anchors]

    plane_of = _once_a_subset(plane)
    boundaries, predicted = [], []
    for spec, trained in members:
        frame = plane_of(spec)[0]
        for stack in (initial([spec], images.inputs, images.classes), trained):
            grid = slice_grid(stack, 0, frame, axis, axis)
            boundaries.append(grid.boundary)
            predicted.append(grid.predicted)
            progress.advance()
    grid_shape = (resolution, resolution)
    both = (len(members), len(survey.ELLIPSE_STATES), *grid_shape)
    planes = [plane_of(spec) for spec, _ in members]
    coordinates = _stacked([p[1] for p in planes], (3, 2))
    dims = ("network", "state", "y", "x")
    dataset = xr.Dataset(
        {
            "boundary": (dims, _stacked(boundaries, grid_shape).astype(bool).reshape(both)),
            "predicted": (dims, _stacked(predicted, grid_shape).astype(np.int64).reshape(both)),
            "anchor_x": (("network", "anchor"), coordinates[:, :, 0]),
            "anchor_y": (("network", "anchor"), coordinates[:, :, 1]),
            "anchor_label": (
                ("network", "anchor"),
                _stacked([p[2] for p in planes], (3,)).astype(np.int64),
            ),
        },
        _network_coordinate(members)
        | {"state": ("state", list(survey.ELLIPSE_STATES)), "x": ("x", axis), "y": ("y", axis)},
    )
    attributes = survey.provenance(measure="slices", seed=seed, margin=margin, device="cpu")
    survey.write(dataset, output, "slices", attributes=attributes)


def _fitted(
    weights: Path, curves: Path, networks: Sequence[str] | None = None
) -> list[tuple[NetworkSpec, Stack]]:
    """The cohort's fitted networks, one a stack; with `networks`, only those of these ids."""
    status = survey.read(curves, "training")["status"].to_series()
    wanted = None if networks is None else set(networks)
    members = [
        (spec, stack.select(slice(k, k + 1)))
        for specs, stack in load_weights(weights)
        for k, spec in enumerate(specs)
        if status[spec.id] == "fitted" and (wanted is None or spec.id in wanted)
    ]
    logger.info("%s: %d of %d networks to measure", Path(weights).name, len(members), len(status))
    return members


def _once_a_subset(make: Callable[[NetworkSpec], Made]) -> Callable[[NetworkSpec], Made]:
    """`make`, called once a training subset."""
    made: dict[tuple[int, int], Made] = {}

    def cached(spec: NetworkSpec) -> Made:
        key = spec.train_size, spec.subset_seed
        if key not in made:
            made[key] = make(spec)
        return made[key]

    return cached


def _stacked(parts: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The parts along a new first axis; shape (0, *shape) if there are none."""
    return np.stack(parts) if parts else np.zeros((0, *shape))


def _network_coordinate(members: Sequence[tuple[NetworkSpec, Stack]]) -> dict[str, Any]:
    return {"network": ("network", np.array([spec.id for spec, _ in members], dtype=object))}


def _sample_coordinates(
    members: Sequence[tuple[NetworkSpec, Stack]], samples: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    coordinates = {"sample": ("sample", samples), "label": ("sample", labels)}
    return _network_coordinate(members) | coordinates
