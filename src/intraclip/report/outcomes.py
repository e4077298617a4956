"""What happened to each single query: which of them to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intraclip.metrics.ranking import Outcomes


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Queries to show.

    Attributes:
        rows: rows in the embeddings; successes first, then disagreements, then failures.
        by_all: queries whose first answer is right in every run.
        by_some: in some runs, but not in all.
        by_none: in no run.
    """

    rows: tuple[int, ...]
    by_all: int
    by_some: int
    by_none: int


def choose_queries(runs: Sequence[Outcomes], *, count: int, seed: int) -> Choice:
    """Draw queries so that failures are seen as well as successes.

    The counted queries fall into three groups: first answer right in no run, in some, in all. The three are drawn
    from in turn, each at random, until there are enough; an empty group leaves its turn to the others.
    """
    right = np.stack([run.first_hits == 1 for run in runs])
    hits = right.sum(axis=0)
    rng = np.random.default_rng([seed, 11])
    groups = [np.flatnonzero(hits == 0), np.flatnonzero((hits > 0) & (hits < len(runs)))]
    groups.append(np.flatnonzero(hits == len(runs)))
    shuffled = [rng.permutation(group).tolist() for group in groups]
    chosen: list[list[int]] = [[], [], []]
    while sum(map(len, chosen)) < count and any(shuffled):
        for group, taken in zip(shuffled, chosen, strict=True):
            if group and sum(map(len, chosen)) < count:
                taken.append(group.pop())
    return Choice(
        rows=tuple(int(runs[0].rows[i]) for taken in reversed(chosen) for i in sorted(taken)),
        by_all=len(groups[2]),
        by_some=len(groups[1]),
        by_none=len(groups[0]),
    )
