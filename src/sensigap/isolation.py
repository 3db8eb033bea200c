"""Numbers that do not depend on the modes that the caller has set in torch and numpy."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

_AUTOCAST_DEVICES = ("cpu", "cuda", "xpu", "mps")
#: where torch keeps the precision of float32 products, and what it may be besides full; that of
#: convolutions on a GPU is reduced unless it is set
_PRODUCTS_OF_PROCESSORS: tuple[Any, ...] = (
    torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
    torch.backends.mkldnn.conv,  # type: ignore[attr-defined]
)
_PRODUCTS = (
    *_PRODUCTS_OF_PROCESSORS,
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,  # type: ignore[attr-defined]
)
_REDUCED = ("tf32", "bf16")


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Computes as if no mode were set, and without gradients; also decorates functions.

    Undone for the time being are inference mode, autocast, float32 products of reduced precision,
    `torch.set_default_device` and a `numpy.seterr` that raises. What overflows is found and told by
    the measures themselves. The default dtype stays: what is decorated names its dtypes.
    """
    with contextlib.ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.no_grad())
        for device in _AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(device):
                modes.enter_context(torch.autocast(device, enabled=False))
        for place in _PRODUCTS if torch.cuda.is_initialized() else _PRODUCTS_OF_PROCESSORS:
            if (precision := place.fp32_precision) in _REDUCED:
                place.fp32_precision = "ieee"
                modes.callback(setattr, place, "fp32_precision", precision)
        # the mode of a default device costs a call of Python for each operation
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        modes.enter_context(np.errstate(over="ignore", under="ignore", invalid="ignore"))
        yield
