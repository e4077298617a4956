"""Decode frames: a tracklet's files, its place in a pack, or in memory -> uint8 RGB, upright.

Whoever wants a frame of a tracklet asks `read_tracklet_frame`, which knows folders, packs and memory.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.core.media import decode_jpeg_into, decode_picture, read_picture_bytes
from intraclip.data.in_memory import ArrayTracklet
from intraclip.data.pack.opened import is_raw, pack_of
from intraclip.types import Tracklet

Frame = npt.NDArray[np.uint8]


def read_tracklet_frame(tracklet: Tracklet, index: int) -> Frame:
    """Read one frame of a tracklet, from its folder or its pack.

    Returns:
        uint8 ``[H, W, 3]``, RGB, at the stored size. Of a raw pack it is a read-only view of the mapped file.
    """
    if isinstance(tracklet, ArrayTracklet):
        return tracklet.pictures[index]
    pack = pack_of(tracklet.root)
    if pack is not None and pack.kind == "raw":
        return pack.pixels(tracklet, index)
    return decode_picture(encoded_frame(tracklet, index), tracklet.frame_path(index))


def read_tracklet_frame_into(tracklet: Tracklet, index: int, out: Frame) -> None:
    """Read one frame of a tracklet to a place in a batch, resized to fit; no copy in between where the size is right.

    `out` is contiguous uint8 ``[H, W, 3]``, undefined after an error.
    """
    if isinstance(tracklet, ArrayTracklet) or is_raw(tracklet.root):
        resize_into(np.ascontiguousarray(read_tracklet_frame(tracklet, index)), out)
        return
    data, path = encoded_frame(tracklet, index), tracklet.frame_path(index)
    if not decode_jpeg_into(data, path, out):
        resize_into(decode_picture(data, path), out)


def encoded_frame(tracklet: Tracklet, index: int) -> Frame:
    """Bytes of one frame of a tracklet as its file or pack has them: uint8 ``[bytes]``, perhaps empty, read-only."""
    pack = pack_of(tracklet.root)
    if pack is not None:
        return pack.encoded(tracklet, index)
    return read_picture_bytes(tracklet.frame_path(index))


def resize_frame(frame: Frame, height: int, width: int) -> Frame:
    """Resize one RGB frame ``[h, w, 3]`` to ``[height, width, 3]``, aspect ratio ignored.

    Area averaging where the frame shrinks (no aliasing), bilinear where it grows.
    """
    if frame.shape[:2] == (height, width):
        return frame
    out = np.empty((height, width, 3), dtype=np.uint8)
    resize_into(frame, out)
    return out


def shrunk(frame: Frame, scale: float) -> Frame:
    """An RGB frame made smaller by a factor; as it is where that is 1 or more."""
    if scale >= 1:
        return frame
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    return resize_frame(np.ascontiguousarray(frame), height, width)


def resize_into(frame: Frame, out: Frame) -> None:
    """As `resize_frame`, to a given place: contiguous uint8 ``[height, width, 3]``."""
    height, width = out.shape[:2]
    if frame.shape == out.shape:
        out[:] = frame
        return
    shrinks = frame.shape[0] >= height and frame.shape[1] >= width
    cv2.resize(frame, (width, height), dst=out, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
