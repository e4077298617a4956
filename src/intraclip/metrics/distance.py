"""Distances between embeddings."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from intraclip.errors import DataError

Distance = Literal["euclidean", "cosine"]
DISTANCES: tuple[Distance, ...] = ("euclidean", "cosine")


def distance_matrix(
    query: npt.NDArray[np.float32], gallery: npt.NDArray[np.float32], *, distance: Distance
) -> npt.NDArray[np.float32]:
    """Distances of every query to every gallery item.

    Args:
        query: float32 ``[Q, D]``.
        gallery: float32 ``[G, D]``.
        distance: ``euclidean``, or ``cosine`` for 1 - cosine similarity, 0..2.

    Returns:
        float32 ``[Q, G]``.

    Raises:
        DataError: the sizes differ, a feature is not finite, or a zero vector has no direction.

    >>> a = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)
    >>> distance_matrix(a, a, distance="euclidean").tolist()
    [[0.0, 5.0], [5.0, 0.0]]
    """
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise DataError(f"query {query.shape} and gallery {gallery.shape} must be [N, D] with the same D")
    for name, features in (("query", query), ("gallery", gallery)):
        bad = int((~np.isfinite(features).all(axis=1)).sum())
        if bad:
            raise DataError(f"{bad} {name} features are not finite (NaN or infinite); they cannot be ranked")
    if distance == "cosine":
        # 1 - cos; through unit vectors, so that one matrix product does it.
        product = _unit(query) @ _unit(gallery).T
        return np.asarray(np.clip(1 - product, 0, 2), dtype=np.float32)
    if distance != "euclidean":
        raise DataError(f"distance {distance!r} is not one of {', '.join(DISTANCES)}")
    # Centring first keeps the cancellation in |a|^2 + |b|^2 - 2ab small when features share a large offset.
    centre = gallery.mean(axis=0, dtype=np.float64) if len(gallery) else np.zeros(gallery.shape[1])
    q = query.astype(np.float64) - centre
    g = gallery.astype(np.float64) - centre
    squared = (q**2).sum(axis=1)[:, None] + (g**2).sum(axis=1)[None] - 2 * q @ g.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)), dtype=np.float32)


def _unit(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    if (norms == 0).any():
        raise DataError(
            f"{int((norms == 0).sum())} features are zero vectors: cosine distance is undefined; use euclidean"
        )
    return np.asarray(features / norms, dtype=np.float32)
