"""The networks of a cohort that are measured, and what the stores of all measures share."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sensigap import survey
from sensigap.networks import Stack
from sensigap.spec import NetworkSpec
from sensigap.weights import load as load_weights

logger = logging.getLogger(__name__)
Made = TypeVar("Made")


def fitted(
    weights: Path, curves: Path, networks: Sequence[str] | None = None
) -> list[tuple[NetworkSpec, Stack]]:
    """The cohort's fitted networks, one a stack; with `networks`, only those of these ids."""
    status = survey.load(curves, "training")["status"].to_series()
    wanted = None if networks is None else set(networks)
    members = [
        (spec, stack.select(slice(k, k + 1)))
        for specs, stack in load_weights(weights)
        for k, spec in enumerate(specs)
        if status[spec.id] == "fitted" and (wanted is None or spec.id in wanted)
    ]
    logger.info("%s: %d of %d networks to measure", Path(weights).name, len(members), len(status))
    return members


def once_a_subset(make: Callable[[NetworkSpec], Made]) -> Callable[[NetworkSpec], Made]:
    """`make`, called once a training subset."""
    made: dict[tuple[int, int], Made] = {}

    def cached(spec: NetworkSpec) -> Made:
        key = spec.train_size, spec.subset_seed
        if key not in made:
            made[key] = make(spec)
        return made[key]

    return cached


def stacked(parts: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The parts along a new first axis; shape (0, *shape) if there are none."""
    return np.stack(parts) if parts else np.zeros((0, *shape))


def network_coordinate(members: Sequence[tuple[NetworkSpec, Stack]]) -> dict[str, Any]:
    """The coordinate `network` of a store."""
    return {"network": ("network", np.array([spec.id for spec, _ in members], dtype=object))}


def sample_coordinates(
    members: Sequence[tuple[NetworkSpec, Stack]], samples: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """The coordinates of a store of test points: network, sample (index in the test set), label."""
    coordinates = {"sample": ("sample", samples), "label": ("sample", labels)}
    return network_coordinate(members) | coordinates
