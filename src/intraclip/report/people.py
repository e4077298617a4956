"""One self-contained HTML page about people found across cameras: a timeline by camera and film strips of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

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
    repeated = [p for p in people.numbers if len(people.members(p)) > 1]
    shown = [_shown(people, p, picture, named) for p in repeated[:MAX_PEOPLE]]
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
        shown=shown,
        not_shown=len(repeated) - len(shown),
        alone=alone[: 10 * MAX_PEOPLE],
        alone_count=len(alone),
        span=_span(people),
        changed="" if people.changes is None else people.changes.summary(),
        changes=changes[: 2 * MAX_PEOPLE],
        more_changes=max(0, len(changes) - 2 * MAX_PEOPLE),
        calibrated=people.evidence.calibration is not None,
    )


def _shown(people: People, person: int, picture: Callable[[str], str] | None, named: dict[int, str]) -> Shown:
    """A person with film strips in order of time; doubtful is one that rather belongs to somebody else."""
    members = people.members(person).tolist()
    in_words = [named[c] for c in people.cameras(person)]
    about = f"{', '.join(in_words)}; {len(members)} tracklets"
    strips = []
    for row in members[:MAX_STRIPS]:
        name, camera = people.names[row], named[int(people.evidence.camids[row])]
        when = _when(people, row)
        probability, distance = float(people.probability[row]), float(people.distance[row])
        belongs = f"{100 * probability:.0f} %" if math.isfinite(probability) else f"distance {distance:.3g}"
        strips.append(
            {
                "image": picture(name) if picture is not None else "",
                "alt": f"{name}, {camera}{', ' + when if when else ''}",
                "lines": tuple(line for line in (name, camera, when, belongs) if line),
                "doubtful": math.isfinite(probability) and probability < 0.5,
            }
        )
    return {
        "number": person,
        "title": titled(person, people.labels),
        "label": people.labels.get(person, str(person)),
        "about": about,
        "rows": _rows(people, members, named),
        "strips": tuple(strips),
        "left_out": len(members) - len(strips),
    }


def _rows(
    people: People, members: Sequence[int], named: dict[int, str]
) -> tuple[tuple[str, tuple[Shown, ...]], ...]:
    """Camera and its bars on the timeline, in percent of its width; nothing without times."""
    times = people.evidence.clocked
    first, last = _bounds(people)
    if not last > first:
        return ()
    rows: dict[int, list[Shown]] = {}
    for row in members:
        start, end = times[row].tolist()
        if not (math.isfinite(start) and math.isfinite(end)):
            continue
        left = 100 * (start - first) / (last - first)
        bar = {
            "left": round(left, 3),
            "width": round(100 * (end - start) / (last - first), 3),
            "label": f"{people.names[row]}, {_when(people, row)}",
        }
        rows.setdefault(int(people.evidence.camids[row]), []).append(bar)
    return tuple((named[camera], tuple(rows[camera])) for camera in sorted(rows))


def _bounds(people: People) -> tuple[float, float]:
    times = people.evidence.clocked
    known = times[np.isfinite(times).all(axis=1)]
    return (float(known[:, 0].min()), float(known[:, 1].max())) if len(known) else (0.0, 0.0)


def _span(people: People) -> tuple[str, str]:
    """First and last moment, in words; empty without times."""
    first, last = _bounds(people)
    return (_clock(0.0), _clock(last - first)) if last > first else ("", "")


def _when(people: People, row: int) -> str:
    """When a tracklet was seen, counted from the first moment of all; empty where unknown."""
    start, end = people.evidence.clocked[row].tolist()
    if not (math.isfinite(start) and math.isfinite(end)):
        return ""
    first = _bounds(people)[0]
    return f"{_clock(start - first)} to {_clock(end - first)}"


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
