"""Sharpness by weight noise: how much noise on its weights a network tolerates.

Jiang, Neyshabur, Mobahi, Krishnan, Bengio (2020), "Fantastic generalization measures and where to
find them", ICLR (arXiv 1912.02178), appendix C.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable

import numpy as np
import torch

from sensigap import seeds
from sensigap.isolation import isolated
from sensigap.measures.checks import as_labels, as_points, check_stack
from sensigap.measures.complexity import product
from sensigap.networks import Stack
from sensigap.tensors import check_finite

#: bytes of networks with noise held at once
CHUNK_BYTES = 2**26
#: added to the noise of a weight of size 0 (Jiang et al. 2020, appendix C.5)
MAGNITUDE_FLOOR = 1e-3
#: the search for the tolerated noise: factor of the first steps and how many of them at most; then
#: false position until accuracy is this close, in drops, or the bracket is this narrow
_FACTOR = 4.0
_MOST_STEPS = 20
_CLOSE = 0.1
_NARROW = 1.05
_NORMAL = statistics.NormalDist()


@dataclasses.dataclass(frozen=True)
class Noise:
    """Standard normal noise for the weights and biases of one network, (draw, ...) a layer."""

    weights: list[torch.Tensor]
    biases: list[torch.Tensor]


@isolated()
def weight_noise(stack: Stack, draws: int, seed: int) -> Noise:
    """Noise for `sharpness`, of the stack's shape, dtype and device.

    ASSUME: networks of one shape share their draws, which depend on the seed and the layer alone:
    what differs between them is then not the luck of the draw.
    """
    weights: list[torch.Tensor] = []
    biases: list[torch.Tensor] = []
    for l, (w, b) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        for name, like, made in (("weight", w, weights), ("bias", b, biases)):
            rng = seeds.generator(seed, f"{name} noise", l)
            values = rng.standard_normal((draws, *like.shape[1:]), np.float32)
            made.append(torch.from_numpy(values).to(like.device, like.dtype))
    return Noise(weights, biases)


@isolated()
def sharpness(
    stack: Stack,
    x: torch.Tensor,
    labels: torch.Tensor,
    noise: Noise,
    *,
    drop: float = 0.1,
    magnitude_aware: bool = False,
) -> torch.Tensor:
    """1 / sigma^2, sigma the largest weight noise that costs at most `drop` accuracy, (network,).

    The flatness of PAC-Bayes bounds, Jiang et al. (2020), eq. 53: every weight and bias gets noise
    N(0, sigma^2), and accuracy is the mean over the draws of `noise`. Magnitude-aware, eq. 61: a
    weight w gets N(0, sigma^2 w^2 + 0.001^2).

    The same draws serve every sigma, so accuracy is a step function of it that is nearly monotone:
    it is bracketed from a first guess by factors of 4, then found by false position to a tenth of
    `drop` (their tolerance), then interpolated. Of several crossings the one that this meets is
    taken.
    NaN where none is found over 12 decades (one class alone, or `drop` above the accuracy), or
    where noise of 0.001 alone costs more.
    ASSUME: passes are in the dtype of the weights, since draws decide far more than rounding.

    Args:
        stack: the networks.
        x: points (point, d).
        labels: int64 (network, point).
        noise: of `weight_noise`.
        drop: accuracy that may be lost, 0 to 1.
        magnitude_aware: see above.

    Raises:
        TypeError: `stack` is no stack; points or labels are no tensors or arrays.
        ValueError: they have other shapes, there are none, or values are not finite.
    """
    check_stack(stack)
    labels = as_labels(labels, stack, x)
    points = as_points(x, stack.inputs).to(stack.device, stack.dtype)
    found = [
        _Noisy(stack.select(slice(k, k + 1)), points, labels[k], noise, magnitude_aware).tolerated(
            drop
        )
        for k in range(len(stack))
    ]
    return torch.tensor(found, dtype=torch.float64, device=stack.device) ** -2


class _Noisy:
    """One network under noise of any size, at fixed points."""

    def __init__(
        self,
        stack: Stack,
        x: torch.Tensor,
        labels: torch.Tensor,
        noise: Noise,
        magnitude_aware: bool,
    ) -> None:
        self.stack = stack
        self.x = x
        self.labels = labels.to(x.device)
        self.noise = noise
        self.magnitude_aware = magnitude_aware
        self.bounds = [
            tuple(float(bound[0, l]) for bound in (stack.shift, stack.low, stack.high))
            for l in range(stack.depth)
        ]
        activations = x.shape[0] * max(*stack.widths, stack.classes, 1)
        each = (stack.parameters + 2 * activations) * stack.dtype.itemsize
        size = max(1, CHUNK_BYTES // each)
        draws = len(noise.biases[0])
        self.chunks = [slice(k, min(k + size, draws)) for k in range(0, draws, size)]
        self.draws = draws
        if not magnitude_aware:
            # the first layer is linear in the noise, which saves its product for each sigma
            self.still = product(x, stack.weights[0]) + stack.biases[0][:, None]
            self.moved = product(x, noise.weights[0]) + noise.biases[0][:, None]

    def accuracy(self, sigma: float) -> float:
        """Mean accuracy over points and draws under noise of size sigma."""
        right = sum(int(self._right(sigma, chunk)) for chunk in self.chunks)
        return right / (self.draws * len(self.labels))

    def _right(self, sigma: float, draws: slice) -> torch.Tensor:
        stack = self.stack
        h = self.x
        for l in range(stack.depth + 1):
            if l == 0 and not self.magnitude_aware:
                z = torch.add(self.still, self.moved[draws], alpha=sigma)
            else:
                w = self._with_noise(stack.weights[l], self.noise.weights[l][draws], sigma)
                b = self._with_noise(stack.biases[l], self.noise.biases[l][draws], sigma)
                z = product(h, w).add_(b[:, None])
            if l == stack.depth:
                break
            shift, low, high = self.bounds[l]
            h = z.add_(shift).clamp_(low, high) if shift else z.clamp_(low, high)
        return (z.argmax(2) == self.labels).sum()

    def _with_noise(self, values: torch.Tensor, noise: torch.Tensor, sigma: float) -> torch.Tensor:
        if not self.magnitude_aware:
            return torch.add(values, noise, alpha=sigma)
        scale = (sigma**2 * values.square() + MAGNITUDE_FLOOR**2).sqrt()
        return torch.addcmul(values, noise, scale)

    def tolerated(self, drop: float) -> float:
        """The largest noise that costs at most `drop` accuracy; NaN if there is none."""
        logits = self.stack.logits(self.x)[0]
        check_finite(logits, "logits", "weights or points are too large; scale them down")
        least = float((logits.argmax(1) == self.labels).double().mean()) - drop
        squares = sum(float(w.double().square().sum()) for w in self.stack.weights)
        count = sum(w.numel() for w in self.stack.weights)
        guess = 0.25 if self.magnitude_aware else 0.25 * math.sqrt(squares / count)
        return _last_above(self.accuracy, least, guess if guess > 0 else 1.0, _CLOSE * drop)


def _last_above(
    function: Callable[[float], float], level: float, guess: float, close: float
) -> float:
    """Where a nearly decreasing function falls below a level; NaN if it does not."""
    value = function(guess)
    up = value >= level
    low = high = guess
    at_low = at_high = value
    for _ in range(_MOST_STEPS):
        if up:
            low, at_low = high, at_high
            high *= _FACTOR
            at_high = function(high)
        else:
            high, at_high = low, at_low
            low /= _FACTOR
            at_low = function(low)
        if at_high < level <= at_low:
            break
    else:
        return math.nan
    while min(at_low - level, level - at_high) > close and high / low > _NARROW:
        # no closer to an end than a share of the bracket, so that it narrows from both sides
        step = (high / low) ** 0.15
        middle = min(max(_crossing(low, high, at_low, at_high, level), low * step), high / step)
        value = function(middle)
        if value >= level:
            low, at_low = middle, value
        else:
            high, at_high = middle, value
    return _crossing(low, high, at_low, at_high, level)


def _crossing(low: float, high: float, at_low: float, at_high: float, level: float) -> float:
    """Where accuracy is `level` between noise of size `low` and `high`, by interpolation.

    A margin m under noise of size sigma stays positive with a probability of about Phi(c m / sigma)
    (exact for one layer), so the normal quantile of accuracy is about linear in 1 / sigma.
    """
    first, last, wanted = (
        _NORMAL.inv_cdf(min(max(value, 1e-4), 1 - 1e-4)) for value in (at_low, at_high, level)
    )
    share = (first - wanted) / (first - last) if first > last else 0.5
    return 1 / ((1 - share) / low + share / high)
