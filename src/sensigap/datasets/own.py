"""Data sets of one's own: folders of pictures with a folder a class, and arrays in a file.

Shapes, sizes and classes are read, not told. Reading them decides the ids of networks, so it is
done when a run is planned; what was found is kept in Snakemake's folder for as long as the files
are the same.
"""

import dataclasses
import functools
import hashlib
import json
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from sensigap import seeds
from sensigap.datasets.arrays import read_arrays
from sensigap.datasets.folders import inventory, read_folder
from sensigap.datasets.images import Images, noise_dose, standardise
from sensigap.datasets.known import FILES, KNOWN, DatasetFacts
from sensigap.datasets.pictures import (
    NO_PREPARATION,
    ONE_IMAGE,
    Part,
    Preparation,
    RefusedError,
)
from sensigap.datasets.places import DatasetError, expanded, printable, root

#: share of each class that tests, where no split is given
TEST_SHARE = 0.25
# ASSUME: the distance between classes shows on this many training images
_DOSE_IMAGES = 2_000
# ASSUME: hundred classes and more flicker about a training accuracy of 1, as CIFAR-100 does
_MANY_CLASSES = 100
#: keys of a data set's settings that decide its own images
KEYS = ("folder", "arrays", "resize", "centre_crop", "grey", "test_share", "split_seed")
#: found facts are kept here, in Snakemake's folder
_KEPT = Path(".snakemake") / "sensigap" / "datasets"
#: of what is kept; raised where reading changes
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the images of a data set lie, and what is done to them.

    Attributes:
        name: of the data set.
        folder: path of a folder: train and test with a folder a class, or a folder a class.
        arrays: path of an .npz file instead.
        preparation: of each picture.
        test_share: share of each class that tests, where the files have no split.
        split_seed: of that split.
    """

    name: str
    folder: str | None = None
    arrays: str | None = None
    preparation: Preparation = NO_PREPARATION
    test_share: float | None = None
    split_seed: int = 0

    @property
    def key(self) -> str:
        """The configuration's key that names the path."""
        return "folder" if self.folder else "arrays"

    @property
    def path(self) -> Path:
        """The folder or file, with ~ and variables of the environment replaced.

        Raises:
            DatasetError: it names a variable that is not set.
        """
        return expanded(str(self.folder or self.arrays), f"datasets.{self.name}.{self.key}")


def stand_in(name: str, data_root: str | None) -> Source | None:
    """Image folders `<name>/train` and `<name>/test` where a known data set's files are not there.

    None where they are, or where there are no such folders.
    """
    if name not in FILES:
        return None
    with suppress(DatasetError, OSError):
        place = root(data_root).path
        published = any((place / file).exists() for file in FILES[name])
        if not published and all((place / name / part).is_dir() for part in ("train", "test")):
            return Source(name, folder=str(place / name))
    return None


class SourceError(DatasetError):
    """The images of a source cannot be taken: what was found, and how to mend it."""

    def __init__(self, source: Source, found: str, remedy: str) -> None:
        text = f"datasets.{source.name}: {found}" + (f"; {remedy}" if remedy else "")
        super().__init__(printable(text))
        self.found, self.remedy = found, remedy


def read(source: Source) -> tuple[Images, str]:
    """The images of a source, and one line that says where they come from.

    Raises:
        SourceError: files are missing, or cannot be taken; the message names all of them.
        DatasetError: the path names a variable of the environment that is not set.
    """
    path = source.path
    reader = read_folder if source.folder else read_arrays
    try:
        if not _status(path):
            raise RefusedError(f"found nothing at {path.absolute()}", "correct the path")
        parts, classes = reader(path, source.preparation, split=source.test_share is not None)
        if len(parts) == 1:
            parts = _split(source, parts[0], classes)
    except RefusedError as error:
        raise SourceError(source, error.found, error.remedy) from error
    except OSError as error:
        reason = f"{error.filename or path} cannot be read: {error.strerror or error}"
        denied = isinstance(error, PermissionError)
        remedy = "give this user the right to read it" if denied else "correct the path"
        raise SourceError(source, reason, remedy) from error
    (train, train_labels), (test, test_labels) = parts
    images = Images(train, train_labels, test, test_labels, source.name, classes)
    return images, f"{source.key} {path.resolve()}"


@functools.lru_cache(maxsize=64)
def facts(source: Source) -> DatasetFacts:
    """What a source holds: sizes, shape, classes, checksum, and the study's defaults for it.

    They are read once and kept for as long as no file changes its size or time stamp.

    Raises:
        DatasetError: see `read`.
    """
    kept = _KEPT / f"{hashlib.sha256(repr(source).encode()).hexdigest()[:16]}.json"
    files = _inventory(source)
    # whatever lies there that was not kept here, or not whole, is read again
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        found = json.loads(kept.read_text())
        # files that were taken away are not needed any more once their store is there
        if found["digest"] == _digest(found) and files in ("", found["inventory"]):
            return DatasetFacts(**found["facts"])
    if source.folder and files:
        # it takes seconds, of many images minutes
        sys.stderr.write(printable(f"Reading the images of {source.name} in {source.path}") + "\n")
    images, _ = read(source)
    twice = shared(images)
    if twice:
        sys.stderr.write(
            printable(
                f"WARNING: {twice} of {len(images.test_labels)} test images of {source.name} are "
                "training images too, pixel for pixel: expected none; networks know them, so the "
                "gap is too small. Take them out of one of the two."
            )
            + "\n"
        )
    made = facts_of(images)
    if kept.parents[2].is_dir():
        with suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            record = {"inventory": files, "facts": dataclasses.asdict(made)}
            temporary = kept.with_suffix(f".{os.getpid()}")
            try:
                temporary.write_text(json.dumps({**record, "digest": _digest(record)}))
                temporary.replace(kept)
            finally:
                temporary.unlink(missing_ok=True)
    return made


def shared(images: Images) -> int:
    """How many test images are training images too, pixel for pixel."""
    known = {hashlib.sha256(image).digest() for image in np.ascontiguousarray(images.train_images)}
    tests = np.ascontiguousarray(images.test_images)
    return sum(hashlib.sha256(image).digest() in known for image in tests)


def facts_of(images: Images) -> DatasetFacts:
    """What images of one's own hold, and the study's defaults for them."""
    _, channels, height, width = images.train_images.shape
    known, side = KNOWN.get(images.name), min(height, width)
    return DatasetFacts(
        published=f"sha256:{images.checksum}",
        train_size=len(images.train_labels),
        test_size=len(images.test_labels),
        channels=channels,
        height=height,
        width=width,
        classes=images.classes,
        # ASSUME: an eighth of the side, as for the known data sets; whether a mirrored image keeps
        # its class is not known
        max_shift=min(known.max_shift if known else max(1, (side + 4) // 8), side - 1),
        flip=known.flip if known else False,
        transition_points=min(1_000, len(images.test_labels)),
        input_noise=known.input_noise if known else _dose(images),
        fit_accuracy=0.999 if images.classes >= _MANY_CLASSES else 1.0,
    )


def _dose(images: Images) -> float:
    """The input noise that the classes leave room for, to two digits; see `noise_dose`."""
    order = seeds.generator(0, "distance between classes").permutation(len(images.train_labels))
    chosen = np.sort(order[:_DOSE_IMAGES])
    labels = images.train_labels[chosen]
    if (labels == labels[0]).all():
        return 0.1
    dose = noise_dose(standardise(images.train_images[chosen]), labels)
    return max(0.001, float(f"{dose:.2g}"))


def _inventory(source: Source) -> str:
    """A digest of the names, sizes and time stamps of a source's files; '' where nothing lies."""
    path = source.path
    with suppress(OSError):
        status = _status(path)
        if not status:
            return ""
        is_folder = stat.S_ISDIR(status.st_mode)
        lines = inventory(path) if is_folder else [(status.st_size, status.st_mtime_ns)]
        return hashlib.sha256(repr(lines).encode()).hexdigest()
    return "not readable"


def _status(path: Path) -> os.stat_result | None:
    """Of what lies at a path; None where nothing does."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None  # ValueError: of a name that no file can have


def _digest(record: dict[str, Any]) -> str:
    """Of facts and inventory, as this version of reading kept them."""
    kept = json.dumps([_VERSION, record["inventory"], record["facts"]], sort_keys=True)
    return hashlib.sha256(kept.encode()).hexdigest()


def _split(source: Source, whole: Part, classes: tuple[str, ...]) -> list[Part]:
    """A training and a test part: of each class a seeded share tests, one image at least."""
    share = TEST_SHARE if source.test_share is None else source.test_share
    tests = np.zeros(len(whole.labels), bool)
    for label, name in enumerate(classes):
        of_class = np.flatnonzero(whole.labels == label)
        if len(of_class) < 2:
            raise RefusedError(f"the class {name} has less than two images", ONE_IMAGE)
        # by its number: the same images have the same split, whatever their classes are called
        rng = seeds.generator(source.split_seed, f"test images of class {label}")
        count = min(max(1, round(share * len(of_class))), len(of_class) - 1)
        tests[rng.permutation(of_class)[:count]] = True
    return [Part(whole.images[chosen], whole.labels[chosen]) for chosen in (~tests, tests)]
