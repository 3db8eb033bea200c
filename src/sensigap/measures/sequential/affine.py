"""Affine layers of a network, as the exact measures need them.

Each is bound to the shape of its inputs and offers three things: its outputs in float64, its
transposed (which carries rows of a Jacobian backwards) in the weights' dtype, and which outputs an
input is seen by, since a convolution's input is seen by few. Inputs and outputs are numbered in
the order of memory where they are flat.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.grad import conv2d_input

from sensigap.measures.backward import product

Shape = tuple[int, ...]
#: bytes of windows copied at once
COLUMN_BYTES = 2**21
#: so many input channels or fewer: windows added up are faster than torch's transposed convolution
FEW_CHANNELS = 3


class Seen(NamedTuple):
    """What some inputs add to the outputs that see them, as arrays (entry).

    Attributes:
        source: index into the given inputs, ascending.
        output: flat index of the output.
        value: the given value times the weight between the two.
    """

    source: np.ndarray
    output: np.ndarray
    value: np.ndarray


class Affine:
    """An affine layer on inputs of one shape.

    Attributes:
        inputs, outputs: shapes of one input and of one output.
        reach: at most so many outputs see one input.
    """

    inputs: Shape
    outputs: Shape
    reach: int = 1

    def evaluate(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (point, *outputs) at float64 inputs (point, *inputs)."""
        return x.reshape(-1, *self.outputs)

    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """The transposed linear part: (row, *outputs) to (row, *inputs), in the rows' dtype."""
        return rows.reshape(-1, *self.inputs)

    def seen(self, index: np.ndarray, value: np.ndarray) -> Seen:
        """Where values at inputs of some flat index add to the outputs."""
        return Seen(np.arange(len(index)), index, value)


class Reshaping(Affine):
    """Another shape for the same values."""

    def __init__(self, inputs: Shape, outputs: Shape) -> None:
        self.inputs, self.outputs = inputs, outputs


class Scaling(Affine):
    """Channels (the first axis) times `scale`, plus `shift`, both float64 (channel)."""

    def __init__(
        self, inputs: Shape, scale: torch.Tensor, shift: torch.Tensor, dtype: torch.dtype
    ) -> None:
        self.inputs = self.outputs = inputs
        self.scale, self.shift = (v.reshape(-1, *[1] * (len(inputs) - 1)) for v in (scale, shift))
        self.rounded = self.scale.to(dtype)

    def evaluate(self, x: torch.Tensor) -> torch.Tensor:
        """See `Affine`."""
        return torch.addcmul(self.shift, x, self.scale)

    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Affine`."""
        return rows * self.rounded

    def seen(self, index: np.ndarray, value: np.ndarray) -> Seen:
        """See `Affine`."""
        channel = index // math.prod(self.inputs[1:])
        return Seen(
            np.arange(len(index)), index, value * self.scale.flatten().cpu().numpy()[channel]
        )


class Linear(Affine):
    """x W^T + b along the last axis, W (output, input)."""

    def __init__(self, inputs: Shape, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.inputs, self.outputs = inputs, (*inputs[:-1], len(weight))
        self.weight, self.exact = weight, weight.double().T.contiguous()
        self.bias = None if bias is None else bias.double()
        self.reach = len(weight)
        if inputs[-1] != weight.shape[1]:
            raise ValueError(f"expected {weight.shape[1]} values along the last axis")

    def evaluate(self, x: torch.Tensor) -> torch.Tensor:
        """See `Affine`."""
        y = product(x.flatten(0, -2), self.exact)
        if self.bias is not None:
            y += self.bias
        return y.reshape(-1, *self.outputs)

    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Affine`."""
        return product(rows.flatten(0, -2), self.weight).reshape(-1, *self.inputs)

    def seen(self, index: np.ndarray, value: np.ndarray) -> Seen:
        """See `Affine`."""
        row, column = np.divmod(index, self.inputs[-1])
        output = row[:, None] * self.reach + np.arange(self.reach)
        values = value[:, None] * self.exact.cpu().numpy()[column]
        return Seen(np.repeat(np.arange(len(index)), self.reach), output.ravel(), values.ravel())


class Windows(NamedTuple):
    """How a kernel moves over an image: for rows and columns each."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def reach(self) -> int:
        """Number of windows, at most, that a pixel is in."""
        return math.prod(-(-k // s) for k, s in zip(self.kernel, self.stride, strict=True))

    def taps(
        self, pixel: np.ndarray, width: int, outputs: Shape
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The windows that some pixels (flat index in a channel) are in.

        Returns:
            arrays (entry): index into the pixels, ascending; tap of the kernel; window.
        """
        places, inside = [], []
        for axis, at in enumerate(np.divmod(pixel, width)):
            tap = np.arange(self.kernel[axis])
            offset = at[:, None] + self.padding[axis] - tap * self.dilation[axis]
            window, rest = np.divmod(offset, self.stride[axis])
            places.append(window)
            inside.append((rest == 0) & (window >= 0) & (window < outputs[axis]))
        both = inside[0][:, :, None] & inside[1][:, None, :]
        source, i, j = np.nonzero(both)
        window = places[0][source, i] * outputs[1] + places[1][source, j]
        return source, i * self.kernel[1] + j, window


class Convolution(Affine):
    """Two-dimensional convolution, W (output channel, input channel of a group, row, column)."""

    def __init__(
        self,
        inputs: Shape,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        windows: Windows,
        groups: int,
    ) -> None:
        self.inputs, self.windows, self.groups = inputs, windows, groups
        self.weight, self.exact = weight, weight.double()
        self.bias = None if bias is None else bias.double()
        # torch checks the shapes
        self.outputs = tuple(self._by_torch(self.exact.new_zeros(1, *inputs)).shape[1:])
        self.reach = windows.reach * (len(weight) // groups)

    def _by_torch(self, x: torch.Tensor) -> torch.Tensor:
        _, stride, padding, dilation = self.windows
        return nn.functional.conv2d(
            x, self.exact, self.bias, stride, padding, dilation, self.groups
        )

    def evaluate(self, x: torch.Tensor) -> torch.Tensor:
        """See `Affine`."""
        if x.device.type != "cpu":
            return self._by_torch(x)
        # windows copied into columns, then one product: faster than torch's in float64
        (kh, kw), (sh, sw), (ph, pw), (dh, dw) = self.windows
        padded = np.pad(x.numpy(), ((0, 0), (0, 0), (ph, ph), (pw, pw)))
        spans = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, spans, (2, 3))
        windows = windows[:, :, ::sh, ::sw, ::dh, ::dw].transpose(0, 1, 4, 5, 2, 3)
        weight = self.exact.numpy().reshape(self.groups, len(self.weight) // self.groups, -1)
        size = math.prod(self.outputs[1:])
        out = np.empty((len(x), *weight.shape[:2], size))
        step = max(1, COLUMN_BYTES // (out.itemsize * self.groups * weight.shape[2] * size))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            columns = windows[part].reshape(-1, self.groups, weight.shape[2], size)
            np.matmul(weight, columns, out=out[part])
        y = torch.from_numpy(out).reshape(-1, *self.outputs)
        if self.bias is not None:
            y += self.bias[:, None, None]
        return y

    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Affine`."""
        kernel, stride, padding, dilation = self.windows
        if rows.dtype == torch.float32 and self.groups == 1 and self.inputs[0] <= FEW_CHANNELS:
            columns = product(self.weight.flatten(1).T, rows.flatten(2))
            return nn.functional.fold(columns, self.inputs[1:], kernel, dilation, padding, stride)
        return conv2d_input(
            (len(rows), *self.inputs), self.weight, rows, stride, padding, dilation, self.groups
        )

    def seen(self, index: np.ndarray, value: np.ndarray) -> Seen:
        """See `Affine`."""
        channel, pixel = np.divmod(index, math.prod(self.inputs[1:]))
        source, tap, window = self.windows.taps(pixel, self.inputs[2], self.outputs[1:])
        group, within = np.divmod(channel, self.weight.shape[1])
        out = len(self.weight) // self.groups  # channels of a group
        output = (group[source] * out)[:, None] + np.arange(out)
        weight = self.exact.cpu().numpy().reshape(self.groups, out, self.weight.shape[1], -1)
        # (group, input channel, tap, output channel), so that one look-up gives all channels
        weight = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
        values = weight[group[source], within[source], tap] * value[source, None]
        output = output * math.prod(self.outputs[1:]) + window[:, None]
        return Seen(np.repeat(source, out), output.ravel(), values.ravel())


class Pooling(Affine):
    """Two-dimensional mean over windows."""

    def __init__(self, inputs: Shape, module: nn.AvgPool2d, device: torch.device | str) -> None:
        self.inputs, self.module = inputs, module
        self.windows = Windows(
            _pair(module.kernel_size), _pair(module.stride), _pair(module.padding), (1, 1)
        )
        ones = torch.ones(1, *inputs, dtype=torch.float64, device=device)
        mean = module(ones)
        self.outputs = tuple(mean.shape[1:])
        self.reach = self.windows.reach
        pixels = nn.functional.avg_pool2d(
            ones,
            module.kernel_size,
            module.stride,
            module.padding,
            module.ceil_mode,
            divisor_override=1,
        )
        #: weight of a pixel in each window: padding and edges may or may not count in the divisor
        self.weight = (mean / pixels)[0, 0].flatten().cpu().numpy()
        covered = zip(self.outputs[1:], self.windows.kernel, strict=True)
        #: whether the windows lie side by side and make up the image
        self._tiles = (
            self.windows.stride == self.windows.kernel
            and self.windows.padding == (0, 0)
            and tuple(n * size for n, size in covered) == inputs[1:]
        )

    def evaluate(self, x: torch.Tensor) -> torch.Tensor:
        """See `Affine`."""
        return self.module(x)

    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Affine`."""
        if self._tiles:
            height, width = self.windows.kernel
            share = rows / (self.module.divisor_override or height * width)
            return share.repeat_interleave(width, 3).repeat_interleave(height, 2)
        zeros = rows.new_zeros(len(rows), *self.inputs)
        return torch.func.vjp(self.module, zeros)[1](rows)[0]

    def seen(self, index: np.ndarray, value: np.ndarray) -> Seen:
        """See `Affine`."""
        channel, pixel = np.divmod(index, math.prod(self.inputs[1:]))
        source, _, window = self.windows.taps(pixel, self.inputs[2], self.outputs[1:])
        output = channel[source] * math.prod(self.outputs[1:]) + window
        return Seen(source, output, value[source] * self.weight[window])


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
