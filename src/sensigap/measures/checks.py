"""What public measures are given: right, or told in one line what was expected and what to do."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from sensigap.modules import check_network
from sensigap.networks import Stack, from_sequential
from sensigap.tensors import DTYPES, check_finite, plain

#: pre-activations beyond this are refused: differences and products of them may overflow
LARGEST = 1e150
#: decimal logarithms beyond this are no float64
LARGEST_LOG10 = math.log10(np.finfo(np.float64).max)


def check_networks(networks: object) -> None:
    """Raises an error unless these are networks that can be measured; see `check_stack`.

    Layers of an `nn.Sequential` are looked at when it is read.
    """
    if isinstance(networks, Stack):
        check_stack(networks)
        return
    if isinstance(networks, (list, tuple, nn.ModuleList)):
        remedy = (
            "make one Stack of networks of one shape by sensigap.networks.from_sequential, or "
            "measure them one by one"
        )
        if not all(isinstance(network, nn.Sequential) for network in networks):
            remedy = f"put the layers of each network in an nn.Sequential, then {remedy}"
        raise TypeError(
            f"networks: expected a Stack or an nn.Sequential, found {type(networks).__name__}: "
            f"{remedy}"
        )
    try:
        check_network(networks, "networks")
    except TypeError as error:
        raise TypeError(
            str(error).replace("expected an nn.", "expected a Stack or an nn.")
        ) from None


def check_stack(stack: object, name: str = "stack") -> None:
    """Raises an error unless this is a stack whose parts fit, with finite weights.

    Raises:
        TypeError: it is something else, or its weights are not all float32 or all float64.
        ValueError: shapes do not fit, a unit has no bounds, or values are not finite; names them.
    """
    if not isinstance(stack, Stack):
        raise TypeError(
            f"{name}: expected a Stack, found {type(stack).__name__}: "
            "make one by sensigap.networks.from_sequential"
        )
    networks = len(stack.weights[0]) if stack.weights else 0
    before: int | None = None
    for l, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        here = f"{name}.weights[{l}]"
        if weight.dtype not in DTYPES or {weight.dtype, bias.dtype} != {stack.dtype}:
            raise TypeError(
                f"{here}: expected all float32 or all float64, found {weight.dtype} and biases of "
                f"{bias.dtype}: call .to(torch.float32) on the stack"
            )
        if weight.device.type == "meta":
            raise TypeError(f"{here}: expected values, found none on the meta device")
        fits = (
            weight.ndim == 3
            and weight.numel()
            and len(weight) == networks
            and before in (None, weight.shape[1])
        )
        if not fits or bias.shape != (networks, weight.shape[2]):
            raise ValueError(
                f"{here}: expected shape ({networks}, {before or 'inputs'}, outputs) and biases "
                f"(network, output), found {tuple(weight.shape)} and {tuple(bias.shape)}"
            )
        before = weight.shape[2]
        for values, kind in ((weight, "weights"), (bias, "biases")):
            check_finite(
                values.detach(),
                f"{name}.{kind}[{l}]",
                "leave out networks that diverged, by Stack.select",
                rows="network",
            )
    if not networks:
        raise ValueError(f"{name}: expected at least one layer of one network, found none")
    bounds = [stack.shift, stack.low, stack.high]
    if any(tuple(bound.shape) != (networks, stack.depth) for bound in bounds):
        raise ValueError(
            f"{name}: shift, low and high: expected shape ({networks}, {stack.depth}), found "
            f"{', '.join(str(tuple(bound.shape)) for bound in bounds)}"
        )
    if not bool((stack.shift.isfinite() & (stack.low < stack.high)).all()):
        raise ValueError(
            f"{name}: shift, low and high: expected finite shifts and low < high, found others"
        )


def as_stack(networks: object) -> tuple[Stack, bool]:
    """A checked stack, and whether it is of one `nn.Sequential` given by itself.

    Raises:
        TypeError, ValueError: as `check_networks`, or `networks.from_sequential`.
    """
    if isinstance(networks, nn.Sequential):
        return from_sequential(networks), True
    check_networks(networks)
    assert isinstance(networks, Stack)
    return networks, False


def check_index(network: int, networks: int) -> None:
    """Raises a ValueError unless a stack has this network."""
    if not 0 <= network < networks:
        raise ValueError(f"network: expected 0 to {networks - 1}, found {network}")


def as_points(x: object, inputs: int | None) -> torch.Tensor:
    """Points x (point, inputs) of a stack, or (point, *shape of an input) where `inputs` is None.

    Raises:
        TypeError: they are no tensor or array of real numbers.
        ValueError: they have another shape, or are not finite.
    """
    name = "points x"
    points = plain(x, name)
    if inputs is not None and (points.ndim != 2 or points.shape[1] != inputs):
        remedy = "flatten each image to one row"
        if points.ndim == 1:
            remedy = "give one point as x[None]"
        raise ValueError(
            f"{name}: expected shape (point, {inputs}), found {tuple(points.shape)}; {remedy}"
        )
    if points.ndim < 2:
        raise ValueError(
            f"{name}: expected shape (point, *shape of an input), found {tuple(points.shape)}: "
            "give one point as x[None]"
        )
    check_finite(points, name, "leave these points out", rows="point")
    return points


def as_labels(labels: object, stack: Stack, x: object) -> torch.Tensor:
    """Class labels int64 (network, point) of a stack at points x.

    Raises:
        TypeError: they are no tensor or array of integers.
        ValueError: they have another shape, there are none, or they are no classes of the networks.
    """
    found = plain(labels, "labels")
    if found.is_floating_point() or found.dtype == torch.bool:
        raise TypeError(f"labels: expected integers, found {found.dtype}: call .long()")
    points = len(x) if isinstance(x, (torch.Tensor, np.ndarray)) and x.ndim else 0
    if found.shape != (len(stack), points) or points == 0:
        raise ValueError(
            f"labels: expected shape ({len(stack)}, {points}) for these networks and points, one "
            f"point at least, found {tuple(found.shape)}"
        )
    if int(found.min()) < 0 or int(found.max()) >= stack.classes:
        raise ValueError(
            f"labels: expected 0 to {stack.classes - 1}, found {int(found.min())} to "
            f"{int(found.max())}"
        )
    return found.long()


def as_vertices(vertices: object, inputs: int | None) -> torch.Tensor:
    """Paths (point, vertex, inputs), or (point, vertex, *shape of an input).

    Raises:
        TypeError, ValueError: as `as_points`.
    """
    paths = plain(vertices, "vertices")
    fits = paths.ndim == 3 and paths.shape[2] == inputs if inputs is not None else paths.ndim >= 3
    if not fits or paths.shape[1] == 0:
        last = "*shape of an input" if inputs is None else inputs
        raise ValueError(
            f"vertices: expected shape (point, vertex, {last}), found {tuple(paths.shape)}; "
            "give one path as vertices[None]"
        )
    check_finite(paths, "vertices", "leave these paths out", rows="the path of point")
    return paths


def as_array(values: object, name: str, shape: Sequence[int | str]) -> np.ndarray:
    """Finite float64 values as an array of numpy of a shape, in which names stand for any size.

    Raises:
        TypeError, ValueError: as `as_points`.
    """
    found = plain(values, name)
    fits = found.ndim == len(shape) and all(
        isinstance(size, str) or size == n for size, n in zip(shape, found.shape, strict=True)
    )
    if not fits:
        expected = ", ".join(map(str, shape))
        raise ValueError(f"{name}: expected shape ({expected}), found {tuple(found.shape)}")
    check_finite(found, name, "leave these out", rows=str(shape[0]))
    return found.double().cpu().numpy()


def check_range(least: float, largest: float, name: str) -> None:
    """Raises a ValueError unless pre-activations between these can be computed with."""
    if not (least > -LARGEST and largest < LARGEST):  # which NaN is not either
        raise ValueError(
            f"{name}: expected pre-activations below {LARGEST:g} in size, found {least:g} to "
            f"{largest:g}: scale the weights or the inputs down"
        )


def check_measured(values: torch.Tensor, name: str, remedy: str) -> None:
    """Raises a ValueError if measured values are NaN or +inf; -inf is the logarithm of 0."""
    if values.numel() and not float(values.max()) < math.inf:
        count = int((~(values < math.inf)).sum())
        raise ValueError(
            f"{name}: {count} of {values.numel()} are too large for float64 or undefined: {remedy}"
        )
