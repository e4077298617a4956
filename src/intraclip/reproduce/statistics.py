"""What several trainings say together: mean, interval, and whether one row is really better than another.

Two sources of chance are kept apart. *Other trainings*: seeds (and splits) are repeated, and Student's t is taken
over them. *Other people*: the test people are the sample, and the flip test of `intraclip.metrics.uncertainty` is taken
over all queries of all trainings. A gain that is to be believed should survive both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from intraclip.metrics.ranking import Outcomes, Scores
from intraclip.metrics.uncertainty import Difference, paired

Verdict = Literal["holds", "reversed", "open"]

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Repeated measurements of one number.

    Attributes:
        count: measurements.
        mean: of them.
        deviation: sample standard deviation (n - 1); None for a single one.
        low: low end of the 95 % interval of the mean; None for a single one, or where all are the same.
        high: high end.
        p_value: two-sided, that the mean is 0; None as above.
    """

    count: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    p_value: float | None


def student(values: Sequence[float] | npt.NDArray[np.float64], *, overlap: float = 0.0) -> Sample:
    """Mean, deviation, interval and test of repeated measurements, by Student's t.

    Args:
        values: at least one.
        overlap: test people per training person when the measurements are splits of the same people, 0 otherwise.
            Such measurements share most of their data, and the plain interval is far too narrow: the variance of
            their mean is taken as (1/n + overlap) times theirs instead of 1/n (Nadeau & Bengio 2003, "Inference for
            the Generalization Error", equation 9).

    >>> student([1.0, 2.0, 3.0]).mean, round(student([1.0, 2.0, 3.0]).low, 4)
    (2.0, -0.4841)
    >>> student([0.1]).deviation is None
    True
    """
    found = np.asarray(values, dtype=np.float64)
    count, mean = len(found), math.fsum(found) / len(found)
    if count == 1:
        return Sample(count=1, mean=mean, deviation=None, low=None, high=None, p_value=None)
    deviation = float(found.std(ddof=1))
    error = deviation * math.sqrt(1 / count + overlap)
    reach = -float(stdtrit(count - 1, (1 - CONFIDENCE) / 2)) * error
    if error == 0:
        # Shares of few queries can agree to the last digit by chance: no scatter is no certainty.
        return Sample(count=count, mean=mean, deviation=0.0, low=None, high=None, p_value=None)
    return Sample(
        count=count,
        mean=mean,
        deviation=deviation,
        low=mean - reach,
        high=mean + reach,
        p_value=2 * float(stdtr(count - 1, -abs(mean) / error)),
    )


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One row against another.

    Attributes:
        trainings: of the differences, one a split and seed that both rows have.
        people: the same queries of all those trainings, paired; None where it could not be tested.
    """

    trainings: Sample
    people: Difference | None

    @property
    def verdict(self) -> Verdict:
        """``holds``: above 0 beyond chance, over trainings and over people. ``reversed``: below 0. Else ``open``."""
        low, high = self.trainings.low, self.trainings.high
        if low is None or high is None or self.people is None:
            return "open"
        if low > 0 and self.people.low > 0:
            return "holds"
        return "reversed" if high < 0 and self.people.high < 0 else "open"

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        people = None
        if self.people is not None:
            people = {
                "difference": self.people.value,
                "low": self.people.low,
                "high": self.people.high,
                "p_value": self.people.p_value,
            }
        return {"trainings": asdict(self.trainings), "people": people, "verdict": self.verdict}


Trainings = Mapping[tuple[int, int], Scores]
"""(split, seed) -> scores of a row."""


def measured(scores: Scores, measure: str) -> float:
    """One measure of a score: ``rank1`` and so on, ``mAP``, ``mINP``; 0..1."""
    if measure.startswith("rank"):
        return scores.rank(int(measure.removeprefix("rank")))
    return float(getattr(scores, measure))


def sample(trainings: Trainings, measure: str) -> Sample:
    """A measure over the trainings of a row."""
    return student([measured(s, measure) for s in trainings.values()], overlap=_overlap(trainings))


def gain(
    better: Trainings,
    worse: Trainings,
    pids: Mapping[int, npt.NDArray[np.int64]],
    measure: str,
    *,
    seed: int = 0,
) -> Gain | None:
    """Compare two rows on the splits and seeds that both have; None when there are none.

    Args:
        better: the row that is said to be better.
        worse: the other one.
        pids: split -> int64 ``[queries counted]``, who was searched for.
        measure: see `measured`.
        seed: of the resampling over people.
    """
    shared = [key for key in better if key in worse]
    if not shared:
        return None
    differences = [measured(better[key], measure) - measured(worse[key], measure) for key in shared]
    people = None
    if len({pid for split, _ in shared for pid in pids[split].tolist()}) > 1:
        found = paired(
            _joined([worse[key].outcomes for key in shared]),
            _joined([better[key].outcomes for key in shared]),
            # The same person in several trainings is one person.
            np.concatenate([pids[split] for split, _ in shared]),
            seed=seed,
        )
        people = found.scores.get(measure)
    return Gain(
        trainings=student(differences, overlap=_overlap({key: better[key] for key in shared})), people=people
    )


def _overlap(trainings: Trainings) -> float:
    # Every data set with several splits here trains on one half of its people. Within one data set the other half
    # tests; across data sets (Table 4) all trainings share the test people, and their training people overlap as much.
    return 1.0 if len({split for split, _ in trainings}) > 1 else 0.0


def _joined(parts: Sequence[Outcomes]) -> Outcomes:
    return Outcomes(
        rows=np.concatenate([part.rows for part in parts]),
        first_hits=np.concatenate([part.first_hits for part in parts]),
        average_precisions=np.concatenate([part.average_precisions for part in parts]),
        inverse_negative_penalties=np.concatenate([part.inverse_negative_penalties for part in parts]),
    )
