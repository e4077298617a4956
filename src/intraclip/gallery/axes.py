"""Principal axes: large galleries are first compared by a few numbers of each vector, then exactly.

The second moments of embeddings fall off quickly: a few dozen of several hundred directions carry nearly all of every
product. So all tracklets that pass the filters are ordered by their products along the first axes alone, and the best
few thousand are compared by their whole vectors. Nothing is skipped for where it lies, as cells or graphs do, so a
filter never costs answers; docs/gallery.md has the numbers beside those of k-means cells (IVF).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from intraclip.gallery.store import Vectors

LEAST = 200_000
"""Vectors from which on axes are used; fewer are compared whole."""

COUNTS = (64, 96, 128)
"""Axes that may be used: the first number that keeps `SHARE` of the squared length, or the last."""

SHARE = 0.9

KEPT = 4_096
"""Candidates that are compared by their whole vectors."""

SAMPLE = 50_000
"""Vectors that the axes are computed of; far too many for any one of them to be seen in the result."""

GROWTH = 2
"""Axes are computed anew when there are so many times as many vectors."""

_BLOCK = 65_536


def worth_it(count: int, dimension: int) -> bool:
    """Whether a gallery of so many vectors of that size gains by axes."""
    return count >= LEAST and dimension >= 2 * COUNTS[0]


def principal_axes(vectors: Vectors, alive: npt.NDArray[np.int64], generator: np.random.Generator) -> Vectors:
    """Orthonormal axes, float32 ``[D, R]``, that keep most of the squared length of vectors ``[N, D]``.

    `alive` are the places of those that count, of which the generator draws a sample.
    """
    chosen = generator.choice(alive, min(len(alive), SAMPLE), replace=False)
    sample: Vectors = vectors[np.sort(chosen)]
    energies, directions = np.linalg.eigh((sample.T @ sample).astype(np.float64))
    kept = np.cumsum(energies[::-1]) / energies.sum()
    count = next((n for n in COUNTS if n <= len(kept) and kept[n - 1] >= SHARE), min(COUNTS[-1], len(kept)))
    return np.ascontiguousarray(directions[:, ::-1][:, :count], dtype=np.float32)


def project(vectors: Vectors, axes: Vectors) -> Vectors:
    """Vectors ``[N, D]`` along axes ``[D, R]``: float32 ``[N, R]``."""
    found = np.empty((len(vectors), axes.shape[1]), dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK):
        np.matmul(vectors[start : start + _BLOCK], axes, out=found[start : start + _BLOCK])
    return found


def describe(count: int) -> str:
    """How searches are made, in words."""
    if not count:
        return "none, every tracklet is compared by its whole vector"
    return f"{count} principal axes choose {KEPT:,} tracklets that are compared by their whole vectors"
