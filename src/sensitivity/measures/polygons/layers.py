"""The hidden layers of one network in float64, as paths through it need them."""

import dataclasses
import functools

import numpy as np
import torch

from sensitivity.measures.polygons.arrays import Array, Arrays, NumpyArrays
from sensitivity.networks import Stack

#: |z - tau| up to this share of max |z| counts as z = tau
SNAP = 1e-12


@dataclasses.dataclass(frozen=True)
class Layer:
    """A hidden layer in float64: phi(h @ weight + bias) with phi(z) = min(max(z, low), high)."""

    weight: Array
    bias: Array
    low: float
    high: float

    @property
    def thresholds(self) -> list[tuple[int, float]]:
        """(0, low) and (1, high), as far as they are finite."""
        return [(i, tau) for i, tau in enumerate((self.low, self.high)) if np.isfinite(tau)]

    @property
    def width(self) -> int:
        """Number of units."""
        return len(self.bias)

    @functools.cached_property
    def gain(self) -> tuple[float, float]:
        """(a, b) such that |z| <= a |h| + b in the largest component."""
        return float(abs(self.weight).sum(0).max()), float(abs(self.bias).max())

    @functools.cached_property
    def bounds(self) -> Array:
        """Low and high as an array."""
        if isinstance(self.bias, torch.Tensor):
            return self.bias.new_tensor([self.low, self.high])
        return np.array([self.low, self.high])

    def apply(self, z: Array, out: Array) -> None:
        """Writes phi(z) to `out`, which may be z."""
        if isinstance(z, torch.Tensor):
            torch.clamp(z, self.low, self.high, out=out)
            return
        np.maximum(z, self.low, out=out)
        if np.isfinite(self.high):
            np.minimum(out, self.high, out=out)

    def evaluate(self, h: Array, out: Array | None = None) -> Array:
        """Pre-activations (row, unit), the clamp's shift included, of inputs (row, input)."""
        product = torch.matmul if isinstance(h, torch.Tensor) else np.matmul
        z = product(h, self.weight, out=out)
        z += self.bias
        return z


def network_layers(stack: Stack, network: int, arrays: Arrays | None = None) -> list[Layer]:
    """The hidden layers of one network of a stack; the clamps' shifts are added to the biases.

    In arrays of numpy, or of the kind given.
    """
    arrays = arrays or NumpyArrays()
    bounds = torch.stack([stack.shift[network], stack.low[network], stack.high[network]]).tolist()
    layers = []
    for l, (shift, low, high) in enumerate(zip(*bounds, strict=True)):
        weight, bias = (arrays.array(v[l][network]) for v in (stack.weights, stack.biases))
        layers.append(Layer(weight, bias + shift, low, high))
    return layers
