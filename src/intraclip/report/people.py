"""One self-contained HTML page about people found across cameras: a timeline by camera and film strips of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.link.changes import title as titled
from intraclip.link.people import People
from intraclip.report.html import Shown, write_page

MAX_PEOPLE = 100
"""People shown with pictures; the others are in the table beside the page."""

MAX_STRIPS = 12
"""Film strips shown of one person."""


def write_people_page(
    out: Path,
    people: People,
    *,
    title: str,
    picture: Callable[[str], str] | None = None,
    cameras: dict[int, str] | None = None,
    sentences: Sequence[str] = (),
) -> Path:
    """Write the page about people of `intraclip.link.people.link`; returns `out`, the HTML file.

    `picture` makes a film strip, a ``data:`` address or an empty text, of a tracklet's name; without it no pictures are
    shown. `cameras` are names to show instead of numbers; `sentences` stand below the title, after what the rule was.
    """
    named = {c: f"camera {c}" for c in people.evidence.camids.tolist()} | (cameras or {})
    times, whole = _from_the_first(people)
    repeated = [p for p in people.numbers if len(people.members(p)) > 1]
    alone = [people.names[row] for row in np.flatnonzero(~np.isin(people.person, repeated)).tolist()]
    changes = [] if people.changes is None else list(people.changes.lines(people.labels))
    return write_page(
        out,
        "people.html.j2",
        title=title,
        rule=people.rule,
        sentences=list(dict.fromkeys([*sentences, *people.notes])),
        tracklets=len(people.names),
        cameras=sorted(set(named.values())),
        people=people.count,
        across=sum(len(people.cameras(p)) > 1 for p in repeated),
        shown=[_shown(people, p, picture, named, times, whole) for p in repeated[:MAX_PEOPLE]],
        not_shown=max(0, len(repeated) - MAX_PEOPLE),
        alone=alone[: 10 * MAX_PEOPLE],
        alone_count=len(alone),
        span=(_clock(0.0), _clock(whole)),
        changed="" if people.changes is None else people.changes.summary(),
        changes=changes[: 2 * MAX_PEOPLE],
        more_changes=max(0, len(changes) - 2 * MAX_PEOPLE),
        calibrated=people.evidence.calibration is not None,
    )


def _from_the_first(people: People) -> tuple[npt.NDArray[np.float64], float]:
    """Start and end of every tracklet ``[N, 2]`` in seconds since the first moment, nan where unknown; and the last."""
    times = people.evidence.clocked
    known = np.isfinite(times).all(axis=1, keepdims=True)
    since = np.where(known, times - np.min(times, where=known, initial=np.inf), np.nan)
    return since, float(np.max(since, where=known, initial=0.0))


def _shown(
    people: People,
    person: int,
    picture: Callable[[str], str] | None,
    named: dict[int, str],
    times: npt.NDArray[np.float64],
    whole: float,
) -> Shown:
    """A person with film strips in order of time, and bars by camera; doubtful is one that rather is somebody else."""
    members = people.members(person).tolist()
    strips = []
    rows: dict[int, list[Shown]] = {}
    for number, row in enumerate(members):
        name, camera = people.names[row], int(people.evidence.camids[row])
        start, end = times[row].tolist()
        when = f"{_clock(start)} to {_clock(end)}" if math.isfinite(start) else ""
        if when and whole:
            bar = {
                "left": round(100 * start / whole, 3),
                "width": round(100 * (end - start) / whole, 3),
                "label": f"{name}, {when}",
            }
            rows.setdefault(camera, []).append(bar)
        if number >= MAX_STRIPS:
            continue
        probability, distance = float(people.probability[row]), float(people.distance[row])
        belongs = f"{100 * probability:.0f} %" if math.isfinite(probability) else f"distance {distance:.3g}"
        lines = [line for line in (name, named[camera], when, belongs) if line]
        strips.append(
            {
                "image": picture(name) if picture is not None else "",
                "alt": ", ".join(lines[:-1]),
                "lines": lines,
                "doubtful": math.isfinite(probability) and probability < 0.5,
            }
        )
    return {
        "number": person,
        "title": titled(person, people.labels),
        "label": people.labels.get(person, str(person)),
        "about": f"{', '.join(named[c] for c in people.cameras(person))}; {len(members)} tracklets",
        "rows": [(named[camera], rows[camera]) for camera in sorted(rows)],
        "strips": strips,
        "left_out": len(members) - len(strips),
    }


def _clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any.

    >>> _clock(65.24), _clock(3725)
    ('1:05.2', '1:02:05.0')
    """
    tenths = round(10 * seconds)
    hours, rest = divmod(tenths, 36_000)
    minutes, rest = divmod(rest, 600)
    text = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"
