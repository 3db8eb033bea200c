"""Exact transitions of a cohort's fitted networks at chosen test points."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from sensitivity import datasets, seeds, survey
from sensitivity.measures import paths
from sensitivity.measures.cohort.members import fitted, sample_coordinates, stacked
from sensitivity.measures.transitions import transitions
from sensitivity.progress import Progress

#: bytes of polygons held at once
POLYGON_BYTES = 2**25


def measure_transitions(
    weights: Path, curves: Path, store: Path, output: Path, *, points: int, seed: int
) -> None:
    """Exact transitions of every fitted network at a seeded subset of the test points.

    Args:
        weights, curves, store: as for `jacobian.measure_jacobian`.
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
    members = fitted(weights, curves)
    progress = Progress(max(len(members) * len(x), 1), f"transitions of {len(members)} networks")

    def chunks() -> Iterator[torch.Tensor]:
        size = max(1, POLYGON_BYTES // (8 * images.inputs * chosen.shape[3]))
        for start in range(0, len(x), size):
            yield torch.from_numpy(paths.translations(x[start : start + size].astype(np.float64)))
            progress.advance(min(size, len(x) - start))

    counts = [transitions(stack, chunks())[0].numpy() for _, stack in members]
    dataset = xr.Dataset(
        {"transitions": (("network", "sample"), stacked(counts, (len(x),)).astype(np.float64))},
        sample_coordinates(members, samples, images.test_labels[samples]),
    )
    attributes = survey.provenance(measure="transitions", points=points, seed=seed, device="cpu")
    survey.write(dataset, output, "transitions", attributes=attributes)
