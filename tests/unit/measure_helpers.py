"""Networks, paths and slow references for the tests of the measures."""

import functools

import numpy as np
import torch
from sklearn.datasets import load_digits

from sensigap.measures import paths
from sensigap.networks import Stack, initial
from sensigap.spec import NetworkSpec


def spec(**changes):
    fields = {
        "dataset": "digits",
        "train_size": 500,
        "depth": 3,
        "width": 32,
        "unit": "relu",
        "optimizer": "adam",
        "learning_rate": 0.01,
        "batch_size": 50,
        "gain": 1.4,
        "steps": 100,
        "seed": 0,
    }
    return NetworkSpec(**(fields | changes))


def untrained(inputs=64, classes=10, *, units=("relu",), bias=0.1, precision="float64", **changes):
    """A stack of one network a unit, with random biases, so that nothing is symmetric."""
    specs = [
        spec(unit=unit, seed=k, precision=precision, **changes) for k, unit in enumerate(units)
    ]
    stack = initial(specs, inputs, classes)
    rng = np.random.default_rng(1)
    for b in stack.biases:
        b.add_(torch.from_numpy(rng.normal(scale=bias, size=tuple(b.shape))).to(b.dtype))
    return stack


@functools.cache
def digits():
    """Standardised digits (n, 64) float32 and labels (n,)."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels - pixels.mean(1, keepdims=True)
    pixels /= pixels.std(1, keepdims=True)
    return pixels.astype(np.float32), labels


@functools.cache
def fitted(unit="relu", depth=3, width=32, gain=1.4):
    """A float32 stack of one network that fits 200 digits, by a few hundred steps of Adam."""
    stack = initial([spec(unit=unit, depth=depth, width=width, gain=gain)], 64, 10)
    x, labels = (torch.from_numpy(v[:200]) for v in digits())
    leaves = [*stack.weights, *stack.biases]
    for leaf in leaves:
        leaf.requires_grad_(True)
    optimizer = torch.optim.Adam(leaves, 0.005)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(stack.logits(x)[0], labels).backward()
        optimizer.step()
    assert (stack.logits(x)[0].argmax(1) == labels).all()
    for leaf in leaves:
        leaf.requires_grad_(False)
    return stack


def polygons(count, start=300):
    """Translation polygons (point, 8, 64) of some digits, float64."""
    images = digits()[0][start : start + count].astype(np.float64).reshape(-1, 1, 8, 8)
    return torch.from_numpy(paths.translations(images))


def codes(stack: Stack, network: int, x: torch.Tensor) -> np.ndarray:
    """Whether each threshold is passed at points x (point, d): (point, all units x 2), bool."""
    h = x.double()
    found = []
    for l in range(stack.depth):
        z = h @ stack.weights[l][network].double() + stack.biases[l][network].double()
        shift, low, high = (v[network, l] for v in (stack.shift, stack.low, stack.high))
        found += [z + shift > low, z + shift > high]
        h = (z + shift).clamp(float(low), float(high))
    return torch.cat(found, 1).numpy()


def column(stack: Stack, found) -> np.ndarray:
    """The column of `codes` to which each crossing belongs."""
    offsets = 2 * np.append(0, np.cumsum(stack.widths))[:-1]
    widths = np.array(stack.widths)
    return offsets[found.layer] + found.threshold * widths[found.layer] + found.unit


def check_parity(stack, found, path, *, points, place, period):
    """For each (unit, threshold) and sampling interval: predicted parity = sampled flip.

    Of network 0. Returns the exact and the sampled total.

    `points` are samples along one closed path at sorted positions `place` (of period `period`).
    Intervals with a crossing within 1e-9 of an end are left out.
    """
    sampled = codes(stack, 0, points)
    flips = sampled != np.roll(sampled, -1, axis=0)
    mine = found.path == path
    position = np.mod(found.position[mine], period)
    interval = np.searchsorted(place, position, side="right") - 1
    predicted = np.zeros(flips.shape, np.int64)
    np.add.at(predicted, (interval % len(place), column(stack, found)[mine]), 1)
    ends = np.concatenate([place - period, place, place + period])
    near = np.abs(ends[np.clip(np.searchsorted(ends, position), 1, len(ends) - 1)] - position)
    near = np.minimum(near, np.abs(position - ends[np.searchsorted(ends, position) - 1]))
    close = np.unique(interval[near < 1e-9 * period])
    usable = np.ones(len(place), bool)
    usable[np.mod(np.concatenate([close - 1, close, close + 1]), len(place))] = False
    np.testing.assert_array_equal(predicted[usable] % 2, flips[usable])
    assert usable.mean() > 0.99
    return int(mine.sum()), int(flips.sum())
