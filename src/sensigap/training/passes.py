"""The forward and the backward pass of a stack of same-shaped networks, written out.

One family of networks needs no autograd: buffers are allocated once, every matrix product goes
through `product`, and the parameters of all networks lie in one buffer (network, parameter), so
that an optimizer's update is a few operations on one tensor.

The same network gets the same bits in any company: products are one call a network, and every
other operation treats each element, or each row of one network, by itself.
"""

import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch

from sensigap.networks import Stack, clamps
from sensigap.spec import NetworkSpec
from sensigap.units import UNITS, Clamp

#: elements to which each layer's block is aligned: whole vector registers for every network
_ALIGNMENT = 32

#: networks of one unit that lie next to each other in a stack: their place and their clamp
Run = tuple[slice, Clamp]


class Layout:
    """Where the weights and biases of each layer lie in a network's row of parameters.

    Args:
        inputs: dimension d of an input.
        depth: hidden layers.
        width: units in each hidden layer.
        classes: number of logits C.
    """

    def __init__(self, inputs: int, depth: int, width: int, classes: int) -> None:
        self.sizes = [inputs, *[width] * depth, classes]
        self.places: list[tuple[int, int]] = []
        end = 0
        for fan_in, fan_out in itertools.pairwise(self.sizes):
            weight, end = end, _aligned(end + fan_in * fan_out)
            bias, end = end, _aligned(end + fan_out)
            self.places.append((weight, bias))
        self.length = end
        self.parameters = sum((a + 1) * b for a, b in itertools.pairwise(self.sizes))

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return len(self.sizes) - 2

    def weights(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Views (network, inputs, outputs) of each layer's weights in rows (network, parameter)."""
        return [
            rows[:, place : place + a * b].view(len(rows), a, b)
            for (place, _), (a, b) in zip(self.places, itertools.pairwise(self.sizes), strict=True)
        ]

    def biases(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Views (network, 1, outputs) of each layer's biases in rows (network, parameter)."""
        return [
            rows[:, place : place + b].view(len(rows), 1, b)
            for (_, place), b in zip(self.places, self.sizes[1:], strict=True)
        ]

    def pack(self, stack: Stack) -> torch.Tensor:
        """Rows (network, parameter) with a stack's weights and biases, 0 in between."""
        rows = torch.zeros(len(stack), self.length, dtype=stack.dtype, device=stack.device)
        for view, weight in zip(self.weights(rows), stack.weights, strict=True):
            view.copy_(weight)
        for view, bias in zip(self.biases(rows), stack.biases, strict=True):
            view.copy_(bias[:, None])
        return rows

    def unpack(self, rows: torch.Tensor, specs: Sequence[NetworkSpec]) -> Stack:
        """The stack of networks `specs` whose parameters are rows (network, parameter)."""
        biases = [bias[:, 0] for bias in self.biases(rows)]
        return Stack(self.weights(rows), biases, *clamps(specs))


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def runs_of(units: Sequence[str]) -> list[Run]:
    """The runs of equal units in a stack's order: a clamp with fixed bounds is the fastest one."""
    runs = []
    start = 0
    for unit, group in itertools.groupby(units):
        end = start + len(list(group))
        runs.append((slice(start, end), UNITS[unit]))
        start = end
    return runs


def product(
    a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, backend: str
) -> Callable[[], object]:
    """The batched matrix product out = a b as a call without arguments, bound to its memory.

    Args:
        a, b, out: (network, m, k), (network, k, n), (network, m, n); views are fine.
        backend: 'numpy' on a CPU, where numpy's OpenBLAS was the faster in trials and gives each
            matrix the same bits in any batch; 'torch' on a GPU; 'bf16' and 'tf32' for products of
            rounded matrices, see `step_route`.
    """
    if backend == "numpy":
        return functools.partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy())
    if backend == "bf16":
        return lambda: out.copy_(torch.bmm(a.bfloat16(), b.bfloat16()))
    if backend == "tf32":
        return functools.partial(_tf32_product, a, b, out)
    return functools.partial(torch.bmm, a, b, out=out)


def _tf32_product(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        torch.bmm(a, b, out=out)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


def step_route(backend: str, precision: str, device: torch.device) -> str:
    """The backend of a training step's products at a precision (one of `spec.PRECISIONS`).

    Losses and accuracies of the whole set are evaluated, and networks measured, without rounding.
    'tf32' has not been run: there was no GPU to run it on.

    Raises:
        ValueError: the device cannot do it.
    """
    if precision == "tf32" and device.type != "cuda":
        raise ValueError(
            f"precision 'tf32': expected an NVIDIA GPU, found device '{device.type}'; "
            "choose float32 or bf16, or run on a GPU"
        )
    return precision if precision in ("bf16", "tf32") else backend


class Forward:
    """The forward pass of a stack on a fixed number of points, with buffers of its own.

    Attributes:
        hidden: inputs and activations, (network, point, units) each.
        logits: (network, C, point). Classes first, so that the softmax runs along the points.

    Args:
        layout: of the networks' parameters.
        rows: parameters (network, parameter).
        x: inputs (network, point, d); its values are read at each call.
        runs: the units, in the networks' order.
        backend: see `product`.
    """

    def __init__(
        self,
        layout: Layout,
        rows: torch.Tensor,
        x: torch.Tensor,
        *,
        runs: Sequence[Run],
        backend: str,
    ) -> None:
        networks, points, _ = x.shape
        new = functools.partial(torch.empty, dtype=rows.dtype, device=rows.device)
        self.layout, self.backend = layout, backend
        self.weights, self.biases = layout.weights(rows), layout.biases(rows)
        self.hidden = [x, *(new(networks, points, size) for size in layout.sizes[1:-1])]
        self.logits = new(networks, layout.sizes[-1], points)
        self._last_bias = self.biases[-1].transpose(1, 2)
        self._products = [
            product(h, w, out, backend)
            for h, w, out in zip(self.hidden[:-1], self.weights[:-1], self.hidden[1:], strict=True)
        ]
        self._last = product(
            self.weights[-1].transpose(1, 2), self.hidden[-1].transpose(1, 2), self.logits, backend
        )
        #: each hidden layer's activations cut into runs of one unit
        self.runs = [[(h[place], clamp) for place, clamp in runs] for h in self.hidden[1:]]

    def __call__(self) -> None:
        """Computes activations and logits at the inputs."""
        for multiply, h, b, runs in zip(
            self._products, self.hidden[1:], self.biases[:-1], self.runs, strict=True
        ):
            multiply()
            h.add_(b)
            for part, (shift, low, high) in runs:
                if shift:
                    part.add_(shift)
                part.clamp_(low, high)
        self._last()
        self.logits.add_(self._last_bias)


class ForwardBackward(Forward):
    """The forward and backward pass: gradients of the mean cross-entropy of a minibatch.

    Args:
        layout, rows, x, runs, backend: see `Forward`.
        gradients: buffer (network, parameter), overwritten by each call.
    """

    def __init__(
        self,
        layout: Layout,
        rows: torch.Tensor,
        gradients: torch.Tensor,
        x: torch.Tensor,
        *,
        runs: Sequence[Run],
        backend: str,
    ) -> None:
        super().__init__(layout, rows, x, runs=runs, backend=backend)
        self.probabilities = torch.empty_like(self.logits)
        self._flat = self.probabilities.view(-1)
        networks, points, _ = x.shape
        self._minus_one = torch.full(
            (networks * points,), -1.0, dtype=rows.dtype, device=rows.device
        )
        self._scale = 1.0 / points
        ones = torch.ones(networks, 1, points, dtype=rows.dtype, device=rows.device)
        backs = [torch.empty_like(h) for h in self.hidden[1:]]
        weight_gradients, bias_gradients = layout.weights(gradients), layout.biases(gradients)
        delta = self.probabilities.transpose(1, 2)
        #: from the last layer to the first: products, then the masks of the layer below
        self._back = []
        for l in range(layout.depth, -1, -1):
            products = [
                product(self.hidden[l].transpose(1, 2), delta, weight_gradients[l], backend),
                product(ones, delta, bias_gradients[l], backend),
            ]
            masks: list[tuple[torch.Tensor, torch.Tensor, Clamp]] = []
            if l:
                products.append(
                    product(delta, self.weights[l].transpose(1, 2), backs[l - 1], backend)
                )
                delta = backs[l - 1]
                masks = [(delta[place], self.hidden[l][place], clamp) for place, clamp in runs]
            self._back.append((products, masks))

    def step(self, targets: torch.Tensor) -> None:
        """Forward and backward pass at the inputs.

        Args:
            targets: int64 (network * point): position of each point's label in `logits`,
                flattened; see `target_positions`.
        """
        self()
        torch.softmax(self.logits, 1, out=self.probabilities)
        self._flat.index_add_(0, targets, self._minus_one)
        self.probabilities.mul_(self._scale)
        for products, masks in self._back:
            for multiply in products:
                multiply()
            for gradient, activation, (_, low, high) in masks:
                # the derivative is 1 strictly between the bounds, 0 elsewhere
                torch.ops.aten.hardtanh_backward.grad_input(
                    gradient, activation, low, high, grad_input=gradient
                )


def target_positions(labels: np.ndarray, classes: int) -> np.ndarray:
    """Positions of labels (..., network, point) in flattened logits (network, C, point)."""
    networks, points = labels.shape[-2:]
    start = np.arange(networks)[:, None] * (classes * points) + np.arange(points)
    return (start + labels * points).reshape(*labels.shape[:-2], networks * points)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy (nats), float64, and correctness, bool, at points: tensors (network, point).

    Args:
        logits: (network, C, point), of any dtype; the logarithm of the softmax is taken in float64.
        labels: classes (network, point), int64.

    A point is right when the logit of its label is above all others: NaN is never right.
    """
    logits = logits.to(torch.float64)
    target = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return logits.logsumexp(1) - target[:, 0], (target > others.amax(1, keepdim=True))[:, 0]
