"""The labels a network is trained on: the true ones, or random ones of its own."""

import numpy as np

from sensigap import seeds
from sensigap.spec import NetworkSpec


def training_labels(spec: NetworkSpec, true_labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels (train_size,), int64, of a network's training images.

    Random labels are uniform over the classes, fixed for a network by its seed (STUDY, 'Data').

    Args:
        spec: the network; `labels` and `seed` decide.
        true_labels: true classes (train_size,) of its training images.
        classes: number of classes C.
    """
    if spec.labels == "random":
        return seeds.generator(spec.seed, "random labels").integers(
            classes, size=len(true_labels), dtype=np.int64
        )
    return np.asarray(true_labels, dtype=np.int64)
