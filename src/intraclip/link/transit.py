"""How likely the time between two sightings is for one person: learned from the footage, for every pair of cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.link.travel import Numbers, Travel, TravelTimes, pair_numbers, travel_text

EDGES = np.concatenate([[-np.inf, 0.0], 0.5 * 2 ** (np.arange(48) / 2), [np.inf]])
"""Seconds between the bins of gaps: two views at once, up to half a second, then two bins an octave, up to 48 days."""

FEW = 3
"""Links between two cameras below which these have no row of their own in `TransitTimes.travel`."""

SURELY = 0.05
"""Share of the links that may be wrong: `TransitTimes.travel` takes no shortest time from them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TransitTimes:
    """What was learned about the times between cameras.

    Attributes:
        log_ratio: float64 ``[K]``: how much more likely a gap in each bin of `EDGES` is for one person than for two,
            natural logarithm; 0 throughout where pairs of cameras have nothing in common.
        own: the same for two camera numbers, the smaller first, where their own links add to what all have in common.
        gaps: two camera numbers, the smaller first, -> seconds between the tracklets of the surest links between them,
            ascending, below 0 where both saw them at once.
    """

    log_ratio: npt.NDArray[np.float64]
    own: Mapping[tuple[int, int], npt.NDArray[np.float64]]
    gaps: Mapping[tuple[int, int], tuple[float, ...]]

    def of(self, gap_s: npt.NDArray[np.float64], one: Numbers, other: Numbers) -> npt.NDArray[np.float64]:
        """The log ratio of gaps between tracklets of cameras `one` and `other`, three arrays that broadcast.

        Returns:
            float64; 0 where a gap is NaN, or within one camera.
        """
        ratios = np.stack([np.zeros_like(self.log_ratio), self.log_ratio, *self.own.values()])
        which = pair_numbers(self.own, one, other)
        return np.where(np.isnan(gap_s), 0.0, ratios[which, bins(gap_s)])

    @property
    def links(self) -> int:
        """How many links it was learned from."""
        return sum(len(gaps) for gaps in self.gaps.values())

    @cached_property
    def travel(self) -> TravelTimes:
        """The same as `--travel` takes it: pairs with `FEW` links and more, and all others together.

        The shortest time is half of what 95 % of the links took, as some are wrong and more people will come. Where
        pairs have nothing in common, only those that taught something of their own are in it.
        """
        common = self.log_ratio.any()
        told = {
            pair: gaps
            for pair, gaps in self.gaps.items()
            if len(gaps) >= FEW and (common or pair in self.own)
        }
        others = _way(np.concatenate([np.array(gaps) for gaps in self.gaps.values()])) if common else None
        return TravelTimes(travel={pair: _way(np.array(gaps)) for pair, gaps in told.items()}, others=others)

    def text(self) -> str:
        """`travel` as the TOML file that `--travel` reads."""
        counts = {pair: f"{len(gaps)} links" for pair, gaps in self.gaps.items()}
        return (
            f"# Learned by intraclip link from the {self.links} surest links between cameras. Nothing reads it:\n"
            "# correct what you know better, then name it with --travel.\n\n"
            + travel_text(self.travel, counts)
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "links": self.links,
            "log_ratio": [
                {
                    "below_s": None if np.isinf(upper) else round(float(upper), 3),
                    "log_ratio": round(float(value), 4),
                }
                for upper, value in zip(EDGES[1:], self.log_ratio, strict=True)
            ],
            "cameras": [
                {
                    "cameras": list(pair),
                    "links": len(gaps),
                    "shortest_s": round(gaps[0], 3),
                    "median_s": round(float(np.median(gaps)), 3),
                    "longest_s": round(gaps[-1], 3),
                }
                for pair, gaps in sorted(self.gaps.items())
            ],
        }


def bins(gap_s: npt.NDArray[np.float64]) -> Numbers:
    """The bin of `EDGES` that each gap lies in; NaN in the last."""
    return np.clip(np.searchsorted(EDGES, gap_s, side="right") - 1, 0, len(EDGES) - 2)


def _way(gaps: npt.NDArray[np.float64]) -> Travel:
    shortest = max(0.0, round(float(np.quantile(gaps, SURELY)) / 2, 1))
    usual = round(float(np.median(gaps)), 1)
    return Travel(minimum_s=shortest, usual_s=usual if usual > shortest else None)
