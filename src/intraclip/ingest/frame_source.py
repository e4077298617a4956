"""What a video is to the rest of ingest, whether it lies in one file or in a folder of pictures."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from intraclip.ingest.config import IngestConfig

Image = npt.NDArray[np.uint8]

FALLBACK_FPS = 25.0
"""Frame rate of videos that state none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoInfo:
    """What a video says about itself.

    Attributes:
        fps: frames a second; `FALLBACK_FPS` where it states none.
        announced_frames: number of frames according to the header, 0 where it says nothing. Some
            containers only estimate it.
        height: of the first frame, upright, in pixels; so is the width.
    """

    path: Path
    fps: float
    announced_frames: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFrame:
    """One decoded frame.

    Attributes:
        index: number of the frame in the video, from 0; skipped frames count too.
        time_s: time stamp in seconds, strictly increasing.
        image: uint8 ``[H, W, 3]`` BGR, upright.
    """

    index: int
    time_s: float
    image: Image


class Grabbed(NamedTuple):
    """A frame whose pixels are asked for only if they are needed.

    Attributes:
        number: of the frame, from 0.
        stamp_s: time stamp in seconds as the video has it; may be wrong.
        pixels: gives uint8 ``[H, W, 3]`` BGR, upright, or None where the frame cannot be decoded.
    """

    number: int
    stamp_s: float
    pixels: Callable[[], Image | None]


class FrameSource(ABC):
    """Frames that are read from front to back, as often as needed; `frame_stride` and `max_fps` say which.

    Attributes:
        info: what the video says about itself.
        path: the file or folder.
        seconds: time spent on decoding so far.
        frames_read: frames that the latest pass of `frames` went past, used or not.
        reached_s: time at which the last frame of any pass ends, by its time stamp and the nominal frame rate.
        passed: numbers of frames that count although nobody has decoded them yet.
    """

    def __init__(self, info: VideoInfo, config: IngestConfig) -> None:
        self.info = info
        self.path = info.path
        self.frame_stride, self.max_fps = config.frame_stride, config.max_fps
        self.seconds = 0.0
        self.frames_read = 0
        self.reached_s = 0.0
        self.passed: frozenset[int] = frozenset()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the video; complete after a pass over its frames."""
        return ()

    @property
    def sampled_fps(self) -> float:
        """Frames a second that `frames` yields, nominally."""
        fps = self.info.fps / self.frame_stride
        return min(fps, self.max_fps) if self.max_fps else fps

    def frames(
        self, only: frozenset[int] | None = None, *, wanted: Callable[[int, float], bool] | None = None
    ) -> Iterator[VideoFrame]:
        """Decode from the first frame on; skipped frames are not converted to pixels.

        Args:
            only: numbers of the frames to yield, instead of the sampled ones; reading ends with the last.
            wanted: asked with number and time of every sampled frame, when those before have been used, whether it is
                to be yielded.
        """
        grabbed = self._grab()
        period = 1.0 / self.info.fps
        previous = -period
        due = -math.inf
        last = max(only, default=-1) if only is not None else math.inf
        self.frames_read = 0
        try:
            while self.frames_read <= last:
                started = time.perf_counter()
                frame = next(grabbed, None)
                if frame is None:
                    break
                # Broken files repeat a stamp or jump back; the nominal period is the best guess then.
                stamp = frame.stamp_s
                previous = stamp if math.isfinite(stamp) and stamp > previous else previous + period
                self.frames_read = frame.number + 1
                self.reached_s = max(self.reached_s, previous + period)
                # Slack of nearly half a period: stamps are rounded, and 10 fps of 30 must not become 7.5. Not a
                # full half, so that 20 of 30 does not hang on the last digit.
                sampled = frame.number % self.frame_stride == 0 and previous >= due - 0.49 * period
                chosen = sampled if only is None else frame.number in only
                passed = chosen and wanted is not None and not wanted(frame.number, max(previous, 0.0))
                image = frame.pixels() if chosen and not passed else None
                self.seconds += time.perf_counter() - started
                if image is None and not passed:
                    continue
                if self.max_fps:
                    # Counted from when the frame was due, not from when it came, so that delays do not add up;
                    # but anew at the start and after a gap.
                    interval = 1 / self.max_fps
                    due = (previous if previous - due > interval else due) + interval
                if image is not None:
                    yield VideoFrame(index=frame.number, time_s=max(previous, 0.0), image=image)
        finally:
            grabbed.close()

    def sampled_frames(self) -> npt.NDArray[np.int64]:
        """Numbers of the frames that `frames` gives, int64 ``[N]``; reads the video without converting to pixels."""
        found: list[int] = []

        def noted(number: int, _time_s: float) -> bool:
            found.append(number)
            return False

        for _ in self.frames(wanted=noted):
            pass
        return np.array(found, dtype=np.int64)

    def count_frames(self) -> int:
        """Number of frames that are really there; reads the whole video without converting anything to pixels."""
        last = -1
        for frame in self._grab():
            last = frame.number
        return last + 1

    @abstractmethod
    def probe(self, count: int) -> list[Image]:
        """Up to `count` frames spread over the video, only roughly placed."""

    @abstractmethod
    def fingerprint(self) -> dict[str, object]:
        """What tells this video from another one, as JSON can hold it: its name, and a digest."""

    @abstractmethod
    def _grab(self) -> Generator[Grabbed, None, None]:
        """All frames in order."""
