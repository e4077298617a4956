"""Where to cut the tree when nobody says: the cut whose groups are tightest for how far apart they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from intraclip.link.agglomeration import Tree
from intraclip.link.evidence import BLOCK, Evidence

CUTS = 40
"""Cuts that are tried, at evenly spaced quantiles of the joins."""

SAMPLE = 2048
"""Items that the mean silhouette is taken over, at most."""


def best_level(evidence: Evidence, tree: Tree, *, across: bool = False) -> tuple[float, float]:
    """The cut with the largest mean silhouette (Rousseeuw, J. Computational and Applied Mathematics 20, 1987).

    The silhouette of an item is (b - a) / max(a, b): a is its mean distance to its own group, b that to the nearest
    other group; 0 for an item alone. Only distances count here; cannot-link constraints already shaped the tree.

    Returns:
        The level for `Tree.cut`, and its mean silhouette, -1..1. With fewer than two joins, a level that joins nothing.
    """
    chosen = tree.scores[np.isfinite(tree.scores)]
    if len(chosen) < 2:
        return 0.0, 0.0
    quantiles = np.linspace(0.02, 0.98, CUTS)
    levels = np.unique(np.quantile(chosen.astype(np.float64), quantiles))
    values = silhouettes(evidence, tree, levels, across=across)
    best = len(levels) - 1 - int(np.argmax(values[::-1]))  # of equal ones the highest level: fewer joins
    return float(levels[best]), float(values[best])


def silhouettes(
    evidence: Evidence,
    tree: Tree,
    levels: npt.NDArray[np.float64],
    *,
    across: bool = False,
) -> npt.NDArray[np.float64]:
    """Mean silhouette of several cuts, over at most `SAMPLE` items, whose distances to all are exact.

    With `across` only distances between two cameras count, and an item whose group is in no other camera has 0. So a
    camera that saw a person twice, nearly alike, does not make the best cut one that splits people by camera.

    Returns:
        float64 ``[L]``, of cuts at `levels` ``[L]``; -1 for a cut with fewer than two groups.
    """
    order = tree.order()  # in it the groups of every cut lie side by side
    cuts = []
    for level in levels.tolist():
        numbers = np.unique(tree.cut(level), return_inverse=True)[1]
        starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
        # Groups as they come along the order.
        place = np.empty(len(starts), dtype=np.int64)
        place[numbers[order][starts]] = np.arange(len(starts))
        cuts.append((place[numbers], starts, np.diff(starts, append=len(order))))
    chosen = np.unique(np.linspace(0, len(order) - 1, min(SAMPLE, len(order))).astype(np.int64))
    totals = np.zeros(len(cuts))
    for start in range(0, len(chosen), BLOCK):
        rows = chosen[start : start + BLOCK]
        distances = evidence.apartness(rows, order).astype(np.float64)
        counted = np.ones(distances.shape)
        counted[rows[:, None] == order] = 0
        if across:
            counted[evidence.camids[rows][:, None] == evidence.camids[order]] = 0
        distances *= counted
        for number, (group, starts, sizes) in enumerate(cuts):
            if len(sizes) < 2:
                totals[number] -= len(rows)
                continue
            sums = np.add.reduceat(distances, starts, axis=1)
            own, at = group[rows], np.arange(len(rows))
            counts = np.add.reduceat(counted, starts, axis=1)
            means = np.divide(sums, counts, out=np.full_like(sums, np.inf), where=counts > 0)
            inside = means[at, own].copy()
            means[at, own] = np.inf
            outside = means.min(axis=1)
            known = np.isfinite(inside) & np.isfinite(outside)
            inside[~known] = outside[~known] = 0
            widest = np.maximum(inside, outside)
            value = np.divide(outside - inside, widest, out=np.zeros_like(widest), where=widest > 0)
            totals[number] += float(value.sum())
    return totals / len(chosen)
