"""What an output was made from, and what it holds: read where a run is planned, cheaply.

A Zarr store keeps in its attributes the digest of the settings and code that made it; tables,
figures and the report keep it in a record beside them, a JSON file with the checksums of the files
that it speaks for. With it a result that settings or code have left behind is known for what it is
also where the workflow engine's own notes are gone, as in a copy.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sensigap.files import written_whole

#: attribute of a store, and entry of a record
MADE_BY = "made_by"


def digest(settings: Any, code: str) -> str:
    """Sixteen hexadecimal digits for the settings and the code of a stage.

    Args:
        settings: anything that JSON can hold; the order of keys does not count.
        code: see `sensigap.code_digest`.
    """
    text = json.dumps([settings, code], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def made_by(path: str | Path) -> str | None:
    """The digest that a store or a record carries; None if there is none that can be read.

    Args:
        path: a store's folder, or a record.
    """
    path = Path(path)
    try:
        kept = json.loads((path / ".zattrs" if path.is_dir() else path).read_text("utf-8"))
        return str(kept[MADE_BY])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(
    path: str | Path,
    files: Iterable[str | Path],
    made_by: str,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes the record of some files, which lie in its folder or below.

    Args:
        path: the record.
        files: what it speaks for.
        made_by: see `digest`.
        extra: more to keep, for example versions.
    """
    path = Path(path)
    kept = dict(extra or {}) | {
        MADE_BY: made_by,
        "sha256": {
            Path(file).relative_to(path.parent).as_posix(): checksum(file) for file in files
        },
    }
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def files(path: str | Path) -> list[str]:
    """The files that a record speaks for, relative to its folder; none where it cannot be read."""
    try:
        return list(json.loads(Path(path).read_text("utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def differences(path: str | Path) -> list[str]:
    """What of the files of a record is missing or is not as it was written; a line each.

    Args:
        path: the record.
    """
    path = Path(path)
    try:
        kept = json.loads(path.read_text("utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{path}: cannot be read ({error})"]
    found = []
    for name, expected in kept.items():
        file = path.parent / name
        if not file.is_file():
            found.append(f"{file}: missing")
        elif (actual := checksum(file)) != expected:
            found.append(f"{file}: its checksum is {actual[:12]}, not {expected[:12]}")
    return found


def checksum(file: str | Path) -> str:
    """SHA-256 of a file."""
    with Path(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
