"""Images in memory, their standardisation, and seeded training subsets (STUDY, 'Data')."""

import dataclasses
import hashlib
import math

import numpy as np
import numpy.typing as npt

from sensigap import seeds

#: images standardised at a time, so that float64 copies of a whole data set are never held
_CHUNK = 4_096
#: distances between images that are held at a time
_DISTANCES = 1 << 24


@dataclasses.dataclass(frozen=True)
class Images:
    """A data set in memory, pixels as published.

    Attributes:
        train_images: uint8 (sample, channel, row, column).
        train_labels: int64 (sample,), the true classes.
        test_images: as train_images.
        test_labels: as train_labels.
        name: of the data set.
        class_names: one a class.
    """

    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int64]
    name: str
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @property
    def checksum(self) -> str:
        """SHA-256 of pixels and labels, train then test, as `DatasetFacts.published` has it."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            # the same digest on a machine of the other byte order
            plain = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(np.ascontiguousarray(plain).data)
        return digest.hexdigest()

    @property
    def test_size(self) -> int:
        """Images of the test set."""
        return len(self.test_labels)

    @property
    def inputs(self) -> int:
        """Dimension d of an input: channels x height x width."""
        return math.prod(self.train_images.shape[1:])


def standardise(images: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Images flattened, each to zero mean and unit population variance over all its pixels.

    Each image then lies on the sphere of radius sqrt(d). Means and variances are taken in float64.

    Args:
        images: numbers (sample, channel, row, column), or (sample, d).

    Returns:
        float32 (sample, d), channels first, then rows.

    Raises:
        ValueError: an image is constant; the message names its index.
    """
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    index = first_constant(images)
    if index is not None:
        raise ValueError(
            f"image {index} of {len(images)} is constant (every pixel {flat[index, 0]}), so it "
            "has no unit variance: expected two different pixel values at least; leave it out"
        )
    standardised = np.empty(flat.shape, np.float32)
    for start in range(0, len(flat), _CHUNK):
        part = flat[start : start + _CHUNK].astype(np.float64)
        part -= part.mean(axis=1, keepdims=True)
        part /= np.sqrt(np.mean(part**2, axis=1, keepdims=True))
        standardised[start : start + _CHUNK] = part
    return standardised


def first_constant(images: npt.NDArray[np.generic]) -> int | None:
    """Index of the first image whose pixels are all equal; None if there is none."""
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    constant = np.all(flat == flat[:, :1], axis=1)
    return int(np.argmax(constant)) if constant.any() else None


def noise_dose(
    images: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], quantile: float = 0.01
) -> float:
    """The standard deviation of input noise whose norm is a small distance between classes.

    Times sqrt(d) it is a quantile over the images of the distance to the nearest image of another
    class (STUDY, 'Comparisons').

    Args:
        images: standardised (sample, d).
        labels: classes (sample,).
        quantile: from 0 to 1.

    Raises:
        ValueError: all labels are alike, so that there is no other class.
    """
    labels = np.asarray(labels)
    if (labels == labels[:1]).all():
        raise ValueError(
            f"{len(labels)} images of one class: expected two classes at least, so that there is a "
            "distance between them"
        )
    points = np.asarray(images, np.float64)
    squares = np.square(points).sum(1)
    nearest = np.empty(len(points))
    rows = max(1, _DISTANCES // len(points))
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        distances = squares[part, None] - 2 * points[part] @ points.T + squares
        distances[labels[part, None] == labels] = np.inf
        nearest[part] = distances.min(1)
    nearest = np.sqrt(np.maximum(nearest, 0))
    return float(np.quantile(nearest, quantile) / math.sqrt(points.shape[1]))


def training_subset(images: Images, train_size: int, subset_seed: int) -> npt.NDArray[np.int64]:
    """Indices of a seeded subset of the training set, drawn without replacement.

    With one seed, a smaller subset is part of a larger one.

    Args:
        images: the data set.
        train_size: number of images; the whole set, whatever the seed, when it has so many.
        subset_seed: decides which images.

    Returns:
        int64 (train_size,), ascending.

    Raises:
        ValueError: train_size is not between 1 and the size of the training set.
    """
    size = len(images.train_images)
    if not 1 <= train_size <= size:
        raise ValueError(
            f"train_size is {train_size}: expected 1 to {size}, the training set of {images.name}"
        )
    if train_size == size:
        return np.arange(size, dtype=np.int64)
    order = seeds.generator(subset_seed, "training subset").permutation(size)
    return np.sort(order[:train_size]).astype(np.int64)
