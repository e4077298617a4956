"""Coloured people who walk past cameras, a detector that finds colours, and a network that knows people by colour."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from intraclip.config import ClipConfig
from intraclip.embed.encoders.base import FrameEncoder
from intraclip.embed.extractors import ExtractSettings, FrameExtractor
from intraclip.embed.network import Network
from intraclip.gallery.gallery import Gallery, create_gallery
from intraclip.gallery.records import Pictures, TrackletRecord
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Detections
from intraclip.ingest.frame_source import Image
from intraclip.live.cameras import Camera, LiveFrame
from intraclip.metrics.match_probability import MatchCalibration
from intraclip.models.heads.tap import TAP

WIDTH, HEIGHT = 160, 128
BOX_WIDTH, BOX_HEIGHT = 24, 64
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (40, 40, 230), (210, 200, 20)
"""RGB."""

PEOPLE = {"red": RED, "green": GREEN, "blue": BLUE, "yellow": YELLOW}
CONFIG = IngestConfig(camera_motion=False, min_height=32, min_width=8, lost_seconds=0.5, tiling="off")

Scene = Callable[[int], Sequence[tuple[str, int]]]
"""Number of a frame -> who is where: a name, and the x of the middle."""


def picture(people: Sequence[tuple[str, int]], *, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """A grey frame, BGR, with people in it."""
    frame = np.full((height, width, 3), 90, np.uint8)
    top = (height - BOX_HEIGHT) // 2
    for name, x in people:
        left, right = max(x - BOX_WIDTH // 2, 0), min(x + BOX_WIDTH // 2, width)
        if left < right:
            frame[top : top + BOX_HEIGHT, left:right] = PEOPLE[name][::-1]
    return frame


def walk(name: str, *, start: int = 0, step: int = 8, left: int = 20) -> Scene:
    """One person who walks from left to right from a frame on, and out of the picture."""

    def scene(number: int) -> list[tuple[str, int]]:
        x = left + step * (number - start)
        return [(name, x)] if number >= start and x < WIDTH + BOX_WIDTH // 2 else []

    return scene


def write_clip(
    path: Path, scene: Scene, *, frames: int = 24, fps: float = 10.0, width: int = WIDTH, height: int = HEIGHT
) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(picture(scene(number), width=width, height=height))
    writer.release()
    return path


class ColourDetector:
    """Finds upright blocks of colour."""

    name, sha256, height, width = "colours", "0" * 64, 416, 416

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.calls = 0
        self.wait: Callable[[], None] = lambda: None

    def __call__(self, image: Image) -> Detections:
        self.calls += 1
        self.wait()
        spread = image.max(axis=2).astype(int) - image.min(axis=2)
        count, _, stats, _ = cv2.connectedComponentsWithStats((spread > 80).astype(np.uint8))
        boxes = [(x, y, x + w, y + h) for x, y, w, h, area in stats[1:count].tolist() if area > 200]
        return Detections(
            boxes=np.array(boxes, np.float32).reshape(-1, 4), scores=np.full(len(boxes), 0.9, np.float32)
        )


class ColourEncoder(FrameEncoder):
    """Frames to their middle's colour; see `FrameEncoder`."""

    name, fingerprint, height, width, num_features = "colour", "c0" * 32, 32, 16, 3

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        middle = frames[:, :, 8:24, 4:12].float().mean(dim=(2, 3))
        return middle / 255 - 0.4


def network(sampling: str = "even") -> Network:
    clip = ClipConfig(num_frames=4, test_sampling=sampling)  # type: ignore[arg-type]
    return Network(FrameExtractor(ColourEncoder(), TAP(3)), ExtractSettings(clip=clip, workers=0))  # type: ignore[arg-type]


def vector(name: str, noise: float = 0.0, seed: int = 0) -> npt.NDArray[np.float32]:
    exact = np.array(PEOPLE[name], np.float32) / 255 - 0.4
    return exact + noise * np.random.default_rng(seed).standard_normal(3).astype(np.float32)


def calibration(fingerprint: str) -> MatchCalibration:
    """Of cosine distances between colours, by no measurement: 1e-3 is 0.05."""
    return MatchCalibration(
        metric="cosine",
        fingerprint=fingerprint,
        prior=0.1,
        intercept=4.0,
        slope=40.0,
        false_match_rates=(0.1, 0.01, 0.001, 0.0001),
        thresholds=(0.3, 0.1, 0.05, 0.01),
        true_match_rates=(1.0, 1.0, 0.9, 0.5),
        people=50,
        genuine_pairs=1000,
        impostor_pairs=100_000,
    )


def make_gallery(folder: Path, *, calibrated: bool = True) -> Gallery:
    """With one tracklet of every colour, in a camera called door: ``red`` and so on."""
    known = network()
    gallery = create_gallery(
        folder, fingerprint=known.fingerprint, dimension=3, metric="cosine", model="colour"
    )
    gallery.add(
        [TrackletRecord(id=name, camera="door", camid=9) for name in PEOPLE],
        np.stack([vector(name) for name in PEOPLE]),
        fingerprint=known.fingerprint,
        pictures=[Pictures(strip=b"strip of " + name.encode()) for name in PEOPLE],
    )
    if calibrated:
        gallery.set_calibration(calibration(known.fingerprint))
    return gallery


def frames_of(scene: Scene, count: int, *, fps: float = 10.0, start: int = 0) -> Iterator[LiveFrame]:
    """Frames as a camera gives them, by a clock of their own."""
    for number in range(start, start + count):
        yield LiveFrame(
            index=number, time_s=number / fps, arrived=time.monotonic(), at=1.79e9 + number / fps,
            image=picture(scene(number)), cut=False,
        )  # fmt: skip


def camera(source: str | Path, number: int = 1) -> Camera:
    return Camera(number=number, source=str(source), name=f"cam{number}")


def until(condition: Callable[[], object], *, patience_s: float = 60.0) -> None:
    """Wait for a condition; a program that hangs fails."""
    end, pause = time.monotonic() + patience_s, threading.Event()
    while not condition():
        assert time.monotonic() < end, "this did not happen"
        pause.wait(0.01)


@contextmanager
def opened(gallery: Gallery) -> Iterator[Gallery]:
    try:
        yield gallery
    finally:
        gallery.close()
