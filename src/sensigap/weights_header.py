"""The header of a file of weights: which networks it holds, and their checksum.

Read without torch and without the weights, so cheap enough for every file of a study.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensigap.integrity import MissingFileError, damaged

#: the one entry of the file's metadata: JSON with 'specs' (network id -> spec) and 'sha256'
METADATA = "sensigap"
#: attribute of a store with the `sha256` of the weights that it is of
MADE_FROM = "weights"


class HeaderError(ValueError):
    """A file of weights has no header that can be read."""


def read_header(path: str | Path) -> dict[str, Any]:
    """`specs` (network id -> the spec as JSON) and `sha256` of specs and tensors.

    Raises:
        FileNotFoundError: there is no file.
        HeaderError: the file is not one of `sensigap.weights`, or its header is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            # safetensors: eight bytes with the length of the JSON that follows
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, path.stat().st_size)))
        found = json.loads(header["__metadata__"][METADATA])
        return {"specs": dict(found["specs"]), "sha256": str(found["sha256"])}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HeaderError(f"its header cannot be read ({error})") from error


def is_whole(path: str | Path) -> bool:
    """Whether a file of weights has a header, and as many bytes as the header says."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            header = json.loads(file.read(min(length, size)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__"]
        return bool(size == 8 + length + max(ends, default=0))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return False


def check_made_from(
    attributes: Mapping[str, Any], store: str | Path, weights: str | Path, remedy: str
) -> None:
    """Refuses a store of other weights than those that are there, and moves it aside.

    Args:
        attributes: of the store.
        store: its folder.
        weights: the file of weights that it should be of.
        remedy: what running the workflow again will do to the store.

    Raises:
        MissingFileError: there are no weights.
        DamagedFileError: the store is of other weights, or the file of weights cannot be read; it
            has been moved aside.
    """
    try:
        expected = read_header(weights)["sha256"]
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{weights} is missing: expected the weights that {store} is of. Run the workflow "
            "again to train this cohort again."
        ) from error
    except HeaderError as error:
        raise damaged(Path(weights), str(error), "train this cohort again") from error
    found = str(attributes.get(MADE_FROM, "none"))
    if found != expected:
        why = f"it is of the weights {found[:12]}, and {Path(weights).name} holds {expected[:12]}"
        raise damaged(Path(store), why, remedy)
