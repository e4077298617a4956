"""How sure a score is: resampling over people. Whether two runs really differ: `intraclip.metrics.paired`.

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

from intraclip.arrays import as_whole
from intraclip.errors import DataError
from intraclip.metrics.scores import RANKS, Outcomes

CONFIDENCE = 0.95
"""Share of repetitions whose interval is meant to hold the true value."""

RESAMPLES = 2000
"""Draws of the bootstrap. The ends of an interval then move by a few hundredths of its width with the seed."""

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
    """

    scores: Mapping[str, Estimate]
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES
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


def intervals(outcomes: Outcomes, pids: npt.NDArray[np.int64], *, seed: int = 0) -> Estimates | None:
    """95 % intervals of the scores of one run, by a bootstrap over people; None of one person, or none.

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
        seed: of the draws.

    Raises:
        DataError: lengths that differ.
    """
    if len(np.unique(pids)) < 2:
        return None  # nobody could be drawn in their place
    people, values = people_of(outcomes, pids), values_of(outcomes)
    ends = bootstrap(np.stack(list(values.values()), axis=1), people, rng=np.random.default_rng([seed, 13]))
    count = int(people.max()) + 1
    missing = ((1 - CONFIDENCE) / 2) ** (1 / count)
    scores = {}
    for (name, value), (low, high) in zip(values.items(), ends, strict=True):
        if (value == 1).all():
            low, high = missing, 1.0
        elif (value == 0).all():
            low, high = 0.0, 1 - missing
        scores[name] = Estimate(value=float(value.mean()), low=low, high=high)
    return Estimates(scores=scores, people=count, queries=len(people))


def values_of(outcomes: Outcomes) -> dict[str, npt.NDArray[np.float64]]:
    """Each score as a mean over queries of these values."""
    found = {f"rank{k}": (outcomes.first_hits <= k).astype(np.float64) for k in RANKS}
    found["mAP"] = outcomes.average_precisions.astype(np.float64)
    found["mINP"] = outcomes.inverse_negative_penalties.astype(np.float64)
    return found


def people_of(outcomes: Outcomes, pids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Persons of the queries, numbered from 0."""
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


def bootstrap(
    values: npt.NDArray[np.float64], people: npt.NDArray[np.int64], *, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Low and high end of the mean over queries of each score; `values` are ``[queries, scores]``."""
    counts = np.bincount(people)
    n = len(counts)
    sums = np.stack([np.bincount(people, weights=column) for column in values.T], axis=1)
    means = []
    for size in chunks(RESAMPLES, n):
        drawn = rng.integers(n, size=(size, n))
        drawn += np.arange(size)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        # The number of queries differs from draw to draw, as it would with other people.
        means.append((times @ sums) / (times @ counts)[:, None])
    # Hesterberg (2015): where a normal quantile would stand, Student's, and the bias of the bootstrap's variance.
    tail = float(ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - CONFIDENCE) / 2)))
    ends = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0).T
    return [(float(low), float(high)) for low, high in ends]


def chunks(total: int, width: int) -> Iterator[int]:
    """Cut `total` rows of `width` numbers into pieces of at most `_CHUNK` numbers."""
    step = max(1, _CHUNK // width)
    for start in range(0, total, step):
        yield min(step, total - start)
