"""What an output was made from, and what it holds: read where a run is planned, cheaply.

A record is a JSON file with the digest of the settings and code that made some files, their sizes
and checksums, and a checksum of itself. A Zarr store has one inside; tables, figures and the report
have one beside them. With it a result that settings or code have left behind, or that something has
happened to, is known for what it is also where the workflow engine's own notes are gone, as in a
copy.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sensigap.files import written_whole
from sensigap.integrity import damaged, is_the_files_fault

#: attribute of a store, and entry of a record
MADE_BY = "made_by"
#: name of the record inside a store
INSIDE = ".record.json"
REMEDY = "make it again"


class RecordError(ValueError):
    """A record is not as it was written."""


def digest(settings: Any, code: str) -> str:
    """Sixteen hexadecimal digits for the settings and the code of a stage.

    Args:
        settings: anything that JSON can hold; the order of keys does not count.
        code: see `sensigap.code_digest`.
    """
    text = json.dumps([settings, code], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rows_digest(table: str, dataset: str | None = None) -> str:
    """A digest of the design table, or of its head and one data set's rows.

    Args:
        table: the table as CSV, data sets in its second column.
        dataset: None for all rows.
    """
    lines = table.split("\n")
    if dataset is not None:
        lines = [line for line in lines if line.split(",", 2)[1:2] in ([dataset], ["dataset"])]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def of(path: str | Path) -> Path:
    """The record of a store's folder; a record is its own."""
    path = Path(path)
    return path if path.suffix == ".json" else path / INSIDE


def made_by(path: str | Path) -> str | None:
    """The digest that a store or a record carries; None if there is none that can be read.

    Args:
        path: a store's folder, or a record.
    """
    try:
        return str(read(of(path))[MADE_BY])
    except (OSError, RecordError):
        return None


def read(path: str | Path) -> dict[str, Any]:
    """What a record holds: `made_by`, `files` (name -> `bytes` and `sha256`), and more.

    Raises:
        FileNotFoundError: there is none.
        RecordError: it is not as it was written, or names a file outside its folder.
    """
    path = Path(path)
    try:
        kept = json.loads(path.read_bytes())
        own = kept.pop("sha256")
        if own != _own(kept):
            raise ValueError("its own checksum is another")
        for name in kept["files"]:
            if not _is_below(name):
                raise ValueError(f"it names {name}, which is not below its folder")
        return dict(kept)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if not is_the_files_fault(error):
            raise
        raise RecordError(f"{path.name}: cannot be read ({error})") from error


def _is_below(name: str) -> bool:
    place = PurePosixPath(name)
    return not (place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name)


def _own(kept: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


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
        "files": {
            Path(file).relative_to(path.parent).as_posix(): {
                "bytes": Path(file).stat().st_size,
                "sha256": checksum(file),
            }
            for file in files
        },
    }
    with written_whole(path) as temporary:
        text = json.dumps(kept | {"sha256": _own(kept)}, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_inside(store: Path, made_by: str) -> None:
    """Writes the record of all files of a store that is being written."""
    found = sorted(path for path in store.rglob("*") if path.is_file())
    write_record(store / INSIDE, found, made_by)


def files(path: str | Path) -> list[str]:
    """The files that a record speaks for, relative to its folder; none where it cannot be read."""
    try:
        return list(read(path)["files"])
    except (OSError, RecordError):
        return []


def differences(path: str | Path, *, suspects_only: bool = False) -> Iterator[tuple[Path, str]]:
    """What of the files of a record is missing or is not as it was written.

    Args:
        path: the record.
        suspects_only: reads only files that are younger than the record or of another size. That
            misses a change that left both as they were.

    Yields:
        (a file or the record itself, what is wrong with it).
    """
    path = Path(path)
    try:
        kept = read(path)["files"]
        written = path.stat().st_mtime_ns
    except FileNotFoundError:
        yield path, "it is missing"
        return
    except RecordError as error:
        yield path, str(error)
        return
    for name, expected in kept.items():
        file = path.parent / name
        try:
            found = file.stat()
            if not file.is_file():
                yield file, "it is no file"
            elif found.st_size != expected["bytes"]:
                yield file, f"it has {found.st_size:,} bytes, not {expected['bytes']:,}"
            elif suspects_only and found.st_mtime_ns <= written:
                continue
            elif (actual := checksum(file)) != expected["sha256"]:
                yield file, f"its checksum is {actual[:12]}, not {expected['sha256'][:12]}"
        except OSError as error:
            if not is_the_files_fault(error):
                raise
            missing = isinstance(error, FileNotFoundError) and not os.path.lexists(file)
            yield file, "it is missing" if missing else f"it cannot be read ({error.strerror})"


def fault(path: str | Path) -> str:
    """What is wrong with a store or the files of a record, by a look at each; '' if nothing is.

    Sizes and time stamps decide which files are read, see `differences`.
    """
    path = Path(path)
    for file, why in differences(of(path), suspects_only=True):
        return f"{file}: {why}"
    return ""


def verify(path: str | Path, names: Iterable[str | Path] | None = None) -> None:
    """Holds files against their record; what is damaged is moved aside.

    Args:
        path: the record.
        names: the files that are about to be read; None: all that the record speaks for.

    Raises:
        DamagedFileError: a file is not as it was written, the record is not, or does not speak for
            one of `names`.
    """
    path = Path(path)
    wanted = None if names is None else {Path(name) for name in names}
    for file, why in differences(path):
        if wanted is None or file in wanted or file == path:
            raise damaged(file, why, REMEDY)
    for name in wanted or ():
        if name not in {path.parent / known for known in files(path)}:
            raise damaged(path, f"it does not speak for {name}", REMEDY)


def checksum(file: str | Path) -> str:
    """SHA-256 of a file."""
    with Path(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
