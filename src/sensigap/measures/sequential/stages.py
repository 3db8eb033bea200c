"""Networks of others: an `nn.Sequential` read as affine stages and units between them.

Each affine layer becomes an object of `sequential.affine`, bound to the shape of its inputs; each
unit says where its slope changes. What is not supported is named with its place in the network.
"""

import copy
import dataclasses
import math
from collections.abc import Iterator

import torch
from torch import nn

from sensigap.measures.sequential import affine
from sensigap.networks import OWN_FORWARD, Stack, clamp_of, computes_as_its_base

SUPPORTED = (
    "nn.Linear, nn.Conv2d, nn.AvgPool2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Flatten, "
    "nn.Unflatten, nn.Identity, nn.Dropout and nested nn.Sequential, all as in evaluation; "
    "the piecewise linear units nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.LeakyReLU, "
    "ClampUnit and HardSigmoid; for Jacobian norms also smooth units such as nn.Tanh or nn.GELU"
)
SMOOTH = (
    nn.Tanh,
    nn.Sigmoid,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Softplus,
    nn.Softsign,
    nn.LogSigmoid,
    nn.ELU,
    nn.SELU,
    nn.CELU,
)
_DROPOUT = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


@dataclasses.dataclass(frozen=True)
class Threshold:
    """Where the slope of a piecewise linear unit changes.

    Attributes:
        index: 0 for the lower one of a unit, 1 for the upper one.
        tau: the pre-activation.
        jump: slope above less slope below.
    """

    index: int
    tau: float
    jump: float


@dataclasses.dataclass(frozen=True)
class Unit:
    """An elementwise unit.

    Attributes:
        name: place and type, for errors.
        module: the unit, not working in place.
        start: slope below all thresholds.
        thresholds: where the slope changes; None for a smooth unit.
    """

    name: str
    module: nn.Module
    start: float = 0.0
    thresholds: tuple[Threshold, ...] | None = None

    def slope(self, z: torch.Tensor) -> torch.Tensor:
        """The derivative at float64 pre-activations; at a kink the one that autograd takes."""
        if self.thresholds is not None:
            slope = torch.full_like(z, self.start)
            for at in self.thresholds:
                slope += (z > at.tau if at.index == 0 else z >= at.tau).to(z).mul_(at.jump)
            return slope
        # free of the cancellation in 1 - tanh^2
        if isinstance(self.module, nn.Tanh):
            return torch.cosh(z).reciprocal().square()
        if isinstance(self.module, nn.Sigmoid):
            return torch.sigmoid(z) * torch.sigmoid(-z)
        with torch.enable_grad():
            z = z.detach().requires_grad_(True)
            return torch.autograd.grad(self.module(z).sum(), z)[0]


@dataclasses.dataclass(frozen=True)
class Stage:
    """Affine layers in a row, and the unit after them; the last stage of a network has none.

    Attributes:
        layers: the affine layers, possibly none.
        inputs: shape of one input.
        outputs: shape of one output.
        unit: the unit.
    """

    layers: tuple[affine.Affine, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    unit: Unit | None

    @property
    def width(self) -> int:
        """Number of outputs."""
        return math.prod(self.outputs)

    def evaluate(self, x: torch.Tensor) -> torch.Tensor:
        """The affine layers at float64 inputs (point, *inputs): (point, *outputs)."""
        for layer in self.layers:
            x = layer.evaluate(x)
        return x


def weights_dtype(model: nn.Module) -> torch.dtype:
    """The dtype of a model's weights: float32 or float64, float64 where it has none.

    Raises:
        TypeError: the weights have other dtypes, or more than one.
    """
    found = {p.dtype for p in model.parameters()} or {torch.float64}
    if len(found) > 1 or not found <= {torch.float32, torch.float64}:
        names = ", ".join(sorted(map(str, found)))
        raise TypeError(
            f"weights: expected all float32 or all float64, found {names}: "
            "call .float() or .double() on the network"
        )
    return found.pop()


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's weights, the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def read(
    model: nn.Sequential, shape: tuple[int, ...], device: torch.device | str | None = None
) -> list[Stage]:
    """The stages of a network for inputs of one shape; the last one has no unit.

    Args:
        model: affine layers and elementwise units, in `SUPPORTED`.
        shape: shape of one input, without the leading axis of points.
        device: where the weights are to be; None: where they are.

    Raises:
        TypeError: a layer is not supported, or not in evaluation mode; names its place.
        ValueError: a layer does not take what it is given; names its place.
    """
    modules = [(name, module, _unit(name, module)) for name, module in _flat(model, "")]
    for name, module, unit in modules:
        fault = _fault(module) if unit is None else ""
        if not fault and not computes_as_its_base(module):
            fault = OWN_FORWARD
        if fault:
            raise TypeError(f"{name} {fault}")
    dtype = weights_dtype(model)
    device = device or device_of(model)
    stages: list[Stage] = []
    layers: list[affine.Affine] = []
    inputs = outputs = tuple(shape)
    for name, module, unit in modules:
        if unit is not None:
            stages.append(Stage(tuple(layers), inputs, outputs, unit))
            layers, inputs = [], outputs
        elif (layer := _affine(name, module, outputs, dtype, device)) is not None:
            layers.append(layer)
            outputs = layer.outputs
    return [*stages, Stage(tuple(layers), inputs, outputs, None)]


def _flat(model: nn.Sequential, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested `nn.Sequential`, each with its place and type for errors."""
    if type(model).forward is not nn.Sequential.forward:
        where = f"layer {prefix[:-1]}" if prefix else "the network"
        raise TypeError(
            f"{where} ({type(model).__name__}) has a forward method of its own, so its layers do "
            "not say what it computes: expected a plain nn.Sequential"
        )
    for key, module in enumerate(model):  # named_children() would skip a unit that stands twice
        if isinstance(module, nn.Sequential):
            yield from _flat(module, f"{prefix}{key}.")
        else:
            yield f"layer {prefix}{key} ({type(module).__name__})", module


def _unit(name: str, module: nn.Module) -> Unit | None:
    """The unit of an activation module."""
    if isinstance(module, SMOOTH):
        return Unit(name, _not_in_place(module))
    if isinstance(module, nn.LeakyReLU):
        start = float(module.negative_slope)
        bounds = [(0, 0.0, 1.0 - start)]
    elif (found := clamp_of(module)) is not None:
        (shift, low, high), slope = found  # of the pre-activation times the slope
        bounds = [(0, (low - shift) / slope, slope), (1, (high - shift) / slope, -slope)]
        start = slope if low == -math.inf else 0.0
    else:
        return None
    thresholds = tuple(Threshold(*b) for b in bounds if math.isfinite(b[1]) and b[2])
    return Unit(name, _not_in_place(module), start, thresholds)


def _not_in_place(module: nn.Module) -> nn.Module:
    module = copy.copy(module)
    if hasattr(module, "inplace"):
        vars(module)["inplace"] = False
    return module


def _affine(
    name: str,
    module: nn.Module,
    inputs: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device | str,
) -> affine.Affine | None:
    """The affine layer of a module; None for one that changes nothing."""
    try:
        match module:
            case nn.Linear():
                return affine.Linear(inputs, *_weights(module, device))
            case nn.Conv2d():
                windows = affine.Windows(
                    _pair(module.kernel_size),
                    _pair(module.stride),
                    _padding(module),
                    _pair(module.dilation),
                )
                weight, bias = _weights(module, device)
                return affine.Convolution(inputs, weight, bias, windows, module.groups)
            case nn.AvgPool2d():
                return affine.Pooling(inputs, module, device)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                return _normalisation(module, inputs, dtype, device)
            case nn.Flatten() | nn.Unflatten():
                return affine.Reshaping(inputs, tuple(module(torch.zeros(1, *inputs)).shape[1:]))
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"{name} does not take inputs of shape {inputs}: {error}") from error
    return None


def check_networks(networks: object) -> None:
    """Raises a TypeError unless these are networks that can be measured."""
    if not isinstance(networks, (Stack, nn.Sequential)):
        raise TypeError(
            f"networks: expected a Stack or an nn.Sequential, found {type(networks).__name__}: "
            "put the layers in an nn.Sequential"
        )


def _fault(module: nn.Module) -> str:
    """What keeps a module from being read, and the remedy; empty: nothing."""
    match module:
        case _ if isinstance(module, (*_DROPOUT, nn.BatchNorm1d, nn.BatchNorm2d)):
            if module.training:
                return "is in training mode: call .eval() on the network"
            if isinstance(module, _DROPOUT) or module.running_mean is not None:
                return ""
            return "has no running statistics: make it with track_running_stats=True"
        case nn.Conv2d():
            if module.padding_mode != "zeros":
                return (
                    f"pads in the mode {module.padding_mode!r}, supported is 'zeros': "
                    "pad the images before they go in"
                )
            if module.padding == "same" and any(span % 2 for span in _spans(module)):
                return "pads by 'same' for an even kernel: pad the images before they go in"
            return ""
        case nn.Flatten() | nn.Unflatten():
            axis = module.start_dim if isinstance(module, nn.Flatten) else module.dim
            return "" if axis == 1 else "changes other axes than from 1 on: use axis 1"
        case nn.Linear() | nn.AvgPool2d() | nn.Identity():
            return ""
        case nn.Softmax() | nn.LogSoftmax():
            return "is not supported: leave it out, the network's outputs are to be the logits"
    return f"is not supported; supported are {SUPPORTED}: write the network with these"


def _weights(
    module: nn.Linear | nn.Conv2d, device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    bias = None if module.bias is None else module.bias.detach().to(device)
    return module.weight.detach().to(device), bias


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = sizes
    return int(rows), int(columns)


def _spans(module: nn.Conv2d) -> list[int]:
    """Pixels from the first to the last tap of a kernel, along each axis."""
    return [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]


def _padding(module: nn.Conv2d) -> tuple[int, int]:
    """Rows and columns of zeros on either side."""
    if isinstance(module.padding, str):
        return _pair(tuple(span // 2 if module.padding == "same" else 0 for span in _spans(module)))
    return _pair(module.padding)


def _normalisation(
    module: nn.BatchNorm1d | nn.BatchNorm2d,
    inputs: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device | str,
) -> affine.Scaling:
    """Batch normalisation in evaluation, its scale and shift worked out in float64."""
    if module.running_mean is None or module.running_var is None:
        raise ValueError("it has no running statistics")
    module(module.running_mean.new_zeros(1, *inputs))  # torch checks the shape
    scale = (module.running_var.double() + module.eps).rsqrt()
    if module.weight is not None:
        scale = scale * module.weight.detach().double()
    shift = -module.running_mean.double() * scale
    if module.bias is not None:
        shift = shift + module.bias.detach().double()
    return affine.Scaling(inputs, scale.to(device), shift.to(device), dtype)
