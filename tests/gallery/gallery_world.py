"""Tracklets, vectors and pictures for tests of the gallery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg

from intraclip.gallery.gallery import Gallery
from intraclip.gallery.records import Box, Pictures, TrackletRecord
from intraclip.metrics.distance_matrix import distance_matrix

MODEL = "a" * 64
OTHER = "b" * 64
SIZE = 16
CAMERAS = ("hall", 'yard "é\\')
"""The second one tries every quotation there is."""


def record(number: int, **changes: object) -> TrackletRecord:
    values: dict[str, object] = {
        "id": f"t{number:04d}",
        "camera": CAMERAS[number % 2],
        "camid": 1 + number % 2,
        "start_s": 10.0 * number,
        "end_s": 10.0 * number + 5,
        "num_frames": 7,
        "source": f"video{number % 3}.mp4",
    }
    return TrackletRecord(**{**values, **changes})  # type: ignore[arg-type]


def vectors(count: int, *, seed: int = 0, size: int = SIZE) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)


def pictures(number: int) -> Pictures:
    """A strip and two crops; the second crop is larger than a piece of a Milvus text."""
    rng = np.random.default_rng(number)

    def jpeg(height: int, width: int) -> bytes:
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        return bytes(simplejpeg.encode_jpeg(noise, quality=95))

    return Pictures(strip=jpeg(16, 40), crops=(jpeg(16, 8), jpeg(320, 160)))


@dataclass
class Filled:
    """A gallery and what was put into it."""

    gallery: Gallery
    records: list[TrackletRecord]
    vectors: npt.NDArray[np.float32]

    def nearest(self, query: npt.NDArray[np.float32], passing: list[bool]) -> list[str]:
        """All ids that pass, nearest first, by brute force."""
        distances = distance_matrix(query[None], self.vectors, distance=self.gallery.info.metric)[0]
        return [self.records[i].id for i in np.argsort(distances) if passing[i]]


def fill(gallery: Gallery, count: int = 40, *, shown: int = 3) -> Filled:
    """Add tracklets, the first few of them with pictures."""
    made = [record(i, boxes=(Box(3, 1.5, 2, 3, 4.25),) if i == 0 else ()) for i in range(count)]
    found = vectors(count)
    seen = [pictures(i) if i < shown else Pictures() for i in range(count)]
    result = gallery.add(made, found, fingerprint=MODEL, pictures=seen)
    assert (result.added, result.skipped) == (count, 0)
    return Filled(gallery, made, found)
