"""Training images as networks see them: standardised, translated and flipped at random.

STUDY, 'Data': translations up to `max_shift` pixels each way, vacated pixels 0 in raw values, the
image standardised again; horizontal flips. An image has (2 max_shift + 1)^2 versions, twice as many
with flips, all equally likely. When all versions of all images are small they are kept in one
table; otherwise a batch is cut out of the raw images. Both give the same values to the bit.
"""

import functools
from collections.abc import Iterable

import numpy as np
import torch

from sensigap import seeds
from sensigap.spec import NetworkSpec

#: largest table of standardised images, in bytes
TABLE_BYTES = 512 * 2**20
#: steps whose versions are drawn from one generator
_STEPS_TOGETHER = 64


class ImageTable:
    """All versions of all training images.

    Position v n + i is version v of image i of n; version 0 is the plain one.

    Args:
        images: raw pixels, uint8 (n, channel, height, width).
        variants: pairs (max_shift, flip) that the networks use; the plain one is always there.
        dtype: of the standardised pixels.
        device: where the images lie.
        table_bytes: largest table that is kept; above it, images are made when they are asked for.

    Raises:
        ValueError: an image is constant, so that it cannot be standardised; names its index.
    """

    def __init__(
        self,
        images: np.ndarray,
        variants: Iterable[tuple[int, bool]] = (),
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        table_bytes: int = TABLE_BYTES,
    ) -> None:
        self.size = len(images)
        self.inputs = int(np.prod(images.shape[1:]))
        used = sorted({(0, False), *variants})
        border = max(shift for shift, _ in used)
        #: first version of each variant
        self._first: dict[tuple[int, bool], int] = {}
        versions: list[tuple[int, int, int]] = []
        for shift, flip in used:
            self._first[shift, flip] = len(versions)
            offsets = range(border - shift, border + shift + 1)
            versions += [(f, y, x) for f in range(1 + flip) for y in offsets for x in offsets]
        padded = np.pad(images, [(0, 0), (0, 0), (border, border), (border, border)])
        if any(flip for _, flip in used):
            padded = np.concatenate([padded, padded[..., ::-1]])
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
        first = self._first[spec.max_shift, spec.flip]
        count = (2 * spec.max_shift + 1) ** 2 * (1 + spec.flip)
        end = start + len(images)
        blocks = range(start // _STEPS_TOGETHER, (end - 1) // _STEPS_TOGETHER + 1)
        drawn = np.concatenate(
            [_draws(spec.seed, count, images.shape[1], block) for block in blocks]
        )
        begin = start - blocks[0] * _STEPS_TOGETHER
        return images + (first + drawn[begin : begin + len(images)]) * self.size

    def fetch(self, positions: torch.Tensor, out: torch.Tensor) -> None:
        """Writes the images at positions (k,), int64, on the table's device, to `out` (k, d)."""
        if self._table is not None:
            torch.index_select(self._table, 0, positions, out=out)
        else:
            self._make(positions, out)

    def _make(self, positions: torch.Tensor, out: torch.Tensor) -> None:
        image = positions % self.size
        flip, y, x = self._versions[positions // self.size].unbind(1)
        source = image + flip * self.size
        out.copy_(self._windows[source, y, x].view(len(positions), self.inputs))
        out.sub_(self._mean[source, y, x][:, None]).mul_(self._scale[source, y, x][:, None])


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


@functools.lru_cache(maxsize=256)
def _draws(seed: int, count: int, batch_size: int, block: int) -> np.ndarray:
    """Versions (step, image) of a block of steps."""
    generator = seeds.generator(seed, "augmentation", block)
    return generator.integers(count, size=(_STEPS_TOGETHER, batch_size))
