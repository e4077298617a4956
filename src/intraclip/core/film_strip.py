"""Film strips: the frames of a tracklet side by side."""

from __future__ import annotations

import numpy as np

from intraclip.core.media import Picture


def film_strip(frames: Picture, *, gap: int = 2) -> Picture:
    """Frames, uint8 ``[T, H, W, 3]``, side by side: ``[H, T * W + (T - 1) * gap, 3]``.

    What is between two is black: it suits a light page and a dark one.
    """
    count, height, width, _ = frames.shape
    strip = np.zeros((height, count * width + (count - 1) * gap, 3), dtype=np.uint8)
    for t, frame in enumerate(frames):
        strip[:, t * (width + gap) : t * (width + gap) + width] = frame
    return strip
