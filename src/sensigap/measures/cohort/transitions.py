"""Exact transitions of a cohort's fitted networks at chosen test points."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr

from sensigap import datasets, seeds, survey
from sensigap.measures import paths
from sensigap.measures.cohort.members import fitted, sample_coordinates
from sensigap.measures.transitions import transitions
from sensigap.progress import Progress

#: bytes of polygons held at once
POLYGON_BYTES = 2**25


def measure_transitions(
    weights: Path,
    curves: Path,
    store: Path,
    output: Path,
    *,
    points: int,
    seed: int,
    device: str = "cpu",
) -> None:
    """Exact transitions of every fitted network at a seeded subset of the test points.

    Args:
        weights, curves, store: as for `jacobian.measure_jacobian`.
        output: store to write, schema 'transitions'; `sample` holds the chosen points only.
        points: number of test points, all of them if there are fewer. The choice depends on `seed`
            and the data set alone, so that it is the same for all networks.
        seed: of the choice.
        device: where transitions are counted, as torch.device takes it.
    """
    images = datasets.load(store)
    available = len(images.test_labels)
    draws = seeds.generator(seed, "transition points")
    samples = np.sort(draws.permutation(available)[: min(points, available)])
    chosen = images.test_images[samples]
    x = datasets.standardise(chosen).reshape(chosen.shape)
    members = fitted(weights, curves)
    progress = Progress(max(len(members) * len(x), 1), f"transitions of {len(members)} networks")
    counts = np.zeros((len(members), len(x)))
    size = max(1, POLYGON_BYTES // (8 * images.inputs * chosen.shape[3]))
    for start in range(0, len(x), size):
        part = x[start : start + size].astype(np.float64)
        # made once for all networks
        polygons = torch.from_numpy(paths.translations(part)).to(device)
        for k, (_, stack) in enumerate(members):
            counted = transitions(stack.to(torch.device(device)), polygons)[0]
            counts[k, start : start + size] = counted.cpu().numpy()
            progress.advance(len(part))
    dataset = xr.Dataset(
        {"transitions": (("network", "sample"), counts)},
        sample_coordinates(members, samples, images.test_labels[samples]),
    )
    attributes = survey.provenance(measure="transitions", points=points, seed=seed, device=device)
    survey.write(dataset, output, "transitions", attributes=attributes)
