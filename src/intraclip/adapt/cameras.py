"""What cameras add to vectors, as directions that a network can be made blind to.

People differ from camera to camera by chance, cameras by their light and their lens: the differences between cameras'
means lie in a few directions, and embeddings that lie across them say less about the camera. After nuisance attribute
projection (Solomonoff, Campbell, Boardman, "Advances in channel compensation for SVM speaker recognition", ICASSP
2005), which does so with the channels of telephones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from intraclip.adapt.vectors import Vectors
from intraclip.arrays import unit

if TYPE_CHECKING:
    from intraclip.adapt.look import Look

FEWEST_OF_CAMERA = 8
"""Tracklets of a camera below which its mean counts for nothing: it would be the people's, not the camera's."""

SHARE = 8
"""At most one direction in so many is given up, those with the largest differences first."""


def directions(vectors: Vectors, camids: npt.NDArray[np.int64]) -> Vectors:
    """Directions that the means of the cameras differ in.

    Args:
        vectors: float32 ``[N, D]``.
        camids: int64 ``[N]``.

    Returns:
        float32 ``[D, C]``, orthonormal columns; C is below the number of cameras, and 0 where nothing is known.
    """
    cameras, counts = np.unique(camids, return_counts=True)
    means = [vectors[camids == camid].mean(axis=0) for camid in cameras[counts >= FEWEST_OF_CAMERA].tolist()]
    size = vectors.shape[1]
    if len(means) < 2:
        return np.zeros((size, 0), dtype=np.float32)
    differences = np.stack(means).astype(np.float64)
    differences -= differences.mean(axis=0)
    _, lengths, rows = np.linalg.svd(differences, full_matrices=False)
    kept = rows[lengths > 1e-6 * max(lengths[0], 1e-12)][: size // SHARE]
    return np.asarray(kept.T, dtype=np.float32)


def across(seen: Look, out: Vectors) -> Look:
    """The vectors without these directions, as the network gives them once they are taken out of it."""
    return replace(seen, segments=tuple(unit(s - (s @ out) @ out.T) for s in seen.segments))
