"""Pictures of a tracklet for people to look at: a film strip, and a few frames for playing it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg

from intraclip.data.frames import read_tracklet_frame, resize_frame
from intraclip.errors import FrameError
from intraclip.gallery.records import Pictures
from intraclip.ingest.gates import evenly
from intraclip.types import Tracklet

STRIP_FRAMES = 5
STRIP_HEIGHT, STRIP_WIDTH, STRIP_GAP = 128, 64, 2
CROPS = 8
CROP_HEIGHT = 256
"""Crops are not stored larger than this, in pixels."""

QUALITY = 85

Frame = npt.NDArray[np.uint8]


def pictures_of(tracklet: Tracklet, *, crops: int = CROPS) -> Pictures:
    """Pictures of a tracklet; frames that cannot be read are left out.

    Args:
        tracklet: its frames are read, at most `crops` of them, evenly spread.
        crops: frames to keep for playing; 0 for none, a film strip there is always.
    """
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
        strip=_jpeg(film_strip([frames[i] for i in evenly(len(frames), STRIP_FRAMES)])),
        crops=tuple(_jpeg(_bounded(frame)) for frame in kept),
    )


def film_strip(frames: list[Frame]) -> Frame:
    """Frames ``[h, w, 3]`` side by side: uint8 ``[128, T * 64 + (T - 1) * 2, 3]``."""
    step = STRIP_WIDTH + STRIP_GAP
    strip = np.zeros((STRIP_HEIGHT, len(frames) * step - STRIP_GAP, 3), dtype=np.uint8)
    for place, frame in enumerate(frames):
        strip[:, place * step : place * step + STRIP_WIDTH] = resize_frame(frame, STRIP_HEIGHT, STRIP_WIDTH)
    return strip


def _bounded(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    if height <= CROP_HEIGHT:
        return frame
    return resize_frame(frame, CROP_HEIGHT, max(1, round(width * CROP_HEIGHT / height)))


def _jpeg(frame: Frame) -> bytes:
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=QUALITY, colorspace="RGB")
    return data
