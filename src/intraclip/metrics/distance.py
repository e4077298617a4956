"""Distances between embeddings.

What a distance *is*, here, to the last bit: computed in float64 from the two float32 vectors alone and rounded once to
float32, as `paired_distances` does. Two gallery items tie when these float32 numbers are equal.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_reals, as_whole
from intraclip.errors import DataError

Distance = Literal["euclidean", "cosine"]
DISTANCES: tuple[Distance, ...] = ("euclidean", "cosine")

_CHUNK_VALUES = 2**17
"""Values of one side that are widened to float64 at a time: 1 MiB, which stays in the processor's cache."""


def require_distance(distance: str) -> None:
    """Refuse a distance that does not exist."""
    if distance not in DISTANCES:
        raise DataError(f"distance {distance!r} is not one of {', '.join(DISTANCES)}")


def check_features(
    features: npt.NDArray[np.float32],
    *,
    name: str,
    distance: Distance,
    rows: npt.NDArray[np.int64] | None = None,
) -> None:
    """Refuse features that have no distances.

    Args:
        features: float32 ``[N, D]``.
        name: what they are called in messages.
        distance: ``euclidean`` or ``cosine``.
        rows: int64, those whose direction is needed; all without it.

    Raises:
        DataError: they are no ``[N, D]``, not finite or too large for a float32 distance, a zero vector has no
            direction, or the distance is unknown.
    """
    require_distance(distance)
    if features.ndim != 2:
        raise DataError(f"{name} features want the shape [N, D], not {features.shape}")
    peak = largest(features)
    if not np.isfinite(peak):
        bad = int((~np.isfinite(features).all(axis=1)).sum())
        raise DataError(f"{bad} {name} features are not finite (NaN or infinite); they cannot be ranked")
    # |a - b| <= 2 sqrt(D) max must be a float32.
    if peak > float(np.finfo(np.float32).max) / (2 * max(features.shape[1], 1) ** 0.5):
        raise DataError(
            f"{name} features reach {peak:.3g}: their distances do not fit float32; scale them down"
        )
    if distance == "cosine":
        some = np.asarray(features.any(axis=1))
        zero = int((~(some if rows is None else some[rows])).sum())
        if zero:
            raise DataError(
                f"{zero} {name} features are zero vectors: cosine distance is undefined; use euclidean"
            )


def largest(features: npt.NDArray[np.float32]) -> float:
    """Largest absolute value, without a temporary of the same size; NaN when there is one, 0 when empty."""
    return max(abs(float(features.max())), abs(float(features.min()))) if features.size else 0.0


def paired_distances(
    query: npt.NDArray[np.float32],
    gallery: npt.NDArray[np.float32],
    *,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    distance: Distance,
) -> npt.NDArray[np.float32]:
    """Distances of chosen pairs, each computed alone, so that it never depends on its neighbours.

    A matrix product gives the same pair other last bits in another block, in another library, or on another device.
    These distances are the same wherever they are computed, and equal vectors get equal distances.

    Args:
        query: float32 ``[Q, D]``, finite; under ``cosine`` no zero vectors.
        gallery: float32 ``[G, D]``, likewise.
        rows: int64 ``[pairs]``, into `query`.
        columns: int64 ``[pairs]``, into `gallery`.
        distance: ``euclidean``, or ``cosine`` for 1 - cosine similarity, 0..2.

    >>> a = np.array([[0, 0], [3, 4]], dtype=np.float32)
    >>> paired_distances(a, a, rows=np.array([0, 1]), columns=np.array([1, 1]), distance="euclidean").tolist()
    [5.0, 0.0]
    """
    query, gallery = as_reals(query, name="query features"), as_reals(gallery, name="gallery features")
    rows, columns = as_whole(rows, name="rows"), as_whole(columns, name="columns")
    found = np.empty(len(rows), dtype=np.float32)
    step = max(1, _CHUNK_VALUES // max(query.shape[1], 1))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        a = query[rows[part]].astype(np.float64)
        b = gallery[columns[part]].astype(np.float64)
        if distance == "cosine":
            # One root of the product of squares: it is exact for equal vectors, whose distance is then exactly 0.
            scale = np.sqrt(row_products(a, a) * row_products(b, b))
            found[part] = np.clip(1 - row_products(a, b) / scale, 0, 2)
        else:
            a -= b
            found[part] = np.sqrt(row_products(a, a))
    return found


def row_products(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Inner products of the rows of two arrays ``[n, D]``: ``[n]``."""
    return np.asarray(np.einsum("nd,nd->n", a, b), dtype=np.float64)
