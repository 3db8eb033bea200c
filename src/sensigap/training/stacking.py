"""How many networks should step together."""

import torch

from sensigap.training.passes import Layout

#: bytes that a stack on a CPU should keep busy: about one core's share of the last cache
_CACHE_BYTES = 6 * 2**20
_LARGEST_STACK = 64
#: share of a GPU's free memory for one stack; evaluations and temporary tensors need some too
_DEVICE_SHARE = 0.5
_LARGEST_DEVICE_STACK = 1024


def network_bytes(layout: Layout, batch_size: int, moments: int, itemsize: int) -> int:
    """Bytes that one network's step touches: parameters, gradients, moments and activations."""
    activations = batch_size * (layout.sizes[0] + 2 * sum(layout.sizes[1:]))
    return itemsize * ((2 + moments) * layout.length + activations)


def stack_size(layout: Layout, batch_size: int, moments: int, like: torch.Tensor) -> int:
    """Networks that should step together on the device of `like`, in its dtype.

    On a CPU small networks share the cost of each call, and large ones only drive each other out of
    the cache. On a GPU the more the better, as far as memory goes.
    """
    each = network_bytes(layout, batch_size, moments, like.dtype.itemsize)
    if like.device.type == "cpu":
        return max(1, min(_LARGEST_STACK, _CACHE_BYTES // each))
    free, _ = torch.cuda.mem_get_info(like.device)
    return max(1, min(_LARGEST_DEVICE_STACK, int(_DEVICE_SHARE * free) // each))
