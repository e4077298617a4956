"""What happened to each single query: which to show, and how sure a difference between two runs is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intraclip.metrics.ranking import Outcomes

RESAMPLES = 2000
"""Draws of the bootstrap."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Queries to show.

    Attributes:
        rows: rows in the embeddings; failures first, then disagreements, then successes.
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

    Args:
        runs: outcomes of the same queries under each run.
        count: queries wanted; fewer come back from a smaller set.
        seed: of the draw.
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
        rows=tuple(int(runs[0].rows[i]) for taken in chosen for i in sorted(taken)),
        by_all=len(groups[2]),
        by_some=len(groups[1]),
        by_none=len(groups[0]),
    )


def difference_interval(
    first: Outcomes, second: Outcomes, pids: npt.NDArray[np.int64], *, seed: int
) -> tuple[float, float]:
    """Interval of 95 % for the difference of the mAP, second minus first, by a paired bootstrap over people.

    People are drawn again, not queries, as the queries of one person succeed or fail together. The interval is about
    the choice of test people alone; another training seed would move the numbers too.

    Args:
        first: outcomes of one run.
        second: outcomes of another one, for the same queries.
        pids: int64 ``[q]``, person of each counted query.
        seed: of the draws.

    Returns:
        Low and high end, as differences of shares of 0..1.
    """
    differences = second.average_precisions - first.average_precisions
    _, person = np.unique(pids, return_inverse=True)
    sums = np.bincount(person, weights=differences)
    counts = np.bincount(person)
    rng = np.random.default_rng([seed, 12])
    drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=RESAMPLES)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
