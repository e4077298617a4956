"""Film strips: the frames of a tracklet side by side."""

from __future__ import annotations

import numpy as np

from intraclip.core.media import Picture


def film_strip(frames: Picture, *, gap: int = 2) -> Picture:
    """Frames side by side.

    Args:
        frames: uint8 ``[T, H, W, 3]``, RGB.
        gap: pixels between two frames, black: it suits a light page and a dark one.

    Returns:
        uint8 ``[H, T * W + (T - 1) * gap, 3]``.
    """
    count, height, width, _ = frames.shape
    strip = np.zeros((height, count * width + (count - 1) * gap, 3), dtype=np.uint8)
    for t, frame in enumerate(frames):
        strip[:, t * (width + gap) : t * (width + gap) + width] = frame
    return strip
