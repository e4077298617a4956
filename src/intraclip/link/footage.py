"""What unlabelled footage says about its own distances: a cut without labels and without a number to choose.

`without_cameras` takes each camera's mean out, as a camera gives all it sees the same light, colours and angle (the
mean alone of Zhuang et al., "Rethinking the distribution gap of person re-identification with camera-based batch
normalization", ECCV 2020). `fit_tail` reads how near two people come by chance from the nearest pairs across cameras,
a mixture: two people, ever fewer the nearer (an exponential tail, as most distributions have: Pickands, "Statistical
inference using extreme order statistics", Annals of Statistics 3, 1975), and one person, around a mean of their own.
The tail of two people is read first, from pairs that are not each other's nearest in their cameras; expectation
maximisation then finds the pairs of one person.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from intraclip.link.agglomeration import Indices
from intraclip.link.evidence import BLOCK, Evidence

SAMPLE = 2048
"""Tracklets whose pairs with all others are read, at most."""

NEAREST = 5
"""Pairs read for each tracklet: far more than show one person, and few enough that these are not lost among them."""

SHARE = 0.25
"""Share of all pairs that are read, at most: the tail, where two people are ever fewer the nearer they look."""

LEAST = 30
"""Pairs in the tail without which it says nothing."""

STEPS = 100
STARTS = (0.7, 0.85, 0.95)
"""Quantiles of the tail at which the mean of one person's pairs is looked for first."""

Values = npt.NDArray[np.float64]


def without_cameras(evidence: Evidence) -> Evidence:
    """The same tracklets, each less the mean of its camera.

    Returns:
        Evidence of the same metric; as it was if nothing is left of a tracklet, such as the only one of its camera.
    """
    features = evidence.features.astype(np.float64)
    if evidence.metric == "cosine":
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    before = float(np.linalg.norm(features, axis=1).max(initial=0.0))
    for camera in np.unique(evidence.camids):
        chosen = evidence.camids == camera
        features[chosen] -= features[chosen].mean(axis=0)
    length = np.linalg.norm(features, axis=1)
    if not len(length) or not length.min() > 1e-4 * max(length.max(), 1e-2 * before):
        return evidence
    return replace(evidence, features=features.astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Tail:
    """The nearest pairs of a footage: of one person and of two.

    Attributes:
        start: distance at which the tail begins; nearer pairs belong to it. What follows counts inwards from here.
        share: of the pairs in the tail, those that show one person.
        mean: of one person's pairs.
        spread: their standard deviation.
        scale: mean of two people's pairs.
        pairs: number of pairs in the tail.
        apart: of them, those that one camera saw at once.
    """

    start: float
    share: float
    mean: float
    spread: float
    scale: float
    pairs: int
    apart: int

    def probability(self, distance: Values) -> Values:
        """That pairs at these distances show one person; nearer than the mean of one person it does not fall again."""
        inside = np.minimum(self.start - distance, max(self.mean, 0.0))
        one = self.share * _density(inside, self.mean, self.spread)
        two = (1 - self.share) * np.exp(-np.maximum(inside, 0.0) / self.scale) / self.scale
        return np.where(inside < 0, 0.0, one / (one + two))

    def distance_of(self, probability: float) -> float:
        """Largest distance below which every pair is at least this likely to show one person; 0 if none is."""
        distances = np.linspace(self.start, self.start - self.mean, 2001)
        unlikely = np.flatnonzero(self.probability(distances) < probability)
        if not len(unlikely):
            return self.start
        return float(distances[unlikely[-1] + 1]) if unlikely[-1] + 1 < len(distances) else 0.0


def tells_apart(evidence: Evidence, probability: float) -> tuple[Evidence, Tail] | None:
    """The tracklets without their cameras' means, and what the footage says of them; None if it says nothing."""
    levelled = without_cameras(evidence)
    tail = fit_tail(levelled)
    return None if tail is None or not tail.distance_of(probability) > 0 else (levelled, tail)


def fit_tail(evidence: Evidence) -> Tail | None:
    """Find how near pairs of one person and of two come.

    Pairs of two cameras are read; of a single camera, those that it did not see at once. How near two people come is
    the wider of two answers: of pairs that are not each other's nearest, which lack those that look alike where a
    camera saw few people, and of pairs seen at once.

    Returns:
        None where the tail holds too few pairs, or no sign of two kinds (by the Bayesian information criterion).
    """
    start, nearest, apart = _nearest(evidence)
    if len(nearest) < LEAST:
        return None
    scale = _scale(evidence, start, apart)
    if not scale > 0:
        return None
    likelihood, share, mean, spread = max(_maximised(nearest, scale, quantile) for quantile in STARTS)
    one_kind = float(-np.log(scale) * len(nearest) - nearest.sum() / scale)
    if 2 * (likelihood - one_kind) < 3 * math.log(len(nearest)):
        return None
    return Tail(
        start=start,
        share=share,
        mean=mean,
        spread=spread,
        scale=scale,
        pairs=len(nearest),
        apart=len(apart),
    )


def with_unit(evidence: Evidence) -> Evidence:
    """The same tracklets, with the distance over which pairs of two people get e times fewer, the nearer they are.

    It is what one unit of log odds is worth where pairs of one person are about as many at every distance. 0 where too
    few pairs are of two.
    """
    levelled = without_cameras(replace(evidence, calibration=None, transit=None))
    start, _, apart = _nearest(levelled)
    return replace(evidence, unit=_scale(levelled, start, apart))


def _scale(evidence: Evidence, start: float, apart: Values) -> float:
    reached = (_strangers(evidence, start), apart)
    return max((float(two.mean()) for two in reached if len(two) >= LEAST), default=0.0)


def _maximised(nearest: Values, scale: float, quantile: float) -> tuple[float, float, float, float]:
    """Log likelihood, share, mean and spread of one person's pairs, by expectation maximisation from one start."""
    two = np.exp(-nearest / scale) / scale
    mean, spread, share = float(np.quantile(nearest, quantile)), float(nearest.std()), 1 - quantile
    likelihood = -math.inf
    for _ in range(STEPS):
        spread = max(spread, scale)
        one = share * _density(nearest, mean, spread)
        both = np.maximum(one + (1 - share) * two, 1e-300)
        likelihood = float(np.log(both).sum())
        ours = one / both
        weight = float(ours.sum())
        if weight < 1e-6:
            break
        share = min(max(weight / len(nearest), 1e-4), 0.95)
        mean = float(ours @ nearest) / weight
        spread = math.sqrt(float(ours @ (nearest - mean) ** 2) / weight)
    return likelihood, share, mean, max(spread, scale)


def _strangers(evidence: Evidence, start: float) -> Values:
    """How far pairs that are not each other's nearest reach into the tail: nearly all show two people.

    Of each other camera, a tracklet's nearest is taken for its own person, together with all that are as near to it as
    the tracklet is. Where both take each other, the pair may be one person and is left out.
    """
    count = len(evidence)
    rows = np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).astype(np.int64))
    distances = evidence.apartness(rows, rows).astype(np.float64)
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, np.inf)
    camids = evidence.camids[rows]
    cameras = np.unique(camids)
    taken = np.zeros(distances.shape, dtype=np.bool_)
    for camera in cameras:
        there = np.flatnonzero(camids == camera)
        nearest = there[distances[:, there].argmin(axis=1)]
        reach = distances[np.arange(len(rows)), nearest]
        taken[:, there] = distances[np.ix_(nearest, there)] <= reach[:, None]
        taken[np.arange(len(rows)), nearest] = True
    free = camids[:, None] != camids if len(cameras) > 1 else ~evidence.apart(rows[:, None], rows)
    chosen = free & ~(taken & taken.T) & (distances < start)
    return np.asarray(start - distances[chosen])


def _density(inside: Values, mean: float, spread: float) -> Values:
    """Normal density above 0."""
    whole = max(float(norm.sf(0, mean, spread)), 1e-9)
    return np.asarray(norm.pdf(inside, mean, spread) / whole, dtype=np.float64)


def _nearest(evidence: Evidence) -> tuple[float, Values, Values]:
    """At which distance the tail begins, and how far the pairs in it, and those seen at once, reach into it."""
    count = len(evidence)
    rows = np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).astype(np.int64))
    across = len(np.unique(evidence.camids)) > 1
    step = max(1, count // SAMPLE)  # columns that the start of the tail is estimated from
    known = np.concatenate([np.zeros(0), *(d for d, _ in _pairs(evidence, rows, step, across))])
    if not len(known):
        return 0.0, known, known
    share = min(SHARE, 2 * NEAREST * len(rows) / (len(known) * step))  # a pair of two rows is read twice
    start = float(np.quantile(known, share))
    nearest, apart = [], []
    for distances, together in _pairs(evidence, rows, 1, across):
        nearest.append(start - distances[distances < start])
        apart.append(start - together[together < start])
    return start, np.concatenate(nearest), np.concatenate(apart)


def _pairs(evidence: Evidence, rows: Indices, step: int, across: bool) -> Iterator[tuple[Values, Values]]:
    """Distances of pairs that may be one person, across cameras where there are several, and of those seen at once."""
    columns = np.arange(0, len(evidence), step)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        distances = evidence.apartness(block, columns).astype(np.float64)
        together = evidence.apart(block[:, None], columns)
        others = evidence.camids[block][:, None] != evidence.camids[columns]
        free = others if across else ~together & (block[:, None] != columns)
        yield distances[free], distances[together]
