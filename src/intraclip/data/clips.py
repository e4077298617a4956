"""Which frames of a tracklet make a clip, and a training clip: index arithmetic, no I/O."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from intraclip.config import ClipConfig
from intraclip.errors import DataError


class Clip(NamedTuple):
    """Frames of one clip.

    Attributes:
        indices: int64 ``[T]``, frame numbers counted from 0.
        mask: bool ``[T]``, False where a frame is only there to fill a clip of a tracklet that is shorter than T.
    """

    indices: npt.NDArray[np.int64]
    mask: npt.NDArray[np.bool_]


def training_clip(length: int, config: ClipConfig, rng: np.random.Generator) -> Clip:
    """Draw one training clip.

    >>> config = ClipConfig(num_frames=4)
    >>> training_clip(100, config, np.random.default_rng(0)).indices
    array([82, 83, 84, 85])
    >>> training_clip(3, config, np.random.default_rng(0))
    Clip(indices=array([0, 1, 2, 2]), mask=array([ True,  True,  True, False]))
    """
    t = config.num_frames
    if length < t:
        return pad(np.arange(length, dtype=np.int64), t, config)
    if config.sampling == "restricted":
        # Chunk borders as in even division: chunk i is [i * n / T, (i + 1) * n / T), never empty as n >= T.
        edges = np.arange(t + 1) * length // t
        return whole(rng.integers(edges[:-1], edges[1:]))
    stride = 1 if config.sampling == "consecutive" else min(config.stride, (length - 1) // max(t - 1, 1))
    stride = max(stride, 1)
    start = rng.integers(0, length - (t - 1) * stride)
    return whole(start + stride * np.arange(t))


def pad(frames: npt.NDArray[np.int64], num_frames: int, config: ClipConfig) -> Clip:
    """Fill a clip that has too few frames, by the named policy.

    >>> pad(np.array([7, 8, 9]), 5, ClipConfig(short="wrap")).indices
    array([7, 8, 9, 7, 8])
    """
    if config.short == "error":
        raise DataError(
            f"a tracklet has {len(frames)} frames, a clip needs {num_frames}; "
            "choose clip.short = 'repeat_last' or 'wrap', or a smaller clip.num_frames"
        )
    numbers = np.arange(num_frames)
    last = len(frames) - 1
    taken = numbers % len(frames) if config.short == "wrap" else np.minimum(numbers, last)
    return Clip(frames[taken], numbers <= last)


def whole(indices: npt.NDArray[np.int64]) -> Clip:
    """A clip without padding."""
    return Clip(indices, np.ones(len(indices), dtype=np.bool_))
