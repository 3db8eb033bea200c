"""A file from which a killed job goes on: written whole or not at all, with a checksum.

Training keeps the networks' states in one, and measures what they have counted, see
`sensigap.measures.cohort.kept`.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sensigap import integrity
from sensigap.files import CHECKPOINT, written_whole

logger = logging.getLogger(__name__)


def beside(weights: str | Path) -> Path:
    """The checkpoint of the training that writes `weights`."""
    weights = Path(weights)
    return weights.with_name(weights.name + CHECKPOINT)


def discard(weights: str | Path) -> None:
    """Deletes the checkpoint of the training that wrote `weights`, if there is one.

    A stage that has read the weights and succeeded calls this; until then the checkpoint stays, so
    that lost or damaged weights are written again without training.
    """
    beside(weights).unlink(missing_ok=True)


def made_with(code: str) -> str:
    """What must be the same for a checkpoint to be of use: the code and what it computes with."""
    return f"{code}, torch {torch.__version__}, numpy {np.__version__}"


def write(path: str | Path, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Writes a checkpoint to a temporary name, then renames it.

    Args:
        path: the file; an existing one is replaced.
        header: anything that JSON can hold.
        tensors: on a CPU.
    """
    path = Path(path)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    text = json.dumps(header)
    with written_whole(path) as temporary:
        save_file(tensors, temporary, {"header": text, "sha256": _digest(text, tensors)})


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """Header and tensors of a checkpoint; None if there is none, or none that can be trusted.

    A damaged one is named in the log and moved aside.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = metadata.get("header", "")
        found = _digest(text, tensors)
    except Exception as error:
        if not integrity.is_the_files_fault(error):
            raise
        quarantine(path, f"is damaged: it cannot be read ({error})")
        return None
    if found != metadata.get("sha256"):
        quarantine(path, "is damaged: its checksum is not the one that was written")
        return None
    return json.loads(text), tensors


def quarantine(path: Path, why: str) -> None:
    """Moves a checkpoint out of the way and says so; its work will be done again."""
    aside = integrity.quarantine(path)
    logger.warning(
        "checkpoint %s %s. It has been moved to %s; its work is done again.", path, why, aside.name
    )


def _digest(header: str, tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()
