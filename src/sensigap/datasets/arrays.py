"""Images and their classes in one .npz file."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensigap.datasets.pictures import (
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
    found = _loaded(path)
    names = next((n for n in (*SPLIT, UNSPLIT) if {*n} <= {*found}), None)
    if names is None:
        raise RefusedError(f"{path} has the arrays {', '.join(found) or 'none'}", _WANTED)
    if split and names != UNSPLIT:
        raise RefusedError(f"{path} has a test set", "leave test_share out")
    faults = Faults()
    raw = [
        (_pixels(images, found[images], faults), _labels(labels, found[labels], faults))
        for images, labels in zip(names[::2], names[1::2], strict=True)
    ]
    for (pixels, labels), images, name in zip(raw, names[::2], names[1::2], strict=True):
        if pixels is not None and labels is not None and len(pixels) != len(labels):
            faults.add(name, f"{len(labels):,} labels for {len(pixels):,} images of {images}")
    faults.refuse(path)
    known = [
        (pixels, labels) for pixels, labels in raw if pixels is not None and labels is not None
    ]
    classes = _classes([labels for _, labels in known], found.get("class_names"), faults)
    faults.refuse(path)
    every: list[npt.NDArray[np.uint8]] = []
    told: list[str] = []
    for (part, _), name in zip(known, names[::2], strict=True):
        done = _prepared(name, part, preparation, faults)
        every += done
        told += [f"{name}[{k}]" for k in range(len(done))]
    faults.refuse(path)
    together = stacked(every, told, faults)
    faults.refuse(path)
    first = len(known[0][1])
    return [
        Part(pixels, labels)
        for pixels, (_, labels) in zip((together[:first], together[first:]), known, strict=False)
    ], classes


def _loaded(path: Path) -> dict[str, np.ndarray]:
    if path.is_dir():
        raise RefusedError(
            f"found a folder at {path.resolve()}", "name an .npz file, or use folder"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy's and zipfile's, of what is no or no whole .npz file
        raise RefusedError(
            f"{path} is no whole .npz file of plain arrays ({error})", _WANTED
        ) from error


def _pixels(name: str, array: np.ndarray, faults: Faults) -> np.ndarray | None:
    """Images (sample, row, column) or (sample, row, column, channel)."""
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


def _labels(name: str, array: np.ndarray, faults: Faults) -> np.ndarray | None:
    """Labels (sample,), int64."""
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
    names = tuple(map(str, range(count) if texts is None else np.ravel(texts).tolist()))
    if len(names) < count:
        faults.add("class_names", f"{len(names)} names for labels up to {count - 1}")
    if len(names) < 2:
        faults.add("labels", "every one is 0; two classes at least are needed")
    for label in sorted({*range(count)} - {*labels[0].tolist()}):
        faults.add(f"class {label}", "no training image has it; number the classes without gaps")
    return names[:count]


def _prepared(
    name: str, images: np.ndarray, preparation: Preparation, faults: Faults
) -> list[npt.NDArray[np.uint8]]:
    from PIL import Image

    done = []
    for k, pixels in enumerate(images):
        try:
            done.append(prepared(Image.fromarray(pixels), preparation))
        except PictureError as error:
            faults.add(f"{name}[{k}]", str(error))
    return done
