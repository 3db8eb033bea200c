"""Numbers that do not depend on the modes that the caller has set in torch and numpy."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

_AUTOCAST_DEVICES = ("cpu", "cuda", "xpu", "mps")


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Computes as if no mode were set, and without gradients; also decorates functions.

    Undone for the time being are inference mode, autocast, `torch.set_default_device` and a
    `numpy.seterr` that raises. What overflows is found and told by the measures themselves. The
    default dtype is one for the whole process and stays: what is decorated names its dtypes.
    """
    with contextlib.ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.no_grad())
        for device in _AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(device):
                modes.enter_context(torch.autocast(device, enabled=False))
        # the mode of a default device costs a call of Python for each operation
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        modes.enter_context(np.errstate(over="ignore", under="ignore", invalid="ignore"))
        yield
