"""A few frames of rendered people, where a data folder would be too much."""

from __future__ import annotations

import numpy as np

from intraclip.data.frames import Frame, resize_frame
from intraclip.studio.config import BenchmarkConfig
from intraclip.studio.layouts import plan_tracklets
from intraclip.studio.tracklet import render_tracklet


def rendered_frames(*, height: int, width: int, count: int = 12) -> Frame:
    """Frames of people from the shipped renderer.

    Returns:
        uint8 ``[count, height, width, 3]``, RGB.
    """
    config = BenchmarkConfig(identities=4, frames=(2, 2), distractors=0, junk=0)
    frames: list[Frame] = []
    for plan in plan_tracklets(config):
        frames += [resize_frame(frame, height, width) for frame in render_tracklet(plan, config).frames]
        if len(frames) >= count:
            break
    return np.stack(frames[:count])
