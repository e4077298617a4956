"""Video files -> upright frames with their numbers and times."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.errors import DataError

Image = npt.NDArray[np.uint8]

FALLBACK_FPS = 25.0
"""Frame rate of files that state none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoInfo:
    """What a video file says about itself.

    Attributes:
        path: the file.
        fps: frames a second; `FALLBACK_FPS` where the file states none.
        announced_frames: number of frames according to the header, 0 where it says nothing. Some
            containers only estimate it.
        height: of the first frame, upright, in pixels.
        width: of the first frame, upright, in pixels.
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
        index: number of the frame in the file, from 0; skipped frames count too.
        time_s: time stamp in seconds, strictly increasing.
        image: uint8 ``[H, W, 3]`` BGR, upright.
    """

    index: int
    time_s: float
    image: Image


class Video:
    """A video file that is read from front to back, as often as needed.

    Args:
        path: the file.
        frame_stride: use every n-th frame.
        max_fps: use at most this many frames a second, by time stamp; 0 for all.

    Attributes:
        info: what the file says about itself.
        seconds: time spent on decoding so far.
        frames_read: frames that the latest pass of `frames` found in the file, used or not.

    Raises:
        DataError: there is no such file, it is no video, or not one frame of it can be decoded.
    """

    def __init__(self, path: Path, *, frame_stride: int = 1, max_fps: float = 0.0) -> None:
        self.path = path
        self.frame_stride = frame_stride
        self.max_fps = max_fps
        self.seconds = 0.0
        self.frames_read = 0
        capture = self._open()
        fps = capture.get(cv2.CAP_PROP_FPS)
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        ok, first = capture.read()
        capture.release()
        if not ok:
            raise DataError(
                f"no frame of {path} can be decoded; the file is damaged or its codec is not supported, "
                "try to convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
            )
        self.info = VideoInfo(
            path=path,
            fps=fps if math.isfinite(fps) and 0 < fps <= 1000 else FALLBACK_FPS,
            announced_frames=int(count) if math.isfinite(count) and 0 < count < 1e9 else 0,
            height=first.shape[0],
            width=first.shape[1],
        )

    @property
    def sampled_fps(self) -> float:
        """Frames a second that `frames` yields, nominally."""
        fps = self.info.fps / self.frame_stride
        return min(fps, self.max_fps) if self.max_fps else fps

    def frames(self, only: frozenset[int] | None = None) -> Iterator[VideoFrame]:
        """Decode from the first frame on; skipped frames are not converted to pixels.

        Args:
            only: numbers of the frames to yield, instead of the sampled ones; reading ends with the last.
        """
        capture = self._open()
        period = 1.0 / self.info.fps
        previous = -period
        due = -math.inf
        last = max(only, default=-1) if only is not None else math.inf
        self.frames_read = 0
        try:
            while self.frames_read <= last:
                started = time.perf_counter()
                if not capture.grab():
                    break
                index = self.frames_read
                self.frames_read += 1
                stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                # Broken files repeat a stamp or jump back; the nominal period is the best guess then.
                previous = stamp if math.isfinite(stamp) and stamp > previous else previous + period
                # Slack of nearly half a period: stamps are rounded, and 10 fps of 30 must not become 7.5. Not a
                # full half, so that 20 of 30 does not hang on the last digit.
                sampled = index % self.frame_stride == 0 and previous >= due - 0.49 * period
                used = sampled if only is None else index in only
                image = capture.retrieve()[1] if used else None
                self.seconds += time.perf_counter() - started
                if image is None:
                    continue
                if self.max_fps:
                    # Counted from when the frame was due, not from when it came, so that delays do not add up;
                    # but anew at the start and after a gap.
                    interval = 1 / self.max_fps
                    due = (previous if previous - due > interval else due) + interval
                yield VideoFrame(index=index, time_s=max(previous, 0.0), image=_as_bgr(image))
        finally:
            capture.release()

    def probe(self, count: int) -> list[Image]:
        """Up to `count` frames spread over the video, found by seeking: quick, and only roughly placed.

        Files that cannot be searched give frames from their start.
        """
        capture = self._open()
        started = time.perf_counter()
        images: list[Image] = []
        try:
            for i in range(count):
                if self.info.announced_frames > count:
                    capture.set(cv2.CAP_PROP_POS_FRAMES, int((i + 0.5) * self.info.announced_frames / count))
                ok, image = capture.read()
                if ok:
                    images.append(_as_bgr(image))
            if not images:
                capture.release()
                capture = self._open()
                ok, image = capture.read()
                images = [_as_bgr(image)] if ok else []
        finally:
            capture.release()
            self.seconds += time.perf_counter() - started
        return images

    def _open(self) -> cv2.VideoCapture:
        if not self.path.is_file():
            raise DataError(f"there is no video {self.path}; give the path of a video file")
        # FFmpeg by name: left to itself OpenCV tries image sequences and cameras too.
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise DataError(
                f"{self.path} ({self.path.stat().st_size} bytes) is no video that can be read; it is of another "
                "kind, or it was cut off before its index was written"
            )
        # Phones store portrait video lying down, with a note to turn it.
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        return capture


def _as_bgr(image: npt.NDArray[np.generic]) -> Image:
    bgr = np.asarray(image, dtype=np.uint8)
    return cv2.cvtColor(bgr, cv2.COLOR_GRAY2BGR).astype(np.uint8) if bgr.ndim == 2 else bgr
