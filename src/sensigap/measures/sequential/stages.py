"""Networks of others: an `nn.Sequential` read as affine stages and units between them.

Each affine layer becomes an object of `sequential.affine`, bound to the shape of its inputs; each
unit says where its slope changes. What is not supported is named with its place in the network.
"""

import copy
import dataclasses
import math

import torch
from torch import nn

from sensigap import modules
from sensigap.measures.sequential import affine
from sensigap.networks import clamp_of, module_fault

SUPPORTED = (
    "nn.Linear, nn.Conv2d, nn.AvgPool2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Flatten, "
    "nn.Unflatten, nn.Identity, nn.Dropout and nested nn.Sequential, all as in evaluation; "
    "the piecewise linear units nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.LeakyReLU, "
    "ClampUnit and HardSigmoid; for Jacobian norms also smooth units such as nn.Tanh or nn.GELU"
)
#: what to do with a layer that is not supported
_REMEDY = (
    "fold a layer that is affine into the one beside it; put one of these in the place of any "
    "other, as nn.AvgPool2d of nn.MaxPool2d or batch norm of nn.LayerNorm, and train again; or "
    "take the Jacobian of the network as it is by autograd, as torch.func.jacrev does"
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


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that has been read.

    Attributes:
        stages: the last one has no unit.
        dtype: of the weights, float32 or float64; float64 where there are none.
        device: of the weights; the CPU where there are none.
    """

    stages: list[Stage]
    dtype: torch.dtype
    device: torch.device


@dataclasses.dataclass(frozen=True)
class _Layer:
    """An affine layer or a unit as it was found.

    Attributes:
        place: place and type, for errors.
        module: the module.
        unit: what it is as a unit; None: it is affine.
        tensors: its weight, bias, and so on, as the next call would use them.
    """

    place: str
    module: nn.Module
    unit: Unit | None
    tensors: dict[str, torch.Tensor]


def read_network(
    model: nn.Sequential, shape: tuple[int, ...], device: torch.device | str | None = None
) -> Network:
    """A network for inputs of one shape.

    Args:
        model: affine layers and elementwise units, in `SUPPORTED`.
        shape: shape of one input, without the leading axis of points.
        device: where the weights are to be; None: where they are.

    Raises:
        TypeError: a layer is not supported, or hooks, a method of its own or a mode change what it
            computes; the weights are not all float32 or all float64; names the place.
        ValueError: a layer does not take what it is given, or has values that are not finite; names
            its place.
    """
    found = [_found(place, module) for place, module in modules.layers(model)]
    tensors = [(layer.place, values) for layer in found for values in layer.tensors.values()]
    dtype = modules.common_dtype(tensors)
    own = tensors[0][1].device if tensors else torch.device("cpu")
    stages: list[Stage] = []
    layers: list[affine.Affine] = []
    inputs = outputs = tuple(shape)
    for layer in found:
        if layer.unit is not None:
            stages.append(Stage(tuple(layers), inputs, outputs, layer.unit))
            layers, inputs = [], outputs
        elif (bound := _affine(layer, outputs, dtype, device or own)) is not None:
            layers.append(bound)
            outputs = bound.outputs
    return Network([*stages, Stage(tuple(layers), inputs, outputs, None)], dtype, own)


def read(
    model: nn.Sequential, shape: tuple[int, ...], device: torch.device | str | None = None
) -> list[Stage]:
    """The stages of `read_network`, which see."""
    return read_network(model, shape, device).stages


def _found(place: str, module: nn.Module) -> _Layer:
    """A layer and its tensors; raises if it is not supported, or not what its class says."""
    unit = _unit(place, module)
    if fault := ("" if unit is not None else _fault(module)) or module_fault(module):
        raise TypeError(f"{place} {fault}")
    tensors: dict[str, torch.Tensor | None] = {}
    match module:
        case nn.Linear() | nn.Conv2d():
            tensors["weight"], tensors["bias"] = modules.weight_and_bias(place, module)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            for name in ("weight", "bias", "running_mean", "running_var"):
                tensors[name] = modules.tensor(place, module, name)
            if tensors["running_mean"] is None or tensors["running_var"] is None:
                raise TypeError(
                    f"{place} has no running statistics: make it with track_running_stats=True"
                )
    return _Layer(place, module, unit, {k: v for k, v in tensors.items() if v is not None})


def _unit(name: str, module: nn.Module) -> Unit | None:
    """The unit of an activation module."""
    if isinstance(module, SMOOTH):
        return Unit(name, _not_in_place(module))
    if isinstance(module, nn.LeakyReLU):
        start = float(module.negative_slope)
        if not math.isfinite(start):
            raise ValueError(f"{name}: negative_slope: expected a finite number, found {start}")
        bounds = [(0, 0.0, 1.0 - start)]
    elif (found := clamp_of(module, name)) is not None:
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
    layer: _Layer, inputs: tuple[int, ...], dtype: torch.dtype, device: torch.device | str
) -> affine.Affine | None:
    """The affine layer of a module; None for one that changes nothing."""
    module = layer.module
    tensors = {name: values.to(device) for name, values in layer.tensors.items()}
    try:
        match module:
            case nn.Linear():
                return affine.Linear(inputs, tensors["weight"], tensors.get("bias"))
            case nn.Conv2d():
                return _convolution(module, inputs, tensors["weight"], tensors.get("bias"))
            case nn.AvgPool2d():
                _check_image(inputs)
                return affine.Pooling(inputs, module, device)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                return _normalisation(module, inputs, tensors, dtype)
            case nn.Flatten() | nn.Unflatten():
                zeros = torch.zeros(1, *inputs, dtype=torch.float64, device="cpu")
                return affine.Reshaping(inputs, tuple(module(zeros).shape[1:]))
    except (RuntimeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{layer.place} does not take inputs of shape {inputs}: {reason}"
        ) from error
    return None


def _check_image(inputs: tuple[int, ...]) -> None:
    """Raises a ValueError unless inputs are images: torch takes others for one without a batch."""
    if len(inputs) != 3:
        raise ValueError("expected (channel, row, column) for each point")


def _fault(module: nn.Module) -> str:
    """What keeps a module from being read, and the remedy; empty: nothing."""
    match module:
        case _ if isinstance(module, _DROPOUT):
            # without any chance it does nothing in training either
            if module.training and module.p != 0:
                return "is in training mode: call .eval() on the network"
            return ""
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            if module.training:
                return "is in training mode: call .eval() on the network"
            return ""
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
    return f"is not supported; supported are {SUPPORTED}: {_REMEDY}"


def _convolution(
    module: nn.Conv2d, inputs: tuple[int, ...], weight: torch.Tensor, bias: torch.Tensor | None
) -> affine.Convolution:
    _check_image(inputs)
    kernel = _pair(module.kernel_size)
    if tuple(weight.shape[2:]) != kernel:
        raise ValueError(f"its kernel_size is {kernel}, its weight's {tuple(weight.shape[2:])}")
    windows = affine.Windows(kernel, _pair(module.stride), _padding(module), _pair(module.dilation))
    return affine.Convolution(inputs, weight, bias, windows, module.groups)


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
    tensors: dict[str, torch.Tensor],
    dtype: torch.dtype,
) -> affine.Scaling:
    """Batch normalisation in evaluation, its scale and shift worked out in float64."""
    axes = (3,) if isinstance(module, nn.BatchNorm2d) else (1, 2)
    mean, variance = tensors["running_mean"].double(), tensors["running_var"].double()
    if len(inputs) not in axes or inputs[0] != len(mean):
        raise ValueError(
            f"expected {len(mean)} channels and {' or '.join(map(str, axes))} axes for each point"
        )
    scale = (variance + module.eps).rsqrt()
    if not bool(scale.isfinite().all()):
        raise ValueError("running_var + eps: expected positive values, found others")
    if "weight" in tensors:
        scale = scale * tensors["weight"].double()
    shift = -mean * scale
    if "bias" in tensors:
        shift = shift + tensors["bias"].double()
    return affine.Scaling(inputs, scale, shift, dtype)
