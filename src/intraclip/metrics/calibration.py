"""Error rates and thresholds of pairs: how often a distance says "the same person", and is right.

A pair is a query and a gallery tracklet. Genuine pairs show one person in two cameras, impostor pairs two people.
The rule throughout is ``same person when distance < threshold``:

* false-match rate (FMR): share of the impostor pairs below the threshold, "two people taken for one";
* true-match rate (TMR): share of the genuine pairs below it; 1 - TMR is the false-non-match rate (FNMR).

These are rates of *comparisons*. A search through G people compares G times, so about G x FMR strangers pass the
threshold in every search: for a gallery of 1,000 people an FMR of 1e-3 means one false alarm a search.

What is exact: the genuine distances are all kept, and of the impostors the `KEEP` smallest ones. Thresholds whose
false matches are fewer than `KEEP` are therefore exact: they are the largest that keep the promised rate, and their
counts are true counts. Above that the impostors are counted in a histogram over their float32 bit patterns, whose
bins are 0.03 % of a distance wide or finer; a threshold is then the lower edge of a bin, so that it still keeps the
promised rate by a true count, but may be that much smaller than the largest that would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_reals
from intraclip.errors import DataError
from intraclip.metrics.distance import Distance
from intraclip.metrics.distance_matrix import distance_matrix
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.protocols import Protocol
from intraclip.metrics.ranking import searched
from intraclip.types import JUNK_PID, UNKNOWN_PID

SUPPORT = 10
"""Impostor pairs that a false-match rate must allow to pass for its threshold to mean something.

With 10 expected, chance alone moves the true rate by about 30 % either way, and pairs that share a person are not
independent, so it moves by more: this is the least, not a comfortable number.
"""

KEEP = 4_000_000
"""Smallest impostor distances kept one by one (16 MB): all rates up to 0.1 of 40 million pairs."""

BLOCK = 256
"""Queries whose distances are held at once."""

# The bits of non-negative floats sort like the floats. Without its last 11 bits a float32 keeps 12 bits of mantissa:
# 2^-12 = 0.024 % between neighbours, at any scale of distances, in 8 MB of counters.
_DROPPED_BITS = 11
_BINS = (0x7F800000 >> _DROPPED_BITS) + 1

_FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairDistances:
    """Distances of all pairs of a test set, in bounded memory.

    Attributes:
        people: identities that have a genuine pair.
        genuine: float32 ``[genuine pairs]``, ascending.
        nearest_impostors: float32 ``[min(KEEP, impostors)]``, the smallest impostor distances, ascending.
        below_bin: int64 ``[bins]``, impostors in lower bins of the histogram.
    """

    distance: Distance
    protocol: str
    people: int
    genuine: _FloatArray
    impostors: int
    nearest_impostors: _FloatArray
    farthest_impostor: float
    below_bin: npt.NDArray[np.int64]

    def __repr__(self) -> str:
        return (
            f"PairDistances({self.protocol}, {self.distance}: {len(self.genuine)} genuine and {self.impostors} "
            f"impostor pairs, {len(self.nearest_impostors)} of them exact)"
        )

    def genuine_below(self, thresholds: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Genuine pairs below each threshold; exact."""
        return np.asarray(np.searchsorted(self.genuine, _float32(thresholds), side="left"), dtype=np.int64)

    def impostors_below(self, thresholds: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Impostor pairs below each threshold.

        Exact up to the largest kept distance; above it those of the threshold's own bin are left out.
        """
        values = _float32(thresholds)
        found = np.searchsorted(self.nearest_impostors, values, side="left").astype(np.int64)
        if len(self.nearest_impostors) < self.impostors:
            beyond = values > self.nearest_impostors[-1]
            # A bin may begin below the largest kept distance; then the kept ones are the better count.
            found = np.where(beyond, np.maximum(self.below_bin[_bins(values)], found), found)
        return np.asarray(np.where(values > self.farthest_impostor, self.impostors, found), dtype=np.int64)

    def impostor(self, place: int) -> float:
        """The distance of the impostor pair at `place`, counted from 0 in ascending order.

        Exact for the kept ones; above them the lower edge of its bin, so never more than the distance itself.
        """
        if place < len(self.nearest_impostors):
            return float(self.nearest_impostors[place])
        last_bin = int(np.searchsorted(self.below_bin, place, side="right")) - 1
        edge = np.array([last_bin << _DROPPED_BITS], dtype=np.uint32).view(np.float32)[0]
        return float(max(edge, self.nearest_impostors[-1]))


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The threshold for a false-match rate: the same person when ``distance < threshold``.

    Attributes:
        true_match_rate: share of the genuine pairs below the threshold, 0..1.
        false_matches: impostor pairs below the threshold; no larger a share than was asked for.
        supported: enough pairs to say: the rate allows at least `SUPPORT` of the impostor pairs to pass. If not, the
            threshold hangs on a handful of pairs and must not be quoted as one for this rate.
    """

    threshold: float
    true_match_rate: float
    false_matches: int
    supported: bool


@dataclass(frozen=True, kw_only=True)
class EqualErrorRate:
    """Where false-match and false-non-match rate are equal.

    Attributes:
        rate: of both, 0..1.
        threshold: observed distance where they cross; its own rates are as near to `rate` as the pairs allow.
    """

    rate: float
    threshold: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Roc:
    """Corners of the receiver operating characteristic, from (0, 0) to (1, 1).

    Attributes:
        thresholds: float32 ``[points]``, ascending; the same person when ``distance < threshold``.
        false_match_rates: float64 ``[points]``, ascending, 0..1.
        true_match_rates: float64 ``[points]``, ascending, 0..1.
    """

    thresholds: _FloatArray
    false_match_rates: npt.NDArray[np.float64]
    true_match_rates: npt.NDArray[np.float64]


def pair_distances(
    embeddings: Embeddings, protocol: Protocol, *, distance: Distance = "euclidean"
) -> PairDistances:
    """Collect the distances of all genuine and impostor pairs.

    Genuine: same pid, other camera. Impostor: other pid, other camera; distractors (pid 0) in the gallery are
    impostors for everybody. Left out: junk (pid -1) and unlabelled tracklets (pid -2) on either side, distractors
    as queries, same pid in one camera. Where queries are searched too, a pair of two queries counts once.

    Memory: one block of distances ``[BLOCK, gallery]`` a few times over, at most 2 x `KEEP` numbers, and 8 MB.

    Raises:
        DataError: no query, an empty gallery, no genuine or no impostor pair.
    """
    query, gallery = searched(embeddings, protocol)
    # Whether a junk, a distractor or an unlabelled query is the same person as anything is not known.
    query = query[embeddings.pids[query] > 0]
    gallery = gallery[~np.isin(embeddings.pids[gallery], (JUNK_PID, UNKNOWN_PID))]
    pids, camids = embeddings.pids[gallery], embeddings.camids[gallery]
    met_again = np.where(np.isin(gallery, query), gallery, np.iinfo(np.int64).max)
    nearest, limit = [np.zeros(0, np.float32)], np.float32(np.inf)
    counts = np.zeros(_BINS, dtype=np.int64)
    genuine: list[_FloatArray] = []
    people: set[int] = set()
    farthest = 0.0
    for start in range(0, len(query), BLOCK):
        rows = query[start : start + BLOCK]
        same = embeddings.pids[rows][:, None] == pids
        # Pairs of two queries are met from both ends; the end with the smaller row counts them.
        other_camera = embeddings.camids[rows][:, None] != camids
        counted = met_again > rows[:, None]
        found = distance_matrix(embeddings.features[rows], embeddings.features[gallery], distance=distance)
        found += np.float32(0)  # -0.0 becomes 0.0: the sign would spoil the order of the bits
        matches = same & other_camera & counted
        genuine.append(found[matches])
        people.update(embeddings.pids[rows[matches.any(axis=1)]].tolist())
        impostors = found[~same & other_camera & counted]
        if len(impostors):
            counts += np.bincount(_bins(impostors), minlength=_BINS)
            nearest.append(impostors[impostors <= limit])
            if sum(map(len, nearest)) >= 2 * KEEP:
                nearest = [np.partition(np.concatenate(nearest), KEEP - 1)[:KEEP].copy()]
                limit = nearest[0].max()
            farthest = max(farthest, float(impostors.max()))
    total = int(counts.sum())
    values = np.sort(np.concatenate(genuine)) if genuine else np.zeros(0, np.float32)
    if not len(values) or not total:
        raise DataError(
            f"protocol {protocol.name} gives {len(values)} genuine and {total} impostor pairs of {len(query)} "
            f"labelled queries and {len(gallery)} gallery tracklets; both are needed: people (pid above 0) seen by "
            "two cameras, and at least two people; check pids and camids"
        )
    return PairDistances(
        distance=distance,
        protocol=protocol.name,
        people=len(people),
        genuine=values,
        impostors=total,
        nearest_impostors=np.sort(np.concatenate(nearest))[:KEEP],
        farthest_impostor=farthest,
        below_bin=np.concatenate([[0], np.cumsum(counts)[:-1]]),
    )


def roc(pairs: PairDistances) -> Roc:
    """Receiver operating characteristic: true-match against false-match rate, as the threshold rises.

    Returns every corner of the staircase, about two for each genuine distance: nothing happens between them but
    impostors alone, or genuine pairs alone. Exactness as in the module's text.
    """
    ends = np.array(
        [
            min(pairs.genuine[0], pairs.nearest_impostors[0]),
            _next(max(pairs.genuine[-1], np.float32(pairs.farthest_impostor))),
        ],
        dtype=np.float32,
    )
    thresholds = np.unique(np.concatenate([ends, pairs.genuine, _next(pairs.genuine)]))
    return Roc(
        thresholds=thresholds,
        false_match_rates=pairs.impostors_below(thresholds) / pairs.impostors,
        true_match_rates=pairs.genuine_below(thresholds) / len(pairs.genuine),
    )


def equal_error_rate(pairs: PairDistances) -> EqualErrorRate:
    """Where the straight line FMR = FNMR crosses the curve of `roc`."""
    curve = roc(pairs)
    false_match, false_non_match = curve.false_match_rates, 1 - curve.true_match_rates
    # From (0, 1) to (1, 0), so there is a first corner at or behind the crossing, and one before it.
    after = int(np.argmax(false_match >= false_non_match))
    before = after - 1
    gap = false_non_match[before] - false_match[before]
    closed = (false_match[after] - false_match[before]) + (false_non_match[before] - false_non_match[after])
    rate = float(false_match[before] + gap / closed * (false_match[after] - false_match[before]))
    threshold = float(curve.thresholds[before])
    if false_non_match[before] == false_non_match[after]:
        # Impostors alone lie between the two corners: the one with so many below it.
        place = min(round(rate * pairs.impostors), pairs.impostors - 1)
        threshold = min(max(threshold, pairs.impostor(place)), float(curve.thresholds[after]))
    return EqualErrorRate(rate=rate, threshold=threshold)


def threshold_at(pairs: PairDistances, false_match_rate: float) -> Threshold:
    """The largest threshold that lets at most a share of the impostor pairs pass.

    Returns:
        The threshold, what it achieves, and whether there are enough pairs to say so. It is the distance of an
        impostor pair, the first that must not pass; any larger threshold would break the rate.

    Raises:
        ValueError: rate out of range.
    """
    if not 0 < false_match_rate < 1:
        raise ValueError(
            f"the false-match rate is {false_match_rate}; it must lie inside 0 and 1, such as 0.001"
        )
    allowed = math.floor(false_match_rate * pairs.impostors)
    # The product is rounded; the quotient decides, as it is what gets reported.
    while (allowed + 1) / pairs.impostors <= false_match_rate:
        allowed += 1
    while allowed / pairs.impostors > false_match_rate:
        allowed -= 1
    threshold = pairs.impostor(allowed)
    passed = int(pairs.impostors_below(threshold))
    return Threshold(
        threshold=threshold,
        true_match_rate=float(pairs.genuine_below(threshold)) / len(pairs.genuine),
        false_matches=passed,
        supported=false_match_rate * pairs.impostors >= SUPPORT * (1 - 1e-12),
    )


def _float32(values: npt.ArrayLike) -> _FloatArray:
    """Thresholds as distances are: float32, and no -0.0."""
    return np.asarray(as_reals(values, name="thresholds") + np.float32(0), dtype=np.float32)


def _bins(values: _FloatArray) -> npt.NDArray[np.int64]:
    return (np.maximum(values, 0).view(np.uint32) >> _DROPPED_BITS).astype(np.int64)


def _next(values: Any) -> Any:
    """The next larger float32: pairs "at most this far" are those below it."""
    return np.nextafter(np.asarray(values, dtype=np.float32), np.float32(np.inf))
