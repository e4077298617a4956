"""Pictures of a tracklet for people to look at: a film strip, and a few frames for playing it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg

from intraclip.core.film_strip import film_strip
from intraclip.core.spread import evenly
from intraclip.data.frames import read_tracklet_frame, resize_frame, shrunk
from intraclip.errors import FrameError
from intraclip.gallery.records import Pictures
from intraclip.types import Tracklet

STRIP_FRAMES = 5
STRIP_HEIGHT, STRIP_WIDTH, STRIP_GAP = 128, 64, 2
CROPS = 8
CROP_HEIGHT = 256
"""Crops are not stored larger than this, in pixels."""

QUALITY = 85

Frame = npt.NDArray[np.uint8]


def pictures_of(tracklet: Tracklet, *, crops: int = CROPS) -> Pictures:
    """A film strip of a tracklet, and `crops` frames for playing it, evenly spread; what cannot be read is left out."""
    wanted = evenly(len(tracklet), max(crops, STRIP_FRAMES)).tolist()
    frames: list[Frame] = []
    for index in wanted:
        try:
            frames.append(read_tracklet_frame(tracklet, index))
        except FrameError:
            continue
    if not frames:
        return Pictures()
    kept = [frames[i] for i in evenly(len(frames), crops)] if crops else []
    return Pictures(
        strip=_jpeg(strip_of([frames[i] for i in evenly(len(frames), STRIP_FRAMES)])),
        crops=tuple(_jpeg(shrunk(frame, CROP_HEIGHT / frame.shape[0])) for frame in kept),
    )


def strip_of(frames: list[Frame]) -> Frame:
    """Frames ``[h, w, 3]`` side by side: uint8 ``[128, T * 64 + (T - 1) * 2, 3]``."""
    return film_strip(
        np.stack([resize_frame(frame, STRIP_HEIGHT, STRIP_WIDTH) for frame in frames]), gap=STRIP_GAP
    )


def _jpeg(frame: Frame) -> bytes:
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=QUALITY, colorspace="RGB")
    return data
