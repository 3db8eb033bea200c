"""Stacks: same-shaped fully-connected networks along a leading axis, with clamp units.

A hidden layer computes phi(z) with z = x W + b and phi(z) = min(max(z + shift, low), high); ReLU,
ReLU6, HardTanh and HardSigmoid are all of this form (STUDY, 'Networks'), so that networks with
different units stand in one stack. The last layer is linear; its outputs are the logits.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import nn

from sensigap import modules, seeds
from sensigap.isolation import isolated
from sensigap.spec import NetworkSpec
from sensigap.units import UNITS, Clamp


@dataclasses.dataclass
class Stack:
    """Networks of one shape: the weights of layer l are one tensor (network, inputs, outputs).

    Attributes:
        weights: one tensor (network, inputs, outputs) a layer, the last one giving the logits.
        biases: one tensor (network, outputs) a layer.
        shift, low, high: the hidden units' clamps, float64 tensors (network, hidden layer).
    """

    weights: list[torch.Tensor]
    biases: list[torch.Tensor]
    shift: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __len__(self) -> int:
        return self.weights[0].shape[0]

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return len(self.weights) - 1

    @property
    def inputs(self) -> int:
        """Dimension d of an input."""
        return self.weights[0].shape[1]

    @property
    def classes(self) -> int:
        """Number of logits C."""
        return self.weights[-1].shape[2]

    @property
    def widths(self) -> tuple[int, ...]:
        """Units in each hidden layer."""
        return tuple(w.shape[2] for w in self.weights[:-1])

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return self.weights[0].dtype

    @property
    def device(self) -> torch.device:
        """The weights' device."""
        return self.weights[0].device

    @property
    def parameters(self) -> int:
        """Number of weights and biases of one network."""
        return sum(
            w[0].numel() + b[0].numel() for w, b in zip(self.weights, self.biases, strict=True)
        )

    def select(self, networks: slice | Sequence[int]) -> "Stack":
        """The stack of some of the networks; a slice shares memory, a list of indices copies."""
        index = networks if isinstance(networks, slice) else list(networks)
        return Stack(
            [w[index] for w in self.weights],
            [b[index] for b in self.biases],
            self.shift[index],
            self.low[index],
            self.high[index],
        )

    def to(self, target: torch.dtype | torch.device | str) -> "Stack":
        """The stack with weights in another dtype or on another device; the clamps stay float64."""
        place = target if not isinstance(target, torch.dtype) else self.device
        return Stack(
            [w.to(target) for w in self.weights],
            [b.to(target) for b in self.biases],
            self.shift.to(place),
            self.low.to(place),
            self.high.to(place),
        )

    def clamp(self, layer: int, z: torch.Tensor) -> torch.Tensor:
        """Phi of hidden layer `layer` at pre-activations z (network, point, width)."""
        shift, low, high = (
            bound[:, layer, None, None].to(z.dtype) for bound in (self.shift, self.low, self.high)
        )
        return torch.minimum(torch.maximum(z + shift, low), high)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (network, point, C) at points x: (point, d), or (network, point, d)."""
        h = x.expand(len(self), *x.shape[-2:])
        for l, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = torch.baddbmm(b[:, None, :], h, w)
            h = self.clamp(l, z) if l < self.depth else z
        return h

    def sequential(self, network: int) -> nn.Sequential:
        """One network as `nn.Sequential` of `nn.Linear` and `ClampUnit`, its weights copied."""
        layers: list[nn.Module] = []
        for l, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            # without initial weights, which would draw from the caller's generator
            linear = nn.utils.skip_init(
                nn.Linear, w.shape[1], w.shape[2], device=w.device, dtype=w.dtype
            )
            with torch.no_grad():
                linear.weight.copy_(w[network].T)
                linear.bias.copy_(b[network])
            layers.append(linear)
            if l < self.depth:
                bounds = (float(v[network, l]) for v in (self.shift, self.low, self.high))
                layers.append(ClampUnit(*bounds))
        return nn.Sequential(*layers)


class ClampUnit(nn.Module):
    """phi(z) = min(max(z + shift, low), high), elementwise."""

    def __init__(self, shift: float, low: float, high: float) -> None:
        super().__init__()
        self.bounds = Clamp(shift, low, high)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Applies the unit elementwise."""
        return (z + self.bounds.shift).clamp(self.bounds.low, self.bounds.high)

    def extra_repr(self) -> str:
        """The bounds, for `print(module)`."""
        return ", ".join(f"{name}={value}" for name, value in self.bounds._asdict().items())


class HardSigmoid(ClampUnit):
    """This study's HardSigmoid, min(max(z + 1/2, 0), 1): slope 1, unlike `nn.Hardsigmoid`'s 1/6."""

    def __init__(self) -> None:
        super().__init__(*UNITS["hardsigmoid"])


def clamps(specs: Sequence[NetworkSpec]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Shift, low and high of the units of specs of one depth, (network, hidden layer) each."""
    bounds = torch.tensor([UNITS[spec.unit] for spec in specs], dtype=torch.float64, device="cpu")
    shift, low, high = (b[:, None].repeat(1, specs[0].depth) for b in bounds.unbind(1))
    return shift, low, high


def weights_dtype(precision: str) -> torch.dtype:
    """The dtype of the weights at one of `spec.PRECISIONS`."""
    return torch.float64 if precision == "float64" else torch.float32


def initial(specs: Sequence[NetworkSpec], inputs: int, classes: int) -> Stack:
    """The untrained networks of same-shaped specs, each from its own seed.

    Weights are N(0, gain^2 / fan_in), biases 0 (STUDY, 'Networks'). Draws are made in float64 and
    rounded to the spec's precision, layer by layer, so they do not depend on the company.

    Args:
        specs: specs of one depth, width and precision.
        inputs: dimension d of an input.
        classes: number of logits C.

    Raises:
        ValueError: the specs differ in shape or precision.
    """
    shapes = {(spec.depth, spec.width, spec.precision) for spec in specs}
    if len(shapes) != 1:
        raise ValueError(
            f"a stack holds networks of one depth, width and precision, found {sorted(shapes)}: "
            "group the specs first"
        )
    depth, width, precision = shapes.pop()
    dtype = weights_dtype(precision)
    sizes = [inputs, *[width] * depth, classes]
    weights = []
    for l, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        layer = np.empty((len(specs), fan_in, fan_out))
        for k, spec in enumerate(specs):
            draws = seeds.generator(spec.seed, "initial weights", l)
            layer[k] = draws.standard_normal((fan_in, fan_out)) * (spec.gain / math.sqrt(fan_in))
        weights.append(torch.from_numpy(layer).to(dtype))
    biases = [torch.zeros(len(specs), size, dtype=dtype, device="cpu") for size in sizes[1:]]
    return Stack(weights, biases, *clamps(specs))


@isolated()
def from_sequential(networks: nn.Sequential | Sequence[nn.Sequential]) -> Stack:
    """A stack from one `nn.Sequential`, or from a list of same-shaped ones.

    Supported are `nn.Linear` followed each by one of `nn.ReLU`, `nn.ReLU6`, `nn.Hardtanh`,
    `nn.Hardsigmoid`, `ClampUnit` or `HardSigmoid`, and a last `nn.Linear` that gives the logits;
    nested `nn.Sequential` of these too. Weights are copied, as the next call of the network would
    use them: with weight norm, spectral norm in evaluation, pruning and parametrisations.
    `nn.Hardsigmoid` has slope 1/6: the layer before it is scaled by 1/6.

    Raises:
        TypeError: something is no `nn.Sequential`, a layer is not supported, or hooks, a method of
            its own or a mode change what it computes; weights are not all float32 or all float64.
            Names its place.
        ValueError: the layers' order or the networks' shapes do not fit, or weights are not finite.
    """
    # nn.Sequential is itself iterable, so it is told apart by type
    if isinstance(networks, nn.Sequential):
        named = [("network", networks)]
    else:
        single = isinstance(networks, nn.Module) and not isinstance(networks, nn.ModuleList)
        if single or not isinstance(networks, Iterable):
            modules.check_network(networks, "networks")
        named = [(f"networks[{k}]", network) for k, network in enumerate(networks)]
        for name, network in named:
            modules.check_network(network, name)
    if not named:
        raise ValueError("from_sequential needs at least one network, found an empty list")
    read = [_affine_and_clamps(network, name) for name, network in named]
    shapes = [[tuple(w.shape) for w, _, _ in layers] for layers in read]
    places = [(layers[0][0].dtype, layers[0][0].device) for layers in read]
    for k, (shape, place) in enumerate(zip(shapes, places, strict=True)):
        if shape != shapes[0]:
            raise ValueError(
                f"networks of a stack need one shape: network 0 has layers {shapes[0]}, "
                f"network {k} has {shape}; make one stack a shape"
            )
        if place != places[0]:
            raise TypeError(
                "networks of a stack need one dtype and device: network 0 has "
                f"{', '.join(map(str, places[0]))}, network {k} has {', '.join(map(str, place))}: "
                "call .to() on them"
            )
    depth = len(read[0]) - 1
    clamps = torch.tensor(
        [[layer[2] for layer in layers[:-1]] for layers in read], dtype=torch.float64
    )
    clamps = clamps.reshape(len(read), depth, 3).to(read[0][0][0].device)
    return Stack(
        [torch.stack([layers[l][0] for layers in read]) for l in range(depth + 1)],
        [torch.stack([layers[l][1] for layers in read]) for l in range(depth + 1)],
        *(bound.contiguous() for bound in clamps.unbind(2)),
    )


_SUPPORTED = "nn.Linear, nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, ClampUnit and HardSigmoid"


def module_fault(module: nn.Module) -> str:
    """`modules.fault` of a layer, which may also be a unit of this module."""
    return modules.fault(module, (ClampUnit, HardSigmoid))


def clamp_of(module: nn.Module, place: str) -> tuple[Clamp, float] | None:
    """The clamp of an activation module and the factor by which to scale the layer before it.

    Raises:
        ValueError: its bounds are none; names its place.
    """
    scale = 1.0
    match module:
        case ClampUnit():
            clamp = module.bounds
        case nn.Hardtanh():  # nn.ReLU6 is one
            clamp = Clamp(0.0, float(module.min_val), float(module.max_val))
        case nn.Hardsigmoid():
            clamp, scale = UNITS["hardsigmoid"], 1.0 / 6.0
        case nn.ReLU():
            clamp = UNITS["relu"]
        case _:
            return None
    if not (math.isfinite(clamp.shift) and clamp.low < clamp.high):
        raise ValueError(
            f"{place}: expected a finite shift and a lower bound below the upper one, found "
            f"{tuple(clamp)}"
        )
    return clamp, scale


def _affine_and_clamps(
    network: nn.Sequential, name: str
) -> list[tuple[torch.Tensor, torch.Tensor, Clamp]]:
    """Layers (weight (in, out), bias (out), clamp) of a network; the last clamp is unused."""
    layers: list[tuple[torch.Tensor, torch.Tensor, Clamp]] = []
    tensors: list[tuple[str, torch.Tensor]] = []
    expects_linear = True
    for place, module in modules.layers(network, name):
        found = clamp_of(module, place)
        if found is None and not isinstance(module, nn.Linear):
            raise TypeError(
                f"{place} is not supported in a stack; supported are {_SUPPORTED}. Networks of "
                "other layers are measured one by one: give the nn.Sequential itself to "
                "sensigap.measures.jacobian_norm or .transitions"
            )
        if fault := module_fault(module):
            raise TypeError(f"{place} {fault}")
        if found is None:
            if not expects_linear:
                raise ValueError(f"{place}: expected an activation after a Linear layer")
            weight, bias = modules.weight_and_bias(place, module)
            tensors += [(place, v) for v in (weight, bias) if v is not None]
            if layers and layers[-1][0].shape[1] != weight.shape[1]:
                raise ValueError(
                    f"{place} takes {weight.shape[1]} values, the layer before gives "
                    f"{layers[-1][0].shape[1]}: expected the same"
                )
            weight = weight.T.contiguous()
            bias = weight.new_zeros(weight.shape[1]) if bias is None else bias.clone()
            layers.append((weight, bias, Clamp(0.0, -math.inf, math.inf)))
        else:
            if expects_linear:
                raise ValueError(f"{place}: expected a Linear layer before an activation")
            weight, bias, _ = layers[-1]
            clamp, scale = found
            layers[-1] = (
                (weight * scale, bias * scale, clamp) if scale != 1.0 else (weight, bias, clamp)
            )
        expects_linear = found is not None
    if not layers or expects_linear:
        raise ValueError(f"{name}: the last layer must be a Linear layer that gives the logits")
    modules.common_dtype(tensors)
    return layers
