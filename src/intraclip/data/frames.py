"""Decode frames: a tracklet's files, or its place in a pack -> uint8 RGB.

Whoever wants a frame of a tracklet asks `read_tracklet_frame`, which knows folders and packs.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from intraclip.data.pack.format import pack_of
from intraclip.errors import FrameError
from intraclip.types import Tracklet

Image.MAX_IMAGE_PIXELS = 64_000_000  # a crop of a person is small; a decompression bomb is not

Frame = npt.NDArray[np.uint8]


def read_tracklet_frame(tracklet: Tracklet, index: int) -> Frame:
    """Read one frame of a tracklet, from its folder or its pack.

    Args:
        tracklet: where from.
        index: number of the frame, counted from 0.

    Returns:
        uint8 ``[H, W, 3]``, RGB, at the stored size. Of a raw pack it is a read-only view of the mapped file.

    Raises:
        FrameError: the frame is missing, empty, truncated, or no image.
        DataError: the pack is damaged.
    """
    pack = pack_of(tracklet.root)
    if pack is not None and pack.kind == "raw":
        return pack.pixels(tracklet, index)
    try:
        return _decode(encoded_frame(tracklet, index))
    except _UnreadableError as error:
        raise FrameError(tracklet.frame_path(index), error.reason) from None


def read_tracklet_frame_into(tracklet: Tracklet, index: int, out: Frame) -> None:
    """Read one frame of a tracklet to a place in a batch, resized to fit; no copy in between where the size is right.

    Args:
        tracklet: where from.
        index: number of the frame, counted from 0.
        out: contiguous uint8 ``[H, W, 3]``; undefined after an error.

    Raises:
        FrameError: the frame is missing, empty, truncated, or no image.
        DataError: the pack is damaged.
    """
    pack = pack_of(tracklet.root)
    if pack is not None and pack.kind == "raw":
        resize_into(pack.pixels(tracklet, index), out)
        return
    try:
        _decode_into(encoded_frame(tracklet, index), out)
    except _UnreadableError as error:
        raise FrameError(tracklet.frame_path(index), error.reason) from None


def encoded_frame(tracklet: Tracklet, index: int) -> Frame:
    """Bytes of one frame of a tracklet as its file or pack has them: uint8 ``[bytes]``, perhaps empty, read-only.

    Raises:
        FrameError: the frame is missing, or is stored as raw pixels.
        DataError: the pack is damaged.
    """
    pack = pack_of(tracklet.root)
    if pack is not None:
        return pack.encoded(tracklet, index)
    return _read_bytes(tracklet.frame_path(index))


def decode_frame(data: Frame, path: Path | str) -> Frame:
    """Decode the bytes ``[bytes]`` of one image; `path` names it in errors.

    Returns:
        uint8 ``[H, W, 3]``, RGB.

    Raises:
        FrameError: empty, truncated, or no image.
    """
    try:
        return _decode(data)
    except _UnreadableError as error:
        raise FrameError(path, error.reason) from None


def is_jpeg(data: Frame) -> bool:
    """Whether encoded bytes ``[bytes]`` begin like a JPEG."""
    return len(data) > 2 and bool(data[0] == 0xFF) and bool(data[1] == 0xD8)


def read_frame(path: Path) -> Frame:
    """Decode one image file.

    JPEG goes through simplejpeg, which refuses truncated data; everything else through Pillow, likewise strict.

    Returns:
        uint8 ``[H, W, 3]``, RGB.

    Raises:
        FrameError: the file is missing, empty, truncated, or no image.
    """
    return decode_frame(_read_bytes(path), path)


def resize_frame(frame: Frame, height: int, width: int) -> Frame:
    """Resize one RGB frame ``[h, w, 3]`` to ``[height, width, 3]``, aspect ratio ignored.

    Area averaging where the frame shrinks (no aliasing), bilinear where it grows.
    """
    if frame.shape[:2] == (height, width):
        return frame
    out = np.empty((height, width, 3), dtype=np.uint8)
    resize_into(frame, out)
    return out


def resize_into(frame: Frame, out: Frame) -> None:
    """As `resize_frame`, to a given place: contiguous uint8 ``[height, width, 3]``."""
    height, width = out.shape[:2]
    if frame.shape == out.shape:
        out[:] = frame
        return
    shrinks = frame.shape[0] >= height and frame.shape[1] >= width
    cv2.resize(frame, (width, height), dst=out, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def read_frames(paths: Sequence[Path], *, height: int, width: int) -> Frame:
    """Decode and resize several frames.

    Returns:
        uint8 ``[T, 3, height, width]``, RGB.

    Raises:
        FrameError: at the first frame that cannot be read.
    """
    frames = np.empty((len(paths), height, width, 3), dtype=np.uint8)
    for i, path in enumerate(paths):
        resize_into(read_frame(path), frames[i])
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))


class _UnreadableError(Exception):
    """Bytes that are no whole image; the caller knows their name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_DECODING_ERRORS = (ValueError, OSError, SyntaxError, Image.DecompressionBombError)


def _read_bytes(path: Path) -> Frame:
    try:
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise FrameError(path, error.strerror or str(error)) from None


def _decode(data: Frame) -> Frame:
    if not len(data):
        raise _UnreadableError("the file is empty")
    try:
        if is_jpeg(data):
            frame: Frame = simplejpeg.decode_jpeg(data, "RGB")
            return frame
        with Image.open(io.BytesIO(data.data)) as image:
            if image.mode.startswith("I"):  # 16 bits a pixel; converting would clip nearly all of it to white
                grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.asarray(image.convert("RGB"))
    except _DECODING_ERRORS as error:
        reason = "no image that can be identified" if "cannot identify" in str(error) else str(error)
        raise _UnreadableError(reason or type(error).__name__) from None


def _decode_into(data: Frame, out: Frame) -> None:
    if is_jpeg(data):
        try:
            # The header takes a hundredth of the time; a frame of the right size then needs no copy.
            if simplejpeg.decode_jpeg_header(data)[:2] == out.shape[:2]:
                simplejpeg.decode_jpeg(data, "RGB", buffer=out)
                return
        except _DECODING_ERRORS as error:
            raise _UnreadableError(str(error)) from None
    resize_into(_decode(data), out)
