"""Two kinds of run compared in one number of a figure, over people and over seeds.

Two questions about a difference are kept apart, as in tables. *Would other people show it too?* is answered by
bootstrap and flip test over people (or over draws that share no person), with the networks as they are. *Would other
trainings show it too?* is answered by Student's t over seeds, each seed's difference being one observation; one seed
cannot answer it at all. A claim holds when both answers are yes (`intraclip.lab.reproduce.statistics.agreed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from intraclip.lab.reproduce.statistics import Verdict, agreed, plain, student
from intraclip.metrics.paired import paired_values
from intraclip.metrics.uncertainty import Estimate

NOT_KNOWN = float("nan")

Direction = Literal["higher", "lower", ""]
"""What the paper's claim makes of a number for the second run; nothing where it is empty."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two kinds of run on the same units.

    Attributes:
        units: differences of units, seeds averaged first: bootstrap and flip test.
        seeds: differences of the seeds that both have, units averaged first: Student's t.
        claimed: what the paper's claim makes of the second run.
    """

    first: str
    second: str
    units: Estimate
    seeds: Estimate
    claimed: Direction

    @property
    def difference(self) -> float:
        """Second minus first, of the seeds that both have; of units where they share none."""
        return self.seeds.value if self.seeds.count else self.units.value

    @property
    def towards(self) -> bool:
        """Whether the difference points the way the paper claims."""
        return self.difference > 0 if self.claimed == "higher" else self.difference < 0

    @property
    def verdict(self) -> Verdict:
        """Whether the paper's claim ``holds``, over seeds and over units; ``reversed`` where its opposite does."""
        seeds, units = self.seeds, self.units
        found = agreed((seeds.low, seeds.high), (units.low, units.high), count=units.count)
        if self.claimed != "lower" or found == "open":
            return found
        return "holds" if found == "reversed" else "reversed"

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "first": self.first,
            "second": self.second,
            "units": plain(self.units),
            "seeds": plain(self.seeds),
            "verdict": self.verdict,
        }


def over_units(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> Estimate:
    """Compare numbers ``[units]`` of two kinds of run by bootstrap and flip test; units that lack one are left out.

    >>> found = over_units(np.zeros(4), np.array([1.0, 2.0, 3.0, float("nan")]))
    >>> found.count, found.value, found.p_value
    (3, 2.0, 0.25)
    """
    known = np.isfinite(first) & np.isfinite(second)
    count = int(known.sum())
    if count < 2:
        return Estimate(count=count, value=float((second - first)[known][0]) if count else NOT_KNOWN)
    return paired_values(first[known], second[known], seed=0)


def over_seeds(differences: npt.NDArray[np.float64]) -> Estimate:
    """Student's t over the differences ``[seeds]``; those that are nan are left out."""
    known = differences[np.isfinite(differences)]
    return student(known) if len(known) else Estimate(count=0, value=NOT_KNOWN)
