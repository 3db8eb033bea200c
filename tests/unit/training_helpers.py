"""Small networks and data for the tests of training."""

import functools

import numpy as np
import torch

from sensigap.spec import SHIFT_MODES, NetworkSpec
from sensigap.training.augmentation import ImageTable, Variant
from sensigap.training.trainer import Data, StackTrainer

UNIT_NAMES = ("relu", "relu6", "hardtanh", "hardsigmoid")
TRAIN, TEST, CLASSES = 90, 40, 5


def make_spec(**fields):
    """A network on the data of `make_data`; fields replace the defaults."""
    values = {
        "dataset": "digits",
        "train_size": TRAIN,
        "depth": 2,
        "width": 16,
        "unit": "relu",
        "optimizer": "momentum",
        "learning_rate": 0.02,
        "batch_size": 32,
        "gain": 1.0,
        "steps": 60,
        "seed": 0,
    }
    return NetworkSpec(**values | fields)


@functools.cache
def make_data(dtype=torch.float32, shape=(1, 6, 5), table_bytes=2**20):
    """Images whose brightest fifth tells their class, with noise."""
    rng = np.random.default_rng(11)
    labels = np.arange(TRAIN + TEST) % CLASSES
    images = rng.integers(0, 120, (TRAIN + TEST, *shape))
    flat = images.reshape(len(images), -1)
    part = flat.shape[1] // CLASSES
    for k, label in enumerate(labels):
        flat[k, label * part : (label + 1) * part] += 80
    images = images.astype(np.uint8)
    variants = [Variant(1, flip, mode) for flip in (False, True) for mode in SHIFT_MODES]
    train = ImageTable(images[:TRAIN], variants, dtype=dtype, table_bytes=table_bytes)
    test = ImageTable(images[TRAIN:], dtype=dtype)
    return Data(train, labels[:TRAIN], test.plain, labels[TRAIN:], CLASSES)


def train(specs, data=None, **keywords):
    """The finished networks by id."""
    return run(StackTrainer(specs, data or make_data(), **keywords))


def run(trainer):
    """Lets a trainer finish: the finished networks by id."""
    finished = {}
    while trainer.active:
        finished |= {network.spec.id: network for network in trainer.advance()}
    return finished
