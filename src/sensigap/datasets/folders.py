"""Folders of pictures: a folder a class, alone or within train and test."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensigap.datasets.pictures import (
    ONE_IMAGE,
    Faults,
    Part,
    PictureError,
    Preparation,
    RefusedError,
    read_picture,
    stacked,
)

#: endings of pictures that Pillow reads, lower case
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"),
    *(".pgm", ".ppm", ".pbm", ".pnm", ".tga", ".jp2"),
)
#: files of other kinds that lie in such folders without being pictures
_NO_PICTURES = (".txt", ".md", ".csv", ".json", ".yaml", ".yml", ".xml", ".html")
#: names of parts of a data set: where there are no others they are no classes
_PARTS = (
    *("train", "training", "test", "testing"),
    *("val", "valid", "validation", "dev", "eval", "evaluation"),
)


def read_folder(
    path: Path, preparation: Preparation, *, split: bool
) -> tuple[list[Part], tuple[str, ...]]:
    """The images of a folder and the names of their classes, sorted.

    Args:
        path: holds train and test with a folder a class in each, or a folder a class.
        preparation: of each picture.
        split: whether a split is asked for, which the folder then must not have.

    Returns:
        The training and the test part, or the one part that there is.

    Raises:
        RefusedError: the folder is not so, or pictures cannot be taken.
    """
    if not path.is_dir():
        raise RefusedError(f"found a file at {path.resolve()}", "name its folder, or use arrays")
    faults = Faults()
    there = _folders(path, path, faults)
    parts = ["train", "test"] if {"train", "test"} <= {*there} else ["."]
    if split and parts != ["."]:
        raise RefusedError(
            f"{path} has folders train and test", "leave test_share out: it has a split"
        )
    if parts == ["."] and there and {name.lower() for name in there} <= {*_PARTS}:
        raise RefusedError(
            f"{path} has the folders {', '.join(there)}",
            "name its two parts train and test, or name the folder of one part",
        )
    classes = there if parts == ["."] else _folders(path, path / "train", faults)
    if len(classes) < 2:
        faults.add(
            str(path if parts == ["."] else path / "train"),
            f"it has {f'the one class {classes[0]}' if classes else 'no class'}; make a folder a "
            "class, two at least, with its pictures in it",
        )
    if parts != ["."]:
        _same_classes(classes, _folders(path, path / "test", faults), faults)
    pictures = [_pictures(path, part, classes, preparation, faults) for part in parts]
    images = [image for part in pictures for image in part[0]]
    pixels = stacked(images, [name for part in pictures for name in part[2]], faults)
    faults.refuse(path)
    found, start = [], 0
    for part_images, labels, _ in pictures:
        stop = start + len(part_images)
        found.append(Part(pixels[start:stop], np.asarray(labels, np.int64)))
        start = stop
    return found, tuple(classes)


def _folders(root: Path, place: Path, faults: Faults) -> list[str]:
    """The names of the folders in a folder, sorted; hidden ones left out."""
    names = []
    for entry in _listed(place):
        path = Path(entry.path)
        if entry.fault and path.suffix.lower() not in _NO_PICTURES:
            faults.add(path.relative_to(root).as_posix(), entry.fault)
        elif entry.is_folder:
            names.append(path.name)
    return names


def _pictures(
    root: Path, part: str, classes: list[str], preparation: Preparation, faults: Faults
) -> tuple[list[npt.NDArray[np.uint8]], list[int], list[str]]:
    """The images, labels and names of one part, class by class, in the order of their names."""
    pictures: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    names: list[str] = []
    for label, folder in enumerate(classes):
        place = root / part / folder
        if not place.is_dir():
            continue  # told already
        found = 0
        for entry in sorted(walk(place), key=lambda entry: Path(entry.path)):
            if entry.is_folder and not entry.fault:
                continue
            file = Path(entry.path)
            name, ending = file.relative_to(root).as_posix(), file.suffix.lower()
            if ending in _NO_PICTURES:
                continue
            found += 1
            if entry.fault:
                faults.add(name, entry.fault)
                continue
            if ending not in SUFFIXES:
                faults.add(name, "no picture by its ending; take it away, or convert it to PNG")
                continue
            try:
                pictures.append(read_picture(file, preparation))
            except PictureError as error:
                faults.add(name, str(error), error.detail)
            else:
                labels.append(label)
                names.append(name)
        name = place.relative_to(root).as_posix()
        if not found:
            faults.add(name, "a class without a picture; fill it or take it away")
        elif found == 1 and part == ".":
            faults.add(name, f"a class with one picture: {ONE_IMAGE}")
    return pictures, labels, names


def _same_classes(train: list[str], test: list[str], faults: Faults) -> None:
    for name in sorted({*train} ^ {*test}):
        there, absent = ("train", "test") if name in train else ("test", "train")
        faults.add(f"{there}/{name}", f"a class that {absent} lacks; add it there, or take it away")


class Entry(NamedTuple):
    """A file or folder below a folder."""

    path: str
    is_folder: bool
    is_link: bool
    #: why it cannot be read; '' where it can
    fault: str
    #: of what a link points to; None where nothing is known
    status: os.stat_result | None


def walk(folder: Path) -> Iterator[Entry]:
    """What lies below a folder, in a fixed order, hidden ones left out.

    Links are followed, each folder once, and none back to where the folder itself lies.
    """
    seen = set()
    with suppress(OSError):
        seen = {
            _identity(p.stat()) for p in (*folder.absolute().parents, *folder.resolve().parents)
        }
    waiting = [Entry(str(folder), True, False, "", None)]
    while waiting:
        place = waiting.pop()
        try:
            identity = _identity(Path(place.path).stat())
            entries = [] if identity in seen else _listed(place.path)
        except OSError as error:
            yield place._replace(fault=_reason(error))
            continue
        seen.add(identity)
        yield from entries
        waiting += [entry for entry in reversed(entries) if entry.is_folder]


def inventory(folder: Path) -> list[tuple[str | int, ...]]:
    """Names, targets of links, sizes and time stamps of what lies below a folder.

    Folders have their names alone: what is hidden in them does not count.
    """
    lines: list[tuple[str | int, ...]] = []
    for entry in walk(folder):
        line: tuple[str | int, ...] = (entry.path, entry.fault)
        if entry.is_link:
            line += (str(Path(entry.path).readlink()),)
        if entry.status and not entry.is_folder:
            line += (entry.status.st_size, entry.status.st_mtime_ns)
        lines.append(line)
    return lines


def _listed(place: str | Path) -> list[Entry]:
    with os.scandir(place) as entries:
        return sorted(_entry(entry) for entry in entries if not _hidden(entry.name))


def _entry(entry: os.DirEntry[str]) -> Entry:
    try:
        status = entry.stat()
    except OSError as error:
        return Entry(entry.path, False, entry.is_symlink(), _reason(error), None)
    folder, file = stat.S_ISDIR(status.st_mode), stat.S_ISREG(status.st_mode)
    fault = "" if folder or file else "no plain file; take it away"
    return Entry(entry.path, folder, entry.is_symlink(), fault, status)


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "this user may not read it; give the right to"
    if isinstance(error, FileNotFoundError) or error.errno == errno.ELOOP:
        return "a link to nowhere; mend it, or take it away"
    return f"it cannot be read ({error.strerror})"


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _hidden(name: str) -> bool:
    """Whether a file or folder is none of the data set's, as .DS_Store and Thumbs.db."""
    return name.startswith((".", "__MACOSX")) or name.lower() in ("thumbs.db", "desktop.ini")
