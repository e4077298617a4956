"""Scores of a matrix of distances that somebody else made."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_array
from intraclip.errors import DataError
from intraclip.metrics.blocks import FLAGS, MAX_BYTES, count_not_above
from intraclip.metrics.ranking import Identities, Pairs, Right, right_answers, scores_of
from intraclip.metrics.scores import Scores
from intraclip.types import JUNK_PID

_TILE = 65_536
"""Distances of a row that are counted at a time: they stay in the processor's cache from threshold to threshold."""


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
    identities = Identities(
        **{which: np.asarray(values).astype(np.int64, copy=False) for which, values in ids.items()}
    )
    junk = np.flatnonzero(identities.gallery_pids == JUNK_PID)
    flags, zeros = np.empty(max(FLAGS, len(junk)), dtype=bool), np.zeros(_TILE, dtype=distances.dtype)

    def within(query: int, thresholds: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
        """How many gallery items, junk left out, lie within each threshold of a query."""
        row, counts = distances[query], np.zeros(len(thresholds), dtype=np.int64)
        for start in range(0, len(row), _TILE):
            tile = np.ascontiguousarray(row[start : start + _TILE])
            # 0 x is 0 only for finite x: a product finds NaN and both infinities in a fraction of isfinite's time.
            if np.dot(tile, zeros[: len(tile)]) != 0:
                column = start + int(np.flatnonzero(~np.isfinite(tile))[0])
                raise DataError(
                    f"the distance of query {query} to gallery item {column} is {row[column]}; distances must be finite"
                )
            counts += count_not_above(tile, thresholds, flags=flags)
        return counts - count_not_above(row[junk], thresholds, flags=flags) if len(junk) else counts

    def nearer(first: int, pairs: Pairs) -> tuple[Right, npt.NDArray[np.int64]]:
        right = right_answers(pairs, distances[first : first + pairs.queries][pairs.rows, pairs.columns])
        with np.errstate(invalid="ignore"):  # what is not finite gets an error of its own
            found = [
                within(first + number, right.distances[start:stop])
                for number, (start, stop) in enumerate(pairwise(right.starts))
            ]
        # The row holds the query's own pid too; what of it lies within is known, and not wrong.
        return right, np.concatenate(found) - right.own_pid_within

    return scores_of(
        identities,
        nearer,
        rows=np.arange(len(distances)),
        rule=rule,
        protocol=name,
        distance="given",
        max_bytes=MAX_BYTES,
    )
