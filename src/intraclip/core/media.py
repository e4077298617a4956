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

import io
import os
import stat
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

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
        file_bytes: size of the file.
    """

    side: int = 32_767
    pixels: int = 64_000_000
    scanned: int = 1_000_000_000
    file_bytes: int = 256 << 20


LIMITS = Limits()


class NoPictureError(FrameError):
    """The content is of no format that is read."""


class PictureTooLargeError(FrameError):
    """The picture is larger than the limits."""


def read_picture(path: Path, *, limits: Limits = LIMITS) -> Picture:
    """Read one picture file.

    Returns:
        uint8 ``[H, W, 3]``, RGB, upright.
    """
    return decode_picture(read_picture_bytes(path, limits=limits), path, limits=limits)


def read_picture_bytes(path: Path, *, limits: Limits = LIMITS) -> Bytes:
    """Content of a file, uint8 ``[bytes]``, read-only.

    Raises:
        FrameError: the file cannot be read, or is no ordinary file.
        PictureTooLargeError: it is larger than `limits.file_bytes`.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - once a frame; Path.stat takes twice as long
        if not stat.S_ISREG(found.st_mode):
            raise FrameError(path, "it is a folder or a device, no file")
        if found.st_size > limits.file_bytes:
            raise PictureTooLargeError(
                path, f"the file has {found.st_size:,} bytes, at most {limits.file_bytes:,} are read"
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
    """Decode the content of one picture file.

    Args:
        data: uint8 ``[bytes]``.
        name: of the file, for errors.
        limits: beyond them it is refused, before it is decoded.
        formats: that are taken, of `FORMATS`.
        enough: a JPEG may be decoded at a half, a quarter or an eighth of its size as long as both sides keep this
            many pixels; 0 for its full size.

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
        header = _jpeg_header(data, name, limits)
        if not header.is_cmyk:
            try:
                frame: Picture = simplejpeg.decode_jpeg(data, "RGB", min_height=enough, min_width=enough)
            except ValueError as error:
                raise FrameError(name, str(error)) from None
            return _turned(frame, header.orientation)
    return _decode_with_pillow(data, name, limits, formats)


def decode_jpeg_into(data: Bytes, name: Path | str, out: Picture) -> bool:
    """Decode a JPEG straight to where its pixels are wanted, if it has this very size and need not be turned.

    Args:
        data: uint8 ``[bytes]``.
        name: of the file, for errors.
        out: contiguous uint8 ``[H, W, 3]``; undefined after an error.

    Returns:
        Whether it was decoded; else `decode_picture` knows what to do.

    Raises:
        FrameError: the JPEG is damaged.
        PictureTooLargeError: it has very many scans.
    """
    if not is_jpeg(data):
        return False
    header = _jpeg_header(data, name, LIMITS)
    if header[:2] != out.shape[:2] or header.is_cmyk or header.orientation != 1:
        return False
    try:
        simplejpeg.decode_jpeg(data, "RGB", buffer=out)
    except ValueError as error:
        raise FrameError(name, str(error)) from None
    return True


def is_jpeg(data: Bytes) -> bool:
    """Whether content begins like a JPEG."""
    return len(data) > 2 and bool(data[0] == 0xFF) and bool(data[1] == 0xD8)


def is_ordinary_jpeg(data: Bytes) -> bool:
    """Whether any decoder shows a JPEG as `decode_picture` does.

    It has a good header and an end, three channels or one, and need not be turned.
    """
    if not is_jpeg(data) or data[-2:].tobytes() != b"\xff\xd9":
        return False
    try:
        header = _jpeg_header(data, "", LIMITS)
    except FrameError:
        return False
    return not header.is_cmyk and header.orientation == 1


# -- JPEG --------------------------------------------------------------------------------------------------


def _jpeg_header(data: Bytes, name: Path | str, limits: Limits) -> _JpegHeader:
    """What the markers before the image data say; takes a hundredth of the time of decoding."""
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise FrameError(name, str(error)) from None
    _require_size(height, width, name, limits)
    content = data.tobytes()
    orientation, several_scans = _walk_markers(content)
    # Within image data a 0xFF is followed by 0 or a restart marker, so that this counts starts of scans.
    scans = content.count(b"\xff\xda") if several_scans else 1
    if scans * height * width > max(limits.scanned, height * width):
        raise PictureTooLargeError(
            name,
            f"it is a progressive JPEG of {scans:,} scans, which takes minutes to decode; save it as an ordinary one",
        )
    return _JpegHeader(height, width, colour in ("CMYK", "YCCK"), orientation)


class _JpegHeader(NamedTuple):
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
                orientation = _exif_orientation(content[place + 4 : place + 2 + length])
            elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                progressive, components = marker & 3 == 2, content[place + 9]
            place += 2 + length
    return orientation or 1, True


# -- EXIF --------------------------------------------------------------------------------------------------

_ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # TIFF's types BYTE, SHORT and LONG


def _exif_orientation(exif: bytes) -> int:
    """Orientation in an EXIF block (a TIFF header and its first directory; TIFF 6.0, section 2)."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == _ORIENTATION and kind in _INTEGERS:
                (value,) = struct.unpack_from(f"{order}{_INTEGERS[kind]}", tiff, entry + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:  # cut short
        pass
    return 1


def _turned(frame: Picture, orientation: int) -> Picture:
    """Upright pixels: EXIF 2.3, tag 0x0112, says at which corner row 0 and column 0 of `frame` lie."""
    if orientation in (5, 6, 7, 8):
        frame = frame.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        frame = frame[::-1]
    if orientation in (2, 3, 6, 7):
        frame = frame[:, ::-1]
    return np.ascontiguousarray(frame)


# -- everything else ---------------------------------------------------------------------------------------


def _decode_with_pillow(data: Bytes, name: Path | str, limits: Limits, formats: Sequence[str]) -> Picture:
    if data[:8].tobytes() == _PNG:
        Image.preinit()
    else:
        Image.init()  # all formats: nearly half a second, once a process
    known = [entry for entry in formats if entry in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes, which are looked at here, and odd metadata
            with Image.open(io.BytesIO(data.data), formats=known) as image:
                _require_size(image.height, image.width, name, limits)
                deep = _is_deep(image, data)
                exif = (
                    image.info.get("exif", b"") if image.format != "TIFF" else b""
                )  # Pillow turns TIFFs itself
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
    return _turned(pixels, _exif_orientation(exif if isinstance(exif, bytes) else b""))


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
        return (
            int(np.max(getattr(image, "tag_v2", {}).get(258, 8))) > 8
        )  # BitsPerSample: one, or one a channel
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


def _require_size(height: int, width: int, name: Path | str, limits: Limits) -> None:
    if max(height, width) > limits.side or height * width > limits.pixels:
        raise PictureTooLargeError(
            name,
            f"it has {width:,} x {height:,} pixels, at most {limits.pixels / 1e6:g} million and {limits.side:,} a side "
            "are decoded; make it smaller, or cut the person out",
        )
