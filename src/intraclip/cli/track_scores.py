"""A table of tracks against the truth, for `link` and `ingest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intraclip.cli.common import print_table

if TYPE_CHECKING:
    from intraclip.ingest.track_scores import CamerasScores


def print_tracks(scores: CamerasScores) -> None:
    """A row a camera, all of them within, and across where ids are the same in all."""
    named = {
        **{f"camera {c}": s for c, s in scores.cameras.items()},
        "within cameras": scores.within,
    }
    if scores.across is not None:
        named["across cameras"] = scores.across
    rows = [
        [name, *(f"{100 * value:.1f}" for value in (s.hota, s.deta, s.assa, s.mota, s.idf1)), str(s.switches)]
        for name, s in named.items()
    ]
    print_table(["boxes against the truth, %", "HOTA", "DetA", "AssA", "MOTA", "IDF1", "switches"], rows)
