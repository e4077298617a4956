"""One self-contained HTML page about an adaptation: figures, the same queries before and after, and the groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from intraclip.adapt.adapting import Adapted
from intraclip.adapt.guard import WORDS
from intraclip.report.html import Shown, write_page
from intraclip.report.sections.tiles import Tile, tracklet_tile

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


def answers_of(found: Adapted, row: int, *, after: bool, count: int = ANSWERS) -> list[int]:
    """Rows of the nearest tracklets of other cameras that can be the same person, nearest first."""
    vectors = found.seen_after if after else found.seen_before
    possible = (found.footage.camids != found.footage.camids[row]) & ~found.impossible[row]
    rows = np.flatnonzero(possible)
    order = np.argsort(-(vectors[rows] @ vectors[row]), kind="stable")[:count]
    return [int(r) for r in rows[order]]


def _chosen(found: Adapted) -> list[int]:
    def changed(row: int) -> bool:
        return answers_of(found, row, after=False, count=1) != answers_of(found, row, after=True, count=1)

    held = [int(row) for row in found.held]
    return sorted(held, key=lambda row: (not changed(row), row))[:QUERIES]


def _query(found: Adapted, row: int, name: str) -> Shown:
    """A query and its nearest tracklets of other cameras, by both networks."""
    tracklets = found.footage.tracklets

    def tiles(after: bool) -> tuple[Tile, ...]:
        vectors = found.seen_after if after else found.seen_before
        return tuple(
            tracklet_tile(
                tracklets[answer],
                2,
                alt=f"answer {place}: {tracklets[answer].name}",
                caption=(
                    tracklets[answer].name,
                    f"camera {tracklets[answer].camid}",
                    f"distance {1 - float(vectors[answer] @ vectors[row]):.3f}",
                ),
            )
            for place, answer in enumerate(answers_of(found, row, after=after), start=1)
        )

    own = tracklets[row]
    return {
        "tile": tracklet_tile(own, 4, alt=f"query {own.name}", caption=(own.name, f"camera {own.camid}")),
        "held_out": row in found.held,
        "lists": ((name, tiles(after=False)), ("adapted", tiles(after=True))),
    }


def _group(found: Adapted, person: int) -> Shown:
    """Tracklets that were taken for one person in the last round."""
    rows = np.flatnonzero(found.clusters.person == person).tolist()
    tracklets = [found.footage.tracklets[row] for row in rows]
    cameras = sorted({t.camid for t in tracklets})
    shown = tracklets[:MEMBERS]
    return {
        "number": person,
        "about": f"{len(rows)} tracklets, camera{'s' if len(cameras) > 1 else ''} {', '.join(map(str, cameras))}",
        "tiles": tuple(
            tracklet_tile(t, 2, alt=f"{t.name} of group {person}", caption=(t.name, f"camera {t.camid}"))
            for t in shown
        ),
        "left_out": len(rows) - len(shown),
    }
