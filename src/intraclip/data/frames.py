"""Decode frames: files -> uint8 RGB."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from intraclip.errors import FrameError

Image.MAX_IMAGE_PIXELS = 64_000_000  # a crop of a person is small; a decompression bomb is not


def read_frame(path: Path) -> npt.NDArray[np.uint8]:
    """Decode one image file.

    JPEG goes through simplejpeg, which refuses truncated data; everything else through Pillow, likewise strict.

    Returns:
        uint8 ``[H, W, 3]``, RGB.

    Raises:
        FrameError: the file is missing, empty, truncated, or no image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FrameError(path, error.strerror or str(error)) from None
    if not data:
        raise FrameError(path, "the file is empty")
    try:
        if data[:2] == b"\xff\xd8":
            frame: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")
            return frame
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith("I"):  # 16 bits a pixel; converting would clip nearly all of it to white
                grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.asarray(image.convert("RGB"))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "no image that can be identified" if "cannot identify" in str(error) else str(error)
        raise FrameError(path, reason or type(error).__name__) from None


def resize_frame(frame: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize one RGB frame ``[h, w, 3]`` to ``[height, width, 3]``, aspect ratio ignored.

    Area averaging where the frame shrinks (no aliasing), bilinear where it grows.
    """
    if frame.shape[:2] == (height, width):
        return frame
    shrinks = frame.shape[0] >= height and frame.shape[1] >= width
    resized = cv2.resize(
        frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return np.asarray(resized, dtype=np.uint8)


def read_frames(paths: Sequence[Path], *, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Decode and resize several frames.

    Returns:
        uint8 ``[T, 3, height, width]``, RGB.

    Raises:
        FrameError: at the first frame that cannot be read.
    """
    frames = np.empty((len(paths), height, width, 3), dtype=np.uint8)
    for i, path in enumerate(paths):
        frames[i] = resize_frame(read_frame(path), height, width)
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
