"""Training images as networks see them: standardised, translated and flipped at random.

STUDY, 'Data': translations up to `max_shift` pixels each way, vacated pixels 0 in raw values, or,
where `shift_mode` is 'wrap', what left on the other side; the image standardised again; horizontal
flips. An image has (2 max_shift + 1)^2 versions, twice as many with flips, all equally likely; a
share of the drawn images is augmented, the others are as they are. When all versions of all images
are small they are kept in one table; otherwise a batch is cut out of the raw images. Both give the
same values to the bit.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch

from sensigap import seeds
from sensigap.spec import NetworkSpec

#: largest table of standardised images, in bytes
TABLE_BYTES = 512 * 2**20
#: steps whose versions are drawn from one generator
_STEPS_TOGETHER = 64
#: largest block of draws that is kept for the steps to come
_KEPT = 1 << 18


class Variant(NamedTuple):
    """How a network's images are translated and mirrored; the default: not at all."""

    max_shift: int = 0
    flip: bool = False
    shift_mode: str = "zeros"

    @classmethod
    def of(cls, spec: NetworkSpec) -> "Variant":
        """The variant that a network uses."""
        return cls(spec.max_shift, spec.flip, spec.shift_mode)

    @property
    def versions(self) -> int:
        """Versions that an image has."""
        return (2 * self.max_shift + 1) ** 2 * (1 + self.flip)


class ImageTable:
    """All versions of all training images.

    Position v n + i is version v of image i of n; version 0 is the plain one.

    Args:
        images: raw pixels, uint8 (n, channel, height, width).
        variants: those that the networks use; the plain one is always there.
        dtype: of the standardised pixels.
        device: where the images lie.
        table_bytes: largest table that is kept; above it, images are made when they are asked for.

    Raises:
        ValueError: an image is constant, so that it cannot be standardised; names its index.
    """

    def __init__(
        self,
        images: np.ndarray,
        variants: Iterable[Variant] = (),
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        table_bytes: int = TABLE_BYTES,
    ) -> None:
        self.size = len(images)
        self.inputs = int(np.prod(images.shape[1:]))
        used = sorted({Variant(), *variants})
        border = max(variant.max_shift for variant in used)
        #: first version of each variant
        self._first: dict[Variant, int] = {}
        #: padded copies of the images: how, and whether mirrored
        copies: list[tuple[str, bool]] = []
        versions: list[tuple[int, int, int]] = []
        for variant in used:
            self._first[variant] = len(versions)
            offsets = range(border - variant.max_shift, border + variant.max_shift + 1)
            for mirrored in (False, True)[: 1 + variant.flip]:
                copy = variant.shift_mode, mirrored
                if copy not in copies:
                    copies.append(copy)
                versions += [(copies.index(copy), y, x) for y in offsets for x in offsets]
        padded = np.concatenate([_padded(images, border, *copy) for copy in copies])
        mean, scale = _moments(padded, images.shape[2:], self.inputs)
        if not scale[: self.size, border, border].all():
            index = int(np.flatnonzero(scale[: self.size, border, border] == 0)[0])
            raise ValueError(
                f"training image {index} (place in the training subset) is constant: it cannot be "
                "scaled to unit variance; leave it out of the data set"
            )
        self._versions = torch.tensor(versions, device=device)
        # the window of h x w pixels at (y, x): a view (image, y, x, channel, h, w)
        windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], (2, 3))
        self._windows = torch.from_numpy(padded).to(device)
        self._windows = self._windows.as_strided(
            [windows.shape[i] for i in (0, 2, 3, 1, 4, 5)],
            [windows.strides[i] for i in (0, 2, 3, 1, 4, 5)],
        )
        self._mean = torch.from_numpy(mean).to(device, dtype)
        self._scale = torch.from_numpy(scale).to(device, dtype)
        #: standardised plain training images (n, d)
        self.plain = torch.empty(self.size, self.inputs, dtype=dtype, device=device)
        self._make(torch.arange(self.size, device=device), self.plain)
        self._table: torch.Tensor | None = None
        rows = len(versions) * self.size
        if len(versions) == 1:
            self._table = self.plain
        elif rows * self.inputs * dtype.itemsize <= table_bytes:
            self._table = torch.empty(rows, self.inputs, dtype=dtype, device=device)
            for place in torch.arange(rows, device=device).split(self.size):
                self._make(place, self._table[place[0] : place[-1] + 1])

    def positions(self, spec: NetworkSpec, images: np.ndarray, start: int) -> np.ndarray:
        """Positions of the batches that a network sees.

        Args:
            spec: the network: its augmentation and seed decide.
            images: indices of training images (step, batch_size).
            start: the first step, from 0.
        """
        if not spec.augmented:
            return images
        variant = Variant.of(spec)
        first, versions = self._first[variant], variant.versions
        drawn = _stretch(spec.seed, "augmentation", versions, images.shape, start)
        augmented = images + (first + drawn) * self.size
        if spec.augmentation_share == 1:
            return augmented
        chosen = _stretch(spec.seed, "augmentation share", 0, images.shape, start)
        return np.where(chosen < spec.augmentation_share, augmented, images)

    def fetch(self, positions: torch.Tensor, out: torch.Tensor) -> None:
        """Writes the images at positions (k,), int64, on the table's device, to `out` (k, d)."""
        if self._table is not None:
            torch.index_select(self._table, 0, positions, out=out)
        else:
            self._make(positions, out)

    def _make(self, positions: torch.Tensor, out: torch.Tensor) -> None:
        image = positions % self.size
        copy, y, x = self._versions[positions // self.size].unbind(1)
        source = image + copy * self.size
        out.copy_(self._windows[source, y, x].view(len(positions), self.inputs))
        out.sub_(self._mean[source, y, x][:, None]).mul_(self._scale[source, y, x][:, None])


def _padded(images: np.ndarray, border: int, shift_mode: str, mirrored: bool) -> np.ndarray:
    """Images with `border` pixels on each side: zeros, or what is at the opposite side."""
    if mirrored:
        images = images[..., ::-1]
    around = [(0, 0), (0, 0), (border, border), (border, border)]
    return np.pad(images, around, mode="wrap") if shift_mode == "wrap" else np.pad(images, around)


def _moments(
    padded: np.ndarray, window: tuple[int, ...], pixels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 1 / standard deviation (image, y, x), float64, of each window of h x w pixels.

    Sums are exact (integers), so they do not depend on how they are made. A constant window has
    scale 0: ASSUME that an image whose content was shifted out of the frame is all zeros.
    """
    values = padded.astype(np.int64)
    total = _window_sums(values.sum(1), window)
    squares = _window_sums((values**2).sum(1), window)
    variance = (pixels * squares - total**2) / pixels**2
    scale = np.zeros_like(variance)
    np.divide(1.0, np.sqrt(variance), out=scale, where=variance > 0)
    return total / pixels, scale


def _window_sums(values: np.ndarray, window: tuple[int, ...]) -> np.ndarray:
    """Sums (image, y, x) over all windows of values (image, row, column)."""
    h, w = window
    summed = np.pad(values, [(0, 0), (1, 0), (1, 0)]).cumsum(1).cumsum(2)
    return summed[:, h:, w:] - summed[:, :-h, w:] - summed[:, h:, :-w] + summed[:, :-h, :-w]


def _stretch(seed: int, purpose: str, below: int, shape: tuple[int, ...], start: int) -> np.ndarray:
    """Draws (step, image) of `shape` from step `start` on, whatever was drawn before."""
    steps, batch_size = shape
    blocks = range(start // _STEPS_TOGETHER, (start + steps - 1) // _STEPS_TOGETHER + 1)
    draw = _draws if _STEPS_TOGETHER * batch_size <= _KEPT else _draws.__wrapped__
    drawn = np.concatenate([draw(seed, purpose, below, batch_size, block) for block in blocks])
    begin = start - blocks[0] * _STEPS_TOGETHER
    return drawn[begin : begin + steps]


@functools.lru_cache(maxsize=512)
def _draws(seed: int, purpose: str, below: int, batch_size: int, block: int) -> np.ndarray:
    """Whole numbers below `below`, or numbers in [0, 1) for 0, of a block: (step, image)."""
    generator = seeds.generator(seed, purpose, block)
    size = _STEPS_TOGETHER, batch_size
    return generator.integers(below, size=size) if below else generator.random(size)
