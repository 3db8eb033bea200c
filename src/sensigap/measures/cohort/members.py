"""What the measures of a cohort's networks share."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from sensigap import seeds
from sensigap.datasets.images import Images
from sensigap.networks import Stack
from sensigap.spec import NetworkSpec

Made = TypeVar("Made")
#: a network as a stack of one
Member = tuple[NetworkSpec, Stack]
#: is told the share of the work that has been done since the last call
Advance = Callable[[float], None]


def silent(share: float) -> None:
    """Tells nobody."""


def once_a_subset(make: Callable[[NetworkSpec], Made]) -> Callable[[NetworkSpec], Made]:
    """`make`, called once a training subset."""
    made: dict[tuple[int, int], Made] = {}

    def cached(spec: NetworkSpec) -> Made:
        key = spec.train_size, spec.subset_seed
        if key not in made:
            made[key] = make(spec)
        return made[key]

    return cached


def test_points(images: Images, points: int, seed: int) -> np.ndarray:
    """The first so many test images of a seeded order, as indices (point,); all if they are fewer.

    With one seed, measures at fewer points have theirs among those of the others.
    """
    return seeds.generator(seed, "transition points").permutation(images.test_size)[:points]


def stacked(parts: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The parts along a new first axis; shape (0, *shape) if there are none."""
    return np.stack(parts) if parts else np.zeros((0, *shape))


def network_coordinate(members: Sequence[Member]) -> dict[str, Any]:
    """The coordinate `network` of a store."""
    return {"network": ("network", np.array([spec.id for spec, _ in members], dtype=object))}


def sample_coordinates(
    members: Sequence[Member], samples: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """The coordinates of a store of test points: network, sample (index in the test set), label."""
    coordinates = {"sample": ("sample", samples), "label": ("sample", labels)}
    return network_coordinate(members) | coordinates
