"""Fits a `MatchCalibration` to the pairs of `intraclip.metrics.calibration`, which says what pairs and rates are.

The likelihood ratio is a logistic curve of the distance (Platt, "Probabilistic outputs for support vector machines",
1999, with his smoothed targets), fitted with genuine pairs weighing a tenth of all. With few people it is better than
isotonic regression on those who were not fitted (docs/link.md), and it never gives two distances the same probability,
so a ranking stays a ranking.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_expit

from intraclip.errors import DataError
from intraclip.metrics.calibration import SUPPORT, PairDistances, pair_distances, threshold_at
from intraclip.metrics.distance import Distance
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.match_probability import MIN_PEOPLE, MatchCalibration, expit, inside, log_odds
from intraclip.metrics.protocols import PROTOCOLS

_FIT_PRIOR = 0.1
"""Weight of the genuine pairs in the fit: between the even odds of a verification and the rare ones of a search."""

_RATES_PER_DECADE = 40
_GROUPS = 4096
"""Impostor pairs enter the fit in at most so many groups of neighbours; fewer pairs than that enter one by one."""

_FloatArray = npt.NDArray[np.float64]


def fit_calibration(
    labelled: Embeddings | PairDistances,
    *,
    metric: Distance = "euclidean",
    fingerprint: str = "",
    prior: float | None = None,
) -> MatchCalibration:
    """Fit a calibration on people whose identity is known.

    They should be people that the network was not trained on, in cameras like those it will be used for.

    Args:
        labelled: embeddings with pids, of which every pair across cameras is read (whether a tracklet is a query does
            not matter; junk and unlabelled ones are left out, distractors are impostors); or pairs already collected.
        metric: ``euclidean`` or ``cosine``.
        fingerprint: of the network and settings that made the embeddings.
        prior: chance that a random candidate is the person. None: the share of same-person pairs among those read.

    Raises:
        DataError: fewer than `MIN_PEOPLE` people in two cameras, too few pairs, a prior outside (0, 1), pairs of
            another metric, or distances that do not tell people apart.
    """
    if isinstance(labelled, PairDistances):
        pairs = labelled
        if pairs.distance != metric:
            raise DataError(
                f"the pairs hold {pairs.distance} distances, not {metric}; name the same one for both"
            )
    else:
        everyone = replace(labelled, is_query=np.ones(len(labelled), dtype=np.bool_))
        pairs = pair_distances(everyone, PROTOCOLS["mars-full"], distance=metric)
    if pairs.people < MIN_PEOPLE:
        raise DataError(
            f"{pairs.people} people with tracklets in two cameras; a calibration needs at least {MIN_PEOPLE}, and "
            "50 for a trustworthy one; label more people"
        )
    rates = _rates(pairs.impostors)
    if not rates:
        raise DataError(
            f"{pairs.impostors} pairs of two people are too few for any threshold; at least {2 * SUPPORT} are needed; "
            "label more people"
        )
    found = [threshold_at(pairs, rate) for rate in rates]
    intercept, slope = _fit(pairs)
    share = len(pairs.genuine) / (len(pairs.genuine) + pairs.impostors)
    return MatchCalibration(
        metric=metric,
        fingerprint=fingerprint,
        prior=share if prior is None else inside(prior, "the prior"),
        intercept=intercept,
        slope=slope,
        false_match_rates=rates,
        thresholds=tuple(t.threshold for t in found),
        true_match_rates=tuple(t.true_match_rate for t in found),
        people=pairs.people,
        genuine_pairs=len(pairs.genuine),
        impostor_pairs=pairs.impostors,
    )


def _rates(impostors: int) -> tuple[float, ...]:
    """Rates from 0.5 down to the smallest that so many pairs resolve, whole decades among them."""
    lowest = SUPPORT / impostors
    decades = [10 ** (-step / _RATES_PER_DECADE) for step in range(12 * _RATES_PER_DECADE)]
    rates = {rate for rate in (0.5, *decades, lowest) if lowest <= rate <= 0.5}
    return tuple(sorted(rates, reverse=True))


def _fit(pairs: PairDistances) -> tuple[float, float]:
    """Intercept and slope of the log likelihood ratio, by weighted logistic regression."""
    impostors, counts = _grouped_impostors(pairs)
    x = np.concatenate([pairs.genuine.astype(np.float64), impostors])
    weights = np.concatenate(
        [
            np.full(len(pairs.genuine), _FIT_PRIOR / len(pairs.genuine)),
            (1 - _FIT_PRIOR) * counts / pairs.impostors,
        ]
    )
    # Platt's targets keep the slope finite where the pairs separate. Pairs of one person repeat each other, so the
    # genuine side counts people: with pairs instead, held-out log-loss after 5 people was 1 % to 3 % higher.
    targets = np.concatenate(
        [
            np.full(len(pairs.genuine), 1 - 1 / (pairs.people + 2)),
            np.full(len(impostors), 1 / (pairs.impostors + 2)),
        ]
    )
    centre = float(np.average(x, weights=weights))
    spread = math.sqrt(float(np.average((x - centre) ** 2, weights=weights)))
    nothing = DataError(
        "the distances do not tell people apart: pairs of one person are no nearer than pairs of two; look at the "
        "network, its input range and the labels"
    )
    if not spread > 0:
        raise nothing
    z = (x - centre) / spread

    def loss(parameters: _FloatArray) -> tuple[float, _FloatArray]:
        logits = parameters[0] + parameters[1] * z
        value = -float(weights @ (targets * log_expit(logits) + (1 - targets) * log_expit(-logits)))
        slopes = weights * (expit(logits) - targets)
        return value, np.array([slopes.sum(), slopes @ z])

    a, b = minimize(loss, np.array([log_odds(_FIT_PRIOR), -1.0]), jac=True, method="BFGS").x
    slope = -float(b) / spread
    if not slope > 0:
        raise nothing
    return float(a) + slope * centre - log_odds(_FIT_PRIOR), slope


def _grouped_impostors(pairs: PairDistances) -> tuple[_FloatArray, _FloatArray]:
    """Impostor distances and how many each stands for: groups of neighbours, finest among the nearest ones."""
    even = np.linspace(0, pairs.impostors, min(pairs.impostors, _GROUPS // 2) + 1)
    near = np.geomspace(1, pairs.impostors, min(pairs.impostors, _GROUPS // 2))
    edges = np.unique(np.concatenate([even, near]).astype(np.int64))
    if pairs.impostors <= _GROUPS:
        edges = np.arange(pairs.impostors + 1)
    middles = (edges[:-1] + edges[1:] - 1) // 2
    values = np.array([pairs.impostor(int(place)) for place in middles], dtype=np.float64)
    return values, np.diff(edges).astype(np.float64)
