"""Training labels."""

import dataclasses

import numpy as np

from sensigap.datasets.labels import training_labels
from training_helpers import make_spec

TRUE = np.arange(2000) % 7


def test_true_labels_are_kept():
    assert np.array_equal(training_labels(make_spec(), TRUE, 7), TRUE)


def test_random_labels_belong_to_the_seed_and_are_uniform():
    spec = make_spec(labels="random", seed=5)
    labels = training_labels(spec, TRUE, 7)
    assert labels.dtype == np.int64
    assert labels.shape == TRUE.shape
    assert np.array_equal(labels, training_labels(spec, TRUE, 7))
    other = training_labels(dataclasses.replace(spec, seed=6), TRUE, 7)
    assert not np.array_equal(labels, other)
    counts = np.bincount(labels, minlength=7)
    expected = len(TRUE) / 7
    # chi-squared with 6 degrees of freedom: above 22.5 in one case of a thousand
    assert ((counts - expected) ** 2 / expected).sum() < 22.5
    assert abs(np.mean(labels == TRUE) - 1 / 7) < 0.03
