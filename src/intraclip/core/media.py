"""Pictures from files: the one way to read them, upright, 8-bit RGB.

Whatever a picture is stored as, every part of intraclip sees the same pixels:

- turned as its EXIF orientation says;
- grey, palette and CMYK pictures become RGB;
- what is transparent shows white; a picture that is transparent everywhere is refused;
- 16 bits a channel keep their upper eight. Where these are nearly black (cameras and sensors with 10 or 12 bits in a
  file of 16) the picture is refused, as are floating-point and 32-bit pixels: their scale is nowhere stated;
- pictures beyond `Limits` are refused before they are decoded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg

from intraclip.errors import FrameError

Bytes = npt.NDArray[np.uint8]
"""uint8 ``[bytes]``: a file's content."""

Picture = npt.NDArray[np.uint8]
"""uint8 ``[H, W, 3]``, RGB."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the formats that are read; of animations, the first picture."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large a picture may be. The default admits photos, not decompression bombs.

    Attributes:
        side: height and width, in pixels.
        pixels: height times width.
        scanned: pixels times the scans of a progressive JPEG, each of which goes over the whole picture.
    """

    side: int = 32_767
    pixels: int = 64_000_000
    scanned: int = 1_000_000_000


LIMITS = Limits()
FILE_BYTES = 256 << 20
"""The largest file that is read."""


class NoPictureError(FrameError):
    """The content is of no format that is read."""


class PictureTooLargeError(FrameError):
    """The picture is larger than the limits."""


def read_picture(path: Path) -> Picture:
    """Read one picture file; errors as `read_picture_bytes` and `decode_picture`."""
    return decode_picture(read_picture_bytes(path), path)


def read_picture_bytes(path: Path) -> Bytes:
    """Content of a file, read-only.

    Raises:
        FrameError: the file cannot be read, or is no ordinary file.
        PictureTooLargeError: it is larger than `FILE_BYTES`.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - once a frame; Path.stat takes twice as long
        if not stat.S_ISREG(found.st_mode):
            raise FrameError(path, "it is a folder or a device, no file")
        if found.st_size > FILE_BYTES:
            raise PictureTooLargeError(
                path, f"the file has {found.st_size:,} bytes, at most {FILE_BYTES:,} are read"
            )
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FrameError(path, getattr(error, "strerror", None) or str(error)) from None


def decode_picture(
    data: Bytes,
    name: Path | str,
    *,
    limits: Limits = LIMITS,
    formats: Sequence[str] = FORMATS,
    enough: int = 0,
) -> Picture:
    """Decode the content of one picture file, of the `formats`; its `name` is for errors.

    A JPEG may be decoded at a half, a quarter or an eighth of its size as long as both sides keep `enough` pixels; 0
    for its full size.

    Returns:
        uint8 ``[H, W, 3]``, RGB, upright; contiguous.

    Raises:
        FrameError: empty, damaged, or its pixels cannot be shown in 8 bits.
        NoPictureError: of no format that is taken.
        PictureTooLargeError: beyond the limits.
    """
    if not len(data):
        raise FrameError(name, "the file is empty")
    if is_jpeg(data) and "JPEG" in formats:
        header = jpeg_header(data, name, limits)
        if not header.is_cmyk:
            frame = _decode_jpeg(data, name, min_height=enough, min_width=enough)
            if header.orientation == 1:
                return frame
            from intraclip.core.other_pictures import turned

            return turned(frame, header.orientation)
    from intraclip.core.other_pictures import decode_with_pillow

    return decode_with_pillow(data, name, limits, formats)


def decode_jpeg_into(data: Bytes, name: Path | str, out: Picture) -> bool:
    """Decode a JPEG straight to where its pixels are wanted, if it has this very size and need not be turned.

    `out` is contiguous, and undefined after an error.

    Returns:
        Whether it was decoded; else `decode_picture` knows what to do, and raises what this one does.
    """
    if not is_jpeg(data):
        return False
    header = jpeg_header(data, name, LIMITS)
    if header[:2] != out.shape[:2] or header.is_cmyk or header.orientation != 1:
        return False
    _decode_jpeg(data, name, buffer=out)
    return True


def _decode_jpeg(data: Bytes, name: Path | str, **how: Any) -> Picture:
    try:
        frame: Picture = simplejpeg.decode_jpeg(data, "RGB", **how)
    except ValueError as error:
        raise FrameError(name, str(error)) from None
    return frame


def is_jpeg(data: Bytes) -> bool:
    """Whether content begins like a JPEG."""
    return len(data) > 2 and bool(data[0] == 0xFF) and bool(data[1] == 0xD8)


def jpeg_header(data: Bytes, name: Path | str, limits: Limits) -> JpegHeader:
    """What the markers before the image data say; takes a hundredth of the time of decoding."""
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise FrameError(name, str(error)) from None
    require_size(height, width, name, limits)
    content = data.tobytes()
    orientation, several_scans = _walk_markers(content)
    # Within image data a 0xFF is followed by 0 or a restart marker, so that this counts starts of scans.
    scans = content.count(b"\xff\xda") if several_scans else 1
    if scans * height * width > max(limits.scanned, height * width):
        raise PictureTooLargeError(
            name,
            f"it is a progressive JPEG of {scans:,} scans, which takes minutes to decode; save it as an ordinary one",
        )
    return JpegHeader(height, width, colour in ("CMYK", "YCCK"), orientation)


class JpegHeader(NamedTuple):
    """What is said before the pixels."""

    height: int
    width: int
    is_cmyk: bool  # simplejpeg cannot turn it into RGB, Pillow can
    orientation: int  # of EXIF, 1 to 8; 1, upright, where none is stated


def _walk_markers(content: bytes) -> tuple[int, bool]:
    """EXIF orientation, and whether there may be more than one scan (ITU-T T.81, annex B)."""
    orientation = components = 0
    progressive = False
    place = 2
    while place + 10 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # without a length
            place += 2
        elif marker == 0xDA:
            return orientation or 1, progressive or content[place + 4] < components
        else:
            length = content[place + 2] << 8 | content[place + 3]
            if marker == 0xE1 and not orientation and content.startswith(b"Exif\0\0", place + 4):
                from intraclip.core.other_pictures import exif_orientation

                orientation = exif_orientation(content[place + 4 : place + 2 + length])
            elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                progressive, components = marker & 3 == 2, content[place + 9]
            place += 2 + length
    return orientation or 1, True


def require_size(height: int, width: int, name: Path | str, limits: Limits) -> None:
    """Raise a PictureTooLargeError for sides beyond the limits."""
    if max(height, width) > limits.side or height * width > limits.pixels:
        raise PictureTooLargeError(
            name,
            f"it has {width:,} x {height:,} pixels, at most {limits.pixels / 1e6:g} million and {limits.side:,} a side "
            "are decoded; make it smaller, or cut the person out",
        )
