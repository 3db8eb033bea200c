"""Where the images come from: scikit-learn's embedded digits, and torchvision's files."""

import contextlib
import dataclasses
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sensigap import seeds
from sensigap.datasets.images import Images

#: name of a data set -> class in `torchvision.datasets`
TORCHVISION = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
ENVIRONMENT = "SENSIGAP_DATA"
#: seconds without an answer after which a server counts as out of reach
_TIMEOUT = 30.0


class DatasetError(RuntimeError):
    """A data set cannot be read; the message says what is missing and how to mend it."""


@dataclasses.dataclass(frozen=True)
class Root:
    """The folder in which a data set's files are looked for, and what named it."""

    path: Path
    named_by: str


def root(data_root: str | Path | None) -> Root:
    """The folder of the data sets: `data_root`, else $SENSIGAP_DATA, else data/."""
    if data_root is not None:
        return Root(Path(data_root).expanduser(), "data_root")
    if os.environ.get(ENVIRONMENT):
        return Root(Path(os.environ[ENVIRONMENT]).expanduser(), f"${ENVIRONMENT}")
    return Root(Path("data"), f"the default, as neither data_root nor ${ENVIRONMENT} is set")


def read(name: str, data_root: str | Path | None) -> tuple[Images, str]:
    """A data set as published, and one line that says where it comes from.

    Raises:
        DatasetError: files are missing and cannot be downloaded, or are damaged.
    """
    return read_digits() if name == "digits" else read_torchvision(name, root(data_root))


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


def read_torchvision(name: str, folder: Root) -> tuple[Images, str]:
    """A data set from a folder in torchvision's layout, downloaded into it if it is not there.

    The folder may be read-only when the files are there.

    Raises:
        DatasetError: files are missing and cannot be downloaded, or are damaged.
    """
    import torchvision

    source = getattr(torchvision.datasets, TORCHVISION[name])
    missing = _missing(source, folder.path)
    if missing:
        _download(name, source, folder, missing)
    try:
        train = source(folder.path, train=True, download=False)
        test = source(folder.path, train=False, download=False)
    except Exception as error:  # torchvision raises whatever its parsers stumble over
        raise DatasetError(
            f"{name}: the files in {folder.path.resolve()} (from {folder.named_by}) are damaged: "
            f"{error}. Expected {', '.join(_files(source))} as published; delete them there "
            "and run again to download them, or copy them from elsewhere."
        ) from error
    images = Images(
        *_arrays(train), *_arrays(test), name=name, class_names=tuple(map(str, train.classes))
    )
    return images, f"torchvision.datasets.{source.__name__}, torchvision {torchvision.__version__}"


def _arrays(published: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (sample, channel, row, column) and labels int64 of a torchvision data set."""
    pixels = np.asarray(published.data)
    # MNIST has no channel axis, CIFAR has it last
    images = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), np.asarray(published.targets, dtype=np.int64)


def _files(source: Any) -> list[str]:
    """The files that torchvision reads, relative to its root."""
    if hasattr(source, "resources"):
        return [
            f"{source.__name__}/raw/{archive.removesuffix('.gz')}"
            for archive, _ in source.resources
        ]
    parts = [file for file, _ in source.train_list + source.test_list] + [source.meta["filename"]]
    return [f"{source.base_folder}/{file}" for file in parts]


def _missing(source: Any, path: Path) -> list[str]:
    return [file for file in _files(source) if not (path / file).is_file()]


def _download(name: str, source: Any, folder: Root, missing: list[str]) -> None:
    """Downloads through torchvision, to a temporary folder first: a cut download leaves nothing."""
    import http.client
    import tarfile

    new = not folder.path.exists()
    temporary = folder.path / f".{name}.{os.getpid()}.part"
    try:
        with _timeout(_TIMEOUT):
            temporary.mkdir(parents=True, exist_ok=True)
            source(temporary, train=True, download=True)
        for file in missing:
            (folder.path / file).parent.mkdir(parents=True, exist_ok=True)
            (temporary / file).replace(folder.path / file)
    except (
        RuntimeError,
        OSError,
        EOFError,
        http.client.HTTPException,
        tarfile.TarError,
    ) as error:
        count = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
        raise DatasetError(
            f"{name}: {count} missing and could not be downloaded.\n"
            f"  missing: {', '.join(missing)}\n"
            f"  looked for in: {folder.path.resolve()} (from {folder.named_by})\n"
            f"  download: {' '.join(str(error).split())}\n"
            f"Copy the files there, in these subfolders (torchvision's layout, unpacked); or set "
            f"data_root in the configuration or ${ENVIRONMENT} to a folder that has them; or run "
            "once with a network."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if new:
            with contextlib.suppress(OSError):
                folder.path.rmdir()  # only if nothing came into it


@contextlib.contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Sockets give up after so long: torchvision sets no limit, and a dead network would hang."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
