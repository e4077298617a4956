"""Cutting people out of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import simplejpeg

from intraclip.errors import OutputError
from intraclip.ingest.detections import Floats
from intraclip.ingest.frame_source import Image

JPEG_QUALITY = 95


def crop_box(box: Floats, *, margin: float, height: int, width: int) -> tuple[int, int, int, int]:
    """Whole pixels to cut out for a box, which may reach beyond the image, and a margin of a share of its size.

    Returns:
        Left, top (inside), right, bottom (outside), within the image and at least one pixel large.

    >>> crop_box(np.array([10, 20, 30, 60], np.float32), margin=0.05, height=100, width=100)
    (9, 18, 31, 62)
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    left = min(max(round(x1 - dx), 0), width - 1)
    top = min(max(round(y1 - dy), 0), height - 1)
    return left, top, min(max(round(x2 + dx), left + 1), width), min(max(round(y2 + dy), top + 1), height)


def cut(image: Image, box: Floats, *, margin: float) -> Image:
    """The part of an image ``[H, W, 3]`` inside a box and its margin; a copy."""
    left, top, right, bottom = crop_box(box, margin=margin, height=image.shape[0], width=image.shape[1])
    return np.ascontiguousarray(image[top:bottom, left:right])


def write_jpeg(path: Path, image: Image, *, quality: int = JPEG_QUALITY) -> None:
    """Write uint8 ``[H, W, 3]`` BGR as JPEG with full colour resolution.

    Raises:
        OutputError: the file cannot be written.
    """
    data = simplejpeg.encode_jpeg(image, quality=quality, colorspace="BGR", colorsubsampling="444")
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
