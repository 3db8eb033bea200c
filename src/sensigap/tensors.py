"""Tensors as measures take them: plain, with finite values, or a message that says what is wrong.

Every message is one line: what, expected, found, and what to do.
"""

import math

import numpy as np
import torch
from torch._C._functorch import is_functorch_wrapped_tensor as _is_transformed

#: dtypes in which networks are measured
DTYPES = (torch.float32, torch.float64)


def plain(values: object, name: str) -> torch.Tensor:
    """Values as a plain tensor of real numbers, without gradients; memory is shared if possible.

    Args:
        values: a tensor or an array of numpy, of any shape.
        name: for errors.

    Raises:
        TypeError: they are something else, complex, sparse, quantised, or have no values.
    """
    if isinstance(values, np.ndarray):
        values = _from_numpy(values, name)
    if not isinstance(values, torch.Tensor):
        raise TypeError(
            f"{name}: expected a torch.Tensor or numpy.ndarray, found {type(values).__name__}: "
            "convert by torch.as_tensor"
        )
    if type(values).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise TypeError(
            f"{name}: expected a plain torch.Tensor, found {type(values).__name__}, which computes "
            "in its own way: convert it to a plain tensor"
        )
    fault = ""
    if _is_transformed(values):
        fault = "a plain tensor, found one inside torch.func: measures cannot be differentiated"
    elif values.is_nested or values.layout != torch.strided:
        layout = "nested" if values.is_nested else str(values.layout).removeprefix("torch.")
        fault = f"a dense tensor, found a {layout} one: call .to_dense() or pad it"
    elif values.is_quantized:
        fault = f"real numbers, found {values.dtype}: call .dequantize()"
    elif values.is_complex():
        fault = f"real numbers, found {values.dtype}: take .real, or real and imaginary part"
    elif values.device.type == "meta":
        fault = "values, found none on the meta device: make it on a device that holds them"
    if fault:
        raise TypeError(f"{name}: expected {fault}")
    values = values.detach()
    if type(values) is not torch.Tensor:
        values = values.as_subclass(torch.Tensor)
    if values.is_neg():  # a view of an imaginary part, which numpy does not take
        values = values.resolve_neg()
    # a tensor of inference mode could not be computed with outside
    return values.clone() if values.is_inference() else values


def _from_numpy(values: np.ndarray, name: str) -> torch.Tensor:
    if values.dtype.kind not in "fiubc":
        raise TypeError(
            f"{name}: expected real numbers, found an array of dtype {values.dtype}: "
            "convert by .astype(float)"
        )
    # torch knows no other byte order, no negative strides, and warns of memory that is read-only
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def check_finite(values: torch.Tensor, name: str, remedy: str, *, rows: str = "") -> None:
    """Raises a ValueError that says how many values are not finite, if some are.

    Args:
        values: any tensor.
        name: for errors.
        remedy: what to do.
        rows: what the first axis counts, to say the first that is not finite; empty: not said.
    """
    if not values.is_floating_point() or values.numel() == 0:
        return
    # a sum is not finite if a value is not; the other way round it may have overflowed
    if math.isfinite(float(values.sum())):
        return
    wrong = values.isfinite().logical_not()
    count = int(wrong.sum())
    if count:
        where = ""
        if rows:
            first = int(wrong.reshape(len(wrong), -1).any(1).nonzero()[0])
            where = f", the first at {rows} {first}"
        raise ValueError(
            f"{name}: expected finite values, found {count} of {values.numel()} that are NaN or "
            f"infinite{where}: {remedy}"
        )
