"""Jacobian norms, loss and margin of a cohort's fitted networks at every test point."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr

from sensitivity import datasets, survey
from sensitivity.contracts import CONTRACTS
from sensitivity.measures.cohort.members import fitted, sample_coordinates
from sensitivity.measures.jacobian import measure_points
from sensitivity.networks import Stack
from sensitivity.progress import Progress


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
    members = fitted(weights, curves)
    progress = Progress(max(len(members), 1), f"Jacobian norms of {len(members)} networks")
    columns: dict[str, list[np.ndarray]] = {name: [] for name in CONTRACTS["jacobian"].variables}
    for _, stack in members:
        for name, values in _point_measures(stack.to(torch.device(device)), x, labels).items():
            columns[name].append(values.cpu().numpy())
        progress.advance()
    empty = {1: np.zeros(0, np.int64), 2: np.zeros((0, len(labels)))}
    variables = CONTRACTS["jacobian"].variables
    dataset = xr.Dataset(
        {
            name: (variables[name].dims, np.stack(c) if c else empty[len(variables[name].dims)])
            for name, c in columns.items()
        },
        sample_coordinates(members, np.arange(len(labels)), images.test_labels),
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
