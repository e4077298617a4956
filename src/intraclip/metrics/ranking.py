"""From distances to CMC, mAP and mINP.

Tie rule: a right answer stands behind every wrong answer at the same distance. Scores then do not depend on the
order of the gallery, and a network that maps everybody to one point scores 0, not 1.

Nothing is sorted but the few right answers of a query: the rank of one is its place among them plus the number of wrong
answers that are not farther, and counting those takes one comparison each. `score` counts in blocks that it computes
from the features (`intraclip.metrics.blocks`), `intraclip.metrics.given_distances` in a matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from intraclip.errors import DataError
from intraclip.metrics.blocks import MAX_BYTES, count_not_farther
from intraclip.metrics.distance import Distance, check_features, paired_distances
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.protocols import Protocol
from intraclip.metrics.scores import CMC_LENGTH, Outcomes, Scores
from intraclip.types import JUNK_PID

_PAIR_BYTES = 128
"""What one pair of a query and a gallery item of its own pid takes, with all that is worked out from it."""


def precisions(
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
        from intraclip.metrics.within_camera import score_within

        return score_within(embeddings, protocol, distance=distance, max_bytes=max_bytes, device=device)

    def nearer(first: int, pairs: Pairs) -> tuple[Right, npt.NDArray[np.int64]]:
        rows = query[first : first + pairs.queries]
        distances = paired_distances(
            features, features, rows=rows[pairs.rows], columns=gallery[pairs.columns], distance=distance
        )
        right = right_answers(pairs, distances)
        return right, count_not_farther(
            features,
            query=rows,
            gallery=gallery,
            distance=distance,
            thresholds=right.distances,
            starts=right.starts,
            left_out=(pairs.rows, pairs.columns),
            max_bytes=max_bytes,
            device=device,
        )

    return scores_of(
        Identities(
            query_pids=embeddings.pids[query],
            query_camids=embeddings.camids[query],
            gallery_pids=embeddings.pids[gallery],
            gallery_camids=embeddings.camids[gallery],
        ),
        nearer,
        rows=query,
        rule=protocol.average_precision,
        protocol=protocol.name,
        distance=distance,
        max_bytes=max_bytes,
    )


@dataclass(frozen=True, kw_only=True)
class Identities:
    """Who is searched for and who is searched, int64 ``[Q]`` and ``[G]``."""

    query_pids: npt.NDArray[np.int64]
    query_camids: npt.NDArray[np.int64]
    gallery_pids: npt.NDArray[np.int64]
    gallery_camids: npt.NDArray[np.int64]

    def pairs(self, max_pairs: int) -> Iterator[tuple[int, Pairs]]:
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
                Pairs(
                    queries=len(own),
                    rows=rows,
                    columns=columns,
                    right=self.gallery_camids[columns] != self.query_camids[run][rows],
                ),
            )
            first = run.stop


@dataclass(frozen=True, kw_only=True)
class Pairs:
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


class Right(NamedTuple):
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


def right_answers(pairs: Pairs, distances: npt.NDArray[Any]) -> Right:
    """Those among pairs, of distances ``[pairs]``."""
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
    return Right(
        distances=distances[right],
        starts=starts,
        hits=np.arange(1, starts[-1] + 1) - np.repeat(starts[:-1], np.diff(starts)),
        own_pid_within=(behind_ties - row_start)[right],
    )


def scores_of(
    identities: Identities,
    nearer: Callable[[int, Pairs], tuple[Right, npt.NDArray[np.int64]]],
    *,
    rows: npt.NDArray[np.int64],
    rule: str,
    protocol: str,
    distance: str,
    max_bytes: int,
) -> Scores:
    """Rank run by run of queries, and keep three numbers of each query that has a right answer.

    `nearer` takes a run's first query and its pairs, and gives the right ones with the number of wrong answers that are
    not farther than each.
    """
    counted, first_hits, averages, inverse_negatives = [], [], [], []
    for first, pairs in identities.pairs(max(1, max_bytes // _PAIR_BYTES)):
        (_, starts, hits, _), before = nearer(first, pairs)
        ranks = hits + before
        found = np.flatnonzero(np.diff(starts))
        if not len(found):
            continue
        begin, last, number = starts[found], starts[found + 1] - 1, np.diff(starts)[found]
        counted.append(rows[first + found])
        first_hits.append(ranks[begin])
        averages.append(np.add.reduceat(precisions(ranks, hits, rule=rule), begin) / number)
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
    return summary(
        Outcomes(
            rows=np.concatenate(counted),
            first_hits=np.concatenate(first_hits),
            average_precisions=np.concatenate(averages),
            inverse_negative_penalties=np.concatenate(inverse_negatives),
        ),
        protocol=protocol,
        distance=distance,
        queries=len(rows),
        gallery=int((identities.gallery_pids != JUNK_PID).sum()),
    )


def summary(outcomes: Outcomes, *, protocol: str, distance: str, queries: int, gallery: int) -> Scores:
    """The scores of counted queries, of so many that were searched with."""
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
