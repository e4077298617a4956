"""From distances to CMC, mAP and mINP.

Tie rule: a right answer stands behind every wrong answer at the same distance. Scores then do not depend on the
order of the gallery, and a network that maps everybody to one point scores 0, not 1.

Nothing is sorted but the few right answers of a query: the rank of one is its place among them plus the number of wrong
answers that are not farther, and counting those takes one comparison each. `score_distances` counts in a matrix,
`score` in blocks that it computes from the features (`intraclip.metrics.blocks`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_array, as_flags, as_whole
from intraclip.errors import DataError
from intraclip.metrics.blocks import FLAGS, MAX_BYTES, Thresholds, count_not_above, count_not_farther
from intraclip.metrics.distance import Distance, check_features, paired_distances
from intraclip.metrics.protocols import Protocol
from intraclip.types import JUNK_PID, Embeddings

if TYPE_CHECKING:
    from intraclip.metrics.uncertainty import Estimates

RANKS = (1, 5, 10, 20)
CMC_LENGTH = 50

_PAIR_BYTES = 128
"""What one pair of a query and a gallery item of its own pid takes, with all that is worked out from it."""

_TILE = 65_536
"""Distances of a row that are counted at a time: they stay in the processor's cache from threshold to threshold."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The counted queries one by one, in the order of the embeddings.

    Attributes:
        rows: int64 ``[queries]``, rows of the queries in the embeddings.
        first_hits: int64 ``[queries]``, rank of the first right answer, counted from 1.
        average_precisions: float64 ``[queries]``.
        inverse_negative_penalties: float64 ``[queries]``, right answers / rank of the last one.
    """

    rows: npt.NDArray[np.int64]
    first_hits: npt.NDArray[np.int64]
    average_precisions: npt.NDArray[np.float64]
    inverse_negative_penalties: npt.NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Those of several scores, one after the other."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one protocol says about one set of embeddings. Shares lie in 0..1.

    Attributes:
        distance: ``euclidean`` or ``cosine``; ``given`` when the distances came from outside.
        cmc: ``[50]``, share of queries whose first right answer has rank k or better; entry 0 is rank 1.
        mAP: mean over queries of the average precision.
        mINP: mean over queries of matches / rank of the last match.
        queries_without_match: queries that have no right answer in the gallery; not counted.
        gallery: tracklets searched, junk taken out.
        outcomes: the same by query, for tests across runs.
        intervals: where the scores would lie with other people; None where nobody asked, or too few were searched for.
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
    intervals: Estimates | None = None

    def __repr__(self) -> str:
        def shown(name: str, value: float) -> str:
            found = self.intervals.scores.get(name) if self.intervals is not None else None
            known = found is not None and found.low is not None and found.high is not None
            return f"{value:.3f}" + (f" ({found.low:.3f} to {found.high:.3f})" if found and known else "")

        return (
            f"Scores({self.protocol}, {self.distance}: rank-1 {shown('rank1', self.rank(1))}, "
            f"mAP {shown('mAP', self.mAP)}, mINP {shown('mINP', self.mINP)}; {self.queries:,} queries)"
        )

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
    distances: npt.NDArray[np.floating], *, matches: npt.NDArray[np.bool_], excluded: npt.NDArray[np.bool_]
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
    distances = as_array(distances, name="distances")
    matches, excluded = as_flags(matches, name="matches"), as_flags(excluded, name="excluded")
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
    ranks = as_whole(ranks, name="ranks")
    return float(_precisions(ranks, np.arange(1, len(ranks) + 1), rule=rule).mean())


def _precisions(
    ranks: npt.NDArray[np.int64], hits: npt.NDArray[np.int64], *, rule: str
) -> npt.NDArray[np.float64]:
    """What each right answer adds to its query's average precision; `hits` counts it and those before it."""
    precision = hits / ranks
    if rule == "rectangular":
        return precision
    before = np.where(ranks > 1, (hits - 1) / np.maximum(ranks - 1, 1), 1.0)
    return np.asarray((precision + before) / 2, dtype=np.float64)


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


def score(
    embeddings: Embeddings,
    protocol: Protocol,
    *,
    distance: Distance = "euclidean",
    max_bytes: int = MAX_BYTES,
    device: str | None = None,
) -> Scores:
    """Score embeddings under one protocol, without ever holding the matrix of distances.

    The scores are those of the distances of `paired_distances`, exactly: neither `max_bytes` nor `device` changes them.

    Args:
        embeddings: query and gallery together.
        protocol: what is searched and how precision is averaged.
        distance: ``euclidean`` or ``cosine``.
        max_bytes: memory for the blocks, by default 256 MiB. The embeddings come on top, and some 200 bytes for each
            query and gallery item.
        device: None for numpy; a torch device such as ``cuda`` moves products and counting there.

    Raises:
        DataError: no query, an empty gallery, no query with a right answer, or features without distances.
    """
    query, gallery = searched(embeddings, protocol)
    features = embeddings.features
    check_features(features, name="tracklet", distance=distance, rows=np.concatenate((query, gallery)))
    if protocol.own_camera:
        return _score_within(embeddings, protocol, distance=distance, max_bytes=max_bytes, device=device)

    def rank(first: int, pairs: _Pairs) -> _Ranked:
        rows = query[first : first + pairs.queries]
        distances = paired_distances(
            features, features, rows=rows[pairs.rows], columns=gallery[pairs.columns], distance=distance
        )
        right = _right_answers(pairs, distances)
        nearer = count_not_farther(
            features,
            query=rows,
            gallery=gallery,
            distance=distance,
            thresholds=Thresholds(
                distances=right.distances,
                starts=right.starts,
                left_out_rows=pairs.rows,
                left_out_columns=pairs.columns,
            ),
            max_bytes=max_bytes,
            device=device,
        )
        return _Ranked(right.starts, right.hits, right.hits + nearer)

    return _scores(
        _Identities(
            query_pids=embeddings.pids[query],
            query_camids=embeddings.camids[query],
            gallery_pids=embeddings.pids[gallery],
            gallery_camids=embeddings.camids[gallery],
        ),
        rank,
        rows=query,
        rule=protocol.average_precision,
        protocol=protocol.name,
        distance=distance,
        max_bytes=max_bytes,
    )


def _score_within(embeddings: Embeddings, protocol: Protocol, *, distance: Distance, **how: Any) -> Scores:
    """Score camera by camera; there, queries and gallery stand for two cameras, so that nothing leaves the ranking."""
    query, gallery = searched(embeddings, protocol)
    across = replace(protocol, own_camera=False)
    outcomes: list[Outcomes] = []
    for camid in np.unique(embeddings.camids[query]):
        rows = np.flatnonzero(embeddings.camids == camid)
        pids, is_query = embeddings.pids[rows], embeddings.is_query[rows]
        right = (pids > 0) & np.isin(pids, pids[is_query]) & ~is_query
        if not right.any():
            continue
        found = score(
            Embeddings(
                features=embeddings.features[rows],
                pids=pids,
                camids=(~is_query).astype(np.int64),
                is_query=is_query,
            ),
            across,
            distance=distance,
            **how,
        ).outcomes
        outcomes.append(replace(found, rows=rows[found.rows]))
    if not outcomes:
        raise DataError(
            f"none of the {len(query)} queries has a right answer in its own camera under protocol {protocol.name}; "
            "check pids and camids"
        )
    joined = Outcomes.joined(outcomes)
    order = np.argsort(joined.rows, kind="stable")
    return _summary(
        Outcomes(**{f.name: getattr(joined, f.name)[order] for f in fields(Outcomes)}),
        protocol=protocol.name,
        distance=distance,
        queries=len(query),
        gallery=len(gallery),
    )


def score_distances(
    distances: npt.NDArray[np.floating],
    *,
    query_pids: npt.NDArray[np.integer],
    query_camids: npt.NDArray[np.integer],
    gallery_pids: npt.NDArray[np.integer],
    gallery_camids: npt.NDArray[np.integer],
    rule: Literal["rectangular", "trapezoidal"] = "rectangular",
    name: str = "given distances",
) -> Scores:
    """Score a matrix of distances; it is neither sorted nor copied nor changed.

    Gallery items of the query's own pid and camid leave the ranking, and so does junk (pid -1). Whether the queries are
    in the gallery is the matrix's affair.

    Args:
        distances: floating ``[Q, G]``, of any scale, smaller is nearer; minus a similarity will do. Rows that lie in
            one piece in memory are fastest.
        query_pids: integers ``[Q]``, one a tracklet, not one a frame.
        query_camids: integers ``[Q]``.
        gallery_pids: integers ``[G]``.
        gallery_camids: integers ``[G]``.
        rule: how precision is averaged, see `average_precision`.
        name: what the scores say as their protocol.

    Returns:
        Scores; the rows of its outcomes are those of the matrix.

    Raises:
        DataError: lengths differ, ids are no integers, a distance is not finite, or no query has a right answer.

    >>> d = np.array([[0.1, 0.2, 0.3]], dtype=np.float32)
    >>> found = score_distances(d, query_pids=np.array([1]), query_camids=np.array([1]),
    ...                         gallery_pids=np.array([1, 2, 1]), gallery_camids=np.array([1, 2, 2]))
    >>> found.mAP, found.rank(1), found.rank(5)
    (0.5, 0.0, 1.0)
    """
    distances = as_array(distances, name="distances")
    ids = {
        "query_pids": as_array(query_pids, name="query_pids"),
        "query_camids": as_array(query_camids, name="query_camids"),
        "gallery_pids": as_array(gallery_pids, name="gallery_pids"),
        "gallery_camids": as_array(gallery_camids, name="gallery_camids"),
    }
    for side, size in zip(("query", "gallery"), distances.shape if distances.ndim == 2 else (), strict=False):
        for which in (f"{side}_pids", f"{side}_camids"):
            if ids[which].shape != (size,):
                raise DataError(
                    f"{which} has the shape {ids[which].shape} for distances of shape {distances.shape}: one entry "
                    f"for each of the {size} {side} tracklets is needed (not one a frame)"
                )
            if ids[which].dtype.kind not in "iu":
                raise DataError(f"{which} must be integers, not {ids[which].dtype}")
    if distances.ndim != 2 or distances.dtype.kind != "f" or not distances.size:
        raise DataError(
            f"distances must be floating [Q, G] with at least one query and one gallery item, "
            f"not {distances.dtype} {distances.shape}"
        )
    if rule not in ("rectangular", "trapezoidal"):
        raise DataError(f"rule {rule!r} is not one of rectangular, trapezoidal")
    identities = _Identities(
        **{which: np.asarray(values).astype(np.int64, copy=False) for which, values in ids.items()}
    )
    count = _RowCounter(distances.dtype, np.flatnonzero(identities.gallery_pids == JUNK_PID))

    def rank(first: int, pairs: _Pairs) -> _Ranked:
        own = distances[first : first + pairs.queries]
        right = _right_answers(pairs, own[pairs.rows, pairs.columns])
        with np.errstate(invalid="ignore"):  # what is not finite gets an error of its own
            within = [
                count(row, right.distances[start:stop], first + number)
                for number, (row, (start, stop)) in enumerate(zip(own, pairwise(right.starts), strict=True))
            ]
        # The row holds the query's own pid too; what of it lies within is known, and not wrong.
        return _Ranked(right.starts, right.hits, right.hits + np.concatenate(within) - right.own_pid_within)

    return _scores(
        identities,
        rank,
        rows=np.arange(len(distances)),
        rule=rule,
        protocol=name,
        distance="given",
        max_bytes=MAX_BYTES,
    )


class _RowCounter:
    """Counts in rows of one length, with the room for it made once."""

    def __init__(self, dtype: np.dtype[Any], junk: npt.NDArray[np.int64]) -> None:
        self._junk = junk
        self._flags = np.empty(max(FLAGS, len(junk)), dtype=bool)
        self._zeros = np.zeros(_TILE, dtype=dtype)

    def __call__(
        self, row: npt.NDArray[np.floating], thresholds: npt.NDArray[np.floating], number: int
    ) -> npt.NDArray[np.int64]:
        """How many distances of a row, junk left out, lie within each threshold.

        Raises:
            DataError: a distance is not finite; `number` is the query that the message names.
        """
        counts = np.zeros(len(thresholds), dtype=np.int64)
        for start in range(0, len(row), _TILE):
            tile = np.ascontiguousarray(row[start : start + _TILE])
            # 0 x is 0 only for finite x: a product finds NaN and both infinities in a fraction of isfinite's time.
            if np.dot(tile, self._zeros[: len(tile)]) != 0:
                column = start + int(np.flatnonzero(~np.isfinite(tile))[0])
                raise DataError(
                    f"the distance of query {number} to gallery item {column} is {row[column]}; distances must be "
                    "finite"
                )
            counts += count_not_above(tile, thresholds, flags=self._flags)
        if len(self._junk):
            counts -= count_not_above(row[self._junk], thresholds, flags=self._flags)
        return counts


@dataclass(frozen=True, kw_only=True)
class _Identities:
    """Who is searched for and who is searched, int64 ``[Q]`` and ``[G]``."""

    query_pids: npt.NDArray[np.int64]
    query_camids: npt.NDArray[np.int64]
    gallery_pids: npt.NDArray[np.int64]
    gallery_camids: npt.NDArray[np.int64]

    def pairs(self, max_pairs: int) -> Iterator[tuple[int, _Pairs]]:
        """For runs of queries: the first of them, and their pairs with the gallery items of their pid.

        The gallery is grouped by pid once, so that a query looks at its own group only. A run has at most `max_pairs`
        pairs, were each query to have as many as the one that has most, or is a single query.
        """
        order = np.argsort(self.gallery_pids, kind="stable")
        grouped = self.gallery_pids[order]
        begin = np.searchsorted(grouped, self.query_pids, side="left")
        sizes = np.searchsorted(grouped, self.query_pids, side="right") - begin
        # Junk, distractors and the unlabelled are nobody: two of them are not one person for sharing a pid.
        sizes[self.query_pids <= 0] = 0
        first = 0
        while first < len(sizes):
            most = np.maximum.accumulate(sizes[first:]) * np.arange(1, len(sizes) - first + 1)
            run = slice(first, first + max(1, int(np.searchsorted(most, max_pairs, side="right"))))
            own = sizes[run]
            rows = np.repeat(np.arange(len(own)), own)
            within = np.arange(len(rows)) - np.repeat(np.cumsum(own) - own, own)
            columns = order[begin[run][rows] + within]
            yield (
                first,
                _Pairs(
                    queries=len(own),
                    rows=rows,
                    columns=columns,
                    right=self.gallery_camids[columns] != self.query_camids[run][rows],
                ),
            )
            first = run.stop


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Pairs of a query and a gallery item of its pid, sorted by query.

    Attributes:
        rows: int64 ``[pairs]``, queries counted from 0.
        columns: int64 ``[pairs]``, gallery items.
        right: bool ``[pairs]``, right answers; the others are of the query's own camera.
    """

    queries: int
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]


class _Right(NamedTuple):
    """Right answers, sorted by query and then by distance.

    Attributes:
        distances: ``[answers]``.
        starts: int64 ``[queries + 1]``, where each query's answers start.
        hits: int64 ``[answers]``, place among the right answers of the query, from 1.
        own_pid_within: int64 ``[answers]``, gallery items of the query's pid, right or not, that are not farther.
    """

    distances: npt.NDArray[Any]
    starts: npt.NDArray[np.int64]
    hits: npt.NDArray[np.int64]
    own_pid_within: npt.NDArray[np.int64]


class _Ranked(NamedTuple):
    """`starts` and `hits` as in `_Right`, and the ranks of the right answers, from 1."""

    starts: npt.NDArray[np.int64]
    hits: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int64]


def _right_answers(pairs: _Pairs, distances: npt.NDArray[Any]) -> _Right:
    order = np.lexsort((distances, pairs.rows))
    # pairs.rows is sorted, so this order leaves it as it is.
    rows, distances, right = pairs.rows, distances[order], pairs.right[order]
    new_row = np.diff(rows, prepend=-1) != 0
    new_value = new_row.copy()
    new_value[1:] |= distances[1:] != distances[:-1]
    place = np.arange(len(rows))
    # The last pair of those that tie is before the first of the next value.
    behind_ties = np.append(place[new_value][1:], len(rows))[np.cumsum(new_value) - 1]
    row_start = place[new_row][np.cumsum(new_row) - 1]
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows[right], minlength=pairs.queries))))
    return _Right(
        distances=distances[right],
        starts=starts,
        hits=np.arange(1, starts[-1] + 1) - np.repeat(starts[:-1], np.diff(starts)),
        own_pid_within=(behind_ties - row_start)[right],
    )


def _scores(
    identities: _Identities,
    rank: Callable[[int, _Pairs], _Ranked],
    *,
    rows: npt.NDArray[np.int64],
    rule: str,
    protocol: str,
    distance: str,
    max_bytes: int,
) -> Scores:
    """Rank run by run of queries, and keep three numbers of each query that has a right answer."""
    counted, first_hits, precisions, inverse_negatives = [], [], [], []
    for first, pairs in identities.pairs(max(1, max_bytes // _PAIR_BYTES)):
        starts, hits, ranks = rank(first, pairs)
        found = np.flatnonzero(np.diff(starts))
        if not len(found):
            continue
        begin, last, number = starts[found], starts[found + 1] - 1, np.diff(starts)[found]
        counted.append(rows[first + found])
        first_hits.append(ranks[begin])
        precisions.append(np.add.reduceat(_precisions(ranks, hits, rule=rule), begin) / number)
        inverse_negatives.append(number / ranks[last])
    if not counted:
        cameras = np.unique(np.concatenate((identities.query_camids, identities.gallery_camids)))
        if len(cameras) == 1:
            raise DataError(
                f"all tracklets are of one camera (camid {cameras[0]}), and right answers are in another one: no "
                f"query has any under protocol {protocol}; to score within a camera, use protocol within-camera"
            )
        raise DataError(
            f"none of the {len(rows)} queries has a right answer in another camera under protocol {protocol}; "
            f"the tracklets are of {len(cameras)} cameras: check pids and camids"
        )
    return _summary(
        Outcomes(
            rows=np.concatenate(counted),
            first_hits=np.concatenate(first_hits),
            average_precisions=np.concatenate(precisions),
            inverse_negative_penalties=np.concatenate(inverse_negatives),
        ),
        protocol=protocol,
        distance=distance,
        queries=len(rows),
        gallery=int((identities.gallery_pids != JUNK_PID).sum()),
    )


def _summary(outcomes: Outcomes, *, protocol: str, distance: str, queries: int, gallery: int) -> Scores:
    return Scores(
        protocol=protocol,
        distance=distance,
        cmc=(outcomes.first_hits[:, None] <= np.arange(1, CMC_LENGTH + 1)).mean(axis=0),
        mAP=float(outcomes.average_precisions.mean()),
        mINP=float(outcomes.inverse_negative_penalties.mean()),
        queries=len(outcomes.rows),
        queries_without_match=queries - len(outcomes.rows),
        gallery=gallery,
        outcomes=outcomes,
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
    """The k best answers to one query; ties as in the module's rule, then in the order of the rows."""
    gallery = searched(embeddings, protocol).gallery
    same = embeddings.pids[gallery] == embeddings.pids[query]
    own_camera = embeddings.camids[gallery] == embeddings.camids[query]
    gallery = gallery[own_camera if protocol.own_camera else ~(same & own_camera)]
    distances = _distances_to(embeddings, query, gallery, distance=distance)
    correct = (embeddings.pids[gallery] == embeddings.pids[query]) & (embeddings.pids[query] > 0)
    order = np.lexsort((gallery, correct, distances))[:k]
    return RankedList(query=query, rows=gallery[order], distances=distances[order], correct=correct[order])


def _distances_to(
    embeddings: Embeddings, query: int, rows: npt.NDArray[np.int64], *, distance: Distance
) -> npt.NDArray[np.float32]:
    features = embeddings.features
    check_features(features, name="tracklet", distance=distance, rows=np.append(rows, query))
    return paired_distances(
        features, features, rows=np.full(len(rows), query), columns=rows, distance=distance
    )


class Similar(NamedTuple):
    """One answer of `most_similar`."""

    name: str
    camid: int
    distance: float


def require_name(query: str, names: Sequence[str]) -> None:
    """Refuse a tracklet name that is not among `names`, with the nearest ones.

    Raises:
        DataError: no tracklet of that name.
    """
    if query not in names:
        close = difflib.get_close_matches(query, names, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names[:5])}, ..."
        raise DataError(f"there is no tracklet {query!r}; {hint}")


def most_similar(
    embeddings: Embeddings, query: str, *, k: int, distance: Distance = "cosine", own_camera: bool = False
) -> list[Similar]:
    """The tracklets nearest to a named one, without regard to pids: for data without labels.

    Raises:
        DataError: no tracklet of that name, or nothing is left to search.
    """
    require_name(query, embeddings.names)
    row = embeddings.names.index(query)
    others = np.arange(len(embeddings)) != row
    if not own_camera:
        others &= embeddings.camids != embeddings.camids[row]
    rows = np.flatnonzero(others)
    if not len(rows):
        raise DataError(f"there is nothing to search: every tracklet is of camera {embeddings.camids[row]}")
    distances = _distances_to(embeddings, row, rows, distance=distance)
    order = np.lexsort((rows, distances))[:k]
    return [
        Similar(embeddings.names[rows[i]], int(embeddings.camids[rows[i]]), float(distances[i]))
        for i in order
    ]
