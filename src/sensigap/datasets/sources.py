"""Where the images come from: scikit-learn's embedded digits, and torchvision's files."""

from pathlib import Path
from typing import Any

import numpy as np

from sensigap import seeds
from sensigap.datasets.images import Images
from sensigap.datasets.known import KNOWN
from sensigap.datasets.places import ENVIRONMENT, DatasetError, Root, root
from sensigap.datasets.published import Published, complete, damaged, read_idx, verify_files

__all__ = ["ENVIRONMENT", "TORCHVISION", "DatasetError", "Root", "read", "root"]

#: name of a data set -> class in `torchvision.datasets`
TORCHVISION = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}


def read(name: str, data_root: str | Path | None, scratch: Path) -> tuple[Images, str]:
    """A data set as published, and one line that says where it comes from.

    Args:
        name: a key of `KNOWN`.
        data_root: see `places.root`.
        scratch: a folder for files that are read once, where the data sets' cannot be written.

    Raises:
        DatasetError: files are missing and cannot be downloaded, or are not as published.
    """
    return read_digits() if name == "digits" else read_torchvision(name, root(data_root), scratch)


def read_digits() -> tuple[Images, str]:
    """The 1,797 handwritten digits inside scikit-learn, 8x8, values 0 to 16."""
    import sklearn
    from sklearn.datasets import load_digits

    digits = load_digits()
    # ASSUME: the embedded set has no published split and is ordered by writer: a fixed shuffle, the
    # first 500 train, the other 1,297 test.
    order = seeds.generator(0, "digits split").permutation(len(digits.target))
    images = digits.images[order, None].astype(np.uint8)
    labels = digits.target[order].astype(np.int64)
    names = tuple(str(name) for name in digits.target_names)
    read = Images(images[:500], labels[:500], images[500:], labels[500:], "digits", names)
    return read, f"sklearn.datasets.load_digits, scikit-learn {sklearn.__version__}"


def read_torchvision(name: str, folder: Root, scratch: Path) -> tuple[Images, str]:
    """A data set from a folder in torchvision's layout, downloaded into it if it is not there.

    The folder may be read-only when the files, or their published archives, are there.

    Raises:
        DatasetError: files are missing and cannot be downloaded, or are not as published.
    """
    import torchvision

    data = Published(name, getattr(torchvision.datasets, TORCHVISION[name]))
    with complete(data, folder, scratch) as place:
        images = (_mnist if data.idx else _cifar)(data, folder, place)
    fault = checksum_fault(images)
    if fault:
        raise damaged(data, folder, [f"{', '.join(data.files)}: {fault}"])
    source = data.source.__name__
    return images, f"torchvision.datasets.{source}, torchvision {torchvision.__version__}"


def checksum_fault(images: Images) -> str:
    """How a data set differs from the published one whose name it has; '' where it does not.

    Where an archive's checksum is known instead of the arrays', the files have been compared.
    """
    published = KNOWN[images.name].published
    if not published.startswith("sha256:"):
        return ""
    found = f"sha256:{images.checksum}"
    if found == published:
        return ""
    others = [name for name, facts in KNOWN.items() if facts.published == found]
    hint = f", which is {others[0]}" if others else ""
    return f"expected images and labels of {published[:23]}..., found {found[:23]}...{hint}"


def _mnist(data: Published, folder: Root, place: Path) -> Images:
    facts = KNOWN[data.name]
    shapes: list[tuple[int, ...]] = []
    for size in (facts.train_size, facts.test_size):
        shapes += [(size, facts.height, facts.width), (size,)]
    arrays = read_idx(data, folder, place, dict(zip(data.files, shapes, strict=True)))
    pixels, labels = arrays[::2], arrays[1::2]
    return Images(
        pixels[0][:, None],
        labels[0].astype(np.int64),
        pixels[1][:, None],
        labels[1].astype(np.int64),
        name=data.name,
        class_names=tuple(map(str, data.source.classes)),
    )


def _cifar(data: Published, folder: Root, place: Path) -> Images:
    verify_files(data, folder, place)
    try:
        train = data.source(place, train=True, download=False)
        test = data.source(place, train=False, download=False)
    except Exception as error:  # torchvision raises whatever its parsers stumble over
        raise damaged(data, folder, [f"{', '.join(data.files)}: {error}"]) from error
    return Images(
        *_arrays(train), *_arrays(test), name=data.name, class_names=tuple(map(str, train.classes))
    )


def _arrays(published: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (sample, channel, row, column) and labels int64 of one of CIFAR's sets."""
    images = np.asarray(published.data).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), np.asarray(published.targets, dtype=np.int64)
