"""What speaks for or against two tracklets being one person: their distance, and where and when they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from intraclip.errors import DataError
from intraclip.link.agglomeration import Indices, ScoreMatrix
from intraclip.link.transit import TransitTimes
from intraclip.link.travel import Seconds, TravelTimes, log_ratio
from intraclip.metrics.distance import Distance, check_features
from intraclip.metrics.distance_matrix import distance_matrix
from intraclip.metrics.match_probability import MatchCalibration

BLOCK = 256
"""Rows of the score matrix made at a time."""

PAIRS = 2**18
"""Pairs that are listed at a time."""

Distances = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Tracklets, and all that is known about pairs of them.

    Attributes:
        features: float32 ``[N, D]``.
        camids: int64 ``[N]``.
        metric: ``euclidean`` or ``cosine``.
        calibration: gives scores as log odds of one person; None gives them as negative distances.
        times: seconds of the first and last frame, float64 ``[N, 2]``, NaN where unknown; None if none is known.
        sources: recording that each tracklet is from, ``[N]``; empty if there is one for each camera. Times of two
            recordings of one camera are not compared.
        travel: clocks and ways between cameras.
        transit: times between cameras that were learned; None if none were.
        unit: distance that is worth as much as one unit of the log ratio of learned times; 0 if unknown.
        one_per_camera: tracklets of one camera are different people, whatever their times.
        together: rows that a human called one person, whatever times and cameras say; no row in two of them.
        different: pairs of rows that a human called two people, int64 ``[P, 2]``; None if there are none.
        named: number of the person that a human named, int64 ``[N]``, 0 for nobody; two numbers are two people. None
            if nobody was named.

    Raises:
        DataError: features without distances, times that end before they start, or travel times where a camera has
            several recordings.
    """

    features: npt.NDArray[np.float32]
    camids: Indices
    metric: Distance = "euclidean"
    calibration: MatchCalibration | None = None
    times: npt.NDArray[np.float64] | None = None
    sources: tuple[str, ...] = ()
    travel: TravelTimes | None = None
    transit: TransitTimes | None = None
    unit: float = 0.0
    one_per_camera: bool = False
    together: tuple[Indices, ...] = ()
    different: Indices | None = None
    named: Indices | None = None

    def __post_init__(self) -> None:
        check_features(self.features, name="tracklet", distance=self.metric)
        if self.times is not None and len(bad := np.flatnonzero(self.times[:, 0] > self.times[:, 1])):
            start, end = self.times[bad[0]].tolist()
            raise DataError(
                f"{len(bad)} tracklets end before they start, such as row {bad[0]}: {start:g} to {end:g} s"
            )
        if (
            self.travel is not None
            and self.travel.ways
            and (several := self.several_recordings()) is not None
        ):
            raise DataError(
                f"camera {several} has several recordings, each with times from 0: travel times need one "
                "clock; give each recording its own camera number, or leave the travel times out"
            )

    def __len__(self) -> int:
        return len(self.features)

    def several_recordings(self) -> int | None:
        """The first camera with several recordings, whose times do not compare; None without one."""
        pairs = np.unique(np.stack([self.camids, self._recordings], axis=1), axis=0)
        cameras, counts = np.unique(pairs[:, 0], return_counts=True)
        return int(cameras[counts > 1][0]) if (counts > 1).any() else None

    @property
    def timed(self) -> int:
        """Tracklets whose times are known."""
        return 0 if self.times is None else int(np.isfinite(self.times).all(axis=1).sum())

    @cached_property
    def clocked(self) -> npt.NDArray[np.float64]:
        """Seconds of the first and last frame on one clock, float64 ``[N, 2]``, NaN where unknown."""
        times = np.full((len(self), 2), np.nan) if self.times is None else self.times
        return times if self.travel is None else self.travel.on_one_clock(times, self.camids)

    @cached_property
    def _recordings(self) -> Indices:
        """Number of the recording of each tracklet, ``[N]``."""
        return np.unique(np.array(self.sources or [""] * len(self)), return_inverse=True)[1]

    @cached_property
    def _span(self) -> float:
        """Seconds from the first start to the last end."""
        known = self.clocked[np.isfinite(self.clocked).all(axis=1)]
        return float(known[:, 1].max() - known[:, 0].min()) if len(known) else 0.0

    def distances(self, rows: Indices, columns: Indices) -> Distances:
        """Distances of some tracklets to others, float32 ``[rows, columns]``."""
        return distance_matrix(self.features[rows], self.features[columns], distance=self.metric)

    def apartness(self, rows: Indices, columns: Indices) -> Distances:
        """`distances`, less what learned times between cameras say for one person; 0 or more, ``[rows, columns]``."""
        return self._less_learned(self.distances(rows, columns), rows[:, None], columns)

    def _less_learned(self, distances: Distances, first: Indices, second: Indices) -> Distances:
        if self.transit is None:
            return distances
        said = self.unit * self.transit.of(*self._on_the_way(first, second))
        return np.asarray(np.maximum(distances - said, 0), dtype=np.float32)

    def _on_the_way(self, first: Indices, second: Indices) -> tuple[Seconds, Indices, Indices]:
        """Gaps of pairs of rows, and the cameras of both."""
        return self.gaps(first, second), self.camids[first], self.camids[second]

    def scores(self, rows: Indices, columns: Indices) -> ScoreMatrix:
        """How much speaks for one person, float32 ``[rows, columns]``: log odds, or negative distances.

        Minus infinity where it cannot be. The usual travel time counts among log odds alone, as it has no unit of
        distance; times that were learned have one.
        """
        return self.pair_scores(rows[:, None], columns, self.distances(rows, columns))

    def pair_scores(self, first: Indices, second: Indices, distances: Distances) -> Distances:
        """As `scores`, of pairs of rows, two arrays that broadcast, whose distances are known."""
        c = self.calibration
        if c is None:
            scores = -self._less_learned(distances, first, second)
        else:
            odds = np.log(c.prior) - np.log1p(-c.prior)
            scores = np.asarray(c.log_likelihood_ratio(distances) + odds, dtype=np.float32)
            if self.transit is not None:
                scores += self.transit.of(*self._on_the_way(first, second)).astype(np.float32)
        scores[self._two_people(first, second)] = -np.inf
        if self.times is not None and self.travel is not None and self.travel.ways:
            way = self._on_the_way(first, second)
            scores[self.travel.too_fast(*way)] = -np.inf
            if c is not None and self.travel.has_usual:
                scores += self.travel.log_ratio(*way, self._span).astype(np.float32)
        return scores

    def most_for_times(self) -> float:
        """The most that travel times can add to a score."""
        if self.calibration is None or self.travel is None or self.times is None:
            return 0.0
        gaps = np.geomspace(1e-3, 1e6, 10_000)
        usual = [way.usual_s for way in self.travel.ways if way.usual_s is not None]
        return max((float(log_ratio(gaps, one, self._span).max()) + 0.01 for one in usual), default=0.0)

    def apart(self, first: Indices, second: Indices) -> npt.NDArray[np.bool_]:
        """Which pairs of rows, two arrays that broadcast, show two people by where and when they were.

        One camera saw both at the same time; or, where it sees nobody twice, at any.
        """
        found = (self.camids[first] == self.camids[second]) & (first != second)
        if self.one_per_camera:
            return np.asarray(found)
        if self.times is None:
            return np.zeros_like(found)
        with np.errstate(invalid="ignore"):  # NaN: unknown times forbid nothing
            at_once = self.gaps(first, second) <= 0
        return np.asarray(found & (self._recordings[first] == self._recordings[second]) & at_once)

    def _two_people(self, first: Indices, second: Indices) -> npt.NDArray[np.bool_]:
        """Which pairs of rows are `apart`, or two people by what a human said."""
        found = self.apart(first, second)
        if self.named is not None:
            one, other = self.named[first], self.named[second]
            found |= (one != other) & (one > 0) & (other > 0)
        if self.different is not None:
            judged, pairs = self._judged
            both = judged[first] & judged[second]
            one, other = (np.broadcast_to(rows, both.shape)[both] for rows in (first, second))
            found[both] |= np.isin(self._numbered(one, other), pairs)
        return found

    @cached_property
    def _judged(self) -> tuple[npt.NDArray[np.bool_], Indices]:
        """Which rows were called different from another ``[N]``, and the numbers of these pairs."""
        assert self.different is not None
        rows = np.zeros(len(self), dtype=np.bool_)
        rows[self.different] = True
        return rows, self._numbered(*self.different.T)

    def _numbered(self, first: Indices, second: Indices) -> Indices:
        """A number for each pair, whichever row comes first."""
        return np.asarray(np.minimum(first, second) * len(self) + np.maximum(first, second))

    def taken(self, rows: Indices) -> Evidence:
        """Some of the tracklets, in another order; what was said of the others is left out."""
        place = np.full(len(self), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        groups = (place[group] for group in self.together)
        different = None if self.different is None else place[self.different]
        return replace(
            self,
            features=self.features[rows],
            camids=self.camids[rows],
            times=None if self.times is None else self.times[rows],
            sources=tuple(self.sources[row] for row in rows.tolist()) if self.sources else (),
            together=tuple(left for group in groups if len(left := group[group >= 0]) > 1),
            different=None if different is None else different[(different >= 0).all(axis=1)],
            named=None if self.named is None else self.named[rows],
        )

    def gaps(self, first: Indices, second: Indices) -> Seconds:
        """Seconds from the end of the earlier to the start of the later, of pairs of rows: two arrays that broadcast.

        Returns:
            float64: 0 or less where they overlap in time, NaN where unknown.
        """
        one, other = self.clocked[first], self.clocked[second]
        return np.maximum(one[..., 0] - other[..., 1], other[..., 0] - one[..., 1])

    def score_matrix(self) -> ScoreMatrix:
        """All scores, float32 ``[N, N]``, symmetric to the last bit."""
        count = len(self)
        matrix = np.empty((count, count), dtype=np.float32)
        for start in range(0, count, BLOCK):
            rows, columns = np.arange(start, min(start + BLOCK, count)), np.arange(start, count)
            block = self.scores(rows, columns)
            square = block[:, : len(rows)]
            square[:] = np.minimum(square, square.T)  # a distance and its mirror may differ in the last digit
            matrix[start : start + len(rows), start:] = block
            matrix[start:, start : start + len(rows)] = block.T
        return matrix

    def pairs_at_once(self) -> Iterator[tuple[Indices, Indices]]:
        """Pairs ``[P]``, ``[P]`` that one camera saw at the same time, `PAIRS` or so at a time."""
        known = np.flatnonzero(np.isfinite(self.clocked).all(axis=1))
        starts, ends = self.clocked[known].T
        place = np.stack([self.camids[known], self._recordings[known]], axis=1)
        places = np.unique(place, axis=0, return_inverse=True)[1] if len(known) else known
        for one in range(int(places.max(initial=-1)) + 1):
            rows = np.flatnonzero(places == one)
            rows = rows[np.argsort(starts[rows], kind="stable")]
            # Of those that start later: who starts before this one ends.
            until = np.searchsorted(starts[rows], ends[rows], side="right")
            with_whom = np.maximum(until - np.arange(1, len(rows) + 1), 0)
            parts = np.flatnonzero(np.diff(np.cumsum(with_whom) // PAIRS, prepend=0))
            for part in np.split(np.arange(len(rows)), parts):
                first = np.repeat(part, with_whom[part])
                step = np.arange(len(first)) - np.repeat(
                    np.cumsum(with_whom[part]) - with_whom[part], with_whom[part]
                )
                if len(first):
                    yield known[rows[first]], known[rows[first + 1 + step]]
