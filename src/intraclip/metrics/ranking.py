"""From distances to CMC, mAP and mINP.

Tie rule: a right answer stands behind every wrong answer at the same distance. Scores then do not depend on the
order of the gallery, and a network that maps everybody to one point scores 0, not 1.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from intraclip.errors import DataError
from intraclip.metrics.distance import Distance, distance_matrix
from intraclip.metrics.protocols import Protocol
from intraclip.types import JUNK_PID, Embeddings

RANKS = (1, 5, 10, 20)
CMC_LENGTH = 50


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The counted queries one by one, in the order of the embeddings.

    Attributes:
        rows: int64 ``[queries]``, rows of the queries in the embeddings.
        first_hits: int64 ``[queries]``, rank of the first right answer, counted from 1.
        average_precisions: float64 ``[queries]``.
    """

    rows: npt.NDArray[np.int64]
    first_hits: npt.NDArray[np.int64]
    average_precisions: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one protocol says about one set of embeddings. Shares lie in 0..1.

    Attributes:
        protocol: name.
        distance: ``euclidean`` or ``cosine``.
        cmc: ``[50]``, share of queries whose first right answer has rank k or better; entry 0 is rank 1.
        mAP: mean over queries of the average precision.
        mINP: mean over queries of matches / rank of the last match.
        queries: queries counted.
        queries_without_match: queries that have no right answer in the gallery; not counted.
        gallery: tracklets searched, junk taken out.
        outcomes: the same by query, for tests across runs.
    """

    protocol: str
    distance: str
    cmc: npt.NDArray[np.float64]
    mAP: float
    mINP: float
    queries: int
    queries_without_match: int
    gallery: int
    outcomes: Outcomes

    def rank(self, k: int) -> float:
        """Rank-k of the CMC curve, 0..1."""
        return float(self.cmc[k - 1])

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values, as `intraclip evaluate --json` prints them."""
        return {
            **{f"rank{k}": self.rank(k) for k in RANKS},
            "mAP": self.mAP,
            "mINP": self.mINP,
            "queries": self.queries,
            "queries_without_match": self.queries_without_match,
            "gallery": self.gallery,
            "protocol": self.protocol,
            "distance": self.distance,
            "cmc": [round(float(v), 6) for v in self.cmc],
        }


def match_ranks(
    distances: npt.NDArray[np.float32], *, matches: npt.NDArray[np.bool_], excluded: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Ranks of the right answers of one query.

    Nothing is sorted but the few right answers: a rank is one plus the number of right answers before it plus the
    number of wrong answers that are not farther.

    Args:
        distances: float ``[G]``.
        matches: bool ``[G]``, right answers.
        excluded: bool ``[G]``, items that leave the ranking; they are neither right nor wrong.

    Returns:
        int64 ``[number of matches]``, ascending, counted from 1.

    >>> d = np.array([0.1, 0.2, 0.3, 0.3], dtype=np.float32)
    >>> match_ranks(d, matches=np.array([0, 1, 1, 0], bool), excluded=np.zeros(4, bool)).tolist()
    [2, 4]
    """
    right = np.sort(distances[matches & ~excluded])
    wrong = distances[~matches & ~excluded]
    # Entry i: wrong answers whose distance lies above right answer i - 1 and not above right answer i.
    counts = np.bincount(np.searchsorted(right, wrong, side="left"), minlength=len(right) + 1)
    return np.asarray(np.arange(1, len(right) + 1) + np.cumsum(counts)[: len(right)], dtype=np.int64)


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
    hits = np.arange(1, len(ranks) + 1)
    precision = hits / ranks
    if rule == "rectangular":
        return float(precision.mean())
    before = np.where(ranks > 1, (hits - 1) / np.maximum(ranks - 1, 1), 1.0)
    return float(((precision + before) / 2).mean())


class Searched(NamedTuple):
    """Rows of the embeddings that a protocol searches with and searches in."""

    query: npt.NDArray[np.int64]
    gallery: npt.NDArray[np.int64]


def searched(embeddings: Embeddings, protocol: Protocol) -> Searched:
    """Choose query and gallery rows; junk leaves the gallery.

    Raises:
        DataError: there is no query, or nothing to search in.
    """
    query = np.flatnonzero(embeddings.is_query)
    in_gallery = embeddings.pids != JUNK_PID
    if not protocol.queries_in_gallery:
        in_gallery &= ~embeddings.is_query
    gallery = np.flatnonzero(in_gallery)
    if not len(query) or not len(gallery):
        raise DataError(
            f"protocol {protocol.name} finds {len(query)} queries and {len(gallery)} gallery tracklets; both need "
            "at least one: is `is_query` set as it should be?"
        )
    return Searched(query, gallery)


def score(embeddings: Embeddings, protocol: Protocol, *, distance: Distance = "euclidean") -> Scores:
    """Score embeddings under one protocol.

    Args:
        embeddings: query and gallery together.
        protocol: what is searched and how precision is averaged.
        distance: ``euclidean`` or ``cosine``.

    Raises:
        DataError: no query, an empty gallery, or no query with a right answer.
    """
    query, gallery = searched(embeddings, protocol)
    distances = distance_matrix(embeddings.features[query], embeddings.features[gallery], distance=distance)
    pids, camids = embeddings.pids[gallery], embeddings.camids[gallery]
    rows, first_hits, precisions, inverse_negatives = [], [], [], []
    for row, index in enumerate(query):
        matches = pids == embeddings.pids[index]
        own = (camids == embeddings.camids[index]) & matches
        # A query that is searched too is its own camera's tracklet, so `own` takes it out.
        ranks = match_ranks(distances[row], matches=matches, excluded=own)
        if len(ranks):
            rows.append(index)
            first_hits.append(ranks[0])
            precisions.append(average_precision(ranks, rule=protocol.average_precision))
            inverse_negatives.append(len(ranks) / ranks[-1])
    if not precisions:
        raise DataError(
            f"none of the {len(query)} queries has a right answer in another camera under protocol {protocol.name}; "
            "check pids and camids"
        )
    first = np.array(first_hits)
    return Scores(
        protocol=protocol.name,
        distance=distance,
        cmc=(first[:, None] <= np.arange(1, CMC_LENGTH + 1)).mean(axis=0),
        mAP=float(np.mean(precisions)),
        mINP=float(np.mean(inverse_negatives)),
        queries=len(precisions),
        queries_without_match=len(query) - len(precisions),
        gallery=len(gallery),
        outcomes=Outcomes(rows=np.array(rows), first_hits=first, average_precisions=np.array(precisions)),
    )


@dataclass(frozen=True, kw_only=True)
class RankedList:
    """The best answers to one query, own-camera items and junk taken out.

    Attributes:
        query: row of the query in the embeddings.
        rows: int64 ``[k]``, rows of the answers, best first.
        distances: float32 ``[k]``.
        correct: bool ``[k]``.
    """

    query: int
    rows: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float32]
    correct: npt.NDArray[np.bool_]


def ranked_list(
    embeddings: Embeddings, protocol: Protocol, query: int, *, k: int, distance: Distance = "euclidean"
) -> RankedList:
    """The k best answers to one query; ties as in the module's rule, then in the order of the rows.

    Args:
        embeddings: query and gallery together.
        protocol: what is searched.
        query: row of the query.
        k: answers wanted; fewer come back from a smaller gallery.
        distance: ``euclidean`` or ``cosine``.
    """
    gallery = searched(embeddings, protocol).gallery
    same = embeddings.pids[gallery] == embeddings.pids[query]
    gallery = gallery[~(same & (embeddings.camids[gallery] == embeddings.camids[query]))]
    distances = distance_matrix(
        embeddings.features[query : query + 1], embeddings.features[gallery], distance=distance
    )[0]
    correct = embeddings.pids[gallery] == embeddings.pids[query]
    order = np.lexsort((gallery, correct, distances))[:k]
    return RankedList(query=query, rows=gallery[order], distances=distances[order], correct=correct[order])


class Similar(NamedTuple):
    """One answer of `most_similar`.

    Attributes:
        name: of the tracklet.
        camid: its camera.
        distance: to the query.
    """

    name: str
    camid: int
    distance: float


def most_similar(
    embeddings: Embeddings, query: str, *, k: int, distance: Distance = "cosine", own_camera: bool = False
) -> list[Similar]:
    """The tracklets nearest to a named one, without regard to pids: for data without labels.

    Args:
        embeddings: with names.
        query: name of a tracklet in them.
        k: answers wanted.
        distance: ``euclidean`` or ``cosine``.
        own_camera: whether tracklets of the query's own camera may answer.

    Raises:
        DataError: no tracklet of that name, or nothing is left to search.
    """
    if query not in embeddings.names:
        close = difflib.get_close_matches(query, embeddings.names, n=3)
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else f"there are {', '.join(embeddings.names[:5])}, ..."
        )
        raise DataError(f"there is no tracklet {query!r}; {hint}")
    row = embeddings.names.index(query)
    others = np.arange(len(embeddings)) != row
    if not own_camera:
        others &= embeddings.camids != embeddings.camids[row]
    rows = np.flatnonzero(others)
    if not len(rows):
        raise DataError(f"there is nothing to search: every tracklet is of camera {embeddings.camids[row]}")
    distances = distance_matrix(
        embeddings.features[row : row + 1], embeddings.features[rows], distance=distance
    )[0]
    order = np.lexsort((rows, distances))[:k]
    return [
        Similar(embeddings.names[rows[i]], int(embeddings.camids[rows[i]]), float(distances[i]))
        for i in order
    ]
