"""Video files -> upright frames with their numbers and times."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.core.video import next_frame, open_video
from intraclip.errors import DataError
from intraclip.ingest.config import ALL, IngestConfig
from intraclip.ingest.frame_source import FALLBACK_FPS, FrameSource, Grabbed, VideoInfo
from intraclip.ingest.frame_source import Image as Image
from intraclip.ingest.frame_source import VideoFrame as VideoFrame

DIGEST_BYTES = 2**20
"""Bytes that the fingerprint reads at the start, the middle and the end of a file."""


SEEK_FROM = 128
"""Frames: a seek decodes from the last key frame on, which is as far back on average as half of what encoders do."""


class Video(FrameSource):
    """A video file that is read from front to back, as often as needed.

    Time stamps are those of the container, also where the frame rate varies; frames are turned upright as its
    orientation says.

    Raises:
        DataError: there is no such file, it cannot be read or is no video, or not one frame of it can be decoded.
    """

    def __init__(self, path: Path, config: IngestConfig = ALL) -> None:
        capture = open_video(path)
        fps = capture.get(cv2.CAP_PROP_FPS)
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        there, _ = next_frame(capture)
        ok, first = capture.retrieve() if there else (False, None)
        capture.release()
        if not ok or first is None:
            raise DataError(
                f"no frame of {path} can be decoded; the file is damaged or its codec is not supported, "
                "try to convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
            )
        info = VideoInfo(
            path=path,
            fps=fps if math.isfinite(fps) and 0 < fps <= 1000 else FALLBACK_FPS,
            announced_frames=int(count) if math.isfinite(count) and 0 < count < 1e9 else 0,
            height=first.shape[0],
            width=first.shape[1],
        )
        super().__init__(info, config)
        self._damaged: dict[int, int] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """See `FrameSource`."""
        if not self._damaged:
            return ()
        lost, places = sum(self._damaged.values()), len(self._damaged)
        where = f"after frame {min(self._damaged)}" + f", and in {places - 1} more places" * (places > 1)
        return (
            f"{self.path.name} is damaged: about {lost} frames cannot be decoded {where}; the rest was read",
        )

    def probe(self, count: int) -> list[Image]:
        """Up to `count` frames spread over the video, only roughly placed; found by seeking where that is quicker.

        Files that cannot be searched give frames from their start.
        """
        capture = open_video(self.path)
        started = time.perf_counter()
        images: list[Image] = []
        at = 0
        try:
            for i in range(count):
                if self.info.announced_frames > count:
                    target = int((i + 0.5) * self.info.announced_frames / count)
                    if target - at > SEEK_FROM:
                        capture.set(cv2.CAP_PROP_POS_FRAMES, target)
                    else:
                        for _ in range(target - at):
                            capture.grab()
                    at = target
                ok, image = capture.read()
                at += 1
                if ok:
                    images.append(_as_bgr(image))
            if not images:
                capture.release()
                capture = open_video(self.path)
                ok, image = capture.read()
                images = [_as_bgr(image)] if ok else []
        finally:
            capture.release()
            self.seconds += time.perf_counter() - started
        return images

    def fingerprint(self) -> dict[str, object]:
        """Name, size, and a digest of the file's start, middle and end: the whole of it would take minutes."""
        digest = hashlib.sha256()
        size = self.path.stat().st_size
        try:
            with self.path.open("rb") as file:
                for place in (0, size // 2, max(0, size - DIGEST_BYTES)):
                    file.seek(place)
                    digest.update(file.read(DIGEST_BYTES))
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}") from None
        return {"name": self.path.name, "bytes": size, "sha256_of_parts": digest.hexdigest()}

    def _grab(self) -> Generator[Grabbed, None, None]:
        capture = open_video(self.path)
        index = 0
        try:
            while True:
                there, lost = next_frame(capture)
                if not there:
                    break
                if lost:
                    self._damaged[index] = lost
                stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                yield Grabbed(index, stamp, lambda: _retrieve(capture))
                index += 1
        finally:
            capture.release()


def _retrieve(capture: cv2.VideoCapture) -> Image | None:
    ok, image = capture.retrieve()
    return _as_bgr(image) if ok else None


def _as_bgr(image: npt.NDArray[np.generic]) -> Image:
    bgr = np.asarray(image, dtype=np.uint8)
    return cv2.cvtColor(bgr, cv2.COLOR_GRAY2BGR).astype(np.uint8) if bgr.ndim == 2 else bgr
