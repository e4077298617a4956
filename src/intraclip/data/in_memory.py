"""Tracklets whose frames are in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_array, as_picture
from intraclip.errors import DataError
from intraclip.types import UNKNOWN_PID, Tracklet


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ArrayTracklet(Tracklet):
    """A tracklet whose frames are in memory: those of a tracker, a request, or somebody's own reader.

    `root` and `frames` stand in messages only.

    Attributes:
        pictures: uint8 ``[h, w, 3]`` RGB, one a frame, of any sizes.

    >>> ArrayTracklet.of(np.zeros((3, 128, 64, 3), np.uint8), name="clip 0")
    Tracklet(name='clip 0', pid=-2, camid=0, 3 frames in memory)
    """

    pictures: Sequence[npt.NDArray[np.uint8]] = field(compare=False)

    @classmethod
    def of(cls, pictures: Any, *, name: str) -> ArrayTracklet:
        """The frames of one person, in order of time: uint8 ``[T, H, W, 3]`` RGB, or T pictures ``[h, w, 3]``.

        Raises:
            DataError: no frame, or something else than such pictures.
        """
        if not isinstance(pictures, list | tuple):
            pictures = as_array(pictures, name=name)
            if pictures.ndim != 4:
                raise DataError(
                    f"{name} is {pictures.dtype} {list(pictures.shape)}; a clip is uint8 [T, H, W, 3] in RGB"
                    + (", one picture is a clip of one: picture[None]" if pictures.ndim == 3 else "")
                )
        frames = tuple(as_picture(p, name=f"frame {number} of {name}") for number, p in enumerate(pictures))
        if not frames:
            raise DataError(f"{name} has no frames; give at least one")
        numbers = tuple(f"frame {number}" for number in range(len(frames)))
        return cls(name=name, root=Path("memory"), frames=numbers, pid=UNKNOWN_PID, camid=0, pictures=frames)
