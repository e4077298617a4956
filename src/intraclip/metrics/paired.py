"""Whether two runs really differ: both scored on the same queries, or measured on the same units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_wide
from intraclip.errors import DataError
from intraclip.metrics.scores import Outcomes
from intraclip.metrics.uncertainty import Estimate, Estimates, bootstrap, chunks, people_of, values_of

PERMUTATIONS = 10_000
"""Draws of the sign-flip test where there are too many people to try all flips."""

EXACT_PEOPLE = 16
"""Up to this many people that differ, all 2^n flips are tried."""


def paired(first: Outcomes, second: Outcomes, pids: npt.NDArray[np.int64], *, seed: int) -> Estimates:
    """Compare two runs on the same queries.

    The interval comes from the bootstrap of `intervals`, over the differences of each person. The p-value comes from
    a permutation test: were the two runs interchangeable, it would be chance for each person which run got which
    result, so the signs of the persons' differences may be flipped. p is the share of all flips (or of random ones,
    the observed one counted in) whose difference is at least as large, either way. Such a test is valid for any
    number of people, but reaches no p below 2 / 2^n with n of them.

    Args:
        first: outcomes of one run.
        second: outcomes of the other one.
        pids: int64 ``[queries]``, person of each counted query.
        seed: of the draws.

    Raises:
        DataError: the outcomes belong to different queries, fewer than two people, or lengths that differ.
    """
    if not np.array_equal(first.rows, second.rows):
        raise DataError(
            f"the two runs counted different queries ({len(first.rows)} and {len(second.rows)}, "
            f"{len(np.intersect1d(first.rows, second.rows))} of them in common); score both with the same tracklets "
            "and the same protocol"
        )
    people, one, two = people_of(first, pids), values_of(first), values_of(second)
    first_values, second_values = (np.stack(list(of.values()), axis=1) for of in (one, two))
    found = _compared(first_values, second_values, people, seed=seed)
    return Estimates(
        scores=dict(zip(one, found, strict=True)), people=int(people.max()) + 1, queries=len(people)
    )


def paired_values(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], *, seed: int) -> Estimate:
    """Compare two runs by one number a person, or by units of another kind that are drawn independently.

    Interval and p-value are those of `paired`; every unit counts equally. Of fewer than six units the flip test
    reaches no p of 0.05, and the interval is too narrow.

    Args:
        first: ``[units]``, of one run.
        second: ``[units]``, of the other one.
        seed: of the draws.

    Raises:
        DataError: fewer than two units, or lengths that differ.

    >>> found = paired_values(np.zeros(3), np.array([1.0, 2.0, 3.0]), seed=0)
    >>> found.value, found.p_value
    (2.0, 0.25)
    """
    first, second = as_wide(first, name="first"), as_wide(second, name="second")
    if np.ndim(first) != 1 or np.shape(first) != np.shape(second) or len(first) < 2:
        raise DataError(
            f"paired numbers of shapes {np.shape(first)} and {np.shape(second)}; give one for each unit that both runs "
            "have, and at least two"
        )
    (found,) = _compared(first[:, None], second[:, None], np.arange(len(first)), seed=seed)
    return replace(found, count=len(first))


def _compared(
    one: npt.NDArray[np.float64], two: npt.NDArray[np.float64], people: npt.NDArray[np.int64], *, seed: int
) -> list[Estimate]:
    """Compare each column of numbers ``[queries, scores]`` of two runs, over people."""
    differences = two - one
    ends = bootstrap(differences, people, rng=np.random.default_rng([seed, 12]))
    found = []
    for number, (low, high) in enumerate(ends):
        sums = np.bincount(people, weights=differences[:, number]).astype(np.float64)
        p_value, exact = _flip_test(sums, rng=np.random.default_rng([seed, 14, number]))
        first, second = float(one[:, number].mean()), float(two[:, number].mean())
        found.append(
            Estimate(
                value=second - first,
                first=first,
                second=second,
                low=low,
                high=high,
                p_value=p_value,
                exact=exact,
            )
        )
    return found


def _flip_test(sums: npt.NDArray[np.float64], *, rng: np.random.Generator) -> tuple[float, bool]:
    """Two-sided p-value of persons' summed differences ``[people]``, and whether all flips were tried."""
    sums = sums[sums != 0]  # flipping nothing changes nothing
    n = len(sums)
    # Sums of the same numbers in another order differ in the last digits; they are as large, not smaller.
    bound = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    if n <= EXACT_PEOPLE:
        flips = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
        return float(np.mean(np.abs((1 - 2 * flips) @ sums) >= bound)), True
    as_large = 0
    for size in chunks(PERMUTATIONS, n):
        flipped = np.unpackbits(rng.integers(256, size=(size, (n + 7) // 8), dtype=np.uint8), axis=1, count=n)
        as_large += int(np.count_nonzero(np.abs(sums.sum() - 2 * (flipped @ sums)) >= bound))
    return (1 + as_large) / (1 + PERMUTATIONS), False
