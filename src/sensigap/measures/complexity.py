"""Complexity measures of trained networks that the literature proposes for predicting the gap.

All are functions of a `Stack`, computed for each of its networks in float64 unless said otherwise.
They raise a TypeError for anything else and a ValueError where weights are not finite.
Products over layers come as log10, so that deep and wide networks do not overflow. Each is oriented
as it is proposed: the larger, the larger the generalization gap. References:

- Neyshabur, Tomioka, Srebro (2015), "Norm-based capacity control in neural networks", COLT.
- Bartlett, Foster, Telgarsky (2017), "Spectrally-normalized margin bounds", NeurIPS.
- Liang, Poggio, Rakhlin, Stokes (2019), "Fisher-Rao metric, geometry, and complexity of neural
  networks", AISTATS (arXiv 1711.01530).
- Nagarajan, Kolter (2019), "Generalization in deep networks: the role of distance from
  initialization" (arXiv 1901.01672).
- Jiang, Neyshabur, Mobahi, Krishnan, Bengio (2020), "Fantastic generalization measures and where to
  find them", ICLR (arXiv 1912.02178); equation numbers are those of its appendix C.

Sharpness has a module of its own. The number of parameters is `Stack.parameters`; steps to fit and
training loss are of the training.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

from sensigap.isolation import isolated
from sensigap.measures.checks import as_labels, as_points, check_measured, check_stack
from sensigap.networks import Stack
from sensigap.tensors import check_finite

#: bytes of activations held at once
CHUNK_BYTES = 2**26
_REMEDY = "weights or points are too large; scale them down"


@isolated()
def frobenius_product(stack: Stack) -> torch.Tensor:
    """log10 of prod_l ||W_l||_F over the layers, (network,).

    Neyshabur et al. (2015), section 3 (group norm with p = q = 2); Jiang et al. (2020), eq. 37,
    which squares it. Biases are left out, as there.
    """
    check_stack(stack)
    return _told(
        sum(
            (w.double().square().sum((1, 2)).log10() / 2 for w in stack.weights),
            start=_zeros(stack),
        )
    )


@isolated()
def spectral_product(stack: Stack) -> torch.Tensor:
    """log10 of prod_l ||W_l||_2 (largest singular values) over the layers, (network,).

    Bartlett et al. (2017), the product in eq. 1.2; Jiang et al. (2020), eq. 32, which squares it.
    It bounds the Lipschitz constant of the logits, since no unit has a slope above 1.
    """
    check_stack(stack)
    return _told(sum((spectral_norm(w).log10() for w in stack.weights), start=_zeros(stack)))


@isolated()
def distance(stack: Stack, start: Stack) -> torch.Tensor:
    """Frobenius distance from initialisation, sqrt(sum_l ||W_l - W_l^0||_F^2), (network,).

    Nagarajan and Kolter (2019); Jiang et al. (2020), eq. 40, which squares it.
    ASSUME: over all weights and biases (the biases start at 0).

    Args:
        stack: the trained networks.
        start: the same networks untrained.

    Raises:
        TypeError, ValueError: something is no stack, the two differ in shape, or values are not
            finite.
    """
    check_stack(stack)
    check_stack(start, "start")
    pairs = [*_pairs(stack.weights, start.weights), *_pairs(stack.biases, start.biases)]
    squares = ((a.double() - b.double()).square().flatten(1).sum(1) for a, b in pairs)
    return _told(sum(squares, start=_zeros(stack)).sqrt())


@isolated()
def spectral_distance(stack: Stack, start: Stack) -> torch.Tensor:
    """Spectral distance from initialisation, sqrt(sum_l ||W_l - W_l^0||_2^2), (network,).

    Jiang et al. (2020), eq. 41, which squares it. Arguments and errors as `distance`; weights only.
    """
    check_stack(stack)
    check_stack(start, "start")
    squares = (
        spectral_norm(a.double() - b.double()).square()
        for a, b in _pairs(stack.weights, start.weights)
    )
    return _told(sum(squares, start=_zeros(stack)).sqrt())


@isolated()
def path_norm(stack: Stack) -> torch.Tensor:
    """log10 of the path norm: sqrt of the sum over paths of their squared weights, (network,).

    Neyshabur et al. (2015), section 4 (p = 2); Jiang et al. (2020), eq. 44, which squares it. A
    path runs from an input, or from a bias, to a logit, and its weight is the product of the
    weights on it. One forward pass of the squared weights at the input of ones, with the identity
    for units, sums them all; it is rescaled layer by layer.
    ASSUME: paths from biases count, as with an input that is always 1; the shift of a unit (that of
    HardSigmoid) belongs to the unit and does not.
    """
    check_stack(stack)
    sums = torch.ones(len(stack), 1, stack.inputs, dtype=torch.float64, device=stack.device)
    log = _zeros(stack)
    for w, b in zip(stack.weights, stack.biases, strict=True):
        bias = b.double().square() * (10.0**-log)[:, None]
        sums = torch.matmul(sums, w.double().square()) + bias[:, None, :]
        scale = sums.amax((1, 2))
        # a network of zeros has no path: its logarithm ends at -inf
        scale = torch.where(scale > 0, scale, 1.0)
        sums = sums / scale[:, None, None]
        log = log + scale.log10()
    return _told((log + sums.sum((1, 2)).log10()) / 2)


@isolated()
def fisher_rao(stack: Stack, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log10 of the Fisher-Rao norm: sqrt of the mean over points of <w, grad_w loss>^2, (network,).

    Liang et al. (2019), definition 2: ||w||^2 = <w, I(w) w> with the Fisher information I(w) = E
    [grad loss grad loss^T]. For ReLU networks of L hidden layers without biases it is (L + 1)^2 E
    [<z, d loss / d z>^2] at the logits z (their theorem 3.1; Jiang et al. 2020, eq. 45).
    ASSUME: the definition itself rather than that identity, since here there are biases, which
    count as weights, and units that saturate. <w, grad_w z> is the derivative of z along w: one
    more forward pass, exact.
    ASSUME: the expectation is over training points with the labels the network was trained on (the
    'empirical' norm of that paper), and the loss is the cross-entropy.

    It is 0, and the logarithm -inf, where <w, grad_w loss> is 0 at every point. Fitted networks
    have probabilities as small as 1e-100 for the other classes: they are kept as logarithms.

    Args:
        stack: the networks.
        x: points (point, d).
        labels: int64 (network, point).

    Raises:
        TypeError: `stack` is no stack; points or labels are no tensors or arrays.
        ValueError: they have other shapes, there are none, or values are not finite.
    """
    check_stack(stack)
    x, labels = as_points(x, stack.inputs), as_labels(labels, stack, x)
    parts = []
    for where, z, along in _forward(stack, x, tangents=True):
        own = labels[:, where, None].to(z.device)
        # sum_j (f_j - [j = y]) along_j, without cancellation
        differences = along - along.gather(2, own)
        others = torch.log_softmax(z, 2).scatter(2, own, -torch.inf)
        largest = others.amax(2, keepdim=True)
        total = ((others - largest).exp() * differences).sum(2)
        parts.append(total.abs().log() + largest[:, :, 0])
    logs = torch.cat(parts, 1)
    return _told((torch.logsumexp(2 * logs, 1) - math.log(logs.shape[1])) / (2 * math.log(10)))


@isolated()
def inverse_margin(
    stack: Stack, x: torch.Tensor, labels: torch.Tensor, *, quantile: float = 0.1
) -> torch.Tensor:
    """1 / margin^2, with the margin at the 10th percentile of the training points, (network,).

    Jiang et al. (2020), eq. 22: the margin of a point is its label's logit minus the best other.
    ASSUME: NaN where that percentile is not positive (more than a tenth of the points are wrong,
    which no fitted network is unless it may be): the square would take it for a good margin.

    Args:
        stack: the networks, of two classes or more.
        x: points (point, d).
        labels: int64 (network, point).
        quantile: which of the margins.

    Raises:
        TypeError, ValueError: as `fisher_rao`.
    """
    check_stack(stack)
    x, labels = as_points(x, stack.inputs), as_labels(labels, stack, x)
    parts = []
    for where, z, _ in _forward(stack, x):
        own = labels[:, where, None].to(z.device)
        parts.append(z.gather(2, own)[:, :, 0] - z.scatter(2, own, -torch.inf).amax(2))
    _told(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
    # torch.quantile refuses large inputs
    margins = np.quantile(torch.cat(parts, 1).cpu().numpy(), quantile, axis=1)
    found = torch.from_numpy(margins).to(stack.device)
    return torch.where(found > 0, found**-2, torch.nan)


@isolated()
def spectral_norm(matrices: torch.Tensor) -> torch.Tensor:
    """Largest singular value of each matrix (network, rows, columns), float64 (network,).

    Raises:
        ValueError: squares of values are too large for float64, or values are not finite.
    """
    m = matrices.double()
    if m.shape[1] > m.shape[2]:
        m = m.transpose(1, 2)
    # of the smaller Gram matrix: for the largest value as exact as a singular value
    # decomposition, and several times faster
    gram = m @ m.transpose(1, 2)
    check_finite(gram, "products of weights", _REMEDY)
    return torch.linalg.eigvalsh(gram)[:, -1].clamp(min=0).sqrt()


def _forward(
    stack: Stack, x: torch.Tensor, *, tangents: bool = False
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """For chunks of points: which, logits (network, point, C), and their derivatives along w.

    The derivative along all weights and biases at once obeys dz = dh W + (h W + b) = dh W + z and
    dh = phi'(z) dz. Without `tangents` the third is empty.
    """
    weights = [w.double() for w in stack.weights]
    biases = [b.double()[:, None] for b in stack.biases]
    widest = max(stack.inputs, *stack.widths, stack.classes)
    size = max(1, CHUNK_BYTES // (8 * 4 * len(stack) * widest))
    for start in range(0, len(x), size):
        where = slice(start, min(start + size, len(x)))
        h = x[where].to(stack.device, torch.float64)
        along = torch.zeros(0, dtype=torch.float64, device=stack.device)
        for l, (w, b) in enumerate(zip(weights, biases, strict=True)):
            z = product(h, w).add_(b)
            if tangents:
                along = product(along, w).add_(z) if l else z.clone()
            if l == stack.depth:
                yield where, z, along
                break
            if tangents:
                shift, low, high = (
                    bound[:, l, None, None] for bound in (stack.shift, stack.low, stack.high)
                )
                along = along * ((z + shift > low) & (z + shift < high))
            h = stack.clamp(l, z)


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The matrix product; on a CPU by numpy, up to twice as fast as torch there."""
    if a.device.type == "cpu":
        return torch.from_numpy(np.matmul(a.numpy(), b.numpy()))
    return torch.matmul(a, b)


def _told(found: torch.Tensor) -> torch.Tensor:
    """What was found; raises a ValueError where it overflowed. -inf is the logarithm of 0."""
    check_measured(found, "values", _REMEDY)
    return found


def _pairs(
    trained: list[torch.Tensor], start: list[torch.Tensor]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    shapes = [[tuple(t.shape) for t in tensors] for tensors in (trained, start)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"a distance needs two stacks of one shape, found layers {shapes[0]} and {shapes[1]}: "
            "make the initial networks from the same specs"
        )
    return list(zip(trained, start, strict=True))


def _zeros(stack: Stack) -> torch.Tensor:
    return torch.zeros(len(stack), dtype=torch.float64, device=stack.device)
