"""The best answers to one query, by name or by row."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from intraclip.errors import DataError
from intraclip.metrics.distance import Distance, check_features, paired_distances
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.protocols import Protocol
from intraclip.metrics.ranking import searched


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
    """Refuse a tracklet name that is not among `names`, with the nearest ones."""
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
