"""One picture of anybody's as the study takes it: 8 bits, grey or RGB, of a size."""

import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

#: faults of one kind that are told by name; the others are counted
_TOLD = 5
#: of a class that is split
ONE_IMAGE = "one image cannot both train and test; add images, or give a split of your own"


class PictureError(ValueError):
    """A picture cannot be taken as it is; the message says what it is.

    Attributes:
        detail: what is its own among pictures of that fault, '' where there is nothing.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.detail = detail


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

    def add(self, name: str, kind: str, detail: str = "") -> None:
        """One file or image, by its name, what is wrong with it, and what is its own of that."""
        self._kinds.setdefault(kind, []).append(f"{name} ({detail})" if detail else name)

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

    It is turned as its EXIF orientation says. Palettes are looked up, an alpha channel that is
    opaque everywhere is dropped, and a picture whose colours are all grey is grey, so that the same
    pixels are the same image in whatever format.

    Raises:
        PictureError: it cannot be read, moves, has more than 8 bits a channel, transparent pixels
            or colours of print, or is smaller than the crop.
    """
    from PIL import Image, ImageOps

    # a Targa file has no mark of its own, so that other files could pass for one
    formats = ["TGA"] if path.suffix.lower() == ".tga" else _FORMATS
    try:
        # what Pillow warns of is told as an error, or nothing to this study
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=formats) as opened:
            if getattr(opened, "n_frames", 1) > 1:
                raise PictureError("it has several frames; keep one of them")
            deep = _bits(opened, path) > 8
            if deep or opened.mode not in _MODES:
                raise PictureError(
                    f"{'more than 8 bits a channel' if deep else f'mode {opened.mode}'}; save it "
                    "as grey or RGB of 8 bits a channel"
                )
            opened.load()
            return prepared(ImageOps.exif_transpose(opened), preparation)
    except PictureError:
        raise
    except PermissionError as error:
        raise PictureError("this user may not read it; give the right to") from error
    except Image.DecompressionBombError as error:
        raise PictureError("more pixels than Pillow takes; make it smaller") from error
    except Exception as error:  # Pillow's readers raise whatever they stumble over
        reason = "no whole picture that Pillow reads"
        with suppress(OSError):
            reason = reason if path.stat().st_size else "it is empty"
        raise PictureError(f"{reason}; take it away, or get it again") from error


_MODES = ("1", "L", "P", "RGB", "LA", "PA", "RGBA")
#: Pillow's names of the formats that are read; no others, some of which start other programs
_FORMATS = ["PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000"]


def _bits(opened: Any, path: Path) -> int:
    """Bits of a channel in the file: Pillow reads 16 of three channels as 8 without a word."""
    if opened.format == "TIFF":
        return int(max(opened.tag_v2.get(258, (1,))))
    if opened.format == "JPEG2000":
        # marker of the codestream's sizes; the components' depths come 40 bytes behind it
        head = path.read_bytes()
        start = head.find(b"\xff\x4f\xff\x51")
        count = int.from_bytes(head[start + 40 : start + 42], "big")
        return max((depth & 0x7F) + 1 for depth in head[start + 42 : start + 42 + 3 * count : 3])
    for tile in opened.tile:
        decoder, arguments = tile[0], tile[3]
        if decoder.startswith("ppm") and arguments[1] > 255:
            return 16
        rawmode = arguments if isinstance(arguments, str) else (arguments or ("",))[0]
        # of BMP and Targa BGR;16 is all three channels
        if opened.format in ("PNG", "PPM") and re.search(r";16", str(rawmode)):
            return 16
    return 8


def prepared(picture: Any, preparation: Preparation) -> npt.NDArray[np.uint8]:
    """A Pillow picture as an image, see `read_picture`."""
    from PIL import Image

    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema()[0] < 255:
            raise PictureError("it has transparent pixels; put it on a background")
    if picture.mode in ("P", "PA", "RGBA"):
        picture = picture.convert("RGB")
    if picture.mode == "RGB":
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
            raise PictureError(
                f"smaller than centre_crop {side}; lower it, or set resize",
                _size(height, width),
            )
        left, top = (width - side) // 2, (height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    pixels: npt.NDArray[np.uint8] = np.asarray(picture, np.uint8)
    if (pixels == pixels.flat[0]).all():
        raise PictureError("every pixel is the same, so that it has no unit variance; leave it out")
    return pixels


def _size(height: int, width: int) -> str:
    return f"{height} pixels high and {width} wide"


def stacked(
    pictures: Sequence[npt.NDArray[np.uint8]], names: Sequence[str], faults: Faults
) -> npt.NDArray[np.uint8]:
    """Images (sample, channel, row, column) of one size; grey ones among colours become RGB.

    Pictures of other sizes than most are added to the faults, and left out.
    """
    if not pictures:
        return np.empty((0, 1, 1, 1), np.uint8)
    sizes = [picture.shape[:2] for picture in pictures]
    usual = max(sorted(set(sizes)), key=sizes.count)
    colour = any(picture.ndim == 3 for picture in pictures)
    kept = []
    for picture, size, name in zip(pictures, sizes, names, strict=True):
        if size != usual:
            faults.add(
                name,
                f"other sizes than {_size(*usual)}, which {sizes.count(usual):,} have; set resize "
                "and centre_crop",
                _size(*size),
            )
        elif colour and picture.ndim == 2:
            kept.append(np.repeat(picture[None], 3, axis=0))
        else:
            kept.append(picture.transpose(2, 0, 1) if colour else picture[None])
    return np.stack(kept)
