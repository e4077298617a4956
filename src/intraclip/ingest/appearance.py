"""Dividing tracks in which the tracker changed from one person to another, by how people look.

A tracker that goes by boxes alone follows the wrong person when two cross. A re-ID network sees it: before and after,
the pictures look no more alike than two people do. How alike that is depends on the network and the scene, so it is
measured on the video itself, without labels: two tracks in one frame are two people, and pictures of one track within
a few moments nearly always show one.
"""

from __future__ import annotations

from itertools import combinations
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch

from intraclip.errors import DataError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.crops import cut
from intraclip.ingest.detections import Floats
from intraclip.ingest.frame_source import VideoFrame
from intraclip.ingest.gates import Observations

LEAST = 3
"""Pictures on either side of a cut, at least: one may show somebody walking past."""

MOST = 4
"""Pictures on either side that are compared, at most: people turn, and light changes."""

GAPS = (0, 2)
"""Pictures between the two sides: two people side by side are a mixture of both."""

MIN_PAIRS = 5
"""With fewer comparisons of either kind nothing is divided: then hardly anybody met."""


class Encoder(Protocol):
    """A network that turns each picture of a person into one vector.

    Attributes:
        fingerprint: of its weights and preprocessing.
        height: of the pictures it takes, in pixels.
        width: of the pictures it takes, in pixels.
    """

    fingerprint: str
    height: int
    width: int

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Vectors, float32 ``[N, F]``, of pictures, uint8 ``[N, 3, H, W]`` RGB."""
        ...


class AppearanceSampler:
    """Looks at everyone in a video every now and then.

    Args:
        encoder: pictures to vectors.
        config: `appearance_seconds`, and the limits of size and overlap below which nobody is looked at.
    """

    def __init__(self, encoder: Encoder, config: IngestConfig) -> None:
        self._encoder = encoder
        self._config = config
        self._due: dict[int, float] = {}
        self._frames: list[int] = []
        self._tracks: list[int] = []
        self._vectors: list[npt.NDArray[np.float16]] = []

    def look(self, frame: VideoFrame, seen: Observations) -> None:
        """Take a picture of everyone who has not been looked at for a while and can be seen well.

        Args:
            frame: the frame.
            seen: everyone in it.

        Raises:
            DataError: the encoder's vectors are not finite.
        """
        config, boxes = self._config, seen.boxes
        fit = (
            (seen.overlap <= config.max_overlap)
            & (boxes[:, 3] - boxes[:, 1] >= config.min_height)
            & (boxes[:, 2] - boxes[:, 0] >= config.min_width)
        )
        now = frame.time_s + 1e-3  # stamps are rounded
        rows = [row for row in np.flatnonzero(fit) if self._due.get(int(seen.track[row]), 0.0) <= now]
        if not rows:
            return
        size = (self._encoder.width, self._encoder.height)
        pictures = [
            cv2.resize(cut(frame.image, boxes[row], margin=config.margin), size)[..., ::-1] for row in rows
        ]
        batch = torch.from_numpy(np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)))
        vectors = unit(self._encoder.encode(batch).numpy().astype(np.float32))
        if not np.isfinite(vectors).all():
            raise DataError(
                f"the encoder's vectors of frame {frame.index} are not finite (NaN or infinite); look at its input "
                "range and its weights"
            )
        for row, vector in zip(rows, vectors, strict=True):
            track = int(seen.track[row])
            self._due[track] = frame.time_s + config.appearance_seconds
            self._frames.append(frame.index)
            self._tracks.append(track)
            self._vectors.append(vector.astype(np.float16))

    def divide(self, seen: Observations) -> tuple[Observations, int]:
        """Divide tracks that change from one person to another; the later part gets a new number.

        Args:
            seen: every followed box, by frame and then by track.

        Returns:
            The same boxes, and how many cuts were made.
        """
        frames, tracks = np.array(self._frames, np.int64), np.array(self._tracks, np.int64)
        samples = {
            int(t): (frames[tracks == t], np.stack(self._vectors)[tracks == t].astype(np.float32))
            for t in np.unique(tracks)
        }
        limit = similarity_limit(samples)
        if limit is None:
            return seen, 0
        numbers = seen.track.copy()
        fresh, cuts = int(numbers.max(initial=0)), 0
        for track, (at, vectors) in samples.items():
            for place in find_cuts(vectors, limit):
                fresh, cuts = fresh + 1, cuts + 1
                numbers[(seen.track == track) & (seen.frame >= at[place])] = fresh
        order = np.lexsort((numbers, seen.frame))
        columns = {
            name: getattr(seen, name)
            for name in ("frame", "time_s", "boxes", "score", "overlap", "sharpness")
        }
        return Observations(track=numbers, **columns)[order], cuts


def similarity_limit(samples: dict[int, tuple[npt.NDArray[np.int64], Floats]]) -> float | None:
    """How alike pictures must be to show one person: half way between two people and one.

    Args:
        samples: of every track the frame numbers ``[n]`` and unit vectors ``[n, F]`` of its pictures, in order.

    Returns:
        A cosine similarity: the middle between the median over pairs of tracks that share frames, and the median over
        neighbouring groups of pictures in one track. None where there are too few to say, or where the network tells
        nobody apart.
    """
    same = [
        float(unit(v[i : i + LEAST].mean(0)) @ unit(v[i + LEAST : i + 2 * LEAST].mean(0)))
        for _, v in samples.values()
        for i in range(0, len(v) - 2 * LEAST + 1, LEAST)
    ]
    different = []
    for (frames_a, a), (frames_b, b) in combinations(samples.values(), 2):
        # Pictures need not be of the very same frame: who is looked at when differs by track.
        first, last = max(frames_a[0], frames_b[0]), min(frames_a[-1], frames_b[-1])
        in_a, in_b = ((f >= first) & (f <= last) for f in (frames_a, frames_b))
        if in_a.sum() >= LEAST and in_b.sum() >= LEAST:
            different.append(float(unit(a[in_a][:MOST].mean(0)) @ unit(b[in_b][:MOST].mean(0))))
    if min(len(same), len(different)) < MIN_PAIRS:
        return None
    one, two = float(np.median(same)), float(np.median(different))
    return (one + two) / 2 if one > two else None


def find_cuts(vectors: Floats, limit: float) -> list[int]:
    """Where a track changes from one person to another: numbers of pictures that begin a new part, in order.

    Args:
        vectors: unit vectors ``[n, F]`` of its pictures, in order of time.
        limit: pictures before and after a cut are less alike than this.

    >>> anna, ben = np.eye(2, dtype=np.float32)
    >>> find_cuts(np.stack([anna] * 5 + [ben] * 4), 0.5)
    [5]
    """
    places = [
        (float(_before(vectors, i) @ _after(vectors, i + gap)), i, i + gap)
        for gap in GAPS
        for i in range(LEAST, len(vectors) - LEAST - gap + 1)
    ]
    if not places or min(places)[0] >= limit:
        return []
    _, i, j = min(places)
    # Pictures between the two sides go where they fit better.
    nearer = vectors[i:j] @ (_before(vectors, i) - _after(vectors, j))
    place = i + int(np.argmax([nearer[:k].sum() - nearer[k:].sum() for k in range(j - i + 1)]))
    return [
        *find_cuts(vectors[:i], limit),
        place,
        *(j + later for later in find_cuts(vectors[j:], limit)),
    ]


def _before(vectors: Floats, place: int) -> Floats:
    return unit(vectors[max(0, place - MOST) : place].mean(axis=0))


def _after(vectors: Floats, place: int) -> Floats:
    return unit(vectors[place : place + MOST].mean(axis=0))


def unit(vectors: npt.NDArray[np.float32]) -> Floats:
    """Vectors ``[..., F]`` scaled to length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), np.float32)
