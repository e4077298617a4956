"""Whether an adapted network is better, without labels: what must hold of tracklets that it did not learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intraclip.adapt.look import Look
from intraclip.gallery.store import Vectors
from intraclip.link.agglomeration import Indices

SHARE = 0.2
"""Share of the tracklets that are held out."""

FEWEST_HELD = 3
"""Tracklets that are held out at least: the share of the fewest that are learned from."""

FALL = 0.05
"""What a figure may fall while the sum rises: a few held-out tracklets move it by chance."""

NEAREST = 5
"""Nearest tracklets whose cameras are counted."""

WORDS = {
    "find": "halves of a tracklet find each other",
    "apart": "halves are nearer than people who cannot be one",
    "back": "the answer from another camera finds back",
    "mixed": "neighbours come from all cameras alike",
}
"""What each figure says."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Figures of 0..1, higher is better; None where the footage gives none.

    No single one would do: a network that sees cameras only finds halves, one that sees nothing mixes cameras.

    Attributes:
        find: mean of 1 / rank of a held-out tracklet's second half, searched for with its first among the second
            halves of all.
        apart: chance that the halves of a held-out tracklet are nearer than a pair that cannot be one person.
        back: mean of 1 / rank of a held-out half among its camera's tracklets, searched for with the tracklet of
            another camera that the other half finds first.
        mixed: share of other cameras among the nearest tracklets of those held out, as a share of what it would be if
            cameras did not matter, at most 1.
        tracklets: held out.
        pairs: that cannot be one person, such as those that one camera saw at once.
    """

    find: float
    apart: float | None
    back: float
    mixed: float
    tracklets: int
    pairs: int

    @property
    def figures(self) -> dict[str, float]:
        """Those that there are, by name."""
        return {name: value for name in WORDS if (value := getattr(self, name)) is not None}

    @property
    def total(self) -> float:
        """Their sum."""
        return sum(self.figures.values())

    def better_than(self, before: Guard) -> bool:
        """Whether the figures rose together, and none fell by more than `FALL`."""
        changes = [value - before.figures[name] for name, value in self.figures.items()]
        return sum(changes) > 0 and min(changes) >= -FALL


def held_out(seen: Look, *, seed: int) -> Indices:
    """Rows of the tracklets that are not learned from: `SHARE` of those with two halves, drawn by the seed."""
    rows = seen.halves()[2]
    chosen = np.random.default_rng([seed, 5]).permutation(rows)[: max(FEWEST_HELD, round(SHARE * len(rows)))]
    return np.sort(chosen)


def guard(seen: Look, held: Indices, camids: Indices, impossible: npt.NDArray[np.bool_]) -> Guard:
    """The figures of a network that has `seen` N tracklets of two cameras at least.

    `held` are rows of those that nothing was learned from, `impossible` ``[N, N]`` pairs that cannot be one person.
    """
    first, second, rows = seen.halves()
    places = np.flatnonzero(np.isin(rows, held))
    first, others = first[places], second
    distances = 1 - first @ others.T
    own = distances[np.arange(len(places)), places]
    vectors, pairs = seen.vectors(), np.argwhere(np.triu(impossible, 1))
    halves = list(zip(rows[places].tolist(), first, second[places], strict=True))
    return Guard(
        find=_inverse_rank(distances, own),
        apart=_apart(own, vectors, pairs),
        back=float(
            np.mean([_back(row, a, b, vectors, camids) for row, x, y in halves for a, b in ((x, y), (y, x))])
        ),
        mixed=float(np.mean([_mixed(row, vectors, camids) for row in rows[places].tolist()])),
        tracklets=len(places),
        pairs=len(pairs),
    )


def _inverse_rank(distances: Vectors, own: Vectors) -> float:
    """Mean of 1 / rank; who is as near as the right one counts half, so that one vector for all wins nothing."""
    nearer = (distances < own[:, None]).sum(axis=1)
    as_near = (distances == own[:, None]).sum(axis=1) - 1
    return float((1 / (1 + nearer + as_near / 2)).mean())


def _apart(own: Vectors, vectors: Vectors, pairs: Indices) -> float | None:
    if not len(pairs):
        return None
    strange = np.sort(1 - (vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(axis=1))
    below = np.searchsorted(strange, own, side="left") + np.searchsorted(strange, own, side="right")
    return float(1 - (below / (2 * len(strange))).mean())


def _back(row: int, half: Vectors, other_half: Vectors, vectors: Vectors, camids: Indices) -> float:
    elsewhere = np.flatnonzero(camids != camids[row])
    answer = vectors[elsewhere[np.argmax(vectors[elsewhere] @ half)]]
    here = np.flatnonzero((camids == camids[row]) & (np.arange(len(camids)) != row))
    distances = 1 - np.append(vectors[here], other_half[None], axis=0) @ answer
    return _inverse_rank(distances[None], distances[-1:])


def _mixed(row: int, vectors: Vectors, camids: Indices) -> float:
    likeness = vectors @ vectors[row]
    likeness[row] = -np.inf
    nearest = np.argsort(-likeness, kind="stable")[:NEAREST]
    elsewhere = camids != camids[row]
    return min(1.0, float(elsewhere[nearest].mean() / (elsewhere.sum() / (len(camids) - 1))))
