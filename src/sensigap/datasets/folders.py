"""Folders of pictures: a folder a class, alone or within train and test."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensigap.datasets.pictures import (
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
#: a folder of these beside train is no class
_VALIDATION = ("val", "valid", "validation", "dev")


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
    there = folders(path)
    parts = ["train", "test"] if {"train", "test"} <= {*there} else ["."]
    if split and parts != ["."]:
        raise RefusedError(
            f"{path} has folders train and test", "leave test_share out: it has a split"
        )
    halves = {*there} & {"train", "test"}
    if parts == ["."] and halves and {*there} <= {*halves, *_VALIDATION}:
        raise RefusedError(
            f"{path} has the folders {', '.join(there)}",
            "name its two parts train and test, or name the folder of one part",
        )
    classes = folders(path / parts[0])
    if len(classes) < 2:
        raise RefusedError(
            f"{path / parts[0]} has {f'the one class {classes[0]}' if classes else 'no class'}",
            "make a folder a class, two at least, with its pictures in it",
        )
    faults = Faults()
    if parts != ["."]:
        _same_classes(classes, folders(path / "test"), faults)
    pictures = [_pictures(path, part, classes, preparation, faults) for part in parts]
    faults.refuse(path)
    images = [image for part in pictures for image in part[0]]
    pixels = stacked(images, [name for part in pictures for name in part[2]], faults)
    faults.refuse(path)
    found, start = [], 0
    for part_images, labels, _ in pictures:
        stop = start + len(part_images)
        found.append(Part(pixels[start:stop], np.asarray(labels, np.int64)))
        start = stop
    return found, tuple(classes)


def folders(place: Path) -> list[str]:
    """The names of the folders in a folder, sorted; hidden ones left out."""
    return sorted(e.name for e in os.scandir(place) if e.is_dir() and not _hidden(e.name))


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
        found = False
        for file in sorted(Path(file) for file, _ in walk(place)):
            name, ending = file.relative_to(root).as_posix(), file.suffix.lower()
            if ending in _NO_PICTURES:
                continue
            found = True
            if ending not in SUFFIXES:
                faults.add(name, "no picture by its ending; take it away, or convert it to PNG")
                continue
            try:
                pictures.append(read_picture(file, preparation))
            except PictureError as error:
                faults.add(name, str(error))
            else:
                labels.append(label)
                names.append(name)
        if not found:
            name = place.relative_to(root).as_posix()
            faults.add(name, "a class without a picture; fill it or take it away")
    return pictures, labels, names


def _same_classes(train: list[str], test: list[str], faults: Faults) -> None:
    for name in sorted({*train} ^ {*test}):
        there, absent = ("train", "test") if name in train else ("test", "train")
        faults.add(f"{there}/{name}", f"a class that {absent} lacks; add it there, or take it away")


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The files below a folder, links followed once, hidden ones left out."""
    seen, waiting = set(), [str(folder)]
    while waiting:
        place = waiting.pop()
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(place) as entries:
            for entry in entries:
                if _hidden(entry.name):
                    continue
                if entry.is_dir():
                    waiting.append(entry.path)
                else:
                    # a link to nowhere is a file that cannot be read, told when it is read
                    broken = entry.is_symlink() and not Path(entry.path).exists()
                    yield entry.path, entry.stat(follow_symlinks=not broken)


def _hidden(name: str) -> bool:
    """Whether a file or folder is none of the data set's, as .DS_Store and Thumbs.db."""
    return name.startswith((".", "__MACOSX")) or name.lower() in ("thumbs.db", "desktop.ini")
