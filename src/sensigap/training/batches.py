"""Which training images a network sees at which step.

The batches are consecutive pieces of an endless chain of permutations of the training set, so the
batch of step s is a closed form of the seed and s: nothing has to be kept to resume.
"""

import functools

import numpy as np

from sensigap import seeds

#: images whose permutations are drawn from one generator: making a generator costs as much as
#: permuting some thousands of images
_DRAWN_TOGETHER = 1 << 14


def batches(seed: int, train_size: int, batch_size: int, start: int, count: int) -> np.ndarray:
    """Indices into the training set (step, batch_size), int64, of `count` steps from `start` on.

    Args:
        seed: the network's seed.
        train_size: number of training images n.
        batch_size: images a step, at most n; n gives every image once a step, in the same order.
        start: first step, from 0.
        count: number of steps.
    """
    if batch_size == train_size:
        return np.broadcast_to(np.arange(train_size), (count, train_size))
    first, last = start * batch_size, (start + count) * batch_size
    length = _epochs_together(train_size) * train_size
    blocks = range(first // length, (last - 1) // length + 1)
    chain = np.concatenate([_permutations(seed, train_size, block) for block in blocks])
    begin = first - blocks[0] * length
    return chain[begin : begin + count * batch_size].reshape(count, batch_size)


def _epochs_together(train_size: int) -> int:
    return max(1, _DRAWN_TOGETHER // train_size)


@functools.lru_cache(maxsize=64)  # networks of a stack often share a seed
def _permutations(seed: int, train_size: int, block: int) -> np.ndarray:
    """The chain of permutations of one block of epochs, flat, read-only."""
    chain = np.tile(np.arange(train_size), (_epochs_together(train_size), 1))
    seeds.generator(seed, "batch order", block).permuted(chain, axis=1, out=chain)
    chain.flags.writeable = False
    return chain.ravel()
