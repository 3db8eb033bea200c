"""What a step costs, and how many networks should step together."""

from sensitivity.training.passes import Layout

#: bytes that a stack on a CPU should keep busy: about the share of the last cache of one core
_CACHE_BYTES = 4 * 2**20
_LARGEST_STACK = 32
#: on a GPU more networks share a launch; memory is the limit
_DEVICE_SHARE = 0.5
_LARGEST_DEVICE_STACK = 1024


def step_flops(layout: Layout, batch_size: int) -> float:
    """Floating-point operations of the matrix products of one network's step."""
    products = sum(a * b for a, b in zip(layout.sizes, layout.sizes[1:], strict=False))
    # forward, gradient of the weights, gradient of the inputs (not of the first layer's)
    return 2.0 * batch_size * (3 * products - layout.sizes[0] * layout.sizes[1])


def network_bytes(layout: Layout, batch_size: int, moments: int, itemsize: int) -> int:
    """Bytes that one network's step touches: parameters, gradients, moments and activations."""
    activations = batch_size * (layout.sizes[0] + 2 * sum(layout.sizes[1:]))
    return itemsize * ((2 + moments) * layout.length + activations)


def stack_size(layout: Layout, batch_size: int, moments: int, itemsize: int) -> int:
    """Networks that should step together on one CPU core.

    Small networks share the cost of each call; large ones only drive each other out of the cache.
    """
    fits = _CACHE_BYTES // network_bytes(layout, batch_size, moments, itemsize)
    return max(1, min(_LARGEST_STACK, fits))


def device_stack_size(
    layout: Layout, batch_size: int, moments: int, itemsize: int, free_bytes: int
) -> int:
    """Networks that should step together on a GPU with so much free memory."""
    fits = int(_DEVICE_SHARE * free_bytes) // network_bytes(layout, batch_size, moments, itemsize)
    return max(1, min(_LARGEST_DEVICE_STACK, fits))
