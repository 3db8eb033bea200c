"""Images and their classes in one .npz file."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensigap.datasets.pictures import (
    ONE_IMAGE,
    Faults,
    Part,
    PictureError,
    Preparation,
    RefusedError,
    prepared,
    stacked,
)

#: names of the four arrays: this project's, and Keras's
SPLIT = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
#: names of the two arrays of a file without a split
UNSPLIT = ("images", "labels")
#: classes at most: predictions are kept in 16 bits
_MOST_CLASSES = 1 << 15
#: arrays of another file that are told by name
_LISTED = 10
_WANTED = f"save {' or '.join(', '.join(names) for names in (*SPLIT, UNSPLIT))} with numpy.savez"


def read_arrays(
    path: Path, preparation: Preparation, *, split: bool
) -> tuple[list[Part], tuple[str, ...]]:
    """The images of an .npz file and the names of their classes, by their numbers.

    Args:
        path: holds the arrays `SPLIT` or `UNSPLIT` names, and class_names or not.
        preparation: of each image.
        split: whether a split is asked for, which the file then must not have.

    Returns:
        The training and the test part, or the one part that there is.

    Raises:
        RefusedError: the file is not so, or images cannot be taken.
    """
    faults = Faults()
    names, found, texts = _loaded(path, faults, split=split)
    raw = [
        (_pixels(images, found.get(images), faults), _labels(labels, found.get(labels), faults))
        for images, labels in zip(names[::2], names[1::2], strict=True)
    ]
    for (pixels, labels), images, name in zip(raw, names[::2], names[1::2], strict=True):
        if pixels is not None and labels is not None and len(pixels) != len(labels):
            faults.add(name, f"{len(labels):,} labels for {len(pixels):,} images of {images}")
    numbers = [labels for _, labels in raw if labels is not None]
    classes = _classes(numbers, texts, faults) if len(numbers) == len(raw) else ()
    every: list[npt.NDArray[np.uint8]] = []
    told: list[str] = []
    for (part, _), name in zip(raw, names[::2], strict=True):
        for k, pixels in enumerate(() if part is None else part):
            try:
                every.append(prepared(_picture(pixels), preparation))
            except PictureError as error:
                faults.add(f"{name}[{k}]", str(error), error.detail)
            else:
                told.append(f"{name}[{k}]")
    together = stacked(every, told, faults)
    faults.refuse(path)
    first = len(numbers[0])
    return [
        Part(pixels, labels)
        for pixels, labels in zip((together[:first], together[first:]), numbers, strict=False)
    ], classes


def _loaded(
    path: Path, faults: Faults, *, split: bool
) -> tuple[tuple[str, ...], dict[str, np.ndarray], np.ndarray | None]:
    """The names of the arrays, those that could be read, and the names of the classes."""
    if not path.is_file():
        what = "folder" if path.is_dir() else "device or a pipe"
        raise RefusedError(
            f"found a {what} at {path.absolute()}", "name an .npz file, or use folder"
        )
    with path.open("rb") as opened:
        start = opened.read(6)
    if not start.startswith(b"PK"):
        kind = "a single array (.npy)" if start == b"\x93NUMPY" else "no .npz file"
        raise RefusedError(f"{path} is {kind if start else 'empty'}", _WANTED)
    try:
        # never unpickled: a pickle may do anything
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            there = {*file.files}
            names = next((n for n in (*SPLIT, UNSPLIT) if {*n} <= there), None)
            if names is None:
                listed = sorted(there)
                more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
                found = f"{', '.join(listed[:_LISTED]) or 'none'}{more}"
                raise RefusedError(f"{path} has the arrays {found}", _WANTED)
            if split and names != UNSPLIT:
                raise RefusedError(f"{path} has a test set", "leave test_share out")
            arrays = {}
            for name in (*names, *({"class_names"} & there)):
                array = _array(file, name, faults)
                if array is not None:
                    arrays[name] = array
    except (RefusedError, OSError):
        raise
    except Exception as error:  # numpy's and zipfile's, of what is no whole .npz file
        raise RefusedError(f"{path} is no whole .npz file ({error})", _WANTED) from error
    return names, arrays, arrays.pop("class_names", None)


def _array(file: Any, name: str, faults: Faults) -> np.ndarray | None:
    try:
        array = file[name]
    except Exception as error:  # numpy's, zipfile's and zlib's
        objects = "allow_pickle" in str(error)
        faults.add(
            name,
            "holds Python objects, which are never loaded; save plain numbers, or names as text"
            if objects
            else f"cannot be read ({error}); save the file again",
        )
        return None
    if isinstance(array, np.ndarray):
        return array
    faults.add(name, "no array; save it with numpy.savez")
    return None


def _picture(pixels: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)


def _pixels(name: str, array: np.ndarray | None, faults: Faults) -> np.ndarray | None:
    """Images (sample, row, column) or (sample, row, column, channel)."""
    if array is None:
        return None
    if array.dtype != np.uint8:
        faults.add(name, f"{array.dtype}; save pixels as uint8, 0 to 255")
    elif array.ndim not in (3, 4) or 0 in array.shape:
        faults.add(name, f"shape {array.shape}; save (image, row, column) or a channel beside it")
    elif array.ndim == 3:
        return array
    elif array.shape[3] in (1, 3):
        return array[..., 0] if array.shape[3] == 1 else array
    elif array.shape[1] in (1, 3):
        return array[:, 0] if array.shape[1] == 1 else array.transpose(0, 2, 3, 1)
    else:
        faults.add(name, f"shape {array.shape}; save 1 or 3 channels, before or after the pixels")
    return None


def _labels(name: str, array: np.ndarray | None, faults: Faults) -> np.ndarray | None:
    """Labels (sample,), int64."""
    if array is None:
        return None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        faults.add(name, f"shape {array.shape}; save one class number an image")
    elif array.dtype.kind not in "iu":
        faults.add(name, f"{array.dtype}; save class numbers as integers")
    elif not len(array):
        faults.add(name, "no label at all")
    elif array.min() < 0 or array.max() >= _MOST_CLASSES:
        faults.add(name, f"labels from {array.min()} to {array.max()}; number the classes from 0")
    else:
        return array.astype(np.int64)
    return None


def _classes(
    labels: list[npt.NDArray[np.int64]], texts: np.ndarray | None, faults: Faults
) -> tuple[str, ...]:
    """The names of the classes, their numbers where there are none."""
    count = int(np.concatenate(labels).max()) + 1
    names = tuple(map(str, range(count)))
    if texts is not None:
        plain = np.ravel(texts).tolist()
        names = tuple(n.decode(errors="replace") if isinstance(n, bytes) else str(n) for n in plain)
    if len(names) != count:
        faults.add("class_names", f"{len(names)} names for labels up to {count - 1}; give each one")
    if count < 2:
        faults.add("labels", "every one is 0; two classes at least are needed")
    images = np.bincount(labels[0], minlength=count)
    for label in np.flatnonzero(images == 0):
        faults.add(f"class {label}", "no training image has it; number the classes without gaps")
    if len(labels) == 1:
        for label in np.flatnonzero(images == 1):
            faults.add(f"class {label}", ONE_IMAGE)
    return names
