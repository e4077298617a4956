"""k-reciprocal re-ranking: two tracklets are near when they have the same neighbours.

After Zhong, Zheng, Cao and Li, "Re-ranking person re-identification with k-reciprocal encoding", CVPR 2017; equation
numbers are theirs.

The answer to one query depends on who else was searched for: the test set is used as if it were training data without
labels, by parameters that were tuned on the usual test sets. So such scores are compared with their like alone, and a
calibration of plain distances says nothing about them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from intraclip.arrays import as_reals, as_whole
from intraclip.errors import DataError
from intraclip.metrics.distance import Distance, paired_distances
from intraclip.metrics.distance_matrix import distance_matrix

BLOCK = 256
"""Rows of distances held at once."""


K1, K2, WEIGHT = 20, 6, 0.3
"""The paper's."""

RERANKED = f"k-reciprocal re-ranked (k1={K1}, k2={K2}, lambda={WEIGHT})"
"""Name of distances re-ranked so, which reports must print beside every number made of them."""


def rerank(
    features: npt.NDArray[np.float32],
    query: npt.NDArray[np.int64],
    gallery: npt.NDArray[np.int64],
    *,
    distance: Distance = "euclidean",
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
) -> npt.NDArray[np.float32]:
    """Re-rank a gallery for all queries together.

    d is the squared Euclidean distance (Eq. 1 with M = 1) or the cosine distance. With all queries and gallery
    tracklets in one set, a tracklet being its own nearest neighbour:

    * N(p, k): p and the k tracklets nearest to it;
    * R(p, k): those g in N(p, k) that have p in N(g, k) (Eq. 2, 3);
    * R*(p): R(p, k1), and R(q, k1 / 2) of each of its members q of which at least two thirds lie in R(p, k1) (Eq. 5);
    * V(p): exp(-d(p, g)) for g in R*(p), else 0 (Eq. 7); then the mean of V over p and the k2 - 1 tracklets nearest to
      it (Eq. 11);
    * Jaccard distance: 1 - sum of the smaller entries / sum of the larger entries of V(p) and V(g) (Eq. 10);
    * result: (1 - weight) x Jaccard + weight x d (Eq. 12).

    The paper leaves the scale of d open, although Eq. 7 and 12 depend on it. Here d is divided by its largest value
    in the set: results do not change when all features are multiplied, and both terms of Eq. 12 lie in 0..1. With
    `weight` 1 the result is d / scale, the plain ranking.

    Memory, beside the result and float64 copies of the features: about 40 bytes x `BLOCK` x tracklets for a block of
    distances, and 50 bytes for each entry of V that is not 0, of which there are tens to a few hundreds a tracklet.

    Args:
        features: float32 ``[N, D]``.
        query: int64 ``[Q]``, rows of the queries.
        gallery: int64 ``[G]``, rows of the gallery, such as both of `searched`. A row in both is one tracklet, not two
            that are their own best match. Junk is best left out: it takes the place of neighbours.
        distance: ``euclidean`` or ``cosine``.
        k1: neighbours, at least 1; fewer in a smaller set.
        k2: tracklets whose encodings are averaged, at least 1, which is none but the own one.
        weight: lambda of Eq. 12, 0..1.

    Returns:
        float32 ``[Q, G]``, 0..1; not comparable with plain distances.

    Raises:
        DataError: no query or gallery rows, rows that are not there, or features that have no distance.
        ValueError: a parameter out of range.
    """
    if k1 < 1 or k2 < 1:
        raise ValueError(f"k1 is {k1} and k2 is {k2}; each must be at least 1")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}; it must lie in 0..1")
    features = as_reals(features, name="features")
    query, gallery = as_whole(query, name="query rows"), as_whole(gallery, name="gallery rows")
    together, places = np.unique(np.concatenate([query, gallery]), return_inverse=True)
    if not len(query) or not len(gallery) or together[0] < 0 or together[-1] >= len(features):
        raise DataError(
            f"re-ranking wants rows of the {len(features)} features for queries and gallery; got {len(query)} and "
            f"{len(gallery)} of them" + (f", from {together[0]} to {together[-1]}" if len(together) else "")
        )
    items = features[together]
    neighbours, scale = _neighbours(items, max(k1, k2 - 1), distance=distance)
    reciprocal = _expanded(neighbours, k1)
    encoded = _encoded(items, reciprocal, distance=distance, scale=scale)
    # Eq. 11: one product with a matrix that averages.
    averaged = neighbours[:, :k2]
    rows, columns = np.indices(averaged.shape)[0].ravel(), averaged.ravel()
    mean = sparse.csr_array(
        (np.full(len(rows), 1 / averaged.shape[1]), (rows, columns)), shape=(len(items), len(items))
    )
    encoded = mean @ encoded
    result = np.empty((len(query), len(gallery)), dtype=np.float32)
    at_query, at_gallery = places[: len(query)], places[len(query) :]
    of_query, of_gallery = encoded[at_query], encoded[at_gallery]
    del encoded
    sums = np.asarray(of_gallery.sum(axis=1))
    columns_of_gallery = of_gallery.tocsc()
    del of_gallery
    for start in range(0, len(query), BLOCK):
        part = slice(start, start + BLOCK)
        plain = _d(distance_matrix(items[at_query[part]], items[at_gallery], distance=distance), distance)
        result[part] = weight * (plain / scale)
        for row in range(start, min(start + BLOCK, len(query))):
            own = slice(of_query.indptr[row], of_query.indptr[row + 1])
            smaller = _shared(of_query.indices[own], of_query.data[own], columns_of_gallery)
            larger = of_query.data[own].sum() + sums - smaller
            result[row] += ((1 - weight) * np.maximum(1 - smaller / larger, 0)).astype(np.float32)
    return result


def _d(plain: npt.NDArray[np.float32], distance: Distance) -> npt.NDArray[np.float64]:
    """The paper's d of plain distances."""
    wide = plain.astype(np.float64)
    return wide**2 if distance == "euclidean" else wide


def _neighbours(
    items: npt.NDArray[np.float32], count: int, *, distance: Distance
) -> tuple[npt.NDArray[np.int64], float]:
    """Each item and the `count` ones nearest to it, in that order, and the largest d of all.

    Equally far ones come in the order of their rows.
    """
    n = len(items)
    kept = min(count, n - 1) + 1
    nearest = np.empty((n, kept), dtype=np.int64)
    largest = 0.0
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        plain = distance_matrix(items[rows], items, distance=distance)
        largest = max(largest, float(plain.max()))
        # The bits of non-negative floats sort like the floats; with the row behind them, no two are equal, so that a
        # partition has one result.
        keys = (plain + np.float32(0)).view(np.uint32).astype(np.uint64) << np.uint64(32)
        keys |= np.arange(n, dtype=np.uint64)
        keys[np.arange(len(rows)), rows] = rows.astype(np.uint64)  # itself first, as at distance 0 ...
        twins = (keys >> np.uint64(32)) == 0
        twins[np.arange(len(rows)), rows] = False
        keys[twins] |= np.uint64(1) << np.uint64(32)  # ... and before others that are there too
        keys.partition(kept - 1, axis=1)
        first = np.sort(keys[:, :kept], axis=1)
        nearest[rows] = (first & np.uint64(0xFFFFFFFF)).astype(np.int64)
    scale = float(_d(np.array([largest], dtype=np.float32), distance)[0])
    return nearest, scale or 1.0  # all in one point: any scale will do


def _reciprocal(neighbours: npt.NDArray[np.int64], k: int) -> sparse.csr_array:
    """R(p, k) of all p (Eq. 3), ``[N, N]`` with ones."""
    near = neighbours[:, : k + 1]
    mutual = np.empty(near.shape, dtype=bool)
    for start in range(0, len(near), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(near)))
        mutual[rows] = (near[near[rows]] == rows[:, None, None]).any(axis=2)
    indptr = np.concatenate([[0], np.cumsum(mutual.sum(axis=1))])
    ones = np.ones(indptr[-1], dtype=np.int32)
    return sparse.csr_array((ones, near[mutual], indptr), shape=(len(near), len(near)))


def _expanded(neighbours: npt.NDArray[np.int64], k1: int) -> sparse.csr_array:
    """R*(p) of all p (Eq. 5), ``[N, N]``; the stored entries are the members."""
    whole = _reciprocal(neighbours, k1)
    half = _reciprocal(neighbours, max(1, round(k1 / 2)))
    sizes = np.diff(half.indptr)
    transposed = half.T.tocsr()
    parts = []
    for start in range(0, len(neighbours), BLOCK):
        own = whole[start : start + BLOCK]
        # How many of R(q, k1/2) lie in R(p, k1), for the members q of R(p, k1).
        common = (own @ transposed).multiply(own).tocsr()
        common.data = (3 * common.data >= 2 * sizes[common.indices]).astype(np.int32)
        common.eliminate_zeros()
        parts.append(own + common @ half)
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def _encoded(
    items: npt.NDArray[np.float32], members: sparse.csr_array, *, distance: Distance, scale: float
) -> sparse.csr_array:
    """V of all items (Eq. 7), ``[N, N]``."""
    rows = np.repeat(np.arange(len(items)), np.diff(members.indptr))
    columns = members.indices.astype(np.int64)
    plain = paired_distances(items, items, rows=rows, columns=columns, distance=distance)
    return sparse.csr_array(
        (np.exp(-_d(plain, distance) / scale), members.indices, members.indptr), shape=members.shape
    )


def _shared(
    places: npt.NDArray[np.int32], values: npt.NDArray[np.float64], gallery: sparse.csc_array
) -> npt.NDArray[np.float64]:
    """Sums of the smaller entries of one row and each row of the gallery ``[G]``.

    Only columns where the row has an entry can add anything, so only these are looked up.
    """
    begins, lengths = gallery.indptr[places], gallery.indptr[places + 1] - gallery.indptr[places]
    # Positions of all entries of these columns: each column's begin, counted on.
    ends = np.cumsum(lengths)
    found = np.arange(ends[-1]) + np.repeat(begins - (ends - lengths), lengths)
    smaller = np.minimum(gallery.data[found], np.repeat(values, lengths))
    found_sums = np.bincount(gallery.indices[found], weights=smaller, minlength=gallery.shape[0])
    return np.asarray(found_sums, dtype=np.float64)
