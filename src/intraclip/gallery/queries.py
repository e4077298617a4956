"""Queries from outside a gallery: pictures, a clip, or a box in a video. `Network.embed` makes vectors of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.core.spread import spread
from intraclip.data.frames import shrunk
from intraclip.errors import DataError
from intraclip.ingest.crops import cut
from intraclip.ingest.sources import open_source

Picture = npt.NDArray[np.uint8]
"""uint8 ``[h, w, 3]``, RGB: one person, cut out."""

MAX_FRAMES = 64
"""Frames of a clip that are used, evenly spread."""

KEPT_SIDE = 1_280
"""Frames of a clip are made smaller than this at once: a hundred in 4K take 3 GB, and no network looks at more."""


def read_clip(path: Path) -> list[Picture]:
    """Frames of a video that shows one person, cut out; at most `MAX_FRAMES`, evenly spread.

    Raises:
        DataError: it is no video, or damaged.
    """
    frames = (frame.image for frame in open_source(path).frames())
    kept = spread(frames, MAX_FRAMES, keep=_small)
    if not kept:
        raise DataError(f"no frame of {path} can be decoded; the file is damaged")
    return kept


def _small(image: Picture) -> Picture:
    """A picture of a video, which is BGR."""
    return shrunk(np.ascontiguousarray(image[..., ::-1]), KEPT_SIDE / max(image.shape[:2]))


def read_box(path: Path, *, frame: int, box: tuple[float, float, float, float]) -> list[Picture]:
    """What is in a box of one frame of a video.

    Args:
        path: the video, or a folder of frames.
        frame: number of the frame, from 0.
        box: left, top, width, height in pixels of the upright frame.

    Raises:
        DataError: it is no video, has no such frame, or the box lies outside.
    """
    left, top, width, height = box
    if frame < 0:
        raise DataError(f"frame {frame}: frames are counted from 0")
    found = next(iter(open_source(path).frames(only=frozenset([frame]))), None)
    if found is None:
        raise DataError(f"{path} has no frame {frame}; it is shorter")
    rows, columns = found.image.shape[:2]
    outside = left >= columns or top >= rows or left + width <= 0 or top + height <= 0
    if not np.isfinite(box).all() or width < 1 or height < 1 or outside:
        raise DataError(
            f"the box {left:g},{top:g},{width:g},{height:g} (left, top, width, height) does not lie in the frames of "
            f"{path}, which have {columns} x {rows} pixels"
        )
    edges = np.array([left, top, left + width, top + height], dtype=np.float32)
    return [np.ascontiguousarray(cut(found.image, edges, margin=0.0)[..., ::-1])]
