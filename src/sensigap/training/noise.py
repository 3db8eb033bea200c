"""Gaussian noise on training inputs, drawn anew for every image drawn (STUDY, 'Data').

Numbers are drawn from a table of the normal distribution's quantiles by 16 random bits each, which
takes a seventh of the time of numpy's normals. So each step takes the same number of words of the
network's stream, and its place in the stream is a closed form of the step: nothing has to be kept
to resume.
"""

import functools

import numpy as np
import torch

from sensigap import seeds
from sensigap.spec import NetworkSpec

#: random bits of a number, and numbers that a word of the stream gives
_BITS = 16
_NUMBERS_A_WORD = 64 // _BITS


class NoiseStream:
    """The input noise of one network, step after step.

    Args:
        spec: the network: its seed and `input_noise` decide.
        inputs: dimension d of an input.
        like: a tensor of the wanted dtype and device.
    """

    def __init__(self, spec: NetworkSpec, inputs: int, like: torch.Tensor) -> None:
        self._seed = spec.seed
        self._count = spec.batch_size * inputs
        self._words = -(-self._count // _NUMBERS_A_WORD)
        self._quantiles = _quantiles(spec.input_noise, like.dtype, like.device)
        #: the step that the stream stands at; none yet
        self._step = -1

    def add(self, images: torch.Tensor, step: int) -> None:
        """Adds the noise of a step, counted from 0, to its standardised images (image, d).

        The images are not standardised again.
        """
        if step != self._step:
            self._stream = seeds.generator(self._seed, "input noise").bit_generator
            self._stream.advance(step * self._words)  # type: ignore[attr-defined]
        self._step = step + 1
        drawn = self._stream.random_raw(self._words).view(np.int16)[: self._count]
        places = torch.from_numpy(drawn).to(self._quantiles.device).int()
        places.add_(1 << (_BITS - 1))
        images.view(-1).add_(self._quantiles.index_select(0, places))


@functools.lru_cache(maxsize=16)
def _quantiles(deviation: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Values of noise (2^16,), ascending, equally likely, of standard deviation `deviation`.

    ASSUME: the normal distribution in 65,536 steps of equal probability stands for the normal
    distribution: the largest value is 4.3 standard deviations, the kurtosis 2.999.
    """
    levels = (torch.arange(1 << _BITS, dtype=torch.float64) + 0.5) / (1 << _BITS)
    normal = torch.special.ndtri(levels)
    normal *= deviation / normal.square().mean().sqrt()
    return normal.to(device, dtype)
