"""Exact Jacobians of the logits and of the softmax output, and their norms, without cancellation.

With masks D_l of the hidden layers, the logit Jacobian at a point is A = W_L D_L ... D_1 W_1
(C x d). Let t be the top class and B_j = A_j - A_t. The softmax Jacobian J = (diag f - f f^T) A
has the rows J_j = f_j (B_j - Bbar) for j != t and J_t = -f_t Bbar, Bbar = sum_{j != t} f_j B_j, so

    ||J||^2 = f_t^2 ||Bbar||^2 + sum_{j != t} f_j^2 ||B_j - Bbar||^2

(STUDY, 'Measures'). Nothing in it cancels: B_j starts from differences of rows of the last layer,
and the largest f_j (j != t) is taken out of the square root, so that a confident network's norm of
1e-30 is as accurate as one of 1. Pre-activations, masks and probabilities are float64 whatever the
weights' dtype; only the products that carry the rows backwards are in the weights' dtype.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from sensigap.isolation import isolated
from sensigap.measures.backward import Backward, StackBackward
from sensigap.measures.checks import LARGEST_LOG10, as_points, check_measured, check_networks
from sensigap.measures.sequential.backward import sequential_network
from sensigap.networks import Stack

_TOO_LARGE = "scale the weights down, use .double() on the network, or log10=True"
OUTPUTS = ("softmax", "logits")
#: the softmax of logits divided by a temperature
TEMPERED = "tempered"
ORDERS = ("frobenius", "spectral")
#: bytes of backward rows held at once, for each network in turn
CHUNK_BYTES = 2**22
#: bytes of points and of units of the widest layer that the forward pass holds at once, as float64
POINT_BYTES = 2**24


@dataclasses.dataclass(frozen=True)
class PointMeasures:
    """What one pass over the points gives, float64.

    Attributes:
        logits: (network, point, class).
        log10_norm: for each output asked for, and 'tempered' where temperatures were given, log10
            of the Jacobian's Frobenius norm (network, point); -inf where the Jacobian is exactly 0.
    """

    logits: torch.Tensor
    log10_norm: dict[str, torch.Tensor]

    def norm(self, output: str) -> torch.Tensor:
        """Frobenius norm (network, point); 0 where the Jacobian is 0 or the norm underflows.

        Raises:
            ValueError: a norm is too large for float64.
        """
        return _power(self.log10_norm[output])


@isolated()
def jacobian_norm(
    networks: Stack | nn.Sequential,
    x: torch.Tensor | np.ndarray,
    output: str = "softmax",
    *,
    order: str = "frobenius",
    log10: bool = False,
) -> torch.Tensor:
    """Norm of the Jacobian with respect to the input, for each network at each point.

    Exact: no projection, no sampling. It is 0 exactly where the logit Jacobian is 0, that is where
    a whole hidden layer is dead or saturated.

    Args:
        networks: a stack, or one network of affine layers and units (see `sequential.stages`).
        x: points (point, d); for one network (point, *shape of an input).
        output: 'softmax' for the class probabilities, 'logits' for what precedes them.
        order: 'frobenius', or 'spectral' for the largest singular value.
        log10: return the decimal logarithm, -inf where the Jacobian is 0; it does not underflow.

    Returns:
        float64 tensor (network, point), or (point) for one network, in units of output per unit of
        input.

    Raises:
        TypeError: `networks` is something else, a layer is not supported, or computes something
            else than its class says (hooks, a method of its own, a mode); names its place.
        ValueError: `x` has another shape, `output` or `order` another value; weights, points or
            logits are not finite, or a norm is too large for float64.
    """
    _check("order", order, ORDERS)
    _check("output", output, OUTPUTS)
    measured, x = _Measured.of(networks, x)
    _remark(measured, output)
    if order == "frobenius":
        log = _measure_points(measured, x, (output,)).log10_norm[output]
    else:
        log = measured.empty()
        for k, where, rows, log10_scale in _rows(measured, x, output, whole=False):
            # the rows' products with one another have the squared singular values; only the
            # largest is wanted, which they hold to full precision
            largest = torch.linalg.eigvalsh(rows @ rows.mT)[:, -1].clamp(min=0)
            log[k, where] = 0.5 * largest.log10() + log10_scale
    log = measured.result(log)
    check_measured(log, "log10 of norms", _TOO_LARGE)
    return log if log10 else _power(log)


@isolated()
def jacobian_rows(
    networks: Stack | nn.Sequential, x: torch.Tensor | np.ndarray, output: str = "softmax"
) -> torch.Tensor:
    """The Jacobian with respect to the input, for each network at each point, a row for each class.

    Args:
        networks, x, output: as for `jacobian_norm`.

    Returns:
        float64 tensor (network, point, class, d), or (point, class, *shape of an input) for one
        network, in units of output per unit of input. In the weights' dtype, a row is accurate
        relative to the largest of its point, not each to itself.

    Raises:
        TypeError, ValueError: as `jacobian_norm`.
    """
    _check("output", output, OUTPUTS)
    measured, x = _Measured.of(networks, x)
    _remark(measured, output)
    result = measured.empty(measured.classes, math.prod(x.shape[1:]))
    for k, where, rows, log10_scale in _rows(measured, x, output, whole=True):
        result[k, where] = rows * torch.pow(10.0, log10_scale)[:, None, None]
    check_measured(result.abs(), "rows", _TOO_LARGE)
    return measured.result(result.unflatten(-1, x.shape[1:]))


@isolated()
def measure_points(
    networks: Stack | nn.Sequential,
    x: torch.Tensor | np.ndarray,
    outputs: Sequence[str] = OUTPUTS,
    *,
    temperatures: Sequence[float] | None = None,
) -> PointMeasures:
    """Logits and Frobenius norms of every network at points x, in one pass.

    Args:
        networks, x: as for `jacobian_norm`; for one network the results have no axis `network`.
        outputs: some of `OUTPUTS`.
        temperatures: of each network: the norm of the Jacobian of the softmax of its logits divided
            by its temperature is given as well, as output 'tempered'. The rows are carried once.

    Raises:
        TypeError, ValueError: as `jacobian_norm`; a temperature is not above 0 and finite, or there
            is not one for each network.
    """
    if not outputs:
        raise ValueError(f"outputs: expected some of {', '.join(OUTPUTS)}, found none")
    for output in outputs:
        _check("output", output, OUTPUTS)
    measured, x = _Measured.of(networks, x)
    if temperatures is not None:
        _check_temperatures(temperatures, len(measured.make))
    found = _measure_points(measured, x, outputs, temperatures)
    norms = {output: measured.result(log) for output, log in found.log10_norm.items()}
    for log in norms.values():
        check_measured(log, "log10 of norms", _TOO_LARGE)
    return PointMeasures(measured.result(found.logits), norms)


def _measure_points(
    measured: "_Measured",
    x: torch.Tensor,
    outputs: Sequence[str],
    temperatures: Sequence[float] | None = None,
) -> PointMeasures:
    """See `measure_points`; always with the axis `network`."""
    logits = measured.empty(measured.classes)
    wanted = [*outputs] if temperatures is None else [*outputs, TEMPERED]
    norms = {output: measured.empty() for output in wanted}
    with_top = "logits" in outputs
    for k, where, at in _chunks(measured, x, with_top=with_top, whole=False):
        logits[k, where] = at.logits
        softmaxes = {
            output: at.softmax(temperatures[k] if temperatures and output == TEMPERED else 1.0)
            for output in wanted
            if output != "logits"
        }
        squares, power = _squares(at, softmaxes)
        # float32 squares may have left the range in which they are accurate: then in float64
        finfo = torch.finfo(at.network.dtype)
        low, high = finfo.tiny**0.6, finfo.max**0.6
        fine = torch.stack([(s > low) & (s < high) for s in squares.values()]).all(0)
        if len(lost := (~fine).nonzero()[:, 0]):
            some = {output: softmax.some(lost) for output, softmax in softmaxes.items()}
            again, power[lost] = _squares(at.some(lost), some, rescaled=True)
            for output, values in again.items():
                squares[output][lost] = values
        for output, values in squares.items():
            norms[output][k, where] = 0.5 * values.log10() + power * math.log10(2)
            if output in softmaxes:
                norms[output][k, where] += softmaxes[output].log10_scale
    return PointMeasures(logits, norms)


@dataclasses.dataclass(frozen=True)
class _Measured:
    """The networks that are measured, and at how many points.

    Attributes:
        points: number of points.
        make: for each network, what makes it for a number of rows that it is to carry.
        classes: number of logits.
        device: of the networks.
        alone: whether there is one network by itself, whose results have no axis for networks.
    """

    points: int
    make: Sequence[Callable[[int], Backward]]
    classes: int
    device: torch.device
    alone: bool

    @classmethod
    def of(
        cls, networks: Stack | nn.Sequential, x: torch.Tensor | np.ndarray
    ) -> tuple["_Measured", torch.Tensor]:
        """The networks, and points x as a tensor; both checked."""
        check_networks(networks)
        if isinstance(networks, nn.Sequential):
            points = as_points(x, None)
            one = sequential_network(networks, tuple(points.shape[1:]))
            return cls(len(points), [lambda _: one], one.classes, one.device, alone=True), points
        points = as_points(x, networks.inputs)
        each = [partial(StackBackward, networks, k) for k in range(len(networks))]
        return cls(len(points), each, networks.classes, networks.device, alone=False), points

    def empty(self, *shape: int) -> torch.Tensor:
        """Memory for a float64 result (network, point, ...)."""
        size = (len(self.make), self.points, *shape)
        return torch.empty(size, dtype=torch.float64, device=self.device)

    def result(self, values: torch.Tensor) -> torch.Tensor:
        """Values (network, point, ...) as they are given to the caller."""
        return values[0] if self.alone else values


@dataclasses.dataclass(frozen=True)
class _Points:
    """One network at some points, after the forward pass.

    Attributes:
        network: the network.
        logits: (point, C).
        derivatives: of the hidden units, (point, width) a layer.
        top: top class (point).
        others: the other classes (point, C - 1).
        with_top: whether a row of the top class is carried, before the others.
    """

    network: Backward
    logits: torch.Tensor
    derivatives: list[torch.Tensor]
    top: torch.Tensor
    others: torch.Tensor
    with_top: bool

    @classmethod
    def of(cls, network: Backward, x: torch.Tensor, with_top: bool) -> "_Points":
        """The forward pass at points x."""
        logits, derivatives = network.forward(x.to(network.device))
        top = logits.argmax(1)
        others = torch.arange(network.classes - 1, device=top.device).expand(len(top), -1)
        others = others + (others >= top[:, None])
        return cls(network, logits, derivatives, top, others, with_top)

    def some(self, points: torch.Tensor | slice) -> "_Points":
        """Some of the points."""
        return dataclasses.replace(
            self,
            logits=self.logits[points],
            derivatives=[d[points] for d in self.derivatives],
            top=self.top[points],
            others=self.others[points],
        )

    def carry(
        self, *, rescaled: bool, whole: bool = False
    ) -> tuple[Iterable[torch.Tensor], torch.Tensor]:
        """Rows [A_t; B_j], or B_j alone, at the inputs; see `Backward.carry`."""
        return self.network.carry(
            self.top, self.derivatives, with_top=self.with_top, rescaled=rescaled, whole=whole
        )

    def softmax(self, temperature: float = 1.0) -> "_Softmax":
        """The softmax of the logits over a temperature."""
        log_f = torch.log_softmax(self.logits / temperature, 1)
        others = log_f if self.network.classes == 1 else log_f.gather(1, self.others)
        return _Softmax(
            others.amax(1, keepdim=True),
            log_f.gather(1, self.others),
            log_f.gather(1, self.top[:, None]).exp(),
            temperature,
        )


@dataclasses.dataclass(frozen=True)
class _Softmax:
    """Probabilities at some points.

    Attributes:
        log_largest: log of the largest one but the top class's (point, 1).
        log_others: logs of the other classes' (point, C - 1).
        f_top: the top class's (point, 1).
        temperature: by which the logits are divided.
    """

    log_largest: torch.Tensor
    log_others: torch.Tensor
    f_top: torch.Tensor
    temperature: float

    def some(self, points: torch.Tensor) -> "_Softmax":
        """Some of the points."""
        parts = (self.log_largest[points], self.log_others[points], self.f_top[points])
        return _Softmax(*parts, self.temperature)

    @property
    def log10_scale(self) -> torch.Tensor:
        """Log10 of what is taken out of the rows of the softmax Jacobian (point)."""
        return self.log_largest[:, 0] / math.log(10) - math.log10(self.temperature)

    @property
    def weights(self) -> torch.Tensor:
        """Probabilities of the other classes over the largest of them (point, C - 1)."""
        return (self.log_others - self.log_largest).exp()


def _chunks(
    measured: _Measured, x: torch.Tensor, *, with_top: bool, whole: bool
) -> Iterator[tuple[int, slice, _Points]]:
    """Network by network and chunk by chunk: the network's index, which points, and those."""
    rows = max(measured.classes - (not with_top), 1)
    inputs = math.prod(x.shape[1:])
    with torch.no_grad():
        for k, make in enumerate(measured.make):
            network = make(0 if whole else len(x) * rows)
            widest = max(network.widest, inputs if whole else 0)
            chunk = max(1, CHUNK_BYTES // (rows * widest * network.dtype.itemsize))
            # the forward pass has a row a point: it takes many points at once to be fast
            several = chunk * max(1, POINT_BYTES // (8 * max(inputs, widest) * chunk))
            for first in range(0, len(x), several):
                at = _Points.of(network, x[first : first + several], with_top)
                _check_finite(at.logits, k, first)
                for start in range(0, len(at.top), chunk):
                    part = slice(start, start + chunk)
                    yield k, slice(first + start, first + start + chunk), at.some(part)


def _squares(
    at: _Points, softmaxes: Mapping[str, _Softmax], *, rescaled: bool = False
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Squared norms of each output's Jacobian (point), and a power of 2 still to be multiplied.

    That power is of the norm. Those of `softmaxes` are also over 10^`log10_scale`. 'logits' is
    among the outputs where the row of the top class is carried.
    """
    blocks, power = at.carry(rescaled=rescaled)
    dtype = torch.float64 if rescaled else at.network.dtype
    # with w_j = f_j / largest and total = sum_j w_j B_j, Bbar is largest x total; block by block,
    # ||J||^2 / largest^2 = f_t^2 ||total||^2 + sum_j w_j^2 ||B_j - Bbar||^2
    weights = {output: softmax.weights for output, softmax in softmaxes.items()}
    largest = {output: softmax.log_largest.exp() for output, softmax in softmaxes.items()}
    above = {output: torch.zeros_like(power) for output in softmaxes}
    below = {output: torch.zeros_like(w) for output, w in weights.items()}
    squares = {"logits": torch.zeros_like(power)} if at.with_top else {}
    for carried in blocks:
        block = differences = carried.to(dtype)
        if at.with_top:
            top_row, differences = block[:, :1], block[:, 1:]
            squares["logits"] += _norms(top_row)[:, 0] + _norms(differences + top_row).sum(1)
        for output, w in weights.items():
            total = w.to(dtype)[:, None] @ differences
            above[output] += _norms(total)[:, 0]
            below[output] += _norms(differences - total.mul_(largest[output].to(dtype)[:, None]))
    for output, softmax in softmaxes.items():
        own = softmax.f_top[:, 0] ** 2 * above[output]
        squares[output] = own + (weights[output] ** 2 * below[output]).sum(1)
    return squares, power


def _rows(
    measured: _Measured, x: torch.Tensor, output: str, *, whole: bool
) -> Iterator[tuple[int, slice, torch.Tensor, torch.Tensor]]:
    """Chunk by chunk: network, which points, rows (point, class, column), their log10 scale."""
    for k, where, at in _chunks(measured, x, with_top=True, whole=whole):
        blocks, power = at.carry(rescaled=True, whole=whole)
        rows = torch.cat([block.double() for block in blocks], 2)
        check_measured(rows.abs(), f"rows of network {k}", _TOO_LARGE)
        log10_scale = power * math.log10(2)
        top_row, differences = rows[:, :1], rows[:, 1:]
        if output == "softmax":
            softmax = at.softmax()
            weights = softmax.weights
            total = weights[:, None] @ differences
            top_row.copy_(-softmax.f_top[:, None] * total)
            differences.sub_(softmax.log_largest.exp()[:, None] * total).mul_(weights[..., None])
            log10_scale += softmax.log10_scale
        else:
            differences.add_(top_row)
        order = torch.cat([at.top[:, None], at.others], 1)
        yield (
            k,
            where,
            torch.empty_like(rows).scatter_(1, order[..., None].expand_as(rows), rows),
            log10_scale,
        )


def _norms(rows: torch.Tensor) -> torch.Tensor:
    """Squared norms along the last axis, as float64."""
    return torch.linalg.vecdot(rows, rows).double()


def _check_finite(logits: torch.Tensor, network: int, first: int) -> None:
    """Raises a ValueError unless the logits (point, C) of a network, from a point on, are finite.

    What is not a number would pass for a dead unit, and the Jacobian for 0.
    """
    finite = logits.isfinite().all(1)
    if not finite.all():
        point = first + int(finite.logical_not().nonzero()[0])
        raise ValueError(
            f"expected finite logits, found others for network {network} at point {point}: "
            "weights or points are too large; scale them down"
        )


def _check_temperatures(temperatures: Sequence[float], networks: int) -> None:
    """Raises a ValueError unless there is a temperature for each network, above 0 and finite."""
    if len(temperatures) != networks or not all(0 < t < math.inf for t in temperatures):
        raise ValueError(
            f"temperatures: expected {networks} numbers above 0, one for each network, found "
            f"{list(temperatures)}"
        )


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raises a ValueError unless the value is allowed."""
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(allowed)}, found {value!r}")


def _power(log: torch.Tensor) -> torch.Tensor:
    """10^log; raises a ValueError where that is no float64."""
    if log.numel() and not float(log.max()) <= LARGEST_LOG10:
        raise ValueError(
            f"a norm of 1e{float(log.max()):.0f} is too large for float64: ask for log10=True"
        )
    return torch.pow(10.0, log)


def _remark(measured: _Measured, output: str) -> None:
    """Warns of a softmax that is 1 everywhere."""
    if measured.classes == 1 and output == "softmax":
        warnings.warn(
            "the network has one logit, whose softmax is 1 everywhere and its Jacobian 0: "
            "ask for output='logits'",
            stacklevel=4,
        )
