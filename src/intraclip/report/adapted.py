"""One self-contained HTML page about an adaptation: figures, the same queries before and after, and the groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.adapt.adapting import Adapted
from intraclip.adapt.guard import WORDS
from intraclip.report.html import Shown, write_page
from intraclip.report.sections.tiles import tracklet_tile
from intraclip.types import Tracklet

QUERIES = 10
ANSWERS = 5
GROUPS = 24
MEMBERS = 6


def write_adapted_page(out: Path, found: Adapted, *, name: str = "the old network") -> Path:
    """Write the page.

    Queries are first those that were held out and whose first answer changed, then other held-out ones; among equals
    by their number.
    """
    before, after = found.before.figures, found.after.figures
    people = found.clusters.people
    sizes = np.bincount(found.clusters.person, minlength=people + 1)[1:]
    largest = np.argsort(-sizes, kind="stable")[:GROUPS]
    return write_page(
        out,
        "adapted.html.j2",
        name=name,
        verdict=found.verdict,
        notes=found.notes,
        tracklets=len(found.footage),
        cameras=len(np.unique(found.footage.camids)),
        held=len(found.held),
        people=people,
        alone=found.clusters.noise - len(found.held),
        pairs=found.before.pairs,
        figures=[(WORDS[key], before[key], after[key]) for key in before],
        queries=[_query(found, row, name) for row in _chosen(found)],
        groups=[_group(found, int(place) + 1) for place in largest],
        more=people - len(largest),
    )


def answers_of(
    found: Adapted, row: int, vectors: npt.NDArray[np.float32], *, count: int = ANSWERS
) -> list[int]:
    """Rows of the nearest tracklets of other cameras that can be the same person, nearest first."""
    possible = (found.footage.camids != found.footage.camids[row]) & ~found.impossible[row]
    rows = np.flatnonzero(possible)
    order = np.argsort(-(vectors[rows] @ vectors[row]), kind="stable")[:count]
    return [int(r) for r in rows[order]]


def _chosen(found: Adapted) -> list[int]:
    def changed(row: int) -> bool:
        first, now = (answers_of(found, row, v, count=1) for v in (found.seen_before, found.seen_after))
        return first != now

    held = [int(row) for row in found.held]
    return sorted(held, key=lambda row: (not changed(row), row))[:QUERIES]


def _query(found: Adapted, row: int, name: str) -> Shown:
    """A query and its nearest tracklets of other cameras, by both networks."""
    tracklets = found.footage.tracklets
    lists = []
    for which, vectors in ((name, found.seen_before), ("adapted", found.seen_after)):
        tiles = [
            _tile(
                tracklets[answer],
                2,
                f"answer {place}: {tracklets[answer].name}",
                f"distance {1 - float(vectors[answer] @ vectors[row]):.3f}",
            )
            for place, answer in enumerate(answers_of(found, row, vectors), start=1)
        ]
        lists.append((which, tiles))
    return {"tile": _tile(tracklets[row], 4, f"query {tracklets[row].name}"), "lists": lists}


def _group(found: Adapted, person: int) -> Shown:
    """Tracklets that were taken for one person in the last round."""
    tracklets = [found.footage.tracklets[row] for row in np.flatnonzero(found.clusters.person == person)]
    cameras = sorted({t.camid for t in tracklets})
    return {
        "number": person,
        "about": f"{len(tracklets)} tracklets, camera{'s' if len(cameras) > 1 else ''} "
        f"{', '.join(map(str, cameras))}",
        "tiles": [_tile(t, 2, f"{t.name} of group {person}") for t in tracklets[:MEMBERS]],
        "left_out": max(0, len(tracklets) - MEMBERS),
    }


def _tile(tracklet: Tracklet, frames: int, alt: str, *more: str) -> Shown:
    return tracklet_tile(
        tracklet, frames, alt=alt, caption=(tracklet.name, f"camera {tracklet.camid}", *more)
    )
