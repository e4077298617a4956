"""Dividing tracks in which the tracker changed from one person to another, by how people look.

A tracker that goes by boxes alone follows the wrong person when two cross. A re-ID network sees it: before and after,
the pictures look no more alike than two people do. How alike that is depends on the network and the scene, so it is
measured on the video itself, without labels: two tracks in one frame are two people, and pictures of one track within
a few moments nearly always show one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch

from intraclip.arrays import unit
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


Samples = dict[int, tuple[npt.NDArray[np.int64], Floats]]
"""Frame numbers ``[n]``, ascending, and unit vectors ``[n, F]`` of the pictures of every track."""


class Encoder(Protocol):
    """A network that turns pictures of a person, of a height and width in pixels, into one vector each."""

    fingerprint: str
    height: int
    width: int

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Vectors, float32 ``[N, F]``, of pictures, uint8 ``[N, 3, H, W]`` RGB."""
        ...


class AppearanceSampler:
    """Looks at everyone in a video every `appearance_seconds`, whom the gates of size and overlap let pass."""

    def __init__(self, encoder: Encoder, config: IngestConfig) -> None:
        self._encoder = encoder
        self._config = config
        self._due: dict[int, float] = {}
        self._frames: list[int] = []
        self._tracks: list[int] = []
        self._vectors: list[npt.NDArray[np.float16]] = []

    def look(self, frame: VideoFrame, seen: Observations) -> None:
        """Take a picture of everyone in a frame who has not been looked at for a while and can be seen well.

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

        `seen` is every followed box, by frame and then by track.

        Returns:
            The same boxes, and how many cuts were made.
        """
        samples = self._samples()
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
        return replace(seen, track=numbers)[order], cuts

    def _samples(self) -> Samples:
        """Pictures of every track, in order of tracks and of time."""
        if not self._tracks:
            return {}
        tracks = np.array(self._tracks, np.int64)
        order = np.argsort(tracks, kind="stable")
        tracks, frames = tracks[order], np.array(self._frames, np.int64)[order]
        vectors = np.stack(self._vectors)[order].astype(np.float32)
        starts = np.flatnonzero(np.diff(tracks)) + 1
        return {
            int(own[0]): (at, v)
            for own, at, v in zip(
                np.split(tracks, starts), np.split(frames, starts), np.split(vectors, starts), strict=True
            )
        }


def similarity_limit(samples: Samples) -> float | None:
    """How alike pictures must be to show one person: half way between two people and one.

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
    different = _of_two_people(samples)
    if min(len(same), len(different)) < MIN_PAIRS:
        return None
    one, two = float(np.median(same)), float(np.median(different))
    return (one + two) / 2 if one > two else None


def _of_two_people(samples: Samples) -> list[float]:
    """How alike tracks are that share frames, from their first pictures of the time that they share."""
    different: list[float] = []
    # Few means differ: most tracks that share a time share its beginning.
    means: dict[tuple[int, int, int], Floats] = {}

    def mean(track: int, low: int, high: int) -> Floats:
        key = track, low, min(high, low + MOST)
        if key not in means:
            means[key] = unit(samples[track][1][key[1] : key[2]].mean(0))
        return means[key]

    frames = {track: at.tolist() for track, (at, _) in samples.items()}
    here: list[int] = []
    # In order of their first frames, a track can meet only those that have not ended yet.
    for track in sorted(frames, key=lambda t: int(frames[t][0])):
        ours = frames[track]
        here = [other for other in here if frames[other][-1] >= ours[0]]
        for other in here:
            theirs = frames[other]
            # Pictures need not be of the very same frame: who is looked at when differs by track.
            low, last = bisect_left(theirs, ours[0]), min(ours[-1], theirs[-1])
            end, high = bisect_right(ours, last), bisect_right(theirs, last)
            if end >= LEAST and high - low >= LEAST:
                different.append(float(mean(track, 0, end) @ mean(other, low, high)))
        here.append(track)
    return different


def find_cuts(vectors: Floats, limit: float) -> list[int]:
    """Where a track changes from one person to another: numbers of pictures that begin a new part, in order.

    `vectors` are unit vectors ``[n, F]`` of its pictures, in order of time; pictures before and after a cut are less
    alike than `limit`.

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
