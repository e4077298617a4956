"""How long people take from camera to camera: a small TOML file that the user writes, as docs/link.md shows it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.numbers import is_number
from intraclip.errors import ConfigError
from intraclip.recipe_files import read_toml

Numbers = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]

STRAIGHT = 0.5
"""Share of the sightings of one person in two cameras with nobody else's camera between them."""

SPREAD = 0.5
"""Standard deviation of the logarithm of a straight travel time: two thirds take 0.6 to 1.6 times the usual time."""


@dataclass(frozen=True, kw_only=True)
class Travel:
    """Seconds between leaving one camera and entering another, in either direction.

    Attributes:
        minimum_s: nobody is faster, 0 or more. 0 means that the views overlap or touch, so a person may be in both
            at once; above it, someone seen by both at once is two people.
        usual_s: median of those who come straight, above `minimum_s`; None if unknown.
    """

    minimum_s: float
    usual_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class TravelTimes:
    """What is known about clocks and ways.

    Attributes:
        travel: two camera numbers, the smaller first, -> times between them.
        others: times between all other pairs of cameras; None if nothing is known of these.
        clock: camera number -> seconds to add to its times.
    """

    travel: Mapping[tuple[int, int], Travel] = field(default_factory=dict)
    others: Travel | None = None
    clock: Mapping[int, float] = field(default_factory=dict)

    @property
    def ways(self) -> list[Travel]:
        """Every time between cameras."""
        return [*self.travel.values(), *([] if self.others is None else [self.others])]

    @property
    def has_usual(self) -> bool:
        """Whether any usual time is known."""
        return any(way.usual_s is not None for way in self.ways)

    def on_one_clock(
        self, times: npt.NDArray[np.float64], camids: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Times ``[N, 2]`` of cameras ``[N]``, all on the same clock."""
        late = np.array([self.clock.get(camid, 0.0) for camid in camids.tolist()], dtype=np.float64)
        return np.asarray(times + late[:, None], dtype=np.float64)

    def too_fast(self, gap_s: Seconds, one: Numbers, other: Numbers) -> npt.NDArray[np.bool_]:
        """Which gaps between tracklets of cameras `one` and `other` are below the minimum; three arrays that broadcast.

        A gap is the seconds from the end of the earlier tracklet to the start of the later, NaN unknown.
        """
        least = self._by_number([way.minimum_s or -np.inf for way in self.ways], -np.inf)
        with np.errstate(invalid="ignore"):
            return np.asarray(gap_s < least[pair_numbers(self.travel, one, other)])

    def log_ratio(self, gap_s: Seconds, one: Numbers, other: Numbers, span_s: float) -> Seconds:
        """`log_ratio` of such gaps by the usual times, float64; 0 where nothing is known."""
        usual = self._by_number([way.usual_s or 0.0 for way in self.ways], 0.0)
        gap_s, usual_s = np.broadcast_arrays(gap_s, usual[pair_numbers(self.travel, one, other)])
        found = np.zeros(usual_s.shape)
        if span_s > 0:
            known = (usual_s > 0) & (gap_s > 0)
            found[known] = log_ratio(gap_s[known], usual_s[known], span_s)
        return found

    def _by_number(self, values: list[float], none: float) -> Seconds:
        """Values of `ways` by `pair_numbers`; `none` where these know nothing."""
        *listed, others = values if self.others is not None else [*values, none]
        return np.array([none, others, *listed])

    @property
    def cameras(self) -> set[int]:
        """Every camera that is named."""
        return {camera for pair in self.travel for camera in pair} | set(self.clock)


def log_ratio(gap_s: Seconds, usual_s: Seconds | float, span_s: float) -> Seconds:
    """How much more likely a gap above 0 is for one person than for two, as a natural logarithm.

    One person comes straight in half of the cases (`STRAIGHT`), with a log-normal time around the usual one; else any
    gap within the recording, which has `span_s` seconds, is as likely, as it is for two people. So a fitting gap speaks
    for one person, and no possible gap speaks against it by more than log 2.
    """
    z = (np.log(gap_s) - np.log(usual_s)) / SPREAD
    density = np.exp(-(z**2) / 2) / (SPREAD * math.sqrt(2 * math.pi) * gap_s)
    return np.asarray(np.log((1 - STRAIGHT) + STRAIGHT * density * span_s))


def read_travel_times(path: Path) -> TravelTimes:
    """Read the file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or says something impossible; all problems at once.
    """
    data = read_toml(path, what="the travel times")
    problems = [
        f"{key}: unknown key (there are clock and travel)" for key in data if key not in ("clock", "travel")
    ]
    clock = _clock(data.get("clock", {}), problems)
    travel: dict[tuple[int, int] | None, Travel] = {}
    rows = data.get("travel", [])
    if not isinstance(rows, list):
        problems.append("travel: wants [[travel]] in double brackets, one for each pair of cameras")
        rows = []
    for number, row in enumerate(rows, start=1):
        _travel(f"travel {number}", row, travel, problems)
    if problems:
        raise ConfigError(f"{path}: {'; '.join(problems)}")
    others = travel.pop(None, None)
    return TravelTimes(
        travel={pair: way for pair, way in travel.items() if pair is not None}, others=others, clock=clock
    )


def pair_numbers(pairs: Iterable[tuple[int, int]], one: Numbers, other: Numbers) -> Numbers:
    """For two arrays of camera numbers that broadcast: which of the pairs they are.

    Returns:
        0 where both are one camera, 1 where they are none of the pairs, 2 and more for these in order.

    >>> pair_numbers([(1, 2)], np.array([1, 2, 2, 1]), np.array([1, 1, 3, 2])).tolist()
    [0, 2, 1, 2]
    """
    known = np.unique(np.concatenate([one.ravel(), other.ravel()]))
    table = np.where(np.eye(len(known), dtype=np.bool_), 0, 1)
    for number, pair in enumerate(pairs, start=2):
        place = np.searchsorted(known, pair).clip(max=len(known) - 1)
        if (known[place] == pair).all():
            table[place, place[::-1]] = number
    return np.asarray(table[np.searchsorted(known, one), np.searchsorted(known, other)])


def travel_text(times: TravelTimes, about: Mapping[tuple[int, int], str]) -> str:
    """The file that `read_travel_times` reads; `about` has what is said beside a pair of cameras."""
    lines = []
    if times.clock:
        lines += ["[clock]", *(f"{camera} = {late}" for camera, late in sorted(times.clock.items())), ""]
    rows = [
        ([f"cameras = [{a}, {b}]"], way, about.get((a, b), ""))
        for (a, b), way in sorted(times.travel.items())
    ]
    if times.others is not None:
        rows.append(([], times.others, "all other pairs of cameras"))
    for cameras, way, said in rows:
        lines += [f"[[travel]]{f'  # {said}' if said else ''}", *cameras, f"minimum_s = {way.minimum_s}"]
        lines += [] if way.usual_s is None else [f"usual_s = {way.usual_s}"]
        lines.append("")
    return "\n".join(lines)


def _clock(data: Any, problems: list[str]) -> dict[int, float]:
    found: dict[int, float] = {}
    if not isinstance(data, dict):
        problems.append("clock: wants a table such as [clock] with a line 2 = 12.5")
        return found
    for camera, seconds in data.items():
        if not camera.removeprefix("-").isdecimal():
            problems.append(f"clock.{camera}: a camera is a number such as 2")
        elif not is_number(seconds):
            problems.append(f"clock.{camera}: {seconds!r} is no number of seconds")
        else:
            found[int(camera)] = float(seconds)
    return found


def _travel(name: str, row: Any, travel: dict[tuple[int, int] | None, Travel], problems: list[str]) -> None:
    if not isinstance(row, dict):
        problems.append(f"{name}: wants cameras, minimum_s and usual_s")
        return
    allowed = ("cameras", "minimum_s", "usual_s")
    problems += [
        f"{name}.{key}: unknown key (there are {', '.join(allowed)})" for key in row if key not in allowed
    ]
    cameras = row.get("cameras", [])
    if "cameras" in row and (
        not isinstance(cameras, list)
        or not all(type(c) is int for c in cameras)
        or len(cameras) != 2
        or cameras[0] == cameras[1]
    ):
        problems.append(
            f"{name}.cameras: {cameras!r}, two different camera numbers such as [1, 2] are needed"
        )
        return
    minimum, usual = row.get("minimum_s"), row.get("usual_s")
    if not is_number(minimum) or minimum < 0:
        problems.append(f"{name}.minimum_s: {minimum!r}, a number of seconds of 0 or more is needed")
        return
    if usual is not None and (not is_number(usual) or usual <= minimum):
        problems.append(f"{name}.usual_s: {usual!r}, more seconds than minimum_s = {minimum:g} are needed")
        return
    pair = (min(cameras), max(cameras)) if cameras else None
    if pair in travel:
        who = "all other cameras" if pair is None else f"cameras {pair[0]} and {pair[1]}"
        problems.append(f"{name}: {who} are listed twice")
    travel[pair] = Travel(minimum_s=float(minimum), usual_s=None if usual is None else float(usual))
