"""How a network sees tracklets: a vector for each of a few segments, so that their parts can be compared too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from intraclip.adapt.footage import Footage, piece
from intraclip.arrays import unit
from intraclip.core.progress import Progress
from intraclip.core.spread import evenly
from intraclip.embed.extract import collect
from intraclip.embed.network import Network
from intraclip.errors import DataError
from intraclip.gallery.store import Vectors
from intraclip.link.agglomeration import Indices
from intraclip.types import Tracklet

FRAMES = 8
"""Frames of a tracklet that are looked at, evenly spread."""

SEGMENTS = 4
"""Segments that they make, in order of time."""

FEWEST_IN_PART = 4
"""Frames below which a part of a tracklet that was cut is left out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """Vectors of segments.

    Attributes:
        segments: of each tracklet, float32 ``[S, D]`` of unit length, S up to `SEGMENTS`.
        starts: of each tracklet, its frame that each segment begins with.
    """

    segments: tuple[Vectors, ...]
    starts: tuple[tuple[int, ...], ...]

    def vectors(self) -> Vectors:
        """One vector a tracklet, float32 ``[N, D]`` of unit length."""
        return unit(np.stack([s.mean(axis=0) for s in self.segments]))

    def halves(self) -> tuple[Vectors, Vectors, Indices]:
        """First and second half in time of the tracklets that have two, ``[M, D]`` each, and their rows ``[M]``."""
        rows = np.array([row for row, s in enumerate(self.segments) if len(s) > 1], dtype=np.int64)
        parts = [self.segments[row] for row in rows]
        first = [s[: len(s) // 2].mean(axis=0) for s in parts]
        second = [s[len(s) // 2 :].mean(axis=0) for s in parts]
        shape = len(rows), self.segments[0].shape[1] if self.segments else 0
        return unit(np.reshape(first, shape)), unit(np.reshape(second, shape)), rows


def look(network: Network, tracklets: Sequence[Tracklet], *, progress: Progress | None = None) -> Look:
    """Embed the segments of tracklets.

    Raises:
        DataError: a vector is not finite.
        FrameError: a frame cannot be read.
    """
    pieces: list[Tracklet] = []
    sizes, starts = [], []
    for tracklet in tracklets:
        chosen = np.unique(evenly(len(tracklet), FRAMES))
        groups = [g.tolist() for g in np.array_split(chosen, min(SEGMENTS, len(chosen)))]
        pieces += [piece(tracklet, group) for group in groups]
        sizes.append(len(groups))
        starts.append(tuple(group[0] for group in groups))
    settings = replace(network.settings, clip=replace(network.settings.clip, test_sampling="all"))
    if settings.workers and len(pieces) < 64:
        settings = replace(settings, workers=0)
    found = collect(network.extractor, pieces, settings, progress=progress)
    if not np.isfinite(found).all():
        raise DataError(f"{network.name} gives vectors that are not finite; such a network cannot be adapted")
    parts = np.split(unit(found), np.cumsum(sizes)[:-1])
    return Look(segments=tuple(parts), starts=tuple(starts))


def cut_in_two(footage: Footage, seen: Look) -> list[tuple[int, int, int]]:
    """Where to cut tracklets because the person changes; parts of fewer than `FEWEST_IN_PART` frames are left out.

    A tracklet is cut between two segments if what comes before and what comes after are farther apart than many
    pairs of tracklets of its site are: of those nearly all are two people.

    Returns:
        Row, first frame, and the frame after the last, of whole tracklets and parts.
    """
    limit = strangers(seen)
    found = []
    for row, (tracklet, segments, starts) in enumerate(
        zip(footage.tracklets, seen.segments, seen.starts, strict=True)
    ):
        borders = [0, *(starts[place] for place in _changes(segments, limit)), len(tracklet)]
        parts = [(row, *ends) for ends in pairwise(borders)]
        found += [part for part in parts if len(parts) == 1 or part[2] - part[1] >= FEWEST_IN_PART]
    return found


STRANGERS = 0.25
"""Share of the pairs of tracklets that are nearer than what two people in one tracklet must be apart."""


def strangers(seen: Look) -> float:
    """Cosine distance that `STRANGERS` of all pairs of tracklets are nearer than."""
    vectors = seen.vectors()
    distances = 1 - vectors @ vectors.T
    pairs = distances[np.triu_indices(len(distances), 1)]
    return float(np.quantile(pairs, STRANGERS)) if len(pairs) else float("inf")


def _changes(segments: Vectors, limit: float) -> list[int]:
    """Segments, from 1, that another person than before begins with; best first cut, then inside the parts."""
    if len(segments) < 2:
        return []
    gaps = [
        1 - float(unit(segments[:p].mean(axis=0)) @ unit(segments[p:].mean(axis=0)))
        for p in range(1, len(segments))
    ]
    best = int(np.argmax(gaps)) + 1
    if gaps[best - 1] <= limit:
        return []
    before, after = _changes(segments[:best], limit), _changes(segments[best:], limit)
    return [*before, best, *(best + place for place in after)]
