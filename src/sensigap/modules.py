"""What the modules of an `nn.Sequential` compute, read without running or changing them.

The attributes of a module say what it computes as long as its call is the one of torch's own class.
Hooks, methods of one's own, compiled calls and modes can all change it: `layers` and `fault` find
them. Weights may be made anew at each call (weight norm, spectral norm, pruning, parametrisations):
`tensor` gives what the next call in this mode would use, and changes nothing.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize, prune

from sensigap.tensors import DTYPES, check_finite, plain

#: methods that decide what a call of a module computes
_METHODS = (
    *("__call__", "_wrapped_call_impl", "_call_impl", "forward", "__getattr__"),
    *("_conv_forward", "__iter__"),
)
#: attributes of an instance that a call would use in place of its class's methods
_OWN_ATTRIBUTES = {"_wrapped_call_impl", "_call_impl", "_slow_forward", "forward", "_conv_forward"}
_HOOKS = {
    "_forward_hooks": "forward hook",
    "_forward_pre_hooks": "forward pre-hook",
    "_backward_hooks": "backward hook",
    "_backward_pre_hooks": "backward pre-hook",
}
_GLOBAL_HOOKS = {
    "_global_forward_hooks": "forward hook",
    "_global_forward_pre_hooks": "forward pre-hook",
    "_global_backward_hooks": "backward hook",
    "_global_backward_pre_hooks": "backward pre-hook",
}
#: tensors that layers compute with
_TENSORS = ("weight", "bias", "running_mean", "running_var")
#: how plain tensors and parameters take part in an operation
_TORCH_FUNCTIONS = (torch.Tensor.__torch_function__, nn.Parameter.__torch_function__)
_NOT_FINITE = "look for a training that diverged, or a faulty file"


def check_network(network: object, name: str) -> None:
    """Raises a TypeError unless this is an `nn.Sequential`; says what to give instead."""
    if isinstance(network, nn.Sequential):
        return
    kind, remedy = type(network).__name__, "put the layers in an nn.Sequential"
    if isinstance(network, torch.jit.ScriptModule):
        remedy = "give the module from which it was made"
    elif hasattr(network, "_orig_mod"):
        remedy = "give the module that was compiled, its ._orig_mod"
    elif isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        remedy = "give the module inside, its .module"
    raise TypeError(f"{name}: expected an nn.Sequential, found {kind}: {remedy}")


def layers(network: nn.Sequential, name: str = "network") -> Iterator[tuple[str, nn.Module]]:
    """The layers of an `nn.Sequential` and of those inside it, in order, each with its place.

    Args:
        network: the network.
        name: what it is called in errors.

    Yields:
        'network[1][0] (Linear)' and the layer; one that stands twice comes twice.

    Raises:
        TypeError: hooks or a method of its own change what a container computes, or hooks are set
            for all modules; names the place.
    """
    for attribute, kind in _GLOBAL_HOOKS.items():
        if hooks := getattr(torch_module, attribute, None):
            raise TypeError(
                f"{name}: a global {kind} ({_hook_name(next(iter(hooks.values())))}) is registered "
                "for all modules and may change what they compute: remove it by its handle"
            )
    yield from _layers(network, name)


def _layers(network: nn.Sequential, name: str) -> Iterator[tuple[str, nn.Module]]:
    if reason := fault(network):
        raise TypeError(f"{name} ({type(network).__name__}) {reason}")
    # by the dictionary that a call goes through; named_children() would skip what stands twice
    for index, module in enumerate(network._modules.values()):
        place = f"{name}[{index}]"
        if isinstance(module, nn.Sequential):
            yield from _layers(module, place)
        elif module is None:
            raise TypeError(f"{place} is None: expected a layer; leave it out")
        else:
            yield f"{place} ({parametrize.type_before_parametrizations(module).__name__})", module


def fault(module: nn.Module, own: tuple[type, ...] = ()) -> str:
    """Why a module may compute something else than its class's attributes say, and the remedy.

    Args:
        module: a layer or an `nn.Sequential`.
        own: classes trusted besides torch's.

    Returns:
        What to put after the module's place in an error; empty: nothing is wrong.
    """
    if isinstance(module, LazyModuleMixin):
        return "has no weights yet: call the network once on an input"
    if isinstance(module, torch.jit.ScriptModule):
        return "is a ScriptModule: use the layer from which it was made"
    if _own_method(module, own):
        return (
            "has a forward method of its own, or another that decides what a call computes, so "
            "that the class it is derived from does not say what it computes: use the plain layer"
        )
    if getattr(module, "_compiled_call_impl", None) is not None:
        return "calls compiled code, by .compile(): measure copy.deepcopy(network), which does not"
    return _hook_fault(module)


def _own_method(module: nn.Module, own: tuple[type, ...]) -> bool:
    """Whether a class that is not torch's, or the instance, decides what a call computes."""
    cls = type(module)
    if vars(module).keys() & _OWN_ATTRIBUTES or cls.__getattribute__ is not object.__getattribute__:
        return True
    base = next((c for c in cls.__mro__ if _is_torchs(c) or c in own), nn.Module)
    trusted = {c.__module__ for c in own}
    for name in _METHODS:
        method = getattr(cls, name, None)
        if method is not getattr(base, name, None):
            return True
        # where the function was written; a wrapper may carry another name
        where = getattr(method, "__globals__", {}).get("__name__", "")
        if method is not None and not (where.startswith("torch.nn.modules.") or where in trusted):
            return True
    # a property would stand before the weights; parametrisations are known
    return any(hasattr(cls, n) and not parametrize.is_parametrized(module, n) for n in _TENSORS)


def _is_torchs(cls: type) -> bool:
    return cls.__module__.startswith("torch.nn.modules.")


def _hook_name(hook: Callable[..., Any]) -> str:
    return getattr(hook, "__qualname__", type(hook).__qualname__)


def _hook_fault(module: nn.Module) -> str:
    """See `fault`."""
    made: list[str] = []
    for attribute, kind in _HOOKS.items():
        for hook in (getattr(module, attribute, None) or {}).values():
            name = _made_by(hook) if attribute == "_forward_pre_hooks" else None
            if name not in _TENSORS or name in made:
                return (
                    f"has a {kind} ({_hook_name(hook)}), which may change what it computes: "
                    "remove it by its handle, or measure a copy without it"
                )
            made.append(name)
            if module.training and _is(hook, "spectral_norm", "SpectralNorm"):
                return (
                    "has spectral norm in training mode, which changes at every call: "
                    "call .eval() on the network"
                )
    return ""


def _is(hook: object, module: str, name: str) -> bool:
    """Whether a hook is one of torch's, which are deprecated and may not be there to import."""
    cls = type(hook)
    return cls.__module__ == f"torch.nn.utils.{module}" and cls.__qualname__ == name


def _made_by(hook: object) -> str | None:
    """Which tensor a hook of torch's makes before each call; None: it is another hook."""
    if _is(hook, "weight_norm", "WeightNorm") or _is(hook, "spectral_norm", "SpectralNorm"):
        return str(vars(hook)["name"])
    base = prune.BasePruningMethod
    if isinstance(hook, base):
        cls = type(hook)
        if cls.__call__ is base.__call__ and cls.apply_mask is base.apply_mask:
            return str(hook._tensor_name)
    return None


def tensor(place: str, module: nn.Module, name: str) -> torch.Tensor | None:
    """A weight, bias or buffer that the next call of a module would compute with, in its mode.

    Args:
        place: of the module, for errors.
        module: a module in which `fault` finds nothing.
        name: of the tensor.

    Returns:
        The tensor without gradients, which may share memory with the network's; None where the
        module has none.

    Raises:
        TypeError: it is no plain tensor, or making it would change something.
        ValueError: it has values that are not finite.
    """
    values: Any
    if parametrize.is_parametrized(module, name):
        values = _parametrised(place, module, name)
    else:
        hooks: list[Any] = [h for h in module._forward_pre_hooks.values() if _made_by(h) == name]
        if not hooks:
            values = getattr(module, name)
        elif isinstance(hooks[0], prune.BasePruningMethod):
            values = hooks[0].apply_mask(module)
        elif _is(hooks[0], "spectral_norm", "SpectralNorm"):
            values = hooks[0].compute_weight(module, do_power_iteration=False)
        else:
            values = hooks[0].compute_weight(module)
    if values is None:
        return None
    if getattr(type(values), "__torch_function__", None) not in _TORCH_FUNCTIONS:
        raise TypeError(
            f"{place}: {name}: expected a plain torch.Tensor, found {type(values).__name__}, which "
            "computes in its own way: convert it to a plain tensor"
        )
    found = plain(values, f"{place}: {name}")
    check_finite(found, f"{place}: {name}", _NOT_FINITE)
    return found


def weight_and_bias(place: str, module: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight (output, ...) and bias (output) of a layer, see `tensor`.

    Raises:
        TypeError, ValueError: as `tensor`; also for a bias of another shape.
    """
    weight, bias = tensor(place, module, "weight"), tensor(place, module, "bias")
    if weight is None:
        raise TypeError(f"{place}: weight is None: expected a tensor")
    if weight.numel() == 0:
        raise ValueError(
            f"{place}: weight: expected at least one input and output, found shape "
            f"{tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"{place}: bias: expected shape ({len(weight)},) for weights of shape "
            f"{tuple(weight.shape)}, found {tuple(bias.shape)}"
        )
    return weight, bias


def _parametrised(place: str, module: nn.Module, name: str) -> torch.Tensor:
    """A parametrised tensor, computed on a copy: reading it may change buffers, or draw."""
    if getattr(parametrize, "_cache_enabled", 0):
        raise TypeError(
            f"{place}: {name} is parametrised, and may be a stale one inside "
            "torch.nn.utils.parametrize.cached(): measure outside of it"
        )
    try:
        made: Any = copy.deepcopy(module.parametrizations[name])  # type: ignore[index]
    except (RuntimeError, TypeError) as error:
        raise TypeError(
            f"{place}: {name} is parametrised in a way that cannot be copied ({error}): call "
            "torch.nn.utils.parametrize.remove_parametrizations on it"
        ) from error
    state = [*made.parameters(), *made.buffers()]
    before = [values.clone() for values in state]
    devices = {values.device for values in state if values.device.type == "cuda"}
    with torch.random.fork_rng(devices):
        drawn = torch.get_rng_state()
        values, again = (plain(made(), f"{place}: {name}").clone() for _ in range(2))
        changed = not torch.equal(drawn, torch.get_rng_state())
    changed |= not all(map(torch.equal, before, state))
    check_finite(values, f"{place}: {name}", _NOT_FINITE)
    if changed or not torch.equal(values, again):
        raise TypeError(
            f"{place}: {name} is parametrised and changes each time it is computed "
            f"({', '.join(type(p).__name__ for p in made)}): call .eval() on the network, or "
            "torch.nn.utils.parametrize.remove_parametrizations"
        )
    return values


def common_dtype(tensors: list[tuple[str, torch.Tensor]]) -> torch.dtype:
    """The dtype of all tensors of a network, each given with its place; float64 without any.

    Raises:
        TypeError: they are not all float32 or all float64; names the first.
    """
    found = {values.dtype for _, values in tensors}
    if not found:
        return torch.float64
    if len(found) > 1 or not found <= set(DTYPES):
        first = tensors[0][1].dtype
        odd, dtype = next(
            (name, values.dtype)
            for name, values in tensors
            if values.dtype not in DTYPES or values.dtype != first
        )
        names = ", ".join(sorted(map(str, found)))
        raise TypeError(
            f"{odd} is {dtype}: expected all float32 or all float64, found {names}: call .float() "
            "or .double() on the network"
        )
    return found.pop()
