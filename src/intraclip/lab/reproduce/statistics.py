"""What several trainings say together: mean, interval, and whether one row is really better than another.

Two sources of chance are kept apart. *Other trainings*: where there are several splits, a training is a split, with its
seeds averaged, as they all share its data; with one split it is a seed. Student's t is taken over them. *Other people*:
the test people are the sample, and bootstrap and flip test of `intraclip.metrics.uncertainty` are taken over all
queries of all trainings. A gain that is to be believed survives both (`agreed`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from intraclip.metrics.paired import paired
from intraclip.metrics.scores import Outcomes, Scores
from intraclip.metrics.uncertainty import Estimate

Verdict = Literal["holds", "reversed", "open"]
Ends = tuple[float | None, float | None]
"""Low and high end of an interval; None or nan where there is none."""

CONFIDENCE = 0.95

FEWEST_PEOPLE = 6
"""Fewer people show nothing: no flip test of them reaches 0.05, and the bootstrap's interval is too narrow."""


def student(values: Sequence[float] | npt.NDArray[np.float64], *, overlap: float = 0.0) -> Estimate:
    """Mean, deviation, interval and test of repeated measurements, by Student's t.

    Args:
        values: at least one.
        overlap: test people per training person when the measurements are splits of the same people, 0 otherwise.
            Such measurements share most of their data, and the plain interval is far too narrow: the variance of
            their mean is taken as (1/n + overlap) times theirs instead of 1/n (Nadeau & Bengio 2003, "Inference for
            the Generalization Error", equation 9).

    >>> student([1.0, 2.0, 3.0]).value, round(student([1.0, 2.0, 3.0]).low, 4)
    (2.0, -0.4841)
    >>> student([0.1]).deviation is None
    True
    """
    found = np.asarray(values, dtype=np.float64)
    count, mean = len(found), math.fsum(found) / len(found)
    if count == 1:
        return Estimate(value=mean)
    deviation = float(found.std(ddof=1))
    error = deviation * math.sqrt(1 / count + overlap)
    reach = -float(stdtrit(count - 1, (1 - CONFIDENCE) / 2)) * error
    if error == 0:
        # Shares of few queries can agree to the last digit by chance: no scatter is no certainty.
        return Estimate(value=mean, count=count, deviation=0.0)
    return Estimate(
        value=mean,
        count=count,
        deviation=deviation,
        low=mean - reach,
        high=mean + reach,
        p_value=2 * float(stdtr(count - 1, -abs(mean) / error)),
    )


def plain(found: Estimate) -> dict[str, Any]:
    """Plain values of a mean; None for what is not known."""
    names = ("count", "value", "deviation", "low", "high", "p_value")
    return {"mean" if name == "value" else name: finite(getattr(found, name)) for name in names}


def finite(value: float | None) -> float | None:
    """A number for JSON; None where it is not known."""
    return None if value is None or not math.isfinite(value) else value


def agreed(trainings: Ends, people: Ends, *, count: int) -> Verdict:
    """The one rule by which a difference counts as shown, in tables and in figures.

    Its two intervals are over trainings and over people (or other units that are independent), and `count` those
    people. ``holds``: both intervals lie above 0. ``reversed``: both lie below. Else ``open``, as where one is missing
    or there are fewer than `FEWEST_PEOPLE`.

    >>> agreed((0.1, 0.3), (0.01, 0.4), count=30), agreed((0.1, 0.3), (-0.01, 0.4), count=30)
    ('holds', 'open')
    """
    ends = [end for end in (*trainings, *people) if end is not None and math.isfinite(end)]
    if len(ends) < 4 or count < FEWEST_PEOPLE:
        return "open"
    return "holds" if min(ends) > 0 else "reversed" if max(ends) < 0 else "open"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being many, so that any false finding among them stays as rare as each p says.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979: the
    smallest is multiplied by their number, the next by one less, and so on; none falls below a smaller one's.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[number]))
        adjusted[number] = largest
    return adjusted


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One row against another.

    Attributes:
        trainings: of the differences, on the splits and seeds that both rows have.
        people: the same queries of all those trainings, paired; None where it could not be tested.
        persons: number of test people.
    """

    trainings: Estimate
    people: Estimate | None
    persons: int

    @property
    def verdict(self) -> Verdict:
        """See `agreed`."""
        people = (None, None) if self.people is None else (self.people.low, self.people.high)
        return agreed((self.trainings.low, self.trainings.high), people, count=self.persons)

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        people = None
        if self.people is not None:
            people = {
                "count": self.persons,
                "difference": self.people.value,
                "low": self.people.low,
                "high": self.people.high,
                "p_value": self.people.p_value,
            }
        return {"trainings": plain(self.trainings), "people": people, "verdict": self.verdict}


Trainings = Mapping[tuple[int, int], Scores]
"""(split, seed) -> scores of a row."""


def measured(scores: Scores, measure: str) -> float:
    """One measure of a score: ``rank1`` and so on, ``mAP``, ``mINP``; 0..1."""
    if measure.startswith("rank"):
        return scores.rank(int(measure.removeprefix("rank")))
    return float(getattr(scores, measure))


def sample(trainings: Trainings, measure: str) -> Estimate:
    """A measure over the trainings of a row."""
    return over_trainings({key: measured(found, measure) for key, found in trainings.items()})


def gains(
    better: Trainings,
    worse: Trainings,
    pids: Mapping[int, npt.NDArray[np.int64]],
    measures: Sequence[str],
) -> dict[str, Gain]:
    """Compare two rows on the splits and seeds that both have: measure -> gain; empty when there are none."""
    shared = [key for key in better if key in worse]
    if not shared:
        return {}
    persons = len({pid for split, _ in shared for pid in pids[split].tolist()})
    people: Mapping[str, Estimate] = {}
    if persons > 1:
        people = paired(
            Outcomes.joined([worse[key].outcomes for key in shared]),
            Outcomes.joined([better[key].outcomes for key in shared]),
            # The same person in several trainings is one person.
            np.concatenate([pids[split] for split, _ in shared]),
            seed=0,
        ).scores
    return {
        measure: Gain(
            trainings=over_trainings(
                {key: measured(better[key], measure) - measured(worse[key], measure) for key in shared}
            ),
            people=people.get(measure),
            persons=persons,
        )
        for measure in measures
    }


def over_trainings(values: Mapping[tuple[int, int], float]) -> Estimate:
    """Student's t over splits, each the mean of its seeds; over seeds where there is one split."""
    by_split: dict[int, list[float]] = {}
    for (split, _), value in values.items():
        by_split.setdefault(split, []).append(value)
    if len(by_split) == 1:
        return student(list(values.values()))
    # Every data set with several splits here trains on one half of its people. Within one data set the other half
    # tests; across data sets (Table 4) all trainings share the test people, and their training people overlap as much.
    return student([fmean(found) for found in by_split.values()], overlap=1.0)
