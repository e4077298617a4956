"""Average-linkage agglomeration that never joins what must stay apart.

Every pair has a score, higher for more alike; minus infinity says that the two cannot be one person. Two groups score
the mean over their pairs, so minus infinity as soon as one pair cannot be. The best two groups are joined again and
again until nothing may be joined; cutting that tree at a level gives the groups (UPGMA with cannot-link constraints).

Neither `scipy.cluster.hierarchy` nor scikit-learn knows cannot-link constraints: a large distance instead of an
infinite one is averaged away. The nearest-neighbour chain (Murtagh, "A survey of recent advances in hierarchical
clustering algorithms", The Computer Journal 26, 1983) finds the same tree as joining the best pair each time, because
a joined group is never more alike to a third one than the better of its halves was; that holds with constraints too.
It takes O(N^2) time and one matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ScoreMatrix = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tree:
    """Who was joined with whom, best first within every branch.

    Attributes:
        items: number N of items.
        first: int64 ``[M]``, smallest item of the one group; M is below N, and N - M groups are left in the end.
        second: int64 ``[M]``, smallest item of the other group, larger than `first`.
        scores: float32 ``[M]``, mean score between them; a join never scores more than those inside its groups. Plus
            infinity for items that belong together whatever they score.
    """

    items: int
    first: Indices
    second: Indices
    scores: npt.NDArray[np.float32]

    @classmethod
    def of(cls, items: int, joins: Sequence[tuple[int, int, float]]) -> Tree:
        """The tree of joins: first and second group, and score."""
        return cls(
            items=items,
            first=np.array([join[0] for join in joins], dtype=np.int64),
            second=np.array([join[1] for join in joins], dtype=np.int64),
            scores=np.array([join[2] for join in joins], dtype=np.float32),
        )

    def cut(self, level: float) -> Indices:
        """Groups whose joins all score more than a level.

        Returns:
            int64 ``[N]``, group of each item: the smallest item of the group.
        """
        kept = np.flatnonzero(self.scores > level)
        joins = coo_array(
            (np.ones(len(kept)), (self.first[kept], self.second[kept])), shape=(self.items,) * 2
        )
        group = connected_components(joins, directed=False)[1]
        return np.asarray(np.unique(group, return_index=True)[1][group])

    def order(self) -> Indices:
        """All items, int64 ``[N]``, so that the groups of every cut lie side by side."""
        following = np.full(self.items, -1, dtype=np.int64)
        last = np.arange(self.items)
        for a, b in zip(self.first.tolist(), self.second.tolist(), strict=True):
            following[last[a]], last[a] = b, last[b]
        joined = set(self.second.tolist())
        found = []
        for item in range(self.items):
            step = item if item not in joined else -1
            while step >= 0:
                found.append(step)
                step = int(following[step])
        return np.array(found, dtype=np.int64)


def agglomerate(scores: ScoreMatrix, together: Sequence[Indices] = ()) -> Tree:
    """Build the tree. Of equal scores the pair with the lower row wins, so the same matrix gives the same tree.

    Args:
        scores: float32 ``[N, N]``, symmetric, the diagonal is not read; minus infinity where two items cannot be
            together, otherwise finite. It is overwritten.
        together: items that are joined before all others, whatever they score; no item in two of them.

    Raises:
        ValueError: the matrix is not square, or holds NaN or plus infinity.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"scores want the shape [N, N], not {list(scores.shape)}")
    items = len(scores)
    np.fill_diagonal(scores, -np.inf)
    if items and not float(scores.max()) < np.inf:  # max() is NaN if one value is
        raise ValueError("scores hold NaN or plus infinity")
    size = np.ones(items, dtype=np.float32)
    best = np.full(items, np.inf, dtype=np.float32)  # lowest score of a join inside each group
    open_rows = np.arange(items)  # groups that may still be joined, by their row
    is_open = np.ones(items, dtype=np.bool_)
    joins: list[tuple[int, int, float]] = []
    for group in together:
        first, *rest = sorted(group.tolist())
        for other in rest:
            joins.append((first, other, np.inf))
            _join(scores, size, first, other, open_rows)
            is_open[other] = False
    chain: list[int] = []
    while True:
        if not chain:
            open_rows = open_rows[is_open[open_rows]]
            if not len(open_rows):
                break
            chain.append(int(open_rows[0]))
        row = scores[chain[-1]]
        nearest = int(row.argmax())
        # Of equal neighbours the one before in the chain is taken: without that, a ring of ties would never end.
        if len(chain) > 1 and row[chain[-2]] >= row[nearest]:
            nearest = chain[-2]
        if row[nearest] == -np.inf:
            is_open[chain.pop()] = False  # nothing may be joined with it any more
        elif len(chain) > 1 and nearest == chain[-2]:
            a, b = sorted((chain.pop(), chain.pop()))
            # Rounded means may rise by a last digit; a cut must not take a join without those below it.
            height = min(scores[a, b], best[a], best[b])
            joins.append((a, b, float(height)))
            best[a] = height
            _join(scores, size, a, b, open_rows)
            is_open[b] = False
            if len(joins) % 256 == 0:
                open_rows = open_rows[is_open[open_rows]]
        else:
            chain.append(nearest)
    return Tree.of(items, joins)


def members_of(groups: Indices) -> dict[int, Indices]:
    """Places ``[M]`` of every group, ascending, by its number in ``[N]``.

    >>> {group: places.tolist() for group, places in members_of(np.array([7, 2, 7])).items()}
    {2: [1], 7: [0, 2]}
    """
    order = np.argsort(groups, kind="stable")
    numbers, starts = np.unique(groups[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)) if len(groups) else {}


def _join(scores: ScoreMatrix, size: npt.NDArray[np.float32], a: int, b: int, rows: Indices) -> None:
    """Group a becomes the union of a and b; b scores minus infinity with everything."""
    total = size[a] + size[b]
    joined = (size[a] / total) * scores[a] + (size[b] / total) * scores[b]
    joined[a] = joined[b] = -np.inf
    size[a] = total
    scores[a] = joined
    # The columns of open rows alone: writing a column is slow, as its values lie far apart.
    scores[rows, a] = joined[rows]
    scores[rows, b] = -np.inf
