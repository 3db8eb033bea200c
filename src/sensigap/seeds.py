"""Random generators keyed by a seed and a purpose, so that no draw depends on another."""

import hashlib

import numpy as np


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A generator that depends on its arguments alone.

    Args:
        seed: the user's seed, at least 0.
        purpose: what is drawn, for example 'initial weights'; different purposes are independent.
        index: further integers, at least 0, for example a layer or an epoch.
    """
    words = np.frombuffer(hashlib.sha256(purpose.encode()).digest()[:16], np.uint32)
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence([seed, *words.tolist(), *index]))
    )


def share(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that depends on its arguments alone, to keep a stable share of names."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
