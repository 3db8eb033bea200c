"""Memory that is used again, on a processor.

Memory fresh from the operating system costs more than most of the arithmetic done on it.
"""

import math

import numpy as np
import numpy.typing as npt


class Memory:
    """Arrays by name, each in the memory of the last one of its name."""

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def room(
        self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float64
    ) -> np.ndarray:
        """An uninitialised array; the last one of this name must not be in use any more."""
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.size < size or kept.dtype != dtype:
            kept = self._kept[name] = np.empty(size * 5 // 4, dtype)
        return kept[:size].reshape(shape)
