"""Networks that are not what their layers say: measured as `network(x)` computes, or refused.

Every network of the tables is measured by itself and as a stack. Either its numbers are those of
autograd through `network(x)`, or the error names the place and what to do. No measure changes it.
"""

import contextlib
import dataclasses
import functools
import math
import random
import warnings
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrizations, parametrize, prune

from sensigap.measures import (
    complexity,
    crossings,
    ellipse_crossings,
    ellipse_transitions,
    jacobian_norm,
    jacobian_rows,
    measure_points,
    part_lengths,
    transitions,
    transitions_along,
)
from sensigap.measures.partition import partition
from sensigap.measures.sharpness import sharpness, weight_noise
from sensigap.measures.slices import last_boundaries, predicted_classes
from sensigap.networks import ClampUnit, HardSigmoid, Stack, from_sequential

RIGHT = None
#: tolerance against autograd in the network's own dtype
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


def mlp(*, unit=nn.ReLU, dtype=torch.float64, classes=3, bias=True):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 8, bias=bias), unit(), nn.Linear(8, 8, bias=bias), unit()]
    return nn.Sequential(*layers, nn.Linear(8, classes, bias=bias)).to(dtype)


def images_network(*layers, dtype=torch.float64):
    """Layers on images (2, 6, 6), between a convolution and a linear one."""
    torch.manual_seed(0)
    head = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), *layers, nn.Flatten())
    head.to(dtype)
    head.eval()
    with torch.no_grad():
        outputs = head(torch.zeros(1, 2, 6, 6, dtype=dtype)).shape[1]
    return nn.Sequential(*head, nn.Linear(outputs, 3).to(dtype))


def points(network, count=4):
    """Points of the shape that the network takes."""
    images = any(isinstance(layer, nn.Conv2d) for layer in network.modules())
    shape = (2, 6, 6) if images else (6,)
    dtype = next((p.dtype for p in network.parameters()), torch.float64)
    values = np.random.default_rng(3).normal(size=(count, *shape))
    return torch.from_numpy(values).to(torch.float64 if dtype.is_complex else dtype)


def paths(network):
    return torch.stack([points(network, 3), points(network, 9)[4:7], points(network, 12)[9:]], 1)


def softmax_rows(network, x):
    """Jacobians (point, class, *shape) of the softmax by autograd through the network's call."""
    rows = []
    for values in x:
        point = values.clone().requires_grad_(True)
        f = torch.softmax(network(point[None])[0], 0)
        of_class = [torch.autograd.grad(v, point, retain_graph=True)[0] for v in f]
        rows.append(torch.stack(of_class))
    return torch.stack(rows).double()


def sampled(network, path, samples=2**13):
    """Transitions of ReLU layers on a closed path, by sampling calls of the layers."""
    here = torch.arange(len(path) * samples, dtype=torch.float64) / samples
    edge = here.long()
    share = (here - edge).reshape(-1, *[1] * (path.ndim - 1))
    h = torch.lerp(path[edge].double(), path.roll(-1, 0)[edge].double(), share).to(path.dtype)
    total = 0
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.ReLU):
                sides = (h > 0).flatten(1)
                total += int((sides != sides.roll(-1, 0)).sum())
            h = layer(h)
    return total


def tensors_of(module):
    """Every tensor that a module holds itself: parameters, buffers and plain attributes."""
    held = {**module._parameters, **module._buffers, **vars(module)}
    return {k: v for k, v in held.items() if isinstance(v, torch.Tensor)}


def snapshot(network):
    """All that measuring must leave alone: of the network, and the state of all generators."""
    found = []
    for name, module in network.named_modules(remove_duplicate=False):
        tensors = {
            key: (
                v.detach().clone().to_dense(),
                v.requires_grad,
                v.is_leaf and v.grad,
                v.dtype,
                type(v),
            )
            for key, v in tensors_of(module).items()
            if v.device.type != "meta" and not isinstance(v, nn.UninitializedParameter)
        }
        hooks = [len(v) for k, v in sorted(vars(module).items()) if k.endswith("_hooks") and v]
        found.append((name, type(module), module.training, sorted(vars(module)), hooks, tensors))
    return found, (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # noqa: NPY002


def assert_same(before, after):
    (modules, generators), (modules_after, generators_after) = before, after
    for one, other in zip(modules, modules_after, strict=True):
        assert one[:-1] == other[:-1]
        assert one[-1].keys() == other[-1].keys()
        for key, (values, *rest) in one[-1].items():
            values_after, *rest_after = other[-1][key]
            assert torch.equal(values.nan_to_num(7), values_after.nan_to_num(7)), key
            assert rest == rest_after
    assert torch.equal(generators[0], generators_after[0])
    assert np.array_equal(generators[1], generators_after[1])
    assert generators[2] == generators_after[2]


# ------------------------------------------------------------------------------ the networks


def changed(change, make=mlp):
    """A function that makes a network and changes it."""

    def made():
        network = make()
        found = change(network)
        return found if isinstance(found, nn.Sequential) else network

    return made


def halved(module, arguments):
    return (arguments[0] / 2,)


def halved_with_kwargs(module, arguments, kwargs):
    return (arguments[0] / 2,), kwargs


def doubled(module, arguments, output):
    return 2 * output


def silent(module, *arguments):
    return None


def doubled_gradient(module, inputs, outputs):
    return tuple(2 * v for v in inputs)


def doubled_gradient_before(module, outputs):
    return tuple(2 * v for v in outputs)


class OwnForward(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class OwnCall(nn.ReLU):
    def __call__(self, x):
        return x.square()


class OwnCallImpl(nn.ReLU):
    def _call_impl(self, x):
        return x.square()


class OwnConvolution(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return 2 * super()._conv_forward(x, weight, bias)


class OwnAttributes(nn.Linear):
    def __getattr__(self, name):
        found = super().__getattr__(name)
        return 2 * found if name == "weight" else found


class AnyAttributes(nn.Linear):
    def __getattribute__(self, name):
        return super().__getattribute__(name)


class OwnStats(nn.BatchNorm2d):
    @property
    def training(self):
        return False

    @training.setter
    def training(self, mode):
        pass

    @property
    def eps(self):
        return 3.0

    @eps.setter
    def eps(self, value):
        pass


class Plain(nn.Linear):
    """Only a name and a constructor of its own."""

    def __init__(self):
        super().__init__(8, 8)

    def extra_repr(self):
        return "plain"


class Backwards(nn.Sequential):
    def __iter__(self):
        return reversed(list(super().__iter__()))


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


class Block(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(8, 8), nn.ReLU())


class Symmetric(nn.Module):
    def forward(self, w):
        return (w + w.T) / 2


class Dropped(nn.Module):
    def forward(self, w):
        return nn.functional.dropout(w, 0.5, self.training)


class Counting(nn.Module):
    """Another weight each time, though no tensor says so."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, w):
        self.calls += 1
        return w * self.calls


def set_forward(network):
    network[2].forward = lambda x: x[:, :8] * 3


def set_container_forward(network):
    network.forward = lambda x: nn.Sequential.forward(network, x) * 3


@functools.wraps(nn.ReLU.forward)
def wrapped_forward(self, x):
    return x.square()


def deprecated(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def weight_normed(network):
    deprecated(nn.utils.weight_norm, network[2])
    with torch.no_grad():
        network[2].weight_g.mul_(5)  # .weight is stale until the next call


def weight_normed_bias_pruned(network):
    prune.random_unstructured(network[2], "bias", 0.5)
    weight_normed(network)


def spectral_normed(network):
    deprecated(nn.utils.spectral_norm, network[2])
    network.eval()
    with torch.no_grad():
        network[2].weight_orig[0].mul_(5)


def pruned(network):
    prune.l1_unstructured(network[2], "weight", 0.4)
    with torch.no_grad():
        network[2].weight_orig.mul_(3)


def pruned_twice(network):
    prune.l1_unstructured(network[2], "weight", 0.3)
    prune.random_unstructured(network[2], "weight", 0.3)
    prune.random_unstructured(network[2], "bias", 0.3)
    with torch.no_grad():
        network[2].weight_orig.mul_(3)
        network[2].bias_orig.add_(1)


class OwnPruning(prune.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        return default_mask

    def apply_mask(self, module):
        return 3 * super().apply_mask(module)


def parametrised(parametrization, name="weight", place=2):
    return lambda network: (
        parametrize.register_parametrization(network[place], name, parametrization()) and None
    )


def with_buffers(network):
    network.eval()
    rng = np.random.default_rng(0)
    for layer in network:
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.copy_(torch.from_numpy(rng.normal(size=len(layer.running_mean))))
            layer.running_var.copy_(torch.from_numpy(rng.uniform(1, 2, len(layer.running_var))))


def pruned_normalisation(network):
    with_buffers(network)
    prune.random_unstructured(network[2], "weight", 0.5)
    with torch.no_grad():
        network[2].weight_orig.mul_(2)


def spoilt(value, place, name):
    def spoil(network):
        with torch.no_grad():
            tensors_of(network[place])[name].view(-1)[1] = value

    return spoil


def plain_tensor(network):
    weight = network[2].weight.detach()
    del network[2].weight
    network[2].weight = weight * 2


def sparse(network):
    network[2].weight = nn.Parameter(network[2].weight.detach().to_sparse())


class Doubling(torch.Tensor):
    """Counts twice wherever it is used."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            plain = [2 * v.as_subclass(torch.Tensor) if type(v) is cls else v for v in args]
            return function(*plain, **(kwargs or {}))


def own_operations(network):
    weight = network[2].weight.detach().as_subclass(Doubling)
    del network[2].weight
    vars(network[2])["weight"] = weight


def shared():
    layer, unit = nn.Linear(6, 6).double(), nn.ReLU()
    return nn.Sequential(layer, unit, layer, unit, layer)


def shared_parametrised():
    network = shared()
    parametrizations.weight_norm(network[0])
    return network


def nested():
    network = mlp()
    return nn.Sequential(network[:2], nn.Sequential(nn.Sequential(network[2])), *network[3:])


def named():
    return nn.Sequential(OrderedDict(first=nn.Linear(6, 4), unit=nn.ReLU(), last=nn.Linear(4, 3)))


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, and what becomes of it: RIGHT, or what the error says.

    Attributes:
        make: makes it.
        alone, stacked: measured by itself, and as a stack.
    """

    make: Callable
    alone: str | None = RIGHT
    stacked: str | None = RIGHT

    @classmethod
    def refused(cls, make, message):
        return cls(make, message, message)


NO_STACK = "is not supported in a stack"
OWN = "has a forward method of its own"
CASES = {
    # hooks
    **{
        f"{name} on {where}": Case.refused(
            changed(lambda n, k=kind, h=hook, p=place: getattr(p(n), f"register_{k}")(h)),
            rf"^{there}.* has a {name} \({hook.__name__}\).*: remove it by its handle",
        )
        for name, kind, hook in (
            ("forward hook", "forward_hook", doubled),
            ("forward pre-hook", "forward_pre_hook", halved),
            ("backward hook", "full_backward_hook", doubled_gradient),
            ("backward pre-hook", "full_backward_pre_hook", doubled_gradient_before),
            ("forward hook", "forward_hook", silent),
        )
        for where, place, there in (
            ("a layer", lambda n: n[2], r"network\[2\] \(Linear\)"),
            ("a unit", lambda n: n[1], r"network\[1\] \(ReLU\)"),
            ("the container", lambda n: n, r"network \(Sequential\)"),
        )
    },
    "hook with kwargs": Case.refused(
        changed(lambda n: n[0].register_forward_pre_hook(halved_with_kwargs, with_kwargs=True)),
        r"network\[0\] \(Linear\) has a forward pre-hook",
    ),
    "hook on a nested container": Case.refused(
        changed(lambda n: n[1].register_forward_hook(doubled), nested),
        r"network\[1\] \(Sequential\) has a forward hook",
    ),
    "hook on a nested layer": Case.refused(
        changed(lambda n: n[1][0][0].register_forward_hook(doubled), nested),
        r"network\[1\]\[0\]\[0\] \(Linear\) has a forward hook",
    ),
    "hook on flatten": Case(
        changed(
            lambda n: n[2].register_forward_hook(doubled), lambda: images_network(nn.Identity())
        ),
        r"network\[2\] \(Identity\) has a forward hook",
        NO_STACK,
    ),
    # methods of their own
    "own forward": Case.refused(
        changed(lambda n: n.__setitem__(2, OwnForward(8, 8).double())),
        rf"network\[2\] \(OwnForward\) {OWN}.*: use the plain layer",
    ),
    "own call": Case.refused(
        changed(lambda n: n.__setitem__(1, OwnCall())), rf"network\[1\] \(OwnCall\) {OWN}"
    ),
    "own call within the call": Case.refused(
        changed(lambda n: n.__setitem__(1, OwnCallImpl())), rf"network\[1\] \(OwnCallImpl\) {OWN}"
    ),
    "own convolution": Case(
        lambda: images_network(OwnConvolution(4, 2, 1)),
        rf"network\[2\] \(OwnConvolution\) {OWN}",
        NO_STACK,
    ),
    "own attributes": Case.refused(
        changed(lambda n: n.__setitem__(2, OwnAttributes(8, 8).double())),
        rf"network\[2\] \(OwnAttributes\) {OWN}",
    ),
    "all attributes its own": Case.refused(
        changed(lambda n: n.__setitem__(2, AnyAttributes(8, 8).double())),
        rf"network\[2\] \(AnyAttributes\) {OWN}",
    ),
    "own properties": Case(
        changed(with_buffers, lambda: images_network(OwnStats(4))), RIGHT, NO_STACK
    ),
    "forward set on a layer": Case.refused(changed(set_forward), rf"network\[2\] \(Linear\) {OWN}"),
    "forward set on the container": Case.refused(
        changed(set_container_forward), rf"network \(Sequential\) {OWN}"
    ),
    "own order": Case.refused(lambda: Backwards(*mlp()), rf"network \(Backwards\) {OWN}"),
    "own container": Case.refused(
        lambda: nn.Sequential(Residual(nn.Linear(6, 6)), nn.ReLU(), nn.Linear(6, 2)).double(),
        rf"network\[0\] \(Residual\) {OWN}",
    ),
    "plain subclasses": Case(
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), Block(), Plain()).double()
    ),
    # other ways to be called
    "compiled in place": Case.refused(
        changed(lambda n: n[2].compile(backend="eager")),
        r"network\[2\] \(Linear\) calls compiled code.*copy\.deepcopy",
    ),
    "container compiled in place": Case.refused(
        changed(lambda n: n.compile(backend="eager")),
        r"network \(Sequential\) calls compiled code",
    ),
    "compiled layer": Case.refused(
        changed(lambda n: n.__setitem__(2, torch.compile(n[2], backend="eager"))),
        r"network\[2\] \(OptimizedModule\) is not supported",
    ),
    "a layer that is None": Case.refused(
        changed(lambda n: n.add_module("5", None)), r"network\[5\] is None"
    ),
    "lazy": Case.refused(
        lambda: nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 2)),
        r"network\[0\] \(LazyLinear\) has no weights yet: call the network once",
    ),
    "lazy no more": Case(
        changed(
            lambda n: n(torch.zeros(1, 6)) is None,
            lambda: nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 2)),
        )
    ),
    # weights made anew at each call
    "weight norm, old": Case(changed(weight_normed)),
    "weight norm, old, pruned bias": Case(changed(weight_normed_bias_pruned)),
    "weight norm, old, pruned": Case.refused(
        changed(lambda n: [weight_normed(n), prune.identity(n[2], "weight_v")]),
        r"network\[2\] \(Linear\) has a forward pre-hook",
    ),
    "spectral norm, old": Case(changed(spectral_normed)),
    "spectral norm, old, in training": Case.refused(
        changed(lambda n: deprecated(nn.utils.spectral_norm, n[2]) is None),
        r"network\[2\] \(Linear\) has spectral norm in training mode.*call \.eval\(\)",
    ),
    "weight norm": Case(changed(lambda n: parametrizations.weight_norm(n[2]) is None)),
    "orthogonal": Case(changed(lambda n: parametrizations.orthogonal(n[2]) is None)),
    "spectral norm": Case(
        changed(lambda n: parametrizations.spectral_norm(n[2]) is None or n.eval())
    ),
    "spectral norm in training": Case.refused(
        changed(lambda n: parametrizations.spectral_norm(n[2]) is None),
        r"network\[2\] \(Linear\): weight is parametrised and changes.*_SpectralNorm.*\.eval\(\)",
    ),
    "own parametrisation": Case(changed(parametrised(Symmetric))),
    "parametrised bias": Case(changed(parametrised(nn.Tanh, "bias"))),
    "two parametrisations": Case(
        changed(lambda n: [parametrised(p)(n) for p in (Symmetric, nn.Tanh)] and None)
    ),
    "random parametrisation in training": Case.refused(
        changed(parametrised(Dropped)), r"network\[2\] \(Linear\): weight is parametrised"
    ),
    "random parametrisation in evaluation": Case(
        changed(lambda n: parametrised(Dropped)(n) or n.eval())
    ),
    "parametrisation that counts": Case.refused(
        changed(parametrised(Counting)), r"network\[2\] \(Linear\): weight is parametrised"
    ),
    "pruned": Case(changed(pruned)),
    "pruned twice, and the bias": Case(changed(pruned_twice)),
    "pruned in its own way": Case.refused(
        changed(lambda n: OwnPruning.apply(n[2], "weight") is None),
        r"network\[2\] \(Linear\) has a forward pre-hook \(OwnPruning\)",
    ),
    "pruned normalisation": Case(
        changed(pruned_normalisation, lambda: images_network(nn.BatchNorm2d(4))), RIGHT, NO_STACK
    ),
    "a plain tensor for a weight": Case(changed(plain_tensor)),
    # modes
    "batch norm in training": Case(
        lambda: images_network(nn.BatchNorm2d(4)).train(),
        r"network\[2\] \(BatchNorm2d\) is in training mode: call \.eval\(\)",
        NO_STACK,
    ),
    "batch norm": Case(
        changed(with_buffers, lambda: images_network(nn.BatchNorm2d(4))), RIGHT, NO_STACK
    ),
    "batch norm without weights": Case(
        changed(with_buffers, lambda: images_network(nn.BatchNorm2d(4, affine=False))),
        RIGHT,
        NO_STACK,
    ),
    "dropout in training": Case(
        lambda: nn.Sequential(*mlp()[:2], nn.Dropout(0.1), *mlp()[2:]),
        r"network\[2\] \(Dropout\) is in training mode",
        NO_STACK,
    ),
    "dropout of nothing in training": Case(
        lambda: nn.Sequential(*mlp()[:2], nn.Dropout(0.0), *mlp()[2:]), RIGHT, NO_STACK
    ),
    "dropout": Case(
        lambda: nn.Sequential(*mlp()[:2], nn.Dropout(0.1), *mlp()[2:]).eval(), RIGHT, NO_STACK
    ),
    # values
    **{
        f"{value} in {name} of layer {place}": Case(
            changed(spoilt(value, place, name), make),
            rf"network\[{place}\] \(.*\): {name}: expected finite values, found 1 of \d+",
            NO_STACK if make is not mlp else rf"network\[{place}\] \(Linear\): {name}: expected",
        )
        for value in (math.nan, math.inf, -math.inf)
        for place, name, make in (
            (0, "weight", mlp),
            (4, "weight", mlp),
            (4, "bias", mlp),
            (2, "running_mean", lambda: images_network(nn.BatchNorm2d(4))),
            (2, "running_var", lambda: images_network(nn.BatchNorm2d(4))),
        )
    },
    "negative variance": Case(
        changed(spoilt(-1.0, 2, "running_var"), lambda: images_network(nn.BatchNorm2d(4))),
        r"network\[2\] \(BatchNorm2d\).*running_var \+ eps: expected positive",
        NO_STACK,
    ),
    "NaN slope": Case(
        lambda: mlp(unit=lambda: nn.LeakyReLU(math.nan)),
        r"network\[1\] \(LeakyReLU\): negative_slope: expected a finite number",
        NO_STACK,
    ),
    "bounds the wrong way round": Case.refused(
        lambda: mlp(unit=lambda: ClampUnit(0.0, 1.0, -1.0)),
        r"network\[1\] \(ClampUnit\): .* lower bound below the upper one",
    ),
    "sparse weight": Case.refused(
        changed(sparse), r"network\[2\] \(Linear\): weight: expected a dense tensor.*to_dense"
    ),
    "weight with operations of its own": Case.refused(
        changed(own_operations),
        r"network\[2\] \(Linear\): weight: expected a plain torch.Tensor, found Doubling",
    ),
    "meta": Case.refused(
        lambda: mlp().to("meta"), r"network\[0\] \(Linear\): weight: expected values, found none"
    ),
    # dtypes
    **{
        f"{dtype}": Case.refused(
            lambda d=dtype: mlp(dtype=d),
            rf"network\[0\] \(Linear\) is {dtype}: .*found {dtype}: call \.float\(\)",
        )
        for dtype in (torch.float16, torch.bfloat16)
    },
    "complex": Case.refused(
        lambda: deprecated(mlp, dtype=torch.complex64),
        r"network\[0\] \(Linear\): weight: expected real numbers, found torch\.complex64",
    ),
    "one half-precision layer": Case.refused(
        changed(lambda n: n[2].half() is None, lambda: mlp(dtype=torch.float32)),
        r"network\[2\] \(Linear\) is torch\.float16",
    ),
    "mixed dtypes": Case.refused(
        changed(lambda n: n[4].float() is None), r"network\[4\] \(Linear\) is torch\.float32"
    ),
    "mixed buffers": Case(
        changed(
            lambda n: setattr(n[2], "running_mean", n[2].running_mean.float()),
            lambda: images_network(nn.BatchNorm2d(4)),
        ),
        r"network\[2\] \(BatchNorm2d\) is torch\.float32",
        NO_STACK,
    ),
    "no outputs": Case.refused(
        lambda: deprecated(lambda: nn.Sequential(nn.Linear(6, 0)).double()),
        r"network\[0\] \(Linear\): weight: expected at least one input and output",
    ),
    "parametrised statistics": Case(
        changed(
            parametrised(nn.Tanh, "running_mean"),
            lambda: images_network(nn.BatchNorm2d(4)),
        ),
        RIGHT,
        NO_STACK,
    ),
    # layers that are what they say
    "float32": Case(lambda: mlp(dtype=torch.float32)),
    "without biases": Case(lambda: mlp(bias=False)),
    "shared layers": Case(shared),
    "shared layers, parametrised": Case(shared_parametrised),
    "nested": Case(nested),
    "named": Case(named),
    "frozen": Case(changed(lambda n: n.requires_grad_(False))),
    "in place": Case(lambda: mlp(unit=lambda: nn.ReLU(inplace=True))),
    "hardtanh": Case(lambda: mlp(unit=lambda: nn.Hardtanh(-0.3, 2.0))),
    "torch's hard sigmoid": Case(lambda: mlp(unit=nn.Hardsigmoid)),
    "the study's hard sigmoid": Case(lambda: mlp(unit=HardSigmoid)),
    "smooth": Case(lambda: mlp(unit=nn.GELU), RIGHT, NO_STACK),
    "flatten in parts": Case(
        lambda: images_network(nn.Flatten(1, 2), nn.Flatten()), RIGHT, NO_STACK
    ),
    "flatten of later axes": Case(
        lambda: images_network(nn.Flatten(2)),
        r"network\[2\] \(Flatten\) changes other axes than from 1 on",
        NO_STACK,
    ),
    "pooling over the edge": Case(
        lambda: images_network(nn.AvgPool2d(4, 3, ceil_mode=True)), RIGHT, NO_STACK
    ),
    "pooling that counts padding": Case(
        lambda: images_network(nn.AvgPool2d(3, 2, 1, count_include_pad=True)), RIGHT, NO_STACK
    ),
    "pooling that does not": Case(
        lambda: images_network(nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)),
        RIGHT,
        NO_STACK,
    ),
    "groups, dilation, stride": Case(
        lambda: images_network(nn.Conv2d(4, 6, 3, (1, 2), (2, 1), (2, 1), groups=2)),
        RIGHT,
        NO_STACK,
    ),
    "padding 'same'": Case(
        lambda: images_network(nn.Conv2d(4, 2, 3, padding="same", dilation=2)), RIGHT, NO_STACK
    ),
    "padding 'valid'": Case(
        lambda: images_network(nn.Conv2d(4, 2, 3, padding="valid")), RIGHT, NO_STACK
    ),
    **{
        f"padding mode {mode}": Case(
            lambda m=mode: images_network(nn.Conv2d(4, 2, 3, padding=1, padding_mode=m)),
            rf"network\[2\] \(Conv2d\) pads in the mode '{mode}'",
            NO_STACK,
        )
        for mode in ("circular", "reflect", "replicate")
    },
    **{
        f"{type(layer).__name__}": Case(
            lambda layer=layer: images_network(layer),
            rf"network\[2\] \({type(layer).__name__}\) is not supported; .*: fold .* in the place"
            ".*jacrev",
            NO_STACK,
        )
        for layer in (
            *(nn.ConvTranspose2d(4, 2, 3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2)),
            *(nn.LayerNorm(6), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.PReLU()),
            *(nn.RReLU(), nn.Threshold(0.1, 0.0), nn.Hardswish(), nn.Upsample(scale_factor=2)),
        )
    },
}
IDENTIFIERS = [name for name in CASES if CASES[name].alone is RIGHT]


def test_there_are_enough_networks():
    assert len(CASES) >= 40
    assert len(IDENTIFIERS) >= 25


@pytest.mark.parametrize("name", CASES)
def test_right_or_refused_by_name_and_never_changed(name):
    case = CASES[name]
    other, network = mlp(), case.make()
    x, along = points(network), paths(network)
    measures = {
        "jacobian_norm": lambda n: jacobian_norm(n, x),
        "jacobian_rows": lambda n: jacobian_rows(n, x),
        "measure_points": lambda n: measure_points(n, x).norm("softmax"),
        "transitions": lambda n: transitions(n, along),
        "crossings": lambda n: crossings(n, along).position,
        "transitions_along": lambda n: transitions_along(n, along, 2),
    }
    before = snapshot(network)
    found = {}
    for measure, function in measures.items():
        if case.alone is not RIGHT:
            with pytest.raises((TypeError, ValueError), match=case.alone) as error:
                function(network)
            assert "\n" not in str(error.value)
        elif "smooth" not in name or not measure.startswith(("tr", "cr")):
            found[measure] = function(network)
        assert_same(before, snapshot(network))
    if case.stacked is not RIGHT:
        message = case.stacked.removeprefix("^").removeprefix("network")
        for read in (from_sequential, lambda n: from_sequential([other, n])):
            with pytest.raises((TypeError, ValueError), match=message):
                read(network)
    else:
        stack = from_sequential(network)
    assert_same(before, snapshot(network))
    if case.alone is not RIGHT:
        return
    expected = softmax_rows(network, x)  # calls the network, which may change it
    # torch's own backward pass of nn.Hardsigmoid has 1/6 in float32
    tolerance = max(TOLERANCE[x.dtype], 1e-7 if name == "torch's hard sigmoid" else 0)
    norms = expected.flatten(1).norm(dim=1)
    scale = norms.max()
    assert scale > 0
    for measure in ("jacobian_norm", "measure_points"):
        assert (found[measure] - norms).abs().max() <= tolerance * scale
    assert (found["jacobian_rows"] - expected).abs().max() <= tolerance * scale
    if "smooth" not in name:
        assert torch.equal(found["transitions"], found["transitions_along"].sum(1))
        assert len(found["crossings"]) == found["transitions"].sum()
        if all(isinstance(m, (nn.ReLU, nn.Linear)) for m in network):
            assert found["transitions"].tolist() == [sampled(network, path) for path in along]
    if case.stacked is RIGHT:
        assert (jacobian_norm(stack, x)[0] - norms).abs().max() <= tolerance * scale
        assert torch.equal(transitions(stack, along)[0], found["transitions"])


def test_a_class_of_torch_with_another_forward_is_refused(monkeypatch):
    for forward in (lambda self, x: x.square(), wrapped_forward):
        monkeypatch.setattr(nn.ReLU, "forward", forward)
        for read in (from_sequential, lambda n: jacobian_norm(n, points(n))):
            with pytest.raises(TypeError, match=rf"network\[1\] \(ReLU\) {OWN}"):
                read(mlp())


@pytest.mark.parametrize(
    ("register", "hook", "kind"),
    [
        (torch_module.register_module_forward_hook, doubled, "forward hook"),
        (torch_module.register_module_forward_pre_hook, halved, "forward pre-hook"),
        (torch_module.register_module_full_backward_hook, doubled_gradient, "backward hook"),
        (
            torch_module.register_module_full_backward_pre_hook,
            doubled_gradient_before,
            "backward pre-hook",
        ),
    ],
)
def test_hooks_on_all_modules_are_refused(register, hook, kind):
    network = mlp()
    handle = register(hook)
    try:
        for read in (
            from_sequential,
            lambda n: jacobian_norm(n, points(n)),
            lambda n: transitions(n, paths(n)),
        ):
            with pytest.raises(TypeError, match=f"network: a global {kind} .*remove it"):
                read(network)
    finally:
        handle.remove()
    assert jacobian_norm(network, points(network)).shape == (4,)


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda n: torch.compile(n, backend="eager"), r"found OptimizedModule: .*_orig_mod"),
        (
            lambda n: deprecated(torch.jit.script, n),
            "found RecursiveScriptModule: give the module from which",
        ),
        (nn.DataParallel, r"found DataParallel: .*\.module"),
        (nn.ModuleList, "found ModuleList: put the layers (of each network )?in an nn.Sequential"),
        (lambda n: [*n], "found list: put the layers (of each network )?in an nn.Sequential"),
        (lambda n: n[0], "found Linear: put the layers"),
        (lambda n: None, "found NoneType"),
    ],
)
def test_what_is_no_sequential_is_told(wrap, message):
    network = wrap(mlp())
    x, along = points(mlp()), paths(mlp())
    for measure in (
        lambda n: jacobian_norm(n, x),
        lambda n: jacobian_rows(n, x),
        lambda n: measure_points(n, x),
        lambda n: transitions(n, along),
        lambda n: crossings(n, along),
        lambda n: transitions_along(n, along),
        lambda n: ellipse_crossings(n, along[:, :3].numpy()),
        lambda n: partition(n, 0, along[0, :3].numpy(), (-1, 1, -1, 1)),
    ):
        with pytest.raises(
            TypeError, match=f"networks: expected a Stack or an nn.Sequential, {message}"
        ):
            measure(network)
    if not isinstance(network, (nn.ModuleList, list)):
        with pytest.raises(TypeError, match=f"networks: expected an nn.Sequential, {message}"):
            from_sequential(network)
    with pytest.raises(TypeError, match=rf"networks\[1\]: expected an nn.Sequential, {message}"):
        from_sequential([mlp(), network])


@pytest.mark.parametrize("kind", [list, tuple, nn.ModuleList])
def test_several_networks_are_to_be_a_stack(kind):
    one, x = mlp(), points(mlp())
    told = rf"networks: .*found {kind.__name__}: make one Stack .*from_sequential"
    for measure in (
        lambda n: jacobian_norm(n, x),
        lambda n: transitions(n, paths(one)),
        lambda n: partition(n, 0, paths(one)[0, :3].numpy(), (-1, 1, -1, 1)),
    ):
        with pytest.raises(TypeError, match=told):
            measure(kind([one, mlp()]))
    assert jacobian_norm(from_sequential(kind([one, mlp()])), x).shape == (2, len(x))


def test_a_scripted_layer_is_refused():
    network = mlp()
    network[2] = deprecated(torch.jit.script, network[2])
    for read in (from_sequential, lambda n: jacobian_norm(n, points(mlp()))):
        with pytest.raises(TypeError, match=r"network\[2\] \(RecursiveScriptModule\) is not supp"):
            read(network)


def test_cached_parametrisations_are_refused():
    network = mlp()
    parametrizations.weight_norm(network[2])
    with parametrize.cached(), torch.no_grad():
        network(points(network))
        network[2].parametrizations.weight.original0.mul_(2)
        with pytest.raises(
            TypeError, match=r"network\[2\] \(Linear\): weight .*cached\(\): measure"
        ):
            jacobian_norm(network, points(network))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.sampled_from(["old norm", "norm", "spectral", "pruned", "symmetric", "nothing"]),
        min_size=3,
        max_size=3,
    ),
    st.sampled_from([torch.float32, torch.float64]),
    st.booleans(),
    st.integers(0, 10),
)
def test_any_mixture_of_weights_made_anew(kinds, dtype, nest, seed):
    torch.manual_seed(seed)
    linear = [nn.Linear(6, 6).to(dtype) for _ in kinds]
    for layer, kind in zip(linear, kinds, strict=True):
        if kind == "old norm":
            deprecated(nn.utils.weight_norm, layer)
        elif kind == "pruned":
            prune.random_unstructured(layer, "weight", 0.3)
        elif kind == "norm":
            parametrizations.weight_norm(layer)
        elif kind == "spectral":
            parametrizations.spectral_norm(layer)
        elif kind == "symmetric":
            parametrize.register_parametrization(layer, "weight", Symmetric())
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.mul_(1.5)
    network = nn.Sequential(linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2]).eval()
    if nest:
        network = nn.Sequential(network[:3], network[3:])
    x, before = points(network), snapshot(network)
    alone, stacked = jacobian_norm(network, x), jacobian_norm(from_sequential(network), x)[0]
    assert_same(before, snapshot(network))
    norms = softmax_rows(network, x).flatten(1).norm(dim=1)
    for found in (alone, stacked):
        assert (found - norms).abs().max() <= TOLERANCE[dtype] * norms.max()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 2),
    st.sampled_from([1, 2, 4]),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1), st.booleans()),
    st.booleans(),
)
def test_any_geometry_of_convolution_and_pooling(  # noqa: PLR0917
    kernel, stride, padding, dilation, groups, pool, counts_padding
):
    size, step, pad, ceil = pool
    layers = [
        nn.Conv2d(4, 4, (kernel, 2), stride, padding, dilation, groups),
        nn.AvgPool2d(size, step, min(pad, size // 2), ceil, counts_padding),
    ]
    try:
        network = images_network(*layers)
    except RuntimeError:  # torch refuses the geometry
        return
    x, along = points(network), paths(network)
    rows = softmax_rows(network, x)
    assert (jacobian_rows(network, x) - rows).abs().max() <= 1e-9 * rows.abs().max()
    assert len(crossings(network, along).path) == transitions(network, along).sum()


# ------------------------------------------------------------------------------ modes


@contextlib.contextmanager
def set_while(setter, value, before):
    setter(value)
    try:
        yield
    finally:
        setter(before)


MODES = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "default float16": lambda: set_while(torch.set_default_dtype, torch.float16, torch.float32),
    "default float64": lambda: set_while(torch.set_default_dtype, torch.float64, torch.float32),
    "default device meta": lambda: set_while(torch.set_default_device, "meta", None),
    "with device meta": lambda: torch.device("meta"),
    "deterministic": lambda: set_while(torch.use_deterministic_algorithms, True, False),
    "products in bfloat16": lambda: set_while(
        torch.set_float32_matmul_precision, "medium", "highest"
    ),
    "numpy raises": lambda: np.errstate(all="raise"),
}


def everything(network, x, along):
    """All measures of a network of linear layers, by itself and as a stack."""
    stack = from_sequential(network)
    curves = along[:, :3].double()
    labels = torch.zeros(1, len(x), dtype=torch.int64, device="cpu")
    found = {}
    for name, n in (("alone", network), ("stack", stack)):
        found |= {
            f"{name} norm": jacobian_norm(n, x),
            f"{name} spectral": jacobian_norm(n, x, "logits", order="spectral"),
            f"{name} rows": jacobian_rows(n, x),
            f"{name} logits": measure_points(n, x).logits,
            f"{name} transitions": transitions(n, along),
            f"{name} crossings": crossings(n, along).position,
            f"{name} along": transitions_along(n, along, 3),
            f"{name} ellipses": ellipse_transitions(n, curves, 12).reshape(-1, 12),
            f"{name} arcs": ellipse_crossings(n, curves).position,
            f"{name} partition": partition(n, 0, curves[0], (-2, 2, -2, 2)).corners,
        }
    for name in ("frobenius_product", "spectral_product", "path_norm"):
        found[name] = getattr(complexity, name)(stack)
    for name in ("fisher_rao", "inverse_margin"):
        found[name] = getattr(complexity, name)(stack, x, labels)
    found["distance"] = complexity.distance(stack, stack)
    found["sharpness"] = sharpness(stack, x, labels, weight_noise(stack, 2, 0))
    window = (-2.0, 2.0, -2.0, 2.0)
    found["boundaries"] = last_boundaries(stack, 0, curves[0], window, most=10**6).segments
    found["classes"] = predicted_classes(stack, 0, curves[0], np.arange(3.0), np.arange(2.0))
    found["lengths"] = part_lengths(along, 2)
    return {name: np.asarray(values) for name, values in found.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_caller_make_no_difference(mode, dtype):
    network = mlp(dtype=dtype, unit=nn.Hardtanh)
    x, along = points(network), paths(network)
    expected = everything(network, x, along)
    before = snapshot(network)
    with MODES[mode]():
        found = everything(network, x, along)
    assert_same(before, snapshot(network))
    for name, values in expected.items():
        assert np.array_equal(found[name], values, equal_nan=True), name
        assert found[name].dtype == values.dtype


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("unit", [nn.GELU, nn.Tanh, nn.ELU, nn.ReLU])
def test_modes_make_no_difference_to_convolutions_and_smooth_units(mode, unit):
    network = images_network(nn.BatchNorm2d(4), unit(), nn.AvgPool2d(2), unit())
    x = points(network)
    expected = jacobian_norm(network, x), jacobian_rows(network, x)
    with MODES[mode]():
        found = jacobian_norm(network, x), jacobian_rows(network, x)
    assert all(map(torch.equal, found, expected))


def test_modes_are_as_they_were_after_a_measure_and_after_an_error():
    def modes():
        backends = torch.backends
        return (
            *(torch.is_grad_enabled(), torch.is_inference_mode_enabled(), np.geterr()),
            *(torch.is_autocast_enabled("cpu"), torch.get_default_dtype()),
            *(torch.get_default_device(), torch.get_float32_matmul_precision()),
            *(backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision),
            *(backends.cudnn.conv.fp32_precision, backends.mkldnn.conv.fp32_precision),
        )

    network, x = mlp(), points(mlp())
    for mode in (contextlib.nullcontext, *MODES.values()):
        with mode():
            before = modes()
            jacobian_norm(network, x)
            with pytest.raises(TypeError):
                jacobian_norm(nn.ReLU(), x)
            assert modes() == before


@pytest.mark.parametrize("unit", [nn.GELU, nn.ReLU])
def test_networks_and_points_made_in_inference_mode(unit):
    expected = jacobian_norm(mlp(unit=unit), points(mlp()))
    with torch.inference_mode():
        network, x = mlp(unit=unit), points(mlp())
        inside = jacobian_norm(network, x)
    assert not inside.is_inference()
    assert torch.equal(inside, expected)
    assert torch.equal(jacobian_norm(network, x), expected)
    first = nn.Sequential(unit(), nn.Flatten())  # nothing is copied before the unit
    assert jacobian_norm(first, x).isfinite().all()


def test_chunks_are_made_in_the_modes_of_the_caller():
    modes = []

    def chunks():
        modes.append((torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        yield paths(mlp())

    for network in (mlp(), from_sequential(mlp())):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            transitions(network, chunks())
    assert modes == [(True, True)] * 2


# ------------------------------------------------------------------------------ inputs


def read_only(x):
    found = x.numpy().copy()
    found.flags.writeable = False
    return found


class Subclass(torch.Tensor):
    pass


SAME = {
    "numpy": lambda x: x.numpy(),
    "read-only": read_only,
    "other byte order": lambda x: x.numpy().astype(">f8"),
    "reversed": lambda x: x.numpy()[::-1].copy()[::-1],
    "long double": lambda x: x.numpy().astype(np.longdouble),
    "requires grad": lambda x: x.clone().requires_grad_(True),
    "computed with grad": lambda x: x.clone().requires_grad_(True) * 1,
    "parameter": nn.Parameter,
    "not contiguous": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
    "expanded": lambda x: torch.stack([x, x])[1:].expand(1, *x.shape)[0],
    "subclass": lambda x: x.as_subclass(Subclass),
    "integers": lambda x: x.to(torch.int16),
    "bytes": lambda x: x.to(torch.int8).numpy(),
    "imaginary part": lambda x: torch.complex(x, -x).conj().imag,
    "half": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
}


@pytest.mark.parametrize("kind", SAME)
def test_inputs_of_any_kind_are_taken_by_their_values(kind):
    network = mlp()
    stack = from_sequential(network)
    x, along = (3 * points(network)).round(), (3 * paths(network)).round() + 1
    change = SAME[kind]
    for n in (network, stack):
        assert torch.equal(jacobian_norm(n, change(x)), jacobian_norm(n, x))
        assert torch.equal(transitions(n, change(along)), transitions(n, along))
        assert torch.equal(transitions(n, iter([change(along)])), transitions(n, along))
        counts = ellipse_transitions(n, change(along[:, :3].clone()), 6)
        assert np.array_equal(counts, ellipse_transitions(n, along[:, :3].numpy(), 6))
    assert not jacobian_norm(network, change(x)).requires_grad


WRONG = [
    (
        "complex",
        lambda x: x.to(torch.complex64),
        TypeError,
        "expected real numbers, found .*: take",
    ),
    ("complex numpy", lambda x: x.numpy() * 1j, TypeError, "expected real numbers, found .*: take"),
    ("sparse", lambda x: x.to_sparse(), TypeError, "expected a dense tensor.*to_dense"),
    ("meta", lambda x: x.to("meta"), TypeError, "expected values, found none on the meta device"),
    ("objects", lambda x: x.numpy().astype(object), TypeError, "array of dtype object: convert"),
    ("text", lambda x: x.numpy().astype(str), TypeError, "array of dtype <U.*: convert"),
    ("unbatched", lambda x: x[0], ValueError, r"expected shape \(.*\), found \(.*\[None\]"),
    ("a number", lambda x: x.flatten()[0], ValueError, r"expected shape \(.*\), found \(\)"),
    ("too wide", lambda x: torch.cat([x, x], -1), ValueError, r"(shape|shapes) \(.*12"),
    (
        "NaN",
        lambda x: x * math.nan,
        ValueError,
        r"expected finite values, found \d+ of .* 0: leave",
    ),
    ("inf", lambda x: x / 0.0, ValueError, "expected finite values"),
]


@pytest.mark.parametrize(
    ("change", "error", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG]
)
def test_other_inputs_are_told(change, error, message):
    network = mlp()
    stack = from_sequential(network)
    x, along = points(network), paths(network)
    for n in (network, stack):
        for call in (
            lambda n: jacobian_norm(n, change(x)),
            lambda n: jacobian_rows(n, change(x)),
            lambda n: measure_points(n, change(x)),
            lambda n: transitions(n, change(along)),
            lambda n: transitions(n, [change(along)]),
            lambda n: crossings(n, change(along)),
            lambda n: transitions_along(n, change(along)),
        ):
            with pytest.raises(error, match=message) as told:
                call(n)
            assert "\n" not in str(told.value)
    with pytest.raises(error, match="expected"):
        ellipse_transitions(stack, change(along[:, :3]), 4)
    with pytest.raises(error, match="expected"):
        partition(stack, 0, change(along[0, :3]), (-1, 1, -1, 1))
    labels = torch.zeros(1, len(x), dtype=torch.int64)
    for measure in (complexity.fisher_rao, complexity.inverse_margin):
        with pytest.raises(error, match="expected"):
            measure(stack, change(x), labels)
    with pytest.raises(error, match="expected"):
        sharpness(stack, change(x), labels, weight_noise(stack, 2, 0))


@pytest.mark.parametrize("vertices", ["text", 3, None, {"a": 1}, [[1.0]], [None]])
def test_what_is_no_path_is_told(vertices):
    for network in (mlp(), from_sequential(mlp())):
        with pytest.raises(TypeError, match="vertices: expected a"):
            transitions(network, vertices)


def test_an_image_without_its_axis_of_points_is_told():
    network = images_network(nn.AvgPool2d(2))
    x = points(network)
    for wrong in (x[0], x[0, 0]):
        with pytest.raises(ValueError, match=r"network\[0\] \(Conv2d\) does not take.*\(channel"):
            jacobian_norm(network, wrong)
    pooled = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
    with pytest.raises(ValueError, match=r"network\[0\] \(AvgPool2d\) does not take"):
        jacobian_norm(pooled, x[0])


def test_gradients_of_measures_are_refused():
    network, x = mlp(), points(mlp())
    for n in (network, from_sequential(network)):
        # else the gradient would be 0
        with pytest.raises(TypeError, match=r"points x: .*torch\.func: measures cannot be diff"):
            torch.func.grad(lambda v, n=n: jacobian_norm(n, v).sum())(x)
    with pytest.raises(TypeError, match=r"network\[0\] \(Linear\): weight: .*torch\.func"):
        torch.func.grad(
            lambda weights: torch.func.functional_call(Measured(network), weights, (x,)).sum()
        )({f"network.{name}": v.detach() for name, v in network.named_parameters()})


class Measured(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return jacobian_norm(self.network, x)


def test_no_points_give_no_numbers():
    for network in (mlp(), from_sequential(mlp()), images_network(nn.AvgPool2d(2))):
        model = network if isinstance(network, nn.Sequential) else mlp()
        x, along = points(model)[:0], paths(model)[:0]
        lead = () if isinstance(network, nn.Sequential) else (1,)
        assert jacobian_norm(network, x).shape == (*lead, 0)
        assert jacobian_norm(network, x, order="spectral").shape == (*lead, 0)
        assert jacobian_rows(network, x).shape == (*lead, 0, 3, *x.shape[1:])
        assert measure_points(network, x).logits.shape == (*lead, 0, 3)
        assert transitions(network, along).shape == (*lead, 0)
        assert transitions(network, along, by="layer").shape[:-1] == (*lead, 0)
        assert transitions_along(network, along).shape == (*lead, 0, 3)
        assert len(crossings(network, along).path) == 0
        with pytest.raises(ValueError, match=r"vertices: expected shape .*, found \(3, 0"):
            transitions(network, paths(model)[:, :0])
    assert ellipse_transitions(mlp(), np.zeros((0, 3, 6)), 4).shape == (0, 4)
    labels = torch.zeros(1, 0, dtype=torch.int64)
    for measure in (complexity.fisher_rao, complexity.inverse_margin):
        with pytest.raises(ValueError, match=r"labels: expected shape .* one point at least"):
            measure(from_sequential(mlp()), points(mlp())[:0], labels)


def test_labels_that_are_none_are_told():
    stack, x = from_sequential(mlp()), points(mlp())
    good = torch.zeros(1, 4, dtype=torch.int64)
    for measure in (
        lambda labels: complexity.fisher_rao(stack, x, labels),
        lambda labels: complexity.inverse_margin(stack, x, labels),
        lambda labels: sharpness(stack, x, labels, weight_noise(stack, 2, 0)),
    ):
        assert torch.equal(measure(good.numpy()).nan_to_num(), measure(good).nan_to_num())
        for wrong, error, message in (
            (good.double(), TypeError, r"labels: expected integers, found torch.float64"),
            (good[0], ValueError, r"labels: expected shape \(1, 4\).*found \(4,\)"),
            (good + 3, ValueError, "labels: expected 0 to 2, found 3 to 3"),
            (good - 1, ValueError, "labels: expected 0 to 2, found -1 to -1"),
        ):
            with pytest.raises(error, match=message):
                measure(wrong)


def test_indices_counts_and_windows_are_told():
    for network in (mlp(), from_sequential(mlp())):
        for index in (1, -1):
            for call in (
                lambda n, k: crossings(n, paths(mlp()), network=k),
                lambda n, k: ellipse_crossings(n, paths(mlp()), network=k),
                lambda n, k: partition(n, k, paths(mlp())[0], (-1, 1, -1, 1)),
            ):
                with pytest.raises(ValueError, match=f"network: expected 0 to 0, found {index}"):
                    call(network, index)
        with pytest.raises(ValueError, match="count: expected 1 angle or more, found 0"):
            ellipse_transitions(network, paths(mlp()), 0)
        with pytest.raises(ValueError, match="window: expected"):
            partition(network, 0, paths(mlp())[0], (-1, math.inf, -1, 1))


# ------------------------------------------------------------------------------ stacks


def every_stack_measure(stack):
    x, along = points(mlp()), paths(mlp())
    labels = torch.zeros(len(stack.low), len(x), dtype=torch.int64)
    noise = weight_noise(from_sequential(mlp()), 2, 0)
    window = (-1, 1, -1, 1)
    return [
        lambda: jacobian_norm(stack, x),
        lambda: jacobian_rows(stack, x),
        lambda: measure_points(stack, x),
        lambda: transitions(stack, along),
        lambda: crossings(stack, along),
        lambda: transitions_along(stack, along),
        lambda: ellipse_crossings(stack, along.numpy()),
        lambda: ellipse_transitions(stack, along.numpy(), 3),
        lambda: partition(stack, 0, along[0].numpy(), window),
        lambda: last_boundaries(stack, 0, along[0].numpy(), window, most=9),
        lambda: predicted_classes(stack, 0, along[0].numpy(), np.zeros(1), np.zeros(1)),
        lambda: complexity.frobenius_product(stack),
        lambda: complexity.spectral_product(stack),
        lambda: complexity.path_norm(stack),
        lambda: complexity.distance(from_sequential(mlp()), stack),
        lambda: complexity.spectral_distance(stack, from_sequential(mlp())),
        lambda: complexity.fisher_rao(stack, x, labels),
        lambda: complexity.inverse_margin(stack, x, labels),
        lambda: sharpness(stack, x, labels, noise),
    ]


def faulty_stacks():
    def stack(count=1):
        return from_sequential([mlp() for _ in range(count)])

    found = stack(3)
    found.weights[1][2, 0, 0] = math.nan
    yield found, ValueError, r"weights\[1\]: expected finite values, found 1 of 192 .* network 2: "
    found = stack()
    found.biases[2][:] = math.inf
    yield found, ValueError, r"biases\[2\]: expected finite values, found 3 of 3"
    for dtype in (torch.float16, torch.bfloat16):
        yield stack().to(dtype), TypeError, rf"weights\[0\]: expected all float32 .*found {dtype}"
    found = stack()
    found.weights[1] = found.weights[1].float()
    yield found, TypeError, r"weights\[1\]: expected all float32 or all float64"
    yield stack().to("meta"), TypeError, r"weights\[0\]: expected values, found none on the meta"
    found = stack()
    found.biases[0] = found.biases[0][:, :4]
    yield found, ValueError, r"weights\[0\]: expected shape .*\(1, 4\)"
    found = stack()
    found.weights[1] = found.weights[1][:, :4]
    yield found, ValueError, r"weights\[1\]: expected shape \(1, 8, outputs\)"
    found = stack()
    found.low[0, 1] = math.nan
    yield found, ValueError, "shift, low and high: expected finite shifts and low < high"
    found = stack()
    found.high = found.high[:, :1]
    yield found, ValueError, r"shift, low and high: expected shape \(1, 2\)"
    yield Stack([], [], *[torch.zeros(0, 0)] * 3), ValueError, "expected at least one layer"


@pytest.mark.parametrize(("stack", "error", "message"), list(faulty_stacks()))
def test_faulty_stacks_are_told_by_every_measure(stack, error, message):
    for measure in every_stack_measure(stack):
        with pytest.raises(error, match=rf"(stack|start).*{message}"):
            measure()


def test_lists_of_networks_that_differ_are_told():
    message = "networks of a stack need one dtype and device: network 0 has torch.float64"
    with pytest.raises(TypeError, match=message):
        from_sequential([mlp(), mlp(dtype=torch.float32)])
    with pytest.raises(TypeError, match=r"networks\[1\]\[2\] \(Linear\) has a forward hook"):
        from_sequential([mlp(), CASES["forward hook on a layer"].make()])
    with pytest.raises(ValueError, match=r"network\[2\] \(Linear\) takes 5 values"):
        from_sequential(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(5, 2)))


def test_a_network_made_from_a_stack_draws_nothing():
    stack, state = from_sequential(mlp()), torch.get_rng_state()
    made = stack.sequential(0)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(made(points(made)), mlp()(points(made)))
    assert all(p.requires_grad for p in made.parameters())


# ------------------------------------------------------------------------------ overflow


def scaled(factor, unit=nn.ReLU, layers=(0, 2, 4)):
    network = mlp(unit=unit)
    with torch.no_grad():
        for place in layers:
            network[place].weight.mul_(factor)
    return network


@pytest.mark.parametrize("unit", [nn.ReLU, nn.Hardtanh, nn.LeakyReLU])
@pytest.mark.parametrize("factor", [1e160, 1e250])
def test_overflow_is_told(factor, unit):
    network = scaled(factor, unit)
    x, along = points(network), paths(network)
    networks = [network] if unit is nn.LeakyReLU else [network, from_sequential(network)]
    for n in networks:
        for measure in (
            lambda n: transitions(n, along),
            lambda n: crossings(n, along),
            lambda n: transitions_along(n, along),
        ):
            with pytest.raises(
                ValueError, match=r"(layer 0|\[1\]).*expected pre-activations below 1e"
            ):
                measure(n)
        if unit is nn.ReLU or unit is nn.LeakyReLU:
            for measure in (jacobian_norm, jacobian_rows, measure_points):
                with pytest.raises(ValueError, match=r"expected finite logits|too large"):
                    measure(n, x)
    if unit is not nn.LeakyReLU:
        with pytest.raises(ValueError, match="hidden layer 0: expected pre-activations"):
            ellipse_transitions(network, along, 4)
        with pytest.raises(ValueError, match="hidden layer: expected pre-activations"):
            partition(network, 0, along[0], (-1, 1, -1, 1))


def test_norms_beyond_float64_have_logarithms():
    network = scaled(3e103)
    with torch.no_grad():
        for layer in network[::2]:
            layer.bias.zero_()
    x = points(network) * 1e-10
    for n in (network, from_sequential(network)):
        log = jacobian_norm(n, x, "logits", log10=True)
        assert log.min() > 308
        assert log.isfinite().all()
        for call in (
            lambda n: jacobian_norm(n, x, "logits"),
            lambda n: jacobian_rows(n, x, "logits"),
            lambda n: measure_points(n, x, ["logits"]).norm("logits"),
        ):
            with pytest.raises(ValueError, match=r"too large for float64.*log10=True"):
                call(n)


def test_large_weights_that_do_not_overflow_are_measured():
    # the bound on what pre-activations can be overflows, they themselves do not
    network = scaled(1e70, layers=(0, 2))
    with torch.no_grad():
        network[2].weight.mul_(1e10)
        network[0].weight.mul_(1e-3)
    along = paths(network)
    plain = mlp()
    with torch.no_grad():
        for layer, same in zip(plain[::2], network[::2], strict=True):
            same.bias.zero_()
            layer.bias.zero_()
    for n in (network, from_sequential(network)):
        assert transitions(n, along).flatten().tolist() == transitions(plain, along).tolist()
    assert np.array_equal(
        ellipse_transitions(network, along, 8), ellipse_transitions(plain, along, 8)
    )


@pytest.mark.parametrize("name", ["frobenius_product", "spectral_product", "path_norm"])
def test_overflow_of_complexity_measures_is_told(name):
    stack = from_sequential(scaled(1e200))
    with pytest.raises(ValueError, match="too large"):
        getattr(complexity, name)(stack)
    x, labels = points(mlp()), torch.zeros(1, 4, dtype=torch.int64)
    for measure in (complexity.fisher_rao, complexity.inverse_margin):
        with pytest.raises(ValueError, match="too large"):
            measure(stack, x, labels)
    with pytest.raises(ValueError, match="logits: expected finite values"):
        sharpness(stack, x, labels, weight_noise(stack, 2, 0))


def test_one_logit_is_remarked():
    network = mlp(classes=1)
    x = points(network)
    for n in (network, from_sequential(network)):
        for measure in (jacobian_norm, jacobian_rows):
            with pytest.warns(UserWarning, match="one logit") as told:
                assert (measure(n, x) == 0).all()
            assert told[0].filename == __file__
        assert (jacobian_norm(n, x, "logits") > 0).all()
