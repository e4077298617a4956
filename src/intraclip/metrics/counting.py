"""The ways in which public evaluators count the same embeddings, faults included, so that a number can be traced.

`intraclip.metrics.ranking` counts as the protocols say; here the same rankings are counted as others do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_whole
from intraclip.metrics.distance import DISTANCES, Distance
from intraclip.metrics.distance_matrix import distance_matrix
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.protocols import PROTOCOLS, Protocol
from intraclip.metrics.ranking import precisions
from intraclip.metrics.rerank import RERANKED, rerank
from intraclip.metrics.side_by_side import distinct
from intraclip.types import JUNK_PID

OwnCamera = Literal["left out", "left in", "left in but itself", "whole camera left out"]
Ties = Literal["against", "order", "for"]

_OWN_CAMERA: dict[OwnCamera, str] = {
    "left in": "same-camera matches left in",
    "left in but itself": "same-camera matches left in, but for the query itself",
    "whole camera left out": "everybody of the query's camera left out",
}
_TIES: dict[Ties, str] = {
    "order": "ties decided by the order of the gallery",
    "for": "ties decided for the right answer",
}
DEPARTURES = 2
"""Most departures from a protocol that are tried together."""

_BLOCK = 128
"""Queries whose distances are held at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counting:
    """One way to count; the defaults are those of `intraclip.metrics.ranking.score`.

    Attributes:
        protocol: what is searched and how precision is averaged; none of the own camera.
        own_camera: what becomes of gallery items of the query's pid and camid: they are ``left out`` of the ranking,
            or ``left in``, with or without the query itself; or its ``whole camera`` is left out, whoever is there.
        junk: count gallery items of pid -1 as wrong answers.
        nobody: count queries of no person, which find their like: junk, distractors.
        unmatched: count a query without a right answer as 0.
        ties: where a right answer stands among wrong ones at its distance.
        reranked: k-reciprocal re-ranked distances.
    """

    protocol: Protocol
    distance: Distance
    own_camera: OwnCamera = "left out"
    junk: bool = False
    nobody: bool = False
    unmatched: bool = False
    ties: Ties = "against"
    reranked: bool = False

    def departures(self) -> list[str]:
        """What is done otherwise than under the protocol, in words."""
        found = [words for choice, words in _OWN_CAMERA.items() if choice == self.own_camera]
        found += ["junk counted as wrong answers"] * self.junk
        found += ["queries of no person counted"] * self.nobody
        found += ["queries without a right answer counted as 0"] * self.unmatched
        found += [words for choice, words in _TIES.items() if choice == self.ties]
        return found + [RERANKED] * self.reranked

    def __str__(self) -> str:
        return f"{self.protocol.name}, {self.distance}" + "".join(f", {words}" for words in self.departures())


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What one way of counting gives.

    Attributes:
        rows: int64 ``[queries]``, rows of the counted queries in the embeddings.
        first_hits: float64 ``[queries]``, rank of the first right answer, from 1; infinite where a query without one
            is counted.
        average_precisions: float64 ``[queries]``, 0..1.
    """

    rows: npt.NDArray[np.int64]
    first_hits: npt.NDArray[np.float64]
    average_precisions: npt.NDArray[np.float64]

    @property
    def scores(self) -> dict[str, float]:
        """Shares 0..1; NaN when no query counts."""
        if not len(self.first_hits):
            return {"rank1": float("nan"), "mAP": float("nan")}
        return {"rank1": float((self.first_hits == 1).mean()), "mAP": float(self.average_precisions.mean())}


def count(embeddings: Embeddings, ways: Sequence[Counting]) -> list[Counted]:
    """Count the same embeddings in several ways; each block of distances is computed once for all of them."""
    results: list[list[tuple[int, float, float]]] = [[] for _ in ways]

    sources: dict[tuple[bool, Distance, bool], list[int]] = defaultdict(list)
    for number, way in enumerate(ways):
        sources[way.protocol.queries_in_gallery, way.distance, way.reranked].append(number)
    queries = np.flatnonzero(embeddings.is_query)
    for (with_queries, distance, reranked), numbers in sources.items():
        # Junk would take the place of neighbours, so re-ranking never sees it.
        gallery = np.flatnonzero(
            (with_queries | ~embeddings.is_query) & (not reranked or embeddings.pids != JUNK_PID)
        )
        if not len(queries) or not len(gallery):
            continue
        for row, distances in _rows(embeddings, queries, gallery, distance=distance, reranked=reranked):
            known: dict[tuple[str, OwnCamera, bool, Ties], tuple[float, float] | None] = {}
            for number in numbers:
                way = ways[number]
                if embeddings.pids[row] <= 0 and not way.nobody:
                    continue
                rule = way.protocol.average_precision
                key = (rule, way.own_camera, way.junk, way.ties)
                if key not in known:
                    ranks = _ranks(embeddings, row, gallery, distances, way)
                    known[key] = (
                        (float(ranks[0]), average_precision(ranks, rule=rule)) if len(ranks) else None
                    )
                found = known[key] or ((float("inf"), 0.0) if way.unmatched else None)
                if found is not None:
                    results[number].append((row, *found))
    columns = [np.array(found, dtype=np.float64).reshape(-1, 3).T for found in results]
    return [Counted(rows=c[0].astype(np.int64), first_hits=c[1], average_precisions=c[2]) for c in columns]


def _rows(
    embeddings: Embeddings,
    queries: npt.NDArray[np.int64],
    gallery: npt.NDArray[np.int64],
    *,
    distance: Distance,
    reranked: bool,
) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    """Each query with its distances to the gallery; float64 holds what lies between two float32 numbers."""
    features = embeddings.features
    whole = rerank(features, queries, gallery, distance=distance) if reranked else None
    for start in range(0, len(queries), _BLOCK):
        rows = queries[start : start + _BLOCK]
        block = (
            distance_matrix(features[rows], features[gallery], distance=distance)
            if whole is None
            else whole[start : start + _BLOCK]
        )
        for row, distances in zip(rows.tolist(), block, strict=True):
            yield row, distances.astype(np.float64)


def _ranks(
    embeddings: Embeddings,
    row: int,
    gallery: npt.NDArray[np.int64],
    distances: npt.NDArray[np.float64],
    way: Counting,
) -> npt.NDArray[np.int64]:
    """Ranks of the right answers to one query."""
    pids, camera = embeddings.pids[gallery], embeddings.camids[gallery] == embeddings.camids[row]
    right = pids == embeddings.pids[row]
    excluded = {
        "left out": right & camera,
        "left in": np.zeros(len(gallery), dtype=np.bool_),
        "left in but itself": gallery == row,
        "whole camera left out": camera,
    }[way.own_camera]
    if not way.junk:
        excluded = excluded | ((pids == JUNK_PID) & ~right)  # a query that is junk finds its like
    if way.ties == "for":
        distances = np.where(right, np.nextafter(distances, -np.inf), distances)
    elif way.ties == "order":
        places = np.empty(len(gallery))
        places[np.argsort(distances, kind="stable")] = np.arange(len(gallery))
        distances = places
    hits = np.sort(distances[right & ~excluded])
    wrong = distances[~right & ~excluded]
    # Entry i: wrong answers whose distance lies above right answer i - 1 and not above right answer i.
    counts = np.bincount(np.searchsorted(hits, wrong, side="left"), minlength=len(hits) + 1)
    return np.asarray(np.arange(1, len(hits) + 1) + np.cumsum(counts)[: len(hits)], dtype=np.int64)


def ways_to_count(embeddings: Embeddings, *, ties: bool) -> list[Counting]:
    """Every protocol and distance with up to `DEPARTURES`; those that change nothing here are left out.

    `ties` says whether ties decide anything.
    """
    # Zero vectors have no cosine distance.
    distances = DISTANCES if embeddings.features.any(axis=1).all() else ("euclidean",)
    junk = bool((embeddings.pids[~embeddings.is_query] == JUNK_PID).any())
    nobody = bool((embeddings.pids[embeddings.is_query] <= 0).any())
    found = [
        Counting(
            protocol=protocol,
            distance=distance,
            own_camera=own_camera,
            junk=with_junk,
            nobody=with_nobody,
            unmatched=unmatched,
            ties=order,
        )
        for protocol, _ in distinct([p for p in PROTOCOLS.values() if not p.own_camera])
        for distance in distances
        for own_camera in get_args(OwnCamera)
        if own_camera != "left in but itself" or protocol.queries_in_gallery
        for with_junk in (False, True)[: 1 + junk]
        for with_nobody in (False, True)[: 1 + nobody]
        for unmatched in (False, True)
        for order in get_args(Ties)[: 3 if ties else 1]
    ]
    near = [way for way in found if len(way.departures()) <= DEPARTURES]
    return sorted(near, key=lambda way: len(way.departures()))


def average_precision(ranks: npt.NDArray[np.int64], *, rule: str) -> float:
    """Average precision of one query.

    Args:
        ranks: of its right answers, ascending, at least one.
        rule: ``rectangular``: mean of the precisions at the hits. ``trapezoidal``: area under the
            precision-recall curve with trapezia, as in the MATLAB code of MARS.

    >>> average_precision(np.array([1, 4]), rule="rectangular")
    0.75
    >>> round(average_precision(np.array([1, 4]), rule="trapezoidal"), 4)
    0.7083
    """
    ranks = as_whole(ranks, name="ranks")
    return float(precisions(ranks, np.arange(1, len(ranks) + 1), rule=rule).mean())
