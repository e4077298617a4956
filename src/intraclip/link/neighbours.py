"""The same average linkage for many tracklets: near pairs alone, no matrix of all.

Only joins that score more than a level are wanted. Two groups whose pairs score more than that on average have a pair
that does, so it is enough to know every pair above the level: groups without one are never joined. What two groups
score is exact all the same: where a joined group meets a third that only one of its halves is near to, the scores of
the other half are computed then. So the groups are those of `intraclip.link.agglomeration.agglomerate`, unless there
are more pairs above the level than `PAIRS` a tracklet: then the best are taken, and the reader is told.

All pairs are looked at in blocks of matrix products in float32; what may be near enough is computed again in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from intraclip.link.agglomeration import Indices, ScoreMatrix, Tree
from intraclip.link.evidence import Evidence
from intraclip.metrics.distance import paired_distances

PAIRS = 64
"""Pairs kept for each tracklet on average, at most: some 6 kB of memory."""

NEAREST = 256
"""Groups kept near a group, at most."""

TILE = 2048
"""Rows and columns of a block of distances."""

ROUNDING = 1e-5
"""Share of the largest product by which a product in float32 may be wrong, and far more than it is."""

PAIR = np.dtype([("first", np.int64), ("second", np.int64), ("score", np.float32)])
"""Rows of two tracklets, the second one larger, and how much speaks for one person."""


def near_pairs(
    evidence: Evidence, level: float, *, most: int | None = None
) -> tuple[npt.NDArray[Any], float]:
    """Find all pairs that score more than a level; of too many the best `most`, by default `PAIRS` a tracklet.

    Returns:
        The pairs, `PAIR` ``[P]``; and what every pair that is not here does not exceed: the level, or above it where
        there were too many.
    """
    most = PAIRS * len(evidence) if most is None else most
    floor = level
    kept = [np.zeros(0, dtype=PAIR)]
    blocks = _Blocks(evidence)
    for first, second in blocks.within(_reach(evidence, floor)):
        distances = paired_distances(
            evidence.features, evidence.features, rows=first, columns=second, distance=evidence.metric
        )
        pairs = np.zeros(len(first), dtype=PAIR)
        pairs["first"], pairs["second"] = first, second
        pairs["score"] = evidence.pair_scores(first, second, distances)
        kept.append(pairs[pairs["score"] > floor])
        if sum(map(len, kept)) > 2 * most:
            best, floor = _best(np.concatenate(kept), most, floor)
            kept, blocks.reach = [best], _reach(evidence, floor)
    return _best(np.concatenate(kept), most, floor)


def _best(pairs: npt.NDArray[Any], most: int, floor: float) -> tuple[npt.NDArray[Any], float]:
    """The best pairs, and what they all score more than; of equal ones all or none."""
    if len(pairs) > most:
        floor = float(np.partition(pairs["score"], -most - 1)[-most - 1])
    return pairs[pairs["score"] > floor], floor


def _reach(evidence: Evidence, level: float) -> float:
    """Distance that no pair above a level exceeds."""
    c = evidence.calibration
    if c is None:
        return -level
    return c.distance_of(float(np.clip(expit(level - evidence.most_for_times()), 1e-12, 1 - 1e-12)))


class _Blocks:
    """Pairs of rows that may be nearer than `reach`, block by block; `reach` may fall on the way."""

    def __init__(self, evidence: Evidence) -> None:
        features = evidence.features.astype(np.float32)
        self._cosine = evidence.metric == "cosine"
        self.reach = 0.0
        if self._cosine:
            features = features / np.linalg.norm(features, axis=1, keepdims=True)
        else:
            features = features - features.mean(axis=0)
        self._features = features
        self._squares = np.einsum("nd,nd->n", features, features)

    def within(self, reach: float) -> Iterator[tuple[Indices, Indices]]:
        self.reach = reach
        count, largest = len(self._features), float(self._squares.max(initial=0.0))
        for start in range(0, count, TILE):
            for other in range(start, count, TILE):
                a, b = self._features[start : start + TILE], self._features[other : other + TILE]
                products = a @ b.T
                if self._cosine:
                    near = products > 1 - self.reach - ROUNDING
                else:
                    products *= -2
                    products += self._squares[start : start + TILE, None]
                    products += self._squares[None, other : other + TILE]
                    near = products < self.reach**2 + 4 * ROUNDING * largest
                if start == other:
                    near = np.triu(near, 1)
                first, second = np.divmod(np.flatnonzero(near), near.shape[1])
                if len(first):
                    yield first + start, second + other


def agglomerate_near(
    items: int,
    pairs: npt.NDArray[Any],
    level: float,
    scores: Callable[[Indices, Indices], ScoreMatrix],
    together: Sequence[Indices] = (),
) -> tuple[Tree, int]:
    """The joins of `agglomerate` that score more than a level.

    `pairs` (`PAIR`) score more than the level; if others do that are not among them, the tree is an approximation.
    `scores` gives those of any rows with any others, ``[rows, columns]``, minus infinity where two cannot be one.

    Returns:
        The tree, and how many groups had more neighbours than `NEAREST`.
    """
    near: list[dict[int, float]] = [{} for _ in range(items)]
    whole = list(range(items))  # one object a number, however many pairs hold it
    for a, b, score in pairs.tolist():
        near[a][whole[b]] = near[b][whole[a]] = score
    members: list[Indices] = list(np.arange(items).reshape(-1, 1))
    best = [np.inf] * items
    joins: list[tuple[int, int, float]] = []
    pruned = 0

    def mean_scores(group: int, others: list[int]) -> list[float]:
        columns = np.concatenate([members[other] for other in others])
        sizes = np.array([len(members[other]) for other in others])
        sums = scores(members[group], columns).sum(axis=0, dtype=np.float64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        means: list[float] = (np.add.reduceat(sums, starts) / (sizes * len(members[group]))).tolist()
        return means

    def join(a: int, b: int, height: float) -> None:
        nonlocal pruned
        one, other = near[a], near[b]
        one.pop(b, None)
        other.pop(a, None)
        for group, row, lacking in (
            (b, other, sorted(one.keys() - other.keys())),
            (a, one, sorted(other.keys() - one.keys())),
        ):
            if lacking:
                row.update(zip(lacking, mean_scores(group, lacking), strict=True))
        total = len(members[a]) + len(members[b])
        share, rest = len(members[a]) / total, len(members[b]) / total
        joined = {c: share * score + rest * other[c] for c, score in one.items()}
        left = {c: score for c, score in joined.items() if score > level}
        if len(left) > NEAREST:
            left = dict(sorted(left.items(), key=lambda found: (-found[1], found[0]))[:NEAREST])
            pruned += 1
        for c in joined:
            row = near[c]
            row.pop(a, None)
            row.pop(b, None)
            if c in left:
                row[whole[a]] = left[c]
        near[a], near[b] = left, {}
        members[a] = np.concatenate([members[a], members[b]])
        best[a] = height
        joins.append((a, b, height))

    for group in together:
        first, *rest = sorted(group.tolist())
        for second in rest:
            join(first, second, np.inf)
    for start in range(items):
        chain = [start]
        while chain:
            row = near[chain[-1]]
            if not row:
                chain.pop()
                continue
            # Of equal neighbours the one before in the chain, then the lowest row, as in `agglomerate`.
            top = max(row.values())
            if len(chain) > 1 and row.get(chain[-2]) == top:
                a, b = sorted((chain.pop(), chain.pop()))
                join(a, b, min(top, best[a], best[b]))
                if not chain:
                    chain.append(a)  # rows before it have no neighbours any more
            else:
                chain.append(min(c for c, score in row.items() if score == top))
    return Tree.of(items, joins), pruned
