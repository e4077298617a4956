"""How sure a score is, and whether two runs really differ: resampling over people.

What the intervals and p-values cover is the choice of test *people*: had other people walked past the same cameras,
how much would the number move? They do not cover the training seed, the choice of cameras, the split into training
and test, or the many settings that were tried before: each of these moves scores too, often more. Two single
trainings that differ "significantly" here may change places under other seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

from intraclip.arrays import as_whole, as_wide
from intraclip.errors import DataError
from intraclip.metrics.ranking import RANKS, Outcomes

RESAMPLES = 2000
"""Draws of the bootstrap. The ends of a 95 % interval then move by a few hundredths of its width with the seed."""

PERMUTATIONS = 10_000
"""Draws of the sign-flip test where there are too many people to try all flips."""

EXACT_PEOPLE = 16
"""Up to this many people that differ, all 2^n flips are tried."""

_CHUNK = 1_000_000
"""Numbers drawn at once: bounds the memory, not the result."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number, and how sure it is: a score, a mean of repeated measurements, or a difference (second minus first).

    Attributes:
        value: the number; shares and their differences are of 0..1.
        low: low end of its interval; None where there is none, as of a single measurement.
        high: high end.
        p_value: two-sided, 0..1: how often nothing but chance would be at least this far from 0; None as above.
        exact: all flips were tried; otherwise a drawn p-value is never below 1 / (draws + 1).
        count: independent measurements.
        deviation: of the measurements, sample standard deviation (n - 1); None for a single one.
        first: of a difference of two runs, the first run's number.
        second: the second run's.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    exact: bool = False
    count: int = 1
    deviation: float | None = None
    first: float | None = None
    second: float | None = None


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """All scores of one run, or of two runs on the same queries.

    Several scores of two runs are tested at once and nothing is corrected for that: settle on one of them, usually
    mAP, before looking.

    Attributes:
        scores: by the name of the score: ``rank1``, ``rank5``, ``rank10``, ``rank20``, ``mAP``, ``mINP``.
        confidence: share of repetitions whose interval is meant to hold the true value, 0..1.
    """

    scores: Mapping[str, Estimate]
    confidence: float
    resamples: int
    people: int
    queries: int

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values: of each score ``value`` (or ``first``, ``second``, ``difference``), and how it came about."""
        return {**asdict(self), "scores": {name: _plain(found) for name, found in self.scores.items()}}


def _plain(found: Estimate) -> dict[str, Any]:
    ends = {"low": found.low, "high": found.high}
    if found.p_value is None:
        return {"value": found.value, **ends}
    runs = {"first": found.first, "second": found.second, "difference": found.value}
    return {**runs, **ends, "p_value": found.p_value, "exact": found.exact}


def intervals(
    outcomes: Outcomes,
    pids: npt.NDArray[np.int64],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int,
) -> Estimates:
    """Confidence intervals of the scores of one run, by a bootstrap over people.

    People are drawn again with replacement, each with all their queries, as the queries of one person succeed or
    fail together. The ends are percentiles of the drawn scores, taken a little farther out: a percentile interval is
    too narrow by about sqrt((n - 1) / n) and uses normal where Student quantiles belong (Hesterberg, "What teachers
    should know about the bootstrap", The American Statistician 69, 2015, section 4: expanded percentile interval).

    Where all queries succeed (or all fail) resampling cannot see any spread; the other end is then the exact
    binomial one for n people of n (Clopper & Pearson, Biometrika 26, 1934).

    What an interval does not cover stands at the top of this module.

    Args:
        outcomes: of the counted queries.
        pids: int64 ``[queries]``, person of each counted query, such as ``embeddings.pids[outcomes.rows]``.
        confidence: inside (0, 1).
        resamples: draws.
        seed: of the draws.

    Raises:
        DataError: fewer than two people, or lengths that differ.
        ValueError: confidence or resamples out of range.
    """
    people = _people(outcomes, pids, confidence=confidence, resamples=resamples)
    values = _values(outcomes)
    low, high = _bootstrap(
        np.stack(list(values.values()), axis=1),
        people,
        confidence=confidence,
        resamples=resamples,
        rng=np.random.default_rng([seed, 13]),
    )
    count = int(people.max()) + 1
    missing = ((1 - confidence) / 2) ** (1 / count)
    scores = {}
    for number, (name, value) in enumerate(values.items()):
        ends = float(low[number]), float(high[number])
        if (value == 1).all():
            ends = missing, 1.0
        elif (value == 0).all():
            ends = 0.0, 1 - missing
        scores[name] = Estimate(value=float(value.mean()), low=ends[0], high=ends[1])
    return Estimates(
        scores=scores, confidence=confidence, resamples=resamples, people=count, queries=len(people)
    )


def intervals_or_none(
    outcomes: Outcomes, pids: npt.NDArray[np.int64], *, seed: int = 0
) -> dict[str, Any] | None:
    """`intervals` as plain values, or None where one person, or none, was searched for: nothing can be drawn again."""
    people = pids[outcomes.rows]
    return intervals(outcomes, people, seed=seed).to_json_dict() if len(np.unique(people)) > 1 else None


def paired(
    first: Outcomes,
    second: Outcomes,
    pids: npt.NDArray[np.int64],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int,
) -> Estimates:
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
        confidence: inside (0, 1).
        resamples: draws of the bootstrap.
        permutations: draws of the test, where more than `EXACT_PEOPLE` people differ.
        seed: of the draws.

    Raises:
        DataError: the outcomes belong to different queries, fewer than two people, or lengths that differ.
        ValueError: confidence, resamples or permutations out of range.
    """
    if not np.array_equal(first.rows, second.rows):
        raise DataError(
            f"the two runs counted different queries ({len(first.rows)} and {len(second.rows)}, "
            f"{len(np.intersect1d(first.rows, second.rows))} of them in common); score both with the same tracklets "
            "and the same protocol"
        )
    people = _people(first, pids, confidence=confidence, resamples=resamples)
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}; at least 1 is needed")
    one, two = _values(first), _values(second)
    differences = np.stack([two[name] - one[name] for name in one], axis=1)
    low, high = _bootstrap(
        differences,
        people,
        confidence=confidence,
        resamples=resamples,
        rng=np.random.default_rng([seed, 12]),
    )
    scores = {}
    for number, name in enumerate(one):
        sums = np.bincount(people, weights=differences[:, number]).astype(np.float64)
        p_value, exact = _flip_test(
            sums, permutations=permutations, rng=np.random.default_rng([seed, 14, number])
        )
        scores[name] = Estimate(
            value=float(two[name].mean()) - float(one[name].mean()),
            first=float(one[name].mean()),
            second=float(two[name].mean()),
            low=float(low[number]),
            high=float(high[number]),
            p_value=p_value,
            exact=exact,
        )
    return Estimates(
        scores=scores,
        confidence=confidence,
        resamples=resamples,
        people=int(people.max()) + 1,
        queries=len(people),
    )


def paired_values(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], *, seed: int) -> Estimate:
    """Compare two runs by one number a person, or by units of another kind that are drawn independently.

    Interval (95 %) and p-value are those of `paired`; every unit counts equally. Of fewer than six units the flip test
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
    differences = second - first
    low, high = _bootstrap(
        differences[:, None],
        np.arange(len(differences)),
        confidence=0.95,
        resamples=RESAMPLES,
        rng=np.random.default_rng([seed, 12]),
    )
    p_value, exact = _flip_test(differences, permutations=PERMUTATIONS, rng=np.random.default_rng([seed, 14]))
    return Estimate(
        value=float(second.mean()) - float(first.mean()),
        count=len(differences),
        first=float(first.mean()),
        second=float(second.mean()),
        low=float(low[0]),
        high=float(high[0]),
        p_value=p_value,
        exact=exact,
    )


def _values(outcomes: Outcomes) -> dict[str, npt.NDArray[np.float64]]:
    """Each score as a mean over queries of these values."""
    found = {f"rank{k}": (outcomes.first_hits <= k).astype(np.float64) for k in RANKS}
    found["mAP"] = outcomes.average_precisions.astype(np.float64)
    found["mINP"] = outcomes.inverse_negative_penalties.astype(np.float64)
    return found


def _people(
    outcomes: Outcomes, pids: npt.NDArray[np.int64], *, confidence: float, resamples: int
) -> npt.NDArray[np.int64]:
    """Persons of the queries, numbered from 0."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie inside 0 and 1, such as 0.95")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; at least 1 is needed")
    pids = as_whole(pids, name="pids")
    if np.shape(pids) != (len(outcomes.rows),):
        raise DataError(
            f"pids of shape {np.shape(pids)} for {len(outcomes.rows)} counted queries; give one pid for each, "
            "such as embeddings.pids[outcomes.rows]"
        )
    unique, people = np.unique(pids, return_inverse=True)
    if len(unique) < 2:
        raise DataError(
            f"the {len(outcomes.rows)} counted queries show {len(unique)} person; people are drawn again, so at "
            "least two are needed"
        )
    return np.asarray(people, dtype=np.int64)


def _bootstrap(
    values: npt.NDArray[np.float64],
    people: npt.NDArray[np.int64],
    *,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Low and high ends ``[scores]`` for means over queries of values ``[queries, scores]``."""
    counts = np.bincount(people)
    n = len(counts)
    sums = np.stack([np.bincount(people, weights=column) for column in values.T], axis=1)
    means = []
    for size in _chunks(resamples, n):
        drawn = rng.integers(n, size=(size, n))
        drawn += np.arange(size)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        # The number of queries differs from draw to draw, as it would with other people.
        means.append((times @ sums) / (times @ counts)[:, None])
    # Hesterberg (2015): where a normal quantile would stand, Student's, and the bias of the bootstrap's variance.
    tail = float(ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - confidence) / 2)))
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high


def _flip_test(
    sums: npt.NDArray[np.float64], *, permutations: int, rng: np.random.Generator
) -> tuple[float, bool]:
    """Two-sided p-value of persons' summed differences ``[people]``, and whether all flips were tried."""
    sums = sums[sums != 0]  # flipping nothing changes nothing
    n = len(sums)
    # Sums of the same numbers in another order differ in the last digits; they are as large, not smaller.
    bound = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    if n <= EXACT_PEOPLE:
        flips = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
        return float(np.mean(np.abs((1 - 2 * flips) @ sums) >= bound)), True
    as_large = 0
    for size in _chunks(permutations, n):
        flipped = np.unpackbits(rng.integers(256, size=(size, (n + 7) // 8), dtype=np.uint8), axis=1, count=n)
        as_large += int(np.count_nonzero(np.abs(sums.sum() - 2 * (flipped @ sums)) >= bound))
    return (1 + as_large) / (1 + permutations), False


def _chunks(total: int, width: int) -> Iterator[int]:
    """Cut `total` rows of `width` numbers into pieces of at most `_CHUNK` numbers."""
    step = max(1, _CHUNK // width)
    for start in range(0, total, step):
        yield min(step, total - start)
