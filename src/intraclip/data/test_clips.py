"""Which clips stand for a tracklet at test: index arithmetic, no I/O."""

from __future__ import annotations

import numpy as np

from intraclip.config import ClipConfig
from intraclip.data.clips import Clip, pad, whole


def tracklet_clips(length: int, config: ClipConfig) -> list[Clip]:
    """Clips that stand for a tracklet at test; its embedding is the mean of theirs.

    ``dense``: every non-overlapping run of T frames, the rest padded (Gao & Nevatia 2018, which the paper
    follows). ``even``: the middle frame of each of T equal chunks. ``all``: one clip with every frame.

    >>> [clip.indices.tolist() for clip in tracklet_clips(6, ClipConfig(num_frames=4))]
    [[0, 1, 2, 3], [4, 5, 5, 5]]
    >>> tracklet_clips(100, ClipConfig(num_frames=4, test_sampling="even"))[0].indices.tolist()
    [12, 37, 62, 87]
    """
    t = config.num_frames
    frames = np.arange(length, dtype=np.int64)
    if config.test_sampling == "all":
        return [whole(frames)]
    if length < t:
        return [pad(frames, t, config)]
    if config.test_sampling == "even":
        return [whole((2 * np.arange(t) + 1) * length // (2 * t))]
    # The last run may be partial even in a long tracklet; `error` is about tracklets, so it is padded then.
    rest_policy = config if config.short != "error" else ClipConfig(num_frames=t)
    return [
        pad(run, t, rest_policy) if len(run) < t else whole(run)
        for run in (frames[start : start + t] for start in range(0, length, t))
    ]
