"""How likely two tracklets show the same person: a small calibration that a gallery, a link or a page carries along.

`MatchCalibration` turns a distance into a probability and a false-match rate into a threshold;
`intraclip.metrics.match_fit` makes it from labelled embeddings. It belongs to the network, the distance and the kind of
cameras that it was made with: people of the training set, another network, or the same network after a day of further
training need another one.

The probability is Bayes' rule: prior odds times the likelihood ratio of the distance. The *prior* is the chance that a
random candidate is the person, before anyone looks at it. A distance alone has no probability: the same distance
that settles it between two candidates is weak evidence among ten thousand. So the prior is a setting
(`MatchCalibration.with_prior`), and its default is nothing but the share of same-person pairs in the labelled data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_wide
from intraclip.config_io import parse_json
from intraclip.core.numbers import is_number
from intraclip.errors import DataError
from intraclip.metrics.distance import DISTANCES, Distance

MIN_PEOPLE = 5
"""People that a calibration needs. With 5, held-out log-loss was already half of that of the prior alone."""

VERSION = 1
"""Of the JSON form of `MatchCalibration`."""

_KIND = "intraclip-match-calibration"
_FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class EvidenceCurve:
    """How strongly a distance speaks for the same person, in files of version 0.1: knots of a line that never rises.

    Attributes:
        distances: of the knots, strictly ascending.
        log_likelihood_ratios: natural logarithm of how much more often genuine than impostor pairs have such a
            distance; never ascending. Outside the knots the first and the last one hold.
    """

    distances: tuple[float, ...]
    log_likelihood_ratios: tuple[float, ...]

    def at(self, distance: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Log likelihood ratio of each distance."""
        return np.asarray(
            np.interp(as_wide(distance, name="distances"), self.distances, self.log_likelihood_ratios),
            dtype=np.float64,
        )


@dataclass(frozen=True, kw_only=True)
class MatchCalibration:
    """What the distances of one network mean.

    Attributes:
        metric: ``euclidean`` or ``cosine``; the distance that it reads.
        fingerprint: of the network and settings that made the embeddings; empty if the embeddings did not say.
        prior: chance that a random candidate is the person, inside (0, 1).
        intercept: log likelihood ratio of distance 0, natural logarithm.
        slope: log likelihood ratio lost per unit of distance, above 0.
        curve: evidence of a distance as a line through knots, in place of intercept and slope; of the files that
            `intraclip score --calibrate` of version 0.1 wrote.
        false_match_rates: rates of the table, descending, inside (0, 1).
        thresholds: the largest distance that keeps each of them; never ascending.
        true_match_rates: share of the genuine pairs below each threshold, 0..1.
        people: identities it was fitted on.
        genuine_pairs: pairs of one person in two cameras it was fitted on.
        impostor_pairs: pairs of two people in two cameras it was fitted on.
        learned_from: on whom it was fitted, for people, where that is not the user's own material.
    """

    metric: Distance
    fingerprint: str
    prior: float
    intercept: float
    slope: float
    curve: EvidenceCurve | None = None
    false_match_rates: tuple[float, ...]
    thresholds: tuple[float, ...]
    true_match_rates: tuple[float, ...]
    people: int
    genuine_pairs: int
    impostor_pairs: int
    learned_from: str = ""

    def __repr__(self) -> str:
        return (
            f"MatchCalibration({self.metric}, prior {self.prior:.3g}, {self.people} people, {self.genuine_pairs} "
            f"genuine and {self.impostor_pairs} impostor pairs)"
        )

    def log_likelihood_ratio(self, distances: npt.ArrayLike) -> _FloatArray:
        """Natural logarithm of how much more often one person than two have such a distance; float64, any shape."""
        if self.curve is not None:
            return self.curve.at(distances)
        return np.asarray(
            self.intercept - self.slope * as_wide(distances, name="distances"), dtype=np.float64
        )

    def probability(self, distances: npt.ArrayLike) -> _FloatArray:
        """Probability that a pair shows the same person, under this calibration's prior.

        Args:
            distances: any shape, of this calibration's metric; pairs of two cameras, as it was fitted on those.

        Returns:
            float64 of the same shape, 0..1, falling with the distance.

        Raises:
            DataError: a distance is NaN or negative.
        """
        values = as_wide(distances, name="distances")
        if not bool((values >= 0).all()):
            bad = values[~(values >= 0)].ravel()
            raise DataError(
                f"{len(bad)} distances are NaN or negative, such as {bad[0]}; they have no probability"
            )
        return expit(self.log_likelihood_ratio(values) + log_odds(self.prior))

    def distance_of(self, probability: float) -> float:
        """The distance that has a probability, under this prior; 0 where even that one is less likely.

        Raises:
            DataError: probability outside (0, 1).
        """
        wanted = log_odds(inside(probability, "the probability")) - log_odds(self.prior)
        if self.curve is not None:
            distances, ratios = self.curve.distances, self.curve.log_likelihood_ratios
            return 0.0 if wanted > ratios[0] else float(np.interp(-wanted, -np.array(ratios), distances))
        return max(0.0, (self.intercept - wanted) / self.slope)

    def with_prior(self, prior: float) -> MatchCalibration:
        """The same evidence for another share of same-person pairs.

        Args:
            prior: the chance that a random candidate is the person, inside (0, 1). About 1 / people when exactly one
                of them must be the person; less when the person may not be among them at all.

        Raises:
            DataError: prior outside (0, 1).
        """
        return replace(self, prior=inside(prior, "the prior"))

    def threshold(self, false_match_rate: float) -> float:
        """The distance below which at most this share of pairs of two people lies.

        Read from a table with 40 rates a decade up to 0.5, at the next smaller one: the promised rate is kept, up to
        6 % too well.

        Args:
            false_match_rate: inside (0, 1), such as 0.001.

        Raises:
            DataError: the rate is outside (0, 1), or smaller than the pairs can resolve.
        """
        return self.thresholds[self._row(false_match_rate)]

    def true_match_rate(self, false_match_rate: float) -> float:
        """Share of the pairs of one person that pass `threshold`, 0..1, on the people it was fitted on."""
        return self.true_match_rates[self._row(false_match_rate)]

    def require(self, *, metric: str, fingerprint: str) -> None:
        """Refuse embeddings that this calibration says nothing about.

        Args:
            metric: the distance that will be used.
            fingerprint: of the embeddings; empty if they do not say, which is let pass.

        Raises:
            DataError: another distance, or embeddings of another network.
        """
        if metric != self.metric:
            raise DataError(
                f"the calibration is for {self.metric} distances, not {metric}; calibrate with {metric}, or use "
                f"{self.metric}"
            )
        if fingerprint and self.fingerprint and fingerprint != self.fingerprint:
            raise DataError(
                f"the calibration belongs to the network {self.fingerprint[:12]}, the embeddings to "
                f"{fingerprint[:12]}; calibrate on labelled embeddings of the same network"
            )

    def _row(self, rate: float) -> int:
        inside(rate, "the false-match rate")
        rates = np.asarray(self.false_match_rates)
        # A relative hair: a rate that was computed another way than the table's own must still find it.
        fitting = np.flatnonzero(rates <= rate * (1 + 1e-9))
        if not len(fitting):
            raise DataError(
                f"a false-match rate of {rate:g} is beyond what {self.impostor_pairs:,} pairs of two people resolve; "
                f"the smallest is {self.false_match_rates[-1]:.3g}; ask for a larger rate, or calibrate on more people"
            )
        return int(fitting[0])

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values; `from_json_dict` gives the same calibration back."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        left_out = {
            name for name, nothing in (("curve", None), ("learned_from", "")) if values[name] == nothing
        }
        return {"kind": _KIND, "version": VERSION, **{k: v for k, v in values.items() if k not in left_out}}

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> MatchCalibration:
        """Read what `to_json_dict` gave, or what `intraclip score --calibrate` of version 0.1 wrote.

        Raises:
            DataError: something else, another version, or values that cannot be; all problems at once.
        """
        if isinstance(data, Mapping) and "kind" not in data and {"thresholds", "equal_error"} <= set(data):
            data = _of_thresholds(data)
        if not isinstance(data, Mapping) or data.get("kind") != _KIND:
            raise DataError(
                "this is not a match calibration; make one with `intraclip link EMBEDDINGS --out FOLDER "
                "--calibration LABELLED.npz --save-calibration FILE.json`"
            )
        if data.get("version") != VERSION:
            raise DataError(
                f"the match calibration has version {data.get('version')!r}, this program reads {VERSION}; calibrate "
                "again"
            )
        problems = _problems(data)
        if problems:
            raise DataError(f"the match calibration is damaged: {'; '.join(problems)}; calibrate again")
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        lists = {k: tuple(map(float, v)) for k, v in known.items() if isinstance(v, list)}
        return cls(**{**known, **lists, "curve": _curve(data)})


def read_calibration(path: Path) -> MatchCalibration:
    """Read a calibration from a JSON file.

    Raises:
        DataError: the file cannot be read, or `MatchCalibration.from_json_dict` refuses it.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"the calibration {path} cannot be read: {error.strerror}") from None
    except ValueError:  # broken JSON and broken UTF-8 alike
        raise DataError(f"the calibration {path} is not a JSON file") from None
    try:
        return MatchCalibration.from_json_dict(data)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def expit(x: _FloatArray) -> _FloatArray:
    """1 / (1 + exp(-x)), without scipy, which would take longer to load than a search takes."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, small, 1) / (1 + small), dtype=np.float64)


def log_odds(share: float) -> float:
    """Natural logarithm of share / (1 - share)."""
    return math.log(share) - math.log1p(-share)


def inside(value: float, name: str) -> float:
    """A share, refused with its name unless it lies inside (0, 1)."""
    if not 0 < value < 1:
        raise DataError(f"{name} is {value}; it must lie inside 0 and 1")
    return float(value)


def _of_thresholds(data: Mapping[str, Any]) -> dict[str, Any]:
    """What `intraclip score --calibrate` of version 0.1 wrote, as a match calibration; it is checked as such.

    Rates that too few pairs support are left out, and the prior is the share of same-person pairs.
    """
    try:
        genuine, impostors, people = data["genuine_pairs"], data["impostor_pairs"], data["people"]
        rows = [row for row in data["thresholds"] if row["supported"]]
        if people < MIN_PEOPLE:
            raise DataError(f"the calibration was made of {people} people; at least {MIN_PEOPLE} are needed")
        return {
            "kind": _KIND,
            "version": data.get("version"),
            "metric": data.get("distance"),
            "fingerprint": "",
            "prior": genuine / (genuine + impostors),
            "intercept": 0.0,
            "slope": 1.0,
            "false_match_rates": [row["false_match_rate"] for row in rows],
            "thresholds": [row["threshold"] for row in rows],
            "true_match_rates": [row["true_match_rate"] for row in rows],
            "people": people,
            "genuine_pairs": genuine,
            "impostor_pairs": impostors,
            "curve": data["curve"] or {},
        }
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise DataError(f"the calibration is damaged: {error!r}; calibrate again") from None


def _curve(data: Mapping[str, Any]) -> EvidenceCurve | None:
    if data.get("curve") is None:
        return None
    return EvidenceCurve(**{name: tuple(map(float, data["curve"][name])) for name in _CURVE_KEYS})


_CURVE_KEYS = ("distances", "log_likelihood_ratios")


def _curve_problems(curve: Any) -> list[str]:
    lines = [curve.get(name) if isinstance(curve, Mapping) else None for name in _CURVE_KEYS]
    if not all(isinstance(line, list) and line and all(map(is_number, line)) for line in lines):
        return [f"curve wants lists of numbers: {' and '.join(_CURVE_KEYS)}"]
    distances, ratios = (np.array(line, dtype=np.float64) for line in lines)
    if len(distances) != len(ratios):
        return [f"curve has {len(distances)} distances and {len(ratios)} ratios"]
    if (np.diff(distances) <= 0).any() or distances[0] < 0 or (np.diff(ratios) > 0).any():
        return ["curve must have ascending distances from 0 on and ratios that never rise"]
    return []


def _problems(data: Mapping[str, Any]) -> list[str]:
    curve = data.get("curve")
    found = [] if curve is None else _curve_problems(curve)
    checks: dict[str, tuple[Callable[[Any], bool], str]] = {
        "metric": (lambda value: value in DISTANCES, f"not one of {', '.join(DISTANCES)}"),
        "fingerprint": (lambda value: isinstance(value, str), "not a text"),
        "learned_from": (lambda value: isinstance(value, str), "not a text"),
        "prior": (lambda value: is_number(value) and 0 < value < 1, "not inside 0 and 1"),
        "intercept": (is_number, "not a number"),
        "slope": (lambda value: is_number(value) and value > 0, "not a number above 0"),
        **dict.fromkeys(
            ("people", "genuine_pairs", "impostor_pairs"),
            (lambda value: type(value) is int and value > 0, "not a positive number"),
        ),
    }
    given = {"learned_from": "", **data}
    found += [
        f"{name} is {given.get(name)!r}, {words}"
        for name, (fits, words) in checks.items()
        if not fits(given.get(name))
    ]
    tables = [data.get(name) for name in ("false_match_rates", "thresholds", "true_match_rates")]
    if not all(isinstance(t, list) and t and all(map(is_number, t)) for t in tables):
        return [*found, "false_match_rates, thresholds and true_match_rates must be lists of numbers"]
    rates, thresholds, true = (np.array(t, dtype=np.float64) for t in tables)
    if len({len(rates), len(thresholds), len(true)}) > 1:
        found.append(f"its tables have {len(rates)}, {len(thresholds)} and {len(true)} rows")
    if not ((rates > 0) & (rates < 1)).all() or (np.diff(rates) >= 0).any():
        found.append("false_match_rates must descend inside 0 and 1")
    if (thresholds < 0).any() or (np.diff(thresholds) > 0).any():
        found.append("thresholds must be distances that never ascend")
    if not ((true >= 0) & (true <= 1)).all():
        found.append("true_match_rates must lie in 0..1")
    return found
