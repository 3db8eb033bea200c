"""Exact transitions of a cohort's fitted networks at chosen test points."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from sensigap import seeds
from sensigap.datasets.images import Images, standardise
from sensigap.measures import paths
from sensigap.measures.cohort.members import Advance, Member, sample_coordinates, silent
from sensigap.measures.transitions import transitions

#: bytes of polygons held at once
POLYGON_BYTES = 2**25


def measure(
    members: Sequence[Member],
    images: Images,
    *,
    points: int,
    seed: int,
    device: str = "cpu",
    advance: Advance = silent,
) -> xr.Dataset:
    """Exact transitions of every fitted network at a seeded subset of the test points.

    Args:
        members: the networks, one a stack.
        images: their data set.
        points: number of test points, all of them if there are fewer. The choice depends on `seed`
            and the data set alone, so that it is the same for all networks.
        seed: of the choice.
        device: where transitions are counted, as torch.device takes it.
        advance: is told the share of the work that has been done since the last call.

    Returns:
        Schema 'transitions'; `sample` holds the chosen points only.
    """
    available = len(images.test_labels)
    draws = seeds.generator(seed, "transition points")
    samples = np.sort(draws.permutation(available)[: min(points, available)])
    chosen = images.test_images[samples]
    x = standardise(chosen).reshape(chosen.shape)
    part_done = 1 / max(len(members) * len(x), 1)
    counts = np.zeros((len(members), len(x)))
    size = max(1, POLYGON_BYTES // (8 * images.inputs * chosen.shape[3]))
    for start in range(0, len(x), size):
        part = x[start : start + size].astype(np.float64)
        # made once for all networks
        polygons = torch.from_numpy(paths.translations(part)).to(device)
        for k, (_, stack) in enumerate(members):
            counted = transitions(stack.to(torch.device(device)), polygons)[0]
            counts[k, start : start + size] = counted.cpu().numpy()
            advance(len(part) * part_done)
    return xr.Dataset(
        {"transitions": (("network", "sample"), counts)},
        sample_coordinates(members, samples, images.test_labels[samples]),
    )
