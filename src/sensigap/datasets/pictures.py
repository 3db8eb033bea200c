"""One picture of anybody's as the study takes it: 8 bits, grey or RGB, of a size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

#: faults of one kind that are told by name; the others are counted
_TOLD = 5


class PictureError(ValueError):
    """A picture cannot be taken as it is; the message says what it is."""


class RefusedError(ValueError):
    """Images cannot be taken: what was found, and how to mend it."""

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found)
        self.found, self.remedy = found, remedy


class Part(NamedTuple):
    """Images of a data set, or of its training or test part."""

    #: uint8 (sample, channel, row, column)
    images: npt.NDArray[np.uint8]
    #: int64 (sample,), numbers of classes
    labels: npt.NDArray[np.int64]


class Preparation(NamedTuple):
    """What is done to each picture before it is an image of a data set."""

    #: pixels that the shorter side gets; None: as it is
    resize: int | None = None
    #: side of the square that is cut out of the middle, in pixels; None: nothing is cut
    centre_crop: int | None = None
    #: whether colours are given up
    grey: bool = False


class Faults:
    """What is wrong with many files or images, gathered by kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[str]] = {}

    def add(self, name: str, kind: str) -> None:
        """One file or image, by its name, and what is wrong with it."""
        self._kinds.setdefault(kind, []).append(name)

    def refuse(self, path: Path) -> None:
        """Raises `RefusedError` with all of them, if there are any."""
        if self._kinds:
            raise RefusedError(f"in {path}: {self}")

    def __str__(self) -> str:
        lines = []
        for kind, names in self._kinds.items():
            more = f" and {len(names) - _TOLD:,} more" if len(names) > _TOLD else ""
            lines.append(f"{', '.join(names[:_TOLD])}{more}: {kind}")
        return "; ".join(lines)


NO_PREPARATION = Preparation()


def read_picture(path: Path, preparation: Preparation) -> npt.NDArray[np.uint8]:
    """A picture file as an image (row, column) if it is grey, else (row, column, 3).

    It is turned as its EXIF orientation says. Palettes are looked up, and an alpha channel that is
    opaque everywhere is dropped.

    Raises:
        PictureError: it cannot be read, moves, has more than 8 bits a channel, transparent pixels
            or colours of print, or is smaller than the crop.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            if getattr(opened, "n_frames", 1) > 1:
                raise PictureError("it has several frames; keep one of them")
            # Pillow reads 16 bits of three channels as 8 without a word
            deep = any("16" in str(tile[3]) for tile in opened.tile)
            if deep or opened.mode not in _MODES:
                raise PictureError(
                    f"mode {'of 16 bits' if deep else opened.mode}; save it as grey or RGB of 8 "
                    "bits a channel"
                )
            opened.load()
            return prepared(ImageOps.exif_transpose(opened), preparation)
    except PictureError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they stumble over
        reason = "it is empty" if not path.stat().st_size else "no whole picture that Pillow reads"
        raise PictureError(reason) from error


_MODES = ("1", "L", "P", "RGB", "LA", "PA", "RGBA")


def prepared(picture: Any, preparation: Preparation) -> npt.NDArray[np.uint8]:
    """A Pillow picture as an image, see `read_picture`."""
    from PIL import Image

    palette = picture.mode in ("P", "PA")
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema()[0] < 255:
            raise PictureError("it has transparent pixels; put it on a background")
        palette = True
    if palette:
        picture = picture.convert("RGB")
        channels = np.asarray(picture)
        if (channels == channels[..., :1]).all():
            picture = picture.convert("L")
    if picture.mode == "1" or preparation.grey:
        picture = picture.convert("L")
    if preparation.resize:
        shorter = min(picture.size)
        size = [max(1, round(side * preparation.resize / shorter)) for side in picture.size]
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    if preparation.centre_crop:
        side = preparation.centre_crop
        width, height = picture.size
        if min(width, height) < side:
            raise PictureError(f"its {height} x {width} pixels are smaller than centre_crop {side}")
        left, top = (width - side) // 2, (height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    pixels: npt.NDArray[np.uint8] = np.asarray(picture, np.uint8)
    if (pixels == pixels.flat[0]).all():
        raise PictureError("every pixel is the same, so that it has no unit variance; leave it out")
    return pixels


def stacked(
    pictures: Sequence[npt.NDArray[np.uint8]], names: Sequence[str], faults: Faults
) -> npt.NDArray[np.uint8]:
    """Images (sample, channel, row, column) of one size; grey ones among colours become RGB.

    Pictures of other sizes than most are added to the faults, and left out.
    """
    sizes = [picture.shape[:2] for picture in pictures]
    usual = max(sorted(set(sizes)), key=sizes.count)
    colour = any(picture.ndim == 3 for picture in pictures)
    kept = []
    for picture, size, name in zip(pictures, sizes, names, strict=True):
        if size != usual:
            faults.add(
                name,
                f"{size[0]} x {size[1]} pixels, where {sizes.count(usual):,} have {usual[0]} x "
                f"{usual[1]}; set resize and centre_crop",
            )
        elif colour and picture.ndim == 2:
            kept.append(np.repeat(picture[None], 3, axis=0))
        else:
            kept.append(picture.transpose(2, 0, 1) if colour else picture[None])
    return np.stack(kept)
