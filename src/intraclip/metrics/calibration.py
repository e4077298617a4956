"""Which distance means "the same person": error rates, thresholds and probabilities of pairs.

A pair is a query and a gallery tracklet. Genuine pairs show one person in two cameras, impostor pairs two people.
The rule throughout is ``same person when distance < threshold``:

* false-match rate (FMR): share of the impostor pairs below the threshold, "two people taken for one";
* true-match rate (TMR): share of the genuine pairs below it; 1 - TMR is the false-non-match rate (FNMR).

These are rates of *comparisons*. A search through G people compares G times, so about G x FMR strangers pass the
threshold in every search: for a gallery of 1,000 people an FMR of 1e-3 means one false alarm a search.

A calibration belongs to the network, the distance and the kind of cameras that it was made with. People of the
training set, another network, or the same network after a day of further training need another one.

What is exact: the genuine distances are all kept, and of the impostors the `keep` smallest ones. Thresholds whose
false matches are fewer than `keep` are therefore exact: they are the largest that keep the promised rate, and their
counts are true counts. Above that the impostors are counted in a histogram over their float32 bit patterns, whose
bins are 0.03 % of a distance wide or finer; a threshold is then the lower edge of a bin, so that it still keeps the
promised rate by a true count, but may be that much smaller than the largest that would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from intraclip.arrays import as_reals, as_wide
from intraclip.errors import DataError
from intraclip.metrics.distance import Distance, distance_matrix
from intraclip.metrics.protocols import Protocol
from intraclip.metrics.ranking import searched
from intraclip.types import JUNK_PID, UNKNOWN_PID, Embeddings

FALSE_MATCH_RATES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Rates of the table of thresholds."""

SUPPORT = 10
"""Impostor pairs that a false-match rate must allow to pass for its threshold to mean something.

With 10 expected, chance alone moves the true rate by about 30 % either way, and pairs that share a person are not
independent, so it moves by more: this is the least, not a comfortable number.
"""

KEEP = 4_000_000
"""Smallest impostor distances kept one by one (16 MB): all rates up to 0.1 of 40 million pairs."""

VERSION = 1
"""Of the JSON form of `Calibration`."""

# The bits of non-negative floats sort like the floats. Without its last 11 bits a float32 keeps 12 bits of mantissa:
# 2^-12 = 0.024 % between neighbours, at any scale of distances, in 8 MB of counters.
_DROPPED_BITS = 11
_BINS = (0x7F800000 >> _DROPPED_BITS) + 1

_FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairDistances:
    """Distances of all pairs of a test set, in bounded memory.

    Attributes:
        distance: ``euclidean`` or ``cosine``.
        protocol: name of the protocol that chose queries and gallery.
        own_camera: whether impostor pairs of one camera were counted too.
        people: identities that have a genuine pair.
        queries: queries that were compared.
        genuine: float32 ``[genuine pairs]``, ascending.
        impostors: number of impostor pairs.
        nearest_impostors: float32 ``[min(keep, impostors)]``, the smallest impostor distances, ascending.
        farthest_impostor: the largest impostor distance.
        below_bin: int64 ``[bins]``, impostors in lower bins of the histogram.
    """

    distance: Distance
    protocol: str
    own_camera: bool
    people: int
    queries: int
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
        false_match_rate: that was asked for, inside (0, 1).
        threshold: distance.
        achieved: false-match rate by count, never above the one asked for.
        true_match_rate: share of the genuine pairs below the threshold, 0..1.
        false_matches: impostor pairs below the threshold.
        supported: enough pairs to say: the rate allows at least `SUPPORT` of the impostor pairs to pass. If not, the
            threshold hangs on a handful of pairs and must not be quoted as one for this rate.
        exact: the threshold is the largest that keeps the rate; otherwise it may be 0.03 % smaller than that.
    """

    false_match_rate: float
    threshold: float
    achieved: float
    true_match_rate: float
    false_matches: int
    supported: bool
    exact: bool


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

    @property
    def area(self) -> float:
        """Area under the curve: how often a genuine pair is nearer than an impostor pair, ties for a half."""
        return float(np.trapezoid(self.true_match_rates, self.false_match_rates))


@dataclass(frozen=True, kw_only=True)
class EvidenceCurve:
    """How strongly a distance speaks for the same person; knots of a line that never rises.

    Attributes:
        distances: of the knots, strictly ascending.
        log_likelihood_ratios: natural logarithm of how much more often genuine than impostor pairs have such a
            distance; never ascending. Outside the knots the first and the last one hold.
    """

    distances: tuple[float, ...]
    log_likelihood_ratios: tuple[float, ...]

    def at(self, distance: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Log likelihood ratio of each distance."""
        return np.asarray(
            np.interp(as_wide(distance, name="distances"), self.distances, self.log_likelihood_ratios),
            dtype=np.float64,
        )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a distance of one network means, as it is kept beside the network or an index.

    Attributes:
        distance: ``euclidean`` or ``cosine``.
        protocol: name of the protocol that chose the pairs.
        own_camera: whether impostor pairs of one camera were counted too.
        people: identities that have a genuine pair.
        queries: queries that were compared.
        genuine_pairs: number of pairs.
        impostor_pairs: number of pairs.
        thresholds: one for each false-match rate, from the largest rate to the smallest.
        equal_error: where both errors are as frequent.
        curve: evidence of a distance; see `probability`.
    """

    distance: Distance
    protocol: str
    own_camera: bool
    people: int
    queries: int
    genuine_pairs: int
    impostor_pairs: int
    thresholds: tuple[Threshold, ...]
    equal_error: EqualErrorRate
    curve: EvidenceCurve

    def threshold(self, false_match_rate: float) -> Threshold:
        """The threshold for one of the rates of the table.

        Raises:
            DataError: the table has no such rate.
        """
        for found in self.thresholds:
            if math.isclose(found.false_match_rate, false_match_rate, rel_tol=1e-9):
                return found
        raise DataError(
            f"the calibration has no threshold for a false-match rate of {false_match_rate:g}, only for "
            f"{', '.join(f'{t.false_match_rate:g}' for t in self.thresholds)}; calibrate with that rate"
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values; `intraclip.metrics.match_probability.read_calibration` reads them too."""
        return {
            "version": VERSION,
            "distance": self.distance,
            "protocol": self.protocol,
            "own_camera": self.own_camera,
            "people": self.people,
            "queries": self.queries,
            "genuine_pairs": self.genuine_pairs,
            "impostor_pairs": self.impostor_pairs,
            "thresholds": [asdict(threshold) for threshold in self.thresholds],
            "equal_error": asdict(self.equal_error),
            "curve": {
                "distances": list(self.curve.distances),
                "log_likelihood_ratios": list(self.curve.log_likelihood_ratios),
            },
        }


def pair_distances(
    embeddings: Embeddings,
    protocol: Protocol,
    *,
    distance: Distance = "euclidean",
    own_camera: bool = False,
    block: int = 256,
    keep: int = KEEP,
) -> PairDistances:
    """Collect the distances of all genuine and impostor pairs.

    Genuine: same pid, other camera. Impostor: other pid, other camera; distractors (pid 0) in the gallery are
    impostors for everybody. Left out: junk (pid -1) and unlabelled tracklets (pid -2) on either side, distractors
    as queries, same pid in one camera. Where queries are searched too, a pair of two queries counts once.

    Memory: one block of distances ``[block, gallery]`` a few times over, at most 2 x `keep` numbers, and 8 MB.

    Args:
        embeddings: query and gallery together.
        protocol: what is searched.
        distance: ``euclidean`` or ``cosine``.
        own_camera: count impostor pairs of one camera too. They look alike for the camera's sake, so they are harder;
            count them when the threshold shall also be used within a camera.
        block: queries at a time; changes nothing but memory and speed (and the last digit of a distance).
        keep: impostor distances kept exactly, the smallest ones.

    Raises:
        DataError: no query, an empty gallery, no genuine or no impostor pair.
        ValueError: block or keep below 1.
    """
    if block < 1 or keep < 1:
        raise ValueError(f"block is {block} and keep is {keep}; both must be at least 1")
    query, gallery = searched(embeddings, protocol)
    # Whether a junk, a distractor or an unlabelled query is the same person as anything is not known.
    query = query[embeddings.pids[query] > 0]
    gallery = gallery[~np.isin(embeddings.pids[gallery], (JUNK_PID, UNKNOWN_PID))]
    pids, camids = embeddings.pids[gallery], embeddings.camids[gallery]
    met_again = np.where(np.isin(gallery, query), gallery, np.iinfo(np.int64).max)
    nearest = _Nearest(keep)
    counts = np.zeros(_BINS, dtype=np.int64)
    genuine: list[_FloatArray] = []
    people: set[int] = set()
    farthest = 0.0
    for start in range(0, len(query), block):
        rows = query[start : start + block]
        same = embeddings.pids[rows][:, None] == pids
        # Pairs of two queries are met from both ends; the end with the smaller row counts them.
        other_camera = embeddings.camids[rows][:, None] != camids
        counted = met_again > rows[:, None]
        found = distance_matrix(embeddings.features[rows], embeddings.features[gallery], distance=distance)
        found += np.float32(0)  # -0.0 becomes 0.0: the sign would spoil the order of the bits
        matches = same & other_camera & counted
        genuine.append(found[matches])
        people.update(embeddings.pids[rows[matches.any(axis=1)]].tolist())
        impostors = found[~same & counted if own_camera else ~same & other_camera & counted]
        if len(impostors):
            counts += np.bincount(_bins(impostors), minlength=_BINS)
            nearest.add(impostors)
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
        own_camera=own_camera,
        people=len(people),
        queries=len(query),
        genuine=values,
        impostors=total,
        nearest_impostors=nearest.values(),
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

    Args:
        pairs: of `pair_distances`.
        false_match_rate: inside (0, 1).

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
        false_match_rate=float(false_match_rate),
        threshold=threshold,
        achieved=passed / pairs.impostors,
        true_match_rate=float(pairs.genuine_below(threshold)) / len(pairs.genuine),
        false_matches=passed,
        supported=false_match_rate * pairs.impostors >= SUPPORT * (1 - 1e-12),
        exact=allowed < len(pairs.nearest_impostors),
    )


def evidence_curve(pairs: PairDistances) -> EvidenceCurve:
    """Fit how strongly a distance speaks for the same person.

    Isotonic regression (pool adjacent violators), not a logistic curve: the only assumption is that a smaller
    distance never speaks less for the same person. Distances of different networks have different shapes, and a
    two-parameter curve is wrong exactly in the far tail where decisions at small false-match rates are made. The
    pools do not depend on the prior, so the curve is kept as likelihood ratios and any prior can be put in later
    (Bruemmer & du Preez, "The PAV algorithm optimizes binary proper scoring rules", arXiv:1304.2331, 2013).

    One genuine and one impostor pair are added at either end (Laplace's rule of succession), so that no distance
    proves anything: the evidence is never infinite, and grows with the number of pairs.

    It is fitted and read on the same pairs; people that were not seen may be a little harder.
    """
    steps, where = np.unique(pairs.genuine, return_counts=True)
    up_to = pairs.impostors_below(_next(steps))
    # Group 0 is the pair added in front. Then one group for each genuine distance, with the impostors between it and
    # the genuine distance before: these always join its pool, as impostors alone speak against, and what follows
    # must not speak more. Last, the impostors behind all genuine pairs with the pair added there, for the same reason.
    genuine = np.concatenate([[1], where, [1]])
    impostors = np.concatenate([[1], np.diff(up_to, prepend=0), [pairs.impostors - up_to[-1] + 1]])
    genuine_share, impostor_share = genuine / genuine.sum(), impostors / impostors.sum()
    weights = genuine_share + impostor_share
    fitted = isotonic_regression(genuine_share / weights, weights=weights, increasing=False)
    pools = np.asarray(fitted.blocks)
    ratios = np.log(np.add.reduceat(genuine_share, pools[:-1]) / np.add.reduceat(impostor_share, pools[:-1]))
    ratios = np.minimum.accumulate(ratios)  # sums are rounded; never rising is promised

    def begin(step: int) -> float:
        """First distance behind the genuine distance before `step`, a genuine or an impostor's."""
        place, least = (int(up_to[step - 1]), float(_next(steps[step - 1]))) if step else (0, 0.0)
        candidates = [float(steps[step])] if step < len(steps) else []
        if place < pairs.impostors:
            candidates.append(max(pairs.impostor(place), least))
        return min(candidates)

    knots: dict[float, float] = {}
    for ratio, first, after in zip(ratios.tolist(), pools[:-1].tolist(), pools[1:].tolist(), strict=True):
        # Groups to steps: group 1 is step 0. The added pairs lie nowhere, so they make no knot of their own.
        low, high = max(first - 1, 0), min(after - 1, len(steps))
        behind = after - 1 > len(steps) and up_to[-1] < pairs.impostors
        if low < high or behind:
            knots.setdefault(begin(low), ratio)
            knots.setdefault(pairs.farthest_impostor if behind else float(steps[high - 1]), ratio)
    return EvidenceCurve(distances=tuple(knots), log_likelihood_ratios=tuple(knots.values()))


def calibrate(pairs: PairDistances, *, false_match_rates: Sequence[float] = FALSE_MATCH_RATES) -> Calibration:
    """Everything that is kept of the pairs.

    Args:
        pairs: of `pair_distances`.
        false_match_rates: of the table of thresholds, each inside (0, 1).
    """
    return Calibration(
        distance=pairs.distance,
        protocol=pairs.protocol,
        own_camera=pairs.own_camera,
        people=pairs.people,
        queries=pairs.queries,
        genuine_pairs=len(pairs.genuine),
        impostor_pairs=pairs.impostors,
        thresholds=tuple(threshold_at(pairs, rate) for rate in sorted(set(false_match_rates), reverse=True)),
        equal_error=equal_error_rate(pairs),
        curve=evidence_curve(pairs),
    )


class _Nearest:
    """The smallest of many numbers, met in pieces."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._limit = np.float32(np.inf)
        self._pieces: list[_FloatArray] = []
        self._held = 0

    def add(self, values: _FloatArray) -> None:
        """Take the next piece."""
        values = values[values <= self._limit]
        self._pieces.append(values)
        self._held += len(values)
        if self._held >= 2 * self._keep:
            self._cut()

    def _cut(self) -> None:
        held = np.concatenate(self._pieces)
        if len(held) > self._keep:
            held = np.partition(held, self._keep - 1)[: self._keep].copy()
            self._limit = held.max()
        self._pieces, self._held = [held], len(held)

    def values(self) -> _FloatArray:
        """The smallest ones, ascending."""
        if not self._pieces:
            return np.zeros(0, np.float32)
        self._cut()
        return np.sort(self._pieces[0])


def _float32(values: npt.ArrayLike) -> _FloatArray:
    """Thresholds as distances are: float32, and no -0.0."""
    return np.asarray(as_reals(values, name="thresholds") + np.float32(0), dtype=np.float32)


def _bins(values: _FloatArray) -> npt.NDArray[np.int64]:
    return (np.maximum(values, 0).view(np.uint32) >> _DROPPED_BITS).astype(np.int64)


def _next(values: Any) -> Any:
    """The next larger float32: pairs "at most this far" are those below it."""
    return np.nextafter(np.asarray(values, dtype=np.float32), np.float32(np.inf))
