"""Pictures that are no ordinary JPEGs, and what EXIF says: read by Pillow. `intraclip.core.media` opens this door."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from intraclip.core.media import (
    LIMITS,
    Bytes,
    Limits,
    NoPictureError,
    Picture,
    PictureTooLargeError,
    is_jpeg,
    jpeg_header,
    require_size,
)
from intraclip.errors import FrameError


def turned(frame: Picture, orientation: int) -> Picture:
    """Upright pixels: EXIF 2.3, tag 0x0112, says at which corner row 0 and column 0 of `frame` lie."""
    if orientation in (5, 6, 7, 8):
        frame = frame.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        frame = frame[::-1]
    if orientation in (2, 3, 6, 7):
        frame = frame[:, ::-1]
    return np.ascontiguousarray(frame)


def is_ordinary_jpeg(data: Bytes) -> bool:
    """Whether any decoder shows a JPEG as `decode_picture` does.

    It has a good header and an end, three channels or one, and need not be turned.
    """
    if not is_jpeg(data) or data[-2:].tobytes() != b"\xff\xd9":
        return False
    try:
        header = jpeg_header(data, "", LIMITS)
    except FrameError:
        return False
    return not header.is_cmyk and header.orientation == 1


def exif_orientation(exif: bytes) -> int:
    """Orientation in an EXIF block, 1 to 8; 1, upright, where none is stated or the block is damaged."""
    block = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about blocks that are cut short
            block.load(exif + bytes(4))  # the last value may lack its padding
            value = block.get(0x0112, 1)
    except Exception:  # whatever it is that the reader stumbles on
        return 1
    value = value[0] if isinstance(value, bytes | tuple) and value else value
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def decode_with_pillow(data: Bytes, name: Path | str, limits: Limits, formats: Sequence[str]) -> Picture:
    """See `decode_picture`."""
    if data[:8].tobytes() == _PNG:
        Image.preinit()
    else:
        Image.init()  # all formats: nearly half a second, once a process
    known = [entry for entry in formats if entry in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes, which are looked at here, and odd metadata
            with Image.open(io.BytesIO(data.data), formats=known) as image:
                require_size(image.height, image.width, name, limits)
                deep = _is_deep(image, data)
                # Pillow turns TIFFs itself
                exif = image.info.get("exif", b"") if image.format != "TIFF" else b""
                pixels = _rgb(image, name)
    except (FrameError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise NoPictureError(name, "no image that can be identified") from None
    except Image.DecompressionBombError:
        raise PictureTooLargeError(name, f"it has more than {limits.pixels:,} pixels") from None
    except Exception as error:  # damaged files raise whatever it is that the decoder stumbles on
        raise FrameError(name, f"the image is damaged ({error or type(error).__name__})") from None
    if deep and pixels.max(initial=0) < _DEEP_BLACK:
        raise FrameError(
            name,
            "it has 16 bits a channel but uses less than 12 of them, so that it would be black in 8 bits; convert the "
            "pictures to 8 bits with one scale for all of them",
        )
    return turned(pixels, exif_orientation(exif if isinstance(exif, bytes) else b""))


_PNG = b"\x89PNG\r\n\x1a\n"

_DEEP_BLACK = 16
"""Upper eight bits of a picture that uses 12 of 16 bits are below this."""


def _is_deep(image: Image.Image, data: Bytes) -> bool:
    """Whether a picture is stored with more than 8 bits a channel, of which Pillow keeps the upper 8."""
    if image.mode.startswith("I"):
        return True
    if image.format == "PNG":
        return len(data) > 24 and int(data[24]) == 16  # IHDR: the first chunk, always
    if image.format == "TIFF":
        # BitsPerSample: one, or one a channel
        return int(np.max(getattr(image, "tag_v2", {}).get(258, 8))) > 8
    return False


def _rgb(image: Image.Image, name: Path | str) -> Picture:
    """Pixels of an opened image, decoded now; not turned yet."""
    if image.mode == "F":
        raise FrameError(
            name, "its pixels are floating-point numbers, whose scale is nowhere stated; convert it to 8 bits"
        )
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65_535:
            raise FrameError(
                name, "its pixels have 32 bits, whose scale is nowhere stated; convert it to 8 bits"
            )
        return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if not np.asarray(layer)[..., 3].any():
            raise FrameError(name, "every pixel of it is transparent")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(ground, layer))[..., :3]
    return np.asarray(image.convert("RGB"))
