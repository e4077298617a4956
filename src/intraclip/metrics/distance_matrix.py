"""Distances of all queries to all gallery items at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_reals
from intraclip.errors import DataError
from intraclip.metrics.distance import Distance, check_features, paired_distances, row_products

_CANCELLED = 1e-6
"""Share of the operands below which a difference of products in float64 keeps too few digits for float32."""


def distance_matrix(
    query: npt.NDArray[np.float32], gallery: npt.NDArray[np.float32], *, distance: Distance
) -> npt.NDArray[np.float32]:
    """Distances of every query to every gallery item; float32 ``[Q, G]``.

    Products in float64; where they cancel, the pair is computed directly. An entry differs from `paired_distances`
    by one unit in the last place of float32 at most, and very rarely does.

    Raises:
        DataError: the sizes differ, or see `check_features`.

    >>> a = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)
    >>> distance_matrix(a, a, distance="euclidean").tolist()
    [[0.0, 5.0], [5.0, 0.0]]
    """
    query, gallery = as_reals(query, name="query features"), as_reals(gallery, name="gallery features")
    if query.shape[1:] != gallery.shape[1:]:
        raise DataError(f"query {query.shape} and gallery {gallery.shape} must be [N, D] with the same D")
    check_features(query, name="query", distance=distance)
    check_features(gallery, name="gallery", distance=distance)
    q, g = query.astype(np.float64), gallery.astype(np.float64)
    if distance == "cosine":
        q /= np.sqrt(row_products(q, q))[:, None]
        g /= np.sqrt(row_products(g, g))[:, None]
        found = np.clip(1 - q @ g.T, 0, 2)
        cancelled = found < _CANCELLED
    else:
        # Centring first keeps the cancellation in |a|^2 + |b|^2 - 2ab small when features share a large offset.
        if len(gallery):
            centre = gallery.mean(axis=0, dtype=np.float64)
            q -= centre
            g -= centre
        lengths = row_products(q, q)[:, None] + row_products(g, g)[None]
        found = lengths - 2 * q @ g.T
        cancelled = found <= _CANCELLED * lengths
        found = np.sqrt(np.maximum(found, 0))
    matrix = found.astype(np.float32)
    rows, columns = np.nonzero(cancelled)
    if len(rows):
        matrix[rows, columns] = paired_distances(
            query, gallery, rows=rows, columns=columns, distance=distance
        )
    return matrix
