"""The header of a file of weights: which networks it holds, and their checksum.

Read without torch and without the weights, so cheap enough for every file of a study.
"""

import json
from pathlib import Path
from typing import Any

#: the one entry of the file's metadata: JSON with 'specs' (network id -> spec) and 'sha256'
METADATA = "sensigap"


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
        raise HeaderError(f"{path}: its header cannot be read ({error})") from error
