"""Exact transitions of a cohort's fitted networks, at as many test points as a precision asks for.

DEVIATION: STATISTICS, section 4, asks for 50 points at least, and compares a pair on the larger of
its sides' numbers of points; then one network's number would hang on another's, which is measured
in another job. Here every network has `least` points, 150 by default, and a pair is compared on
those that both sides have: in the trial of that section a pair's ratio on 150 points has a smaller
error (.0011 to .0023) than on the larger number (.0015 to .0030). Where a study asks for fewer, as
paper.yaml and four.yaml do, a pair's error is larger by what it leaves out, and stands in its row.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import xarray as xr

from sensigap.datasets.images import Images, standardise
from sensigap.measures import paths
from sensigap.measures.cohort.members import (
    Advance,
    Member,
    sample_coordinates,
    silent,
    test_points,
)
from sensigap.measures.transitions import transitions
from sensigap.networks import Stack

#: is given a network's id and its values so far, which a later call need not compute again
Keep = Callable[[str, np.ndarray], None]
#: points after which precision is looked at again
BATCH = 25
#: bytes of polygons held at once
POLYGON_BYTES = 2**25
#: operations after which counts are handed on, about a second of a core
PART_OPERATIONS = 1e11


def unkept(network: str, values: np.ndarray) -> None:
    """Keeps nothing."""


def measure(
    members: Sequence[Member],
    images: Images,
    *,
    points: int,
    precision: float,
    least: int,
    seed: int,
    device: str = "cpu",
    advance: Advance = silent,
    known: Mapping[str, np.ndarray] | None = None,
    keep: Keep = unkept,
) -> xr.Dataset:
    """Exact transitions of every fitted network, until their mean is as exact as asked.

    Test points are taken in one order, which hangs on `seed` and the data set alone, so that it is
    the same for all networks. A network has enough of them when `relative_error` is at most
    `precision`; that is looked at every `BATCH` points from `least` on. How many it gets depends on
    the network alone, not on the others, nor on `known`. No correction is made for the test set
    being finite.

    Args:
        members: the networks, one a stack.
        images: their data set.
        points: test points that a network gets at most, all of them if there are fewer.
        precision: standard error of the mean over points, relative to the mean.
        least: test points that a network gets at least, if `points` are not fewer.
        seed: of the order.
        device: where transitions are counted, as torch.device takes it.
        advance: is told the share of the work that has been done since the last call.
        known: network id -> what `keep` was given of it earlier, with this seed and data set and
            any other settings: these points are not counted again.
        keep: is given a network's id and its transitions at the first points (point,), int64, as
            soon as they are counted.

    Returns:
        Schema 'transitions'; `sample` holds the points that a network may get, in the order of the
        test set, and `transitions` NaN at those that it did not.

    Raises:
        ValueError: weights or pre-activations are not finite.
    """
    order = test_points(images, points, seed)
    chosen = images.test_images[order]
    x = standardise(chosen).reshape(chosen.shape)
    size = max(1, POLYGON_BYTES // (8 * images.inputs * chosen.shape[3]) // BATCH) * BATCH
    found = [(known or {}).get(spec.id, ()) for spec, _ in members]
    counts = [np.asarray(values, np.int64)[: len(order)] for values in found]
    shares = np.zeros(len(members))

    def tell(k: int, share: float) -> None:
        """Share of a network's work that is done; one that is guessed lower than before waits."""
        advance(max(share - shares[k], 0.0) / len(members))
        shares[k] = max(share, shares[k])

    running = list(range(len(members)))
    start = 0
    while running and start < len(order):
        stop = min(start + _batch(least - start, size), len(order))
        uncounted = [k for k in running if len(counts[k]) < stop]
        if uncounted:
            # made once for all networks
            part = paths.translations(x[start:stop].astype(np.float64))
            polygons = torch.from_numpy(part).to(device)
        for k in uncounted:
            spec, stack = members[k]
            on_device = stack.to(torch.device(device))
            at_once = _paths_at_once(stack, chosen.shape[3])
            while len(counts[k]) < stop:
                first = len(counts[k]) - start
                more = transitions(on_device, polygons[first : first + at_once])[0]
                counts[k] = np.concatenate([counts[k], more.cpu().numpy()])
                keep(spec.id, counts[k])
                tell(k, len(counts[k]) / _expected(counts[k], len(order), precision, least))
        enough = {
            k
            for k in running
            if stop == len(order)
            or (stop >= least and relative_error(counts[k][:stop]) <= precision)
        }
        for k in enough:
            counts[k] = counts[k][:stop]
            tell(k, 1.0)
        running = [k for k in running if k not in enough]
        start = stop
    return _dataset(members, images, order, counts)


def relative_error(counts: np.ndarray) -> float:
    """Standard error of the mean of counts (point,), relative to the mean.

    NaN where the mean is 0, or for fewer than two points: no precision is reached then.
    """
    mean = counts.mean() if len(counts) > 1 else 0.0
    if mean == 0:
        return math.nan
    return float(counts.std(ddof=1) / math.sqrt(len(counts)) / mean)


def _batch(missing: int, size: int) -> int:
    """Points to be taken next: a batch, or as many whole ones as are missing up to the least."""
    return min(max(1, math.ceil(missing / BATCH)) * BATCH, size)


def _paths_at_once(stack: Stack, translated: int) -> int:
    """Paths of so many translations, of one network, that take about `PART_OPERATIONS`."""
    # measured: a path of w translations meets a threshold about w / 2 times
    crossings = sum(stack.widths) * translated / 2
    weights = sum(one * next_one for one, next_one in itertools.pairwise(stack.widths))
    return max(1, int(PART_OPERATIONS / max(2 * crossings * weights, 1)))


def _expected(counts: np.ndarray, most: int, precision: float, least: int) -> float:
    """Points that a network will get, as far as can be told from its first ones."""
    error = relative_error(counts)
    if math.isnan(error):
        return most
    return min(most, max(len(counts), least, len(counts) * (error / precision) ** 2))


def _dataset(
    members: Sequence[Member], images: Images, order: np.ndarray, counts: Sequence[np.ndarray]
) -> xr.Dataset:
    """The store, from each network's counts at the first points of the order."""
    values = np.full((len(members), len(order)), np.nan)
    for row, found in zip(values, counts, strict=True):
        row[: len(found)] = found
    places = np.argsort(order)
    samples = order[places]
    errors = np.array([relative_error(found) for found in counts], float)
    return xr.Dataset(
        {
            "transitions": (("network", "sample"), values[:, places]),
            "transitions_points": ("network", np.array([len(c) for c in counts], np.int64)),
            "transitions_error": ("network", errors),
        },
        sample_coordinates(members, samples, images.test_labels[samples]),
    )
