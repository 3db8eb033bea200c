"""The hidden layers of one network in float64, as paths through it need them."""

import dataclasses
import functools

import numpy as np
import torch

from sensigap.measures.polygons.arrays import Array, Arrays, NumpyArrays
from sensigap.networks import Stack

#: |z - tau| up to this share of max |z| counts as z = tau
SNAP = 1e-12


@dataclasses.dataclass(frozen=True)
class Layer:
    """A hidden layer in float64: phi(h @ weight + bias) with phi(z) = min(max(z, low), high).

    Attributes:
        weight, bias: (input, unit) and (unit), of numpy or torch.
        low, high: the clamp.
        on_device: the weights on a device that multiplies arrays of numpy; None: numpy does.
    """

    weight: Array
    bias: Array
    low: float
    high: float
    on_device: torch.Tensor | None = None

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
        z: Array
        if isinstance(h, torch.Tensor):
            z = torch.matmul(h, self.weight, out=out)
        elif self.on_device is None:
            z = np.matmul(h, self.weight, out=out)
        else:
            on_device = torch.from_numpy(h).to(self.on_device.device)
            z = np.positive((on_device @ self.on_device).cpu().numpy(), out=out)
        z += self.bias
        return z


def network_layers(
    stack: Stack,
    network: int,
    arrays: Arrays | None = None,
    *,
    device: torch.device | None = None,
) -> list[Layer]:
    """The hidden layers of one network of a stack; the clamps' shifts are added to the biases.

    Args:
        stack: the networks.
        network: which one.
        arrays: the kind of the arrays; None: numpy's.
        device: multiplies the arrays of numpy; None: the stack's device, if it is not a processor.
    """
    if device is None and stack.device.type != "cpu" and arrays is None:
        device = stack.device
    arrays = arrays or NumpyArrays()
    bounds = torch.stack([stack.shift[network], stack.low[network], stack.high[network]]).tolist()
    layers = []
    for l, (shift, low, high) in enumerate(zip(*bounds, strict=True)):
        weight, bias = (arrays.array(v[l][network]) for v in (stack.weights, stack.biases))
        on_device = None if device is None else stack.weights[l][network].double().to(device)
        layers.append(Layer(weight, bias + shift, low, high, on_device))
    return layers
