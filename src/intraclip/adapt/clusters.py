"""Groups of tracklets that are taken for one person each: what the next round of training is told.

Distances between the sets of reciprocal neighbours (Zhong et al. 2017, as in `metrics.rerank`, and as most work on
unsupervised re-ID uses them), of vectors whose camera's mean is taken away; then average linkage that begins with what
a person confirmed, and keeps apart what the footage or a person says cannot be one (`link.agglomeration`).
scikit-learn's DBSCAN was compared: it knows no such constraints, and one wrong neighbour joins two people
(docs/adapt.md has the figures).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intraclip.adapt.answers import Settled
from intraclip.arrays import unit
from intraclip.gallery.store import Vectors
from intraclip.link.agglomeration import Indices, ScoreMatrix, agglomerate
from intraclip.metrics.rerank import rerank

FEWEST = 16
"""Tracklets below which nothing is learned or asked: their neighbours are mostly chance."""

NEIGHBOURS = 6
"""Neighbours that count as near, k1."""

AVERAGED = 2
"""Tracklets whose neighbourhoods are averaged, k2, itself among them."""

LEVEL = 0.5
"""Jaccard distance up to which groups are joined."""

SURE = 1.0
"""Score of a pair that is surely one person: above every other, so that these are joined first."""

FEWEST_OF_CAMERA = 8
"""Tracklets of a camera below which its mean counts for nothing: it would be the people's, not the camera's."""

SHARE = 8
"""At most one direction in so many is given up, those with the largest differences first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """Who is taken for whom.

    Attributes:
        person: int64 ``[N]``, from 1 in order of first tracklets; 0 for a tracklet that matched no other (noise).
    """

    person: Indices

    @property
    def people(self) -> int:
        """Groups of two tracklets or more."""
        return int(self.person.max(initial=0))

    @property
    def noise(self) -> int:
        """Tracklets alone."""
        return int((self.person == 0).sum())

    def __str__(self) -> str:
        return f"{self.people} people in {int((self.person > 0).sum())} tracklets, {self.noise} alone"


def cluster(vectors: Vectors, camids: Indices, settled: Settled) -> Clusters:
    """Group tracklets by their vectors, float32 ``[N, D]`` of unit length; what is settled goes before likeness."""
    root = agglomerate(constrained(likeness(vectors, camids), settled)).cut(-LEVEL)
    sizes = np.bincount(root, minlength=len(root))
    person = np.zeros(len(root), dtype=np.int64)
    firsts = np.flatnonzero(sizes > 1)  # a group's root is its smallest item
    person[sizes[root] > 1] = np.searchsorted(firsts, root[sizes[root] > 1]) + 1
    return Clusters(person=person)


def likeness(vectors: Vectors, camids: Indices) -> ScoreMatrix:
    """Jaccard distances of the tracklets' reciprocal neighbours, negative: float32 ``[N, N]``, -1 to 0."""
    everyone = np.arange(len(vectors))
    distances = rerank(
        without_camera(vectors, camids),
        everyone,
        everyone,
        distance="cosine",
        k1=NEIGHBOURS,
        k2=AVERAGED,
        weight=0.0,
    )
    return np.maximum(-distances, -distances.T)


def constrained(scores: ScoreMatrix, settled: Settled) -> ScoreMatrix:
    """Scores with what is certain: `SURE` for one person, minus infinity for two; others as they are."""
    found = scores.copy()
    found[settled.together] = SURE
    found[settled.apart] = -np.inf
    return found


def without_camera(vectors: Vectors, camids: Indices) -> Vectors:
    """Vectors less the mean of their camera's, of unit length, so that a camera's light says less."""
    found = vectors.copy()
    for camid in np.unique(camids):
        own = camids == camid
        if own.sum() >= FEWEST_OF_CAMERA:
            found[own] -= found[own].mean(axis=0)
    return unit(found)


def directions(vectors: Vectors, camids: Indices) -> Vectors:
    """Directions that the means of cameras differ in, of vectors ``[N, D]``, to make a network blind to them.

    People differ from camera to camera by chance, cameras by their light and their lens: the differences between
    cameras' means lie in a few directions, and embeddings across them say less about the camera. After nuisance
    attribute projection (Solomonoff, Campbell, Boardman, "Advances in channel compensation for SVM speaker
    recognition", ICASSP 2005), which does so with the channels of telephones.

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


def across(vectors: Vectors, out: Vectors) -> Vectors:
    """Vectors ``[N, D]`` without `directions`, as the network gives them once they are taken out of it."""
    return unit(vectors - (vectors @ out) @ out.T)
