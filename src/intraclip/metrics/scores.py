"""Scores: what a protocol says about embeddings, as a whole and query by query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from intraclip.errors import ConfigError

if TYPE_CHECKING:
    from intraclip.metrics.uncertainty import Estimates

RANKS = (1, 5, 10, 20)
CMC_LENGTH = 50


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The counted queries one by one, in the order of the embeddings.

    Attributes:
        rows: int64 ``[queries]``, rows of the queries in the embeddings.
        first_hits: int64 ``[queries]``, rank of the first right answer, counted from 1.
        average_precisions: float64 ``[queries]``.
        inverse_negative_penalties: float64 ``[queries]``, right answers / rank of the last one.
    """

    rows: npt.NDArray[np.int64]
    first_hits: npt.NDArray[np.int64]
    average_precisions: npt.NDArray[np.float64]
    inverse_negative_penalties: npt.NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Those of several scores, one after the other."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one protocol says about one set of embeddings. Shares lie in 0..1.

    Attributes:
        distance: ``euclidean`` or ``cosine``; ``given`` when the distances came from outside.
        cmc: ``[50]``, share of queries whose first right answer has rank k or better; entry 0 is rank 1.
        mAP: mean over queries of the average precision.
        mINP: mean over queries of matches / rank of the last match.
        queries_without_match: queries that have no right answer in the gallery; not counted.
        gallery: tracklets searched, junk taken out.
        outcomes: the same by query, for tests across runs.
        intervals: where the scores would lie with other people; None where nobody asked, or too few were searched for.
    """

    protocol: str
    distance: str
    cmc: npt.NDArray[np.float64]
    mAP: float
    mINP: float
    queries: int
    queries_without_match: int
    gallery: int
    outcomes: Outcomes
    intervals: Estimates | None = None

    def __repr__(self) -> str:
        def shown(name: str, value: float) -> str:
            found = self.intervals.scores.get(name) if self.intervals is not None else None
            known = found is not None and found.low is not None and found.high is not None
            return f"{value:.3f}" + (f" ({found.low:.3f} to {found.high:.3f})" if found and known else "")

        return (
            f"Scores({self.protocol}, {self.distance}: rank-1 {shown('rank1', self.rank(1))}, "
            f"mAP {shown('mAP', self.mAP)}, mINP {shown('mINP', self.mINP)}; {self.queries:,} queries)"
        )

    def rank(self, k: int) -> float:
        """Rank-k of the CMC curve, 0..1.

        Raises:
            ConfigError: there is no such rank.
        """
        if k not in range(1, len(self.cmc) + 1):
            raise ConfigError(f"there is no rank-{k}: the CMC curve has the ranks 1 to {len(self.cmc)}")
        return float(self.cmc[int(k) - 1])

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values, as `intraclip evaluate --json` prints them."""
        return {
            **{f"rank{k}": self.rank(k) for k in RANKS},
            "mAP": self.mAP,
            "mINP": self.mINP,
            "queries": self.queries,
            "queries_without_match": self.queries_without_match,
            "gallery": self.gallery,
            "protocol": self.protocol,
            "distance": self.distance,
            "cmc": [round(float(v), 6) for v in self.cmc],
        }
