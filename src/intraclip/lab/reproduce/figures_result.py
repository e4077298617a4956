"""What a reproduced figure comes to: pictures, numbers over seeds, paired comparisons, and plain sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.lab.reproduce.figures_compare import (
    Comparison,
    Direction,
    over_seeds,
    over_units,
)
from intraclip.lab.reproduce.statistics import FEWEST_PEOPLE
from intraclip.lab.reproduce.tables import Page, Table
from intraclip.metrics.uncertainty import Estimate

Values = npt.NDArray[np.float64]
"""float ``[seeds, units]`` of one kind of run: units are people or draws; nan where nothing could be measured."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One number of one kind of run.

    Attributes:
        per_seed: seed -> mean over units; nan where nothing could be measured.
        deviation: sample standard deviation over seeds; None with one seed.
        unit_deviation: sample standard deviation over units, seeds averaged first; None with one unit.
    """

    per_seed: Mapping[int, float]
    mean: float
    deviation: float | None
    unit_deviation: float | None

    @classmethod
    def of(cls, values: Values, seeds: Sequence[int]) -> Series:
        """Average `values` of `seeds`."""
        by_seed, by_unit = _mean(values, axis=1), _mean(values, axis=0)
        return cls(
            per_seed=dict(zip(seeds, by_seed.tolist(), strict=True)),
            mean=float(_mean(by_seed, axis=0)),
            deviation=_deviation(by_seed),
            unit_deviation=_deviation(by_unit),
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values; None for what is unknown."""
        return {
            "mean": known_or_none(self.mean),
            "deviation": known_or_none(self.deviation),
            "unit_deviation": known_or_none(self.unit_deviation),
            "per_seed": {str(seed): known_or_none(value) for seed, value in self.per_seed.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number under every kind of run.

    Attributes:
        key: short name for programs, such as ``test.layer3.inside``.
        claimed: what the paper's claim makes of it for the second run.
        percent: a share of 0..1 that is printed in percent.
        references: name -> what a picture that knows nothing (or everything) would score.
    """

    key: str
    name: str
    claimed: Direction
    percent: bool
    runs: Mapping[str, Series]
    references: Mapping[str, float]
    comparisons: tuple[Comparison, ...]

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values; shares stay in 0..1."""
        return {
            "key": self.key,
            "name": self.name,
            "claimed": self.claimed,
            "runs": {name: found.to_json_dict() for name, found in self.runs.items()},
            "references": {name: known_or_none(value) for name, value in self.references.items()},
            "comparisons": [c.to_json_dict() for c in self.comparisons],
        }

    def text(self, value: float | None) -> str:
        """A value of this measure as it is printed: ``46.1 %`` or ``0.320``."""
        if value is None or not math.isfinite(value):
            return "–"
        return (f"{100 * value:.1f} %" if self.percent else f"{value:.3f}").replace("-", "−")

    def difference(self, value: float) -> str:
        """A difference between two values as it is printed, without its unit: ``−1.3`` (points) or ``+0.021``."""
        if not math.isfinite(value):
            return "–"
        return (f"{100 * value:+.1f}" if self.percent else f"{value:+.3f}").replace("-", "−")


@dataclass(frozen=True, kw_only=True)
class FigureResult:
    """A figure of the paper, drawn again.

    Attributes:
        measures: the numbers; the first is the one that the claim is judged by, chosen before any was seen.
        unit: what the comparisons over units are over, such as ``people``.
    """

    name: str
    title: str
    pictures: tuple[Path, ...]
    measures: tuple[Measure, ...]
    caption: tuple[str, ...]
    unit: str
    settings: Mapping[str, Any]

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values; pictures by file name, as they lie beside the JSON file."""
        return {
            "name": self.name,
            "title": self.title,
            "pictures": [path.name for path in self.pictures],
            "caption": list(self.caption),
            "unit": self.unit,
            "settings": dict(self.settings),
            "measures": [measure.to_json_dict() for measure in self.measures],
        }

    def table(self) -> Table:
        """All numbers as text."""
        names = list(dict.fromkeys(name for found in self.measures for name in found.runs))
        pairs = [f"{c.second} − {c.first}" for c in self.measures[0].comparisons]
        header = ["", *names, "for comparison", *(f"{pair}, over {self.unit} (95 %; p)" for pair in pairs)]
        header += [f"{pair}, over seeds (95 %; p)" for pair in pairs]
        rows = []
        for found in self.measures:
            cells = [found.name, *(_series_text(found, found.runs.get(name)) for name in names)]
            cells.append("; ".join(f"{name} {found.text(v)}" for name, v in found.references.items()) or "–")
            cells += [_paired_text(found, c.units) for c in found.comparisons]
            cells += [_paired_text(found, c.seeds) for c in found.comparisons]
            rows.append(tuple(cells))
        seeds = min(len(series.per_seed) for found in self.measures for series in found.runs.values())
        below = (
            "± is the standard deviation over seeds."
            if seeds > 1
            else "Where there is one seed, there is no deviation over seeds and no answer about other trainings.",
            f"Over {self.unit}: bootstrap and flip test, the networks as they are. Over seeds: Student's t. The claim "
            "holds in a number when both intervals lie on its side. Several numbers are tested and nothing is "
            "corrected for that; the first row is the one to judge by.",
        )
        return Table(title="Numbers", header=tuple(header), rows=tuple(rows), below=below)

    def page(self, about: str) -> Page:
        """What is shown of it."""
        return Page(
            title=self.title,
            about=about,
            tables=(self.table(),),
            remarks=self.caption,
            pictures=self.pictures,
        )


def measure(
    key: str,
    name: str,
    values: Mapping[str, Values],
    seeds: Mapping[str, Sequence[int]],
    *,
    claimed: Direction,
    percent: bool,
    references: Mapping[str, float] | None = None,
    tested: slice = slice(None),
) -> Measure:
    """Sum up one number."""
    first, *others = values
    comparisons = []
    for second in others:
        one, two = (_mean(values[kind][:, tested], axis=0) for kind in (first, second))
        by_seed = [dict(zip(seeds[n], _mean(values[n], axis=1), strict=True)) for n in (first, second)]
        shared = [by_seed[1][s] - by_seed[0][s] for s in by_seed[0] if s in by_seed[1]]
        comparisons.append(
            Comparison(
                first=first,
                second=second,
                units=over_units(one, two),
                seeds=over_seeds(np.asarray(shared, dtype=np.float64)),
                claimed=claimed,
            )
        )
    return Measure(
        key=key,
        name=name,
        claimed=claimed,
        percent=percent,
        runs={n: Series.of(found, seeds[n]) for n, found in values.items()},
        references=dict(references or {}),
        comparisons=tuple(comparisons),
    )


def verdict(found: Measure, comparison: Comparison, *, unit: str) -> str:
    """Whether the paper's claim holds in this number, over seeds and over units: one or two plain sentences."""
    name = found.name[0].upper() + found.name[1:]
    if not math.isfinite(comparison.difference):
        return f"{name}: there is nothing to compare."
    first, second = (found.text(found.runs[kind].mean) for kind in (comparison.first, comparison.second))
    asked = {
        f"{comparison.seeds.count} seeds": comparison.seeds,
        f"{comparison.units.count} {unit}": comparison.units,
    }
    known = {
        over: (pair.low, pair.high)
        for over, pair in asked.items()
        if pair.low is not None and pair.high is not None
    }
    numbers = (
        f"{name}: {comparison.first} {first}, {comparison.second} {second}; difference "
        f"{found.difference(comparison.difference)}{' points' if found.percent else ''}"
    )
    if max(comparison.seeds.count, comparison.units.count) < 2:
        return f"{numbers}. That is one observation, and says nothing about the claim."
    if known:
        ends = (
            f"{found.difference(low)} to {found.difference(high)} over {over}"
            for over, (low, high) in known.items()
        )
        numbers += f" (95 % interval {', '.join(ends)})"
    if comparison.verdict == "holds":
        return f"{numbers}. The paper's claim holds in this number."
    if comparison.verdict == "reversed":
        return (
            f"{numbers}. The paper's claim does not hold in this number: the difference goes the other way."
        )
    within = [over for over, (low, high) in known.items() if not (low > 0 or high < 0)]
    if within:
        why = f"within chance over {' and over '.join(within)}"
    elif comparison.seeds.count < 2:
        why = "that of two networks, with one seed of each, and not of the two methods"
    elif len(known) < 2 or comparison.units.count < FEWEST_PEOPLE:
        why = f"too little tested: that takes an interval over seeds, and at least {FEWEST_PEOPLE} {unit}"
    else:
        why = f"of opposite sign over {' and over '.join(known)}"
    way = (
        "points the way the paper claims"
        if comparison.towards
        else "does not even point the way the paper claims"
    )
    return f"{numbers}. The claim is not shown: the difference {way}, and is {why}."


def _mean(values: npt.NDArray[np.float64], *, axis: int) -> npt.NDArray[np.float64]:
    """Mean along an axis without the nan; nan where there is nothing else."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), dtype=np.float64)


def known_or_none(value: float | None) -> float | None:
    """A number for JSON; None where it is not known."""
    return None if value is None or not math.isfinite(value) else float(value)


def _deviation(values: npt.NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else None


def _series_text(found: Measure, series: Series | None) -> str:
    if series is None:
        return "–"
    spread = "" if series.deviation is None else f" ± {found.text(series.deviation)}"
    return found.text(series.mean) + spread


def _paired_text(found: Measure, pair: Estimate) -> str:
    if pair.count < 2:
        return "–"
    if pair.low is None or pair.high is None or pair.p_value is None:
        return f"{found.difference(pair.value)} (n {pair.count})"
    ends = f"{found.difference(pair.low)} to {found.difference(pair.high)}"
    p_value = "below 0.001" if pair.p_value < 0.001 else f"{pair.p_value:.3f}"
    return f"{found.difference(pair.value)} ({ends}; {p_value}; n {pair.count})"
