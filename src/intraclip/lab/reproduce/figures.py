"""What figures 1 and 3 share: the runs behind them, and what they come to: numbers, comparisons, plain sentences.

Other people and other trainings are kept apart as in tables (`intraclip.lab.reproduce.statistics`): units are people,
or draws that share no person, and a seed's difference is one observation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from intraclip.errors import DataError
from intraclip.lab.reproduce.statistics import FEWEST_PEOPLE, Verdict, agreed, finite, plain, student
from intraclip.lab.reproduce.tables import Page, Table
from intraclip.metrics.paired import paired_values
from intraclip.metrics.uncertainty import Estimate
from intraclip.models.checkpoint import Checkpoint, model_file, read_checkpoint
from intraclip.types import Split

SEED = 0
"""Of everything that a figure draws at random."""

DPI, INK, MUTED = 200, "#202226", "#5c6068"
"""Of the pictures."""

Kinds = dict[str, list[Checkpoint]]
"""Two kinds of run, such as TAP -> its seeds; the second is compared with the first."""

Numbers = Mapping[str, tuple[str, "Direction", bool]]
"""Key of a number -> name, what the paper's claim makes of it, whether it is a share."""


def open_runs(runs: Mapping[str, Sequence[Path]], split: Split) -> Kinds:
    """Open every run and look whether they can be compared on this data.

    Where kinds share a seed, each starts with the same one: pictures then show runs of one seed.

    Raises:
        DataError: not two kinds, a kind without runs, one seed twice, or a run trained on people of test.
    """
    if len(runs) != 2:
        raise DataError(f"a figure compares two kinds of run, got {', '.join(runs) or 'none'}")
    queried = {t.pid for t in split.query}
    kinds: Kinds = {}
    for name, folders in runs.items():
        if not folders:
            raise DataError(f"there is no run of {name}; give at least one run folder")
        found = [read_checkpoint(model_file(f)) for f in folders]
        seeds = [run.recipe.seed for run in found]
        if len(set(seeds)) < len(seeds):
            raise DataError(f"the runs of {name} have seeds {seeds}; each seed may occur once")
        for run in found:
            known = sorted(queried & set(run.pids))
            if known:
                raise DataError(
                    f"{run.path.parent} was trained on {len(known)} of the people that {split.dataset} (split "
                    f"{split.index}) in {split.root} tests, such as pid {known[0]}; give the data and split it was "
                    "trained with"
                )
        kinds[name] = found
    shared = set.intersection(*({run.recipe.seed for run in found} for found in kinds.values()))
    order = [run.recipe.seed for run in next(iter(kinds.values())) if run.recipe.seed in shared]
    place = {seed: number for number, seed in enumerate(order)}
    return {
        n: sorted(found, key=lambda run: place.get(run.recipe.seed, len(place))) for n, found in kinds.items()
    }


def seeds_of(kinds: Kinds) -> dict[str, list[int]]:
    """Kind of run -> the seeds of its runs."""
    return {kind: [run.recipe.seed for run in runs] for kind, runs in kinds.items()}


# -- what they come to --------------------------------------------------------------------------------

NOT_KNOWN = float("nan")

Direction = Literal["higher", "lower"]
"""What the paper's claim makes of a number for the second run."""

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
        by_seed, by_unit = mean_of(values, axis=1), mean_of(values, axis=0)
        return cls(
            per_seed=dict(zip(seeds, by_seed.tolist(), strict=True)),
            mean=float(mean_of(by_seed, axis=0)),
            deviation=_deviation(by_seed),
            unit_deviation=_deviation(by_unit),
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values; None for what is unknown."""
        return {
            "mean": finite(self.mean),
            "deviation": finite(self.deviation),
            "unit_deviation": finite(self.unit_deviation),
            "per_seed": {str(seed): finite(value) for seed, value in self.per_seed.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number of two kinds of run, on the same units.

    Attributes:
        key: short name for programs, such as ``test.layer3.inside``.
        claimed: what the paper's claim makes of it for the second kind.
        percent: a share of 0..1 that is printed in percent.
        runs: kind -> its number; differences are the second minus the first.
        references: name -> what a picture that knows nothing (or everything) would score.
        units: differences of units, seeds averaged first: bootstrap and flip test.
        seeds: differences of the seeds that both have, units averaged first: Student's t.
    """

    key: str
    name: str
    claimed: Direction
    percent: bool
    runs: Mapping[str, Series]
    references: Mapping[str, float]
    units: Estimate
    seeds: Estimate

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
        """Plain values; shares stay in 0..1."""
        first, second = self.runs
        told = {"units": plain(self.units), "seeds": plain(self.seeds), "verdict": self.verdict}
        return {
            "key": self.key,
            "name": self.name,
            "claimed": self.claimed,
            "runs": {name: found.to_json_dict() for name, found in self.runs.items()},
            "references": {name: finite(value) for name, value in self.references.items()},
            "comparisons": [{"first": first, "second": second, **told}],
        }

    def text(self, value: float | None) -> str:
        """A value of this measure as it is printed: ``46.1 %`` or ``0.320``."""
        if value is None or not math.isfinite(value):
            return "–"
        return (f"{100 * value:.1f} %" if self.percent else f"{value:.3f}").replace("-", "−")

    def difference_text(self, value: float) -> str:
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
            **vars(self),
            "pictures": [path.name for path in self.pictures],
            "caption": list(self.caption),
            "measures": [measure.to_json_dict() for measure in self.measures],
        }

    def table(self) -> Table:
        """All numbers as text."""
        first, second = self.measures[0].runs
        over = [f"{second} − {first}, over {what} (95 %; p)" for what in (self.unit, "seeds")]
        rows = []
        for found in self.measures:
            cells = [found.name, *(_series_text(found, series) for series in found.runs.values())]
            cells.append("; ".join(f"{name} {found.text(v)}" for name, v in found.references.items()) or "–")
            cells += [_paired_text(found, pair) for pair in (found.units, found.seeds)]
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
        header = ("", first, second, "for comparison", *over)
        return Table(title="Numbers", header=header, rows=tuple(rows), below=below)

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
    """Sum up one number of two kinds of run; `tested` are the units that are independent."""
    runs = {kind: Series.of(found, seeds[kind]) for kind, found in values.items()}
    first, second = (series.per_seed for series in runs.values())
    shared = [second[seed] - first[seed] for seed in first if seed in second]
    return Measure(
        key=key,
        name=name,
        claimed=claimed,
        percent=percent,
        runs=runs,
        references=dict(references or {}),
        units=over_units(*(mean_of(found[:, tested], axis=0) for found in values.values())),
        seeds=over_seeds(np.asarray(shared, dtype=np.float64)),
    )


def verdict(found: Measure, *, unit: str) -> str:
    """Whether the paper's claim holds in this number, over seeds and over units: one or two plain sentences."""
    name = found.name[0].upper() + found.name[1:]
    if not math.isfinite(found.difference):
        return f"{name}: there is nothing to compare."
    asked = {f"{found.seeds.count} seeds": found.seeds, f"{found.units.count} {unit}": found.units}
    known = {
        over: (pair.low, pair.high)
        for over, pair in asked.items()
        if pair.low is not None and pair.high is not None
    }
    values = ", ".join(f"{kind} {found.text(series.mean)}" for kind, series in found.runs.items())
    numbers = (
        f"{name}: {values}; difference "
        f"{found.difference_text(found.difference)}{' points' if found.percent else ''}"
    )
    if max(found.seeds.count, found.units.count) < 2:
        return f"{numbers}. That is one observation, and says nothing about the claim."
    if known:
        ends = (
            f"{found.difference_text(low)} to {found.difference_text(high)} over {over}"
            for over, (low, high) in known.items()
        )
        numbers += f" (95 % interval {', '.join(ends)})"
    if found.verdict == "holds":
        return f"{numbers}. The paper's claim holds in this number."
    if found.verdict == "reversed":
        return (
            f"{numbers}. The paper's claim does not hold in this number: the difference goes the other way."
        )
    within = [over for over, (low, high) in known.items() if not (low > 0 or high < 0)]
    if within:
        why = f"within chance over {' and over '.join(within)}"
    elif found.seeds.count < 2:
        why = "that of two networks, with one seed of each, and not of the two methods"
    elif len(known) < 2 or found.units.count < FEWEST_PEOPLE:
        why = f"too little tested: that takes an interval over seeds, and at least {FEWEST_PEOPLE} {unit}"
    else:
        why = f"of opposite sign over {' and over '.join(known)}"
    way = "points" if found.towards else "does not even point"
    return f"{numbers}. The claim is not shown: the difference {way} the way the paper claims, and is {why}."


def mean_of(values: npt.NDArray[np.float64], *, axis: int) -> npt.NDArray[np.float64]:
    """Mean along an axis without the nan; nan where there is nothing else."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), dtype=np.float64)


def _deviation(values: npt.NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else None


def _series_text(found: Measure, series: Series) -> str:
    spread = "" if series.deviation is None else f" ± {found.text(series.deviation)}"
    return found.text(series.mean) + spread


def _paired_text(found: Measure, pair: Estimate) -> str:
    if pair.count < 2:
        return "–"
    if pair.low is None or pair.high is None or pair.p_value is None:
        return f"{found.difference_text(pair.value)} (n {pair.count})"
    ends = f"{found.difference_text(pair.low)} to {found.difference_text(pair.high)}"
    p_value = "below 0.001" if pair.p_value < 0.001 else f"{pair.p_value:.3f}"
    return f"{found.difference_text(pair.value)} ({ends}; {p_value}; n {pair.count})"


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
