"""A cohort's weights on disk: one safetensors file, written whole, checked on reading.

Tensors are named `<network>.<2 l>.weight` (outputs, inputs) and `<network>.<2 l>.bias`, the names
of an `nn.Sequential` of Linear layers with a unit between them: anyone can load one network.
The file's metadata hold every network's spec and a SHA-256 of specs and tensors.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sensigap.files import written_whole
from sensigap.integrity import DamagedFileError, aside, damaged, is_the_files_fault
from sensigap.networks import Stack, clamps
from sensigap.spec import NetworkSpec
from sensigap.weights_header import METADATA

REMEDY = "train this cohort again"


def save(path: str | Path, stacks: Iterable[tuple[Sequence[NetworkSpec], Stack]]) -> None:
    """Writes the networks of all stacks to one file: to a temporary name, then renamed."""
    path = Path(path)
    tensors: dict[str, torch.Tensor] = {}
    specs: dict[str, str] = {}
    for members, stack in stacks:
        for k, spec in enumerate(members):
            specs[spec.id] = spec.to_json()
            for l, (w, b) in enumerate(zip(stack.weights, stack.biases, strict=True)):
                tensors[f"{spec.id}.{2 * l}.weight"] = w[k].detach().T.contiguous().cpu()
                tensors[f"{spec.id}.{2 * l}.bias"] = b[k].detach().clone().cpu()
    # one entry, since the order of several differs from write to write
    described = {"specs": specs, "sha256": _digest(specs, tensors)}
    metadata = {METADATA: json.dumps(described, sort_keys=True)}
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata)


def load(path: str | Path) -> list[tuple[list[NetworkSpec], Stack]]:
    """The networks of a file as stacks, grouped by depth and width, checksum verified.

    Raises:
        DamagedFileError: the file is missing or damaged; a damaged one has been moved aside, so
            that the next run of the workflow makes it again.
    """
    path = Path(path)
    if not path.exists():
        place = aside(path)
        found = f"damaged and set aside as {place.name}" if place.exists() else "missing"
        raise DamagedFileError(
            f"{path} is {found}: expected the weights of a cohort. Run the workflow again to "
            f"{REMEDY}."
        )
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        expected, found = described["sha256"], _digest(described["specs"], tensors)
        if not all(tensor.is_floating_point() for tensor in tensors.values()):
            # whole numbers of as many bytes have the same checksum
            raise ValueError("weights are no floating-point numbers")
    except Exception as error:
        # a header with other words in it fails in as many ways
        if not is_the_files_fault(error):
            raise
        raise damaged(path, f"it cannot be read ({error})", REMEDY) from error
    if found != expected:
        raise damaged(path, f"its checksum is {found[:12]}, not {expected[:12]}", REMEDY)
    specs = [NetworkSpec.from_json(text) for text in described["specs"].values()]

    def shape(spec: NetworkSpec) -> tuple[int, int, str]:
        return spec.depth, spec.width, spec.precision

    ordered = sorted(specs, key=lambda spec: (shape(spec), spec.id))
    return [
        (members, _stack(members, tensors))
        for _, group in groupby(ordered, shape)
        if (members := list(group))
    ]


def _stack(specs: Sequence[NetworkSpec], tensors: dict[str, torch.Tensor]) -> Stack:
    depth = specs[0].depth
    layers = range(0, 2 * depth + 1, 2)
    return Stack(
        [
            torch.stack([tensors[f"{s.id}.{l}.weight"].T for s in specs]).contiguous()
            for l in layers
        ],
        [torch.stack([tensors[f"{s.id}.{l}.bias"] for s in specs]) for l in layers],
        *clamps(specs),
    )


def _digest(specs: dict[str, str], tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(specs, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()
