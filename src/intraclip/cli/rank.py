"""`intraclip rank`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from intraclip.cli.common import ForPrograms, print_json, progress_bar, read_data_of_run, say, tell
from intraclip.cli.gallery_flags import require_new
from intraclip.cli.network import NetworkByPlace, or_default
from intraclip.core.settings import bounded


@dataclass(frozen=True, kw_only=True)
class RankArgs(NetworkByPlace, ForPrograms):
    """Draw the tracklets of other cameras that are most similar to a chosen one.

    For folders without identity labels, such as those of `intraclip ingest`: the picture is for a person to judge.
    """

    data: Path
    """Data folder."""
    query: str
    """Name of the tracklet to search for, such as cam1_t0003."""
    out: Path
    """Picture to write, .png or .jpg."""
    k: int = bounded(10, 1)
    """Answers to show."""
    distance: Literal["euclidean", "cosine"] = "cosine"
    """Distance between embeddings."""
    own_camera: bool = False
    """Search the query's own camera too."""


def main(args: RankArgs) -> int:
    """Run the command."""
    from intraclip.metrics.ranked_lists import most_similar, require_name
    from intraclip.report.strips import ranked_tracklets, write_picture

    require_new(args.out)
    network = or_default(args).open_network()
    split = read_data_of_run(args.data, network.recipe)
    by_name = {t.name: t for t in split.test}
    require_name(args.query, list(by_name))
    with progress_bar("embedding") as update:
        embeddings = network.embed(split, progress=update)
    answers = most_similar(
        embeddings, args.query, k=args.k, distance=args.distance, own_camera=args.own_camera
    )
    write_picture(
        args.out,
        ranked_tracklets(by_name[args.query], [(by_name[a.name], a.distance) for a in answers]),
        replace=False,
    )
    if args.json:
        print_json([a._asdict() for a in answers])
    else:
        for place, answer in enumerate(answers, start=1):
            tell(
                f"{place:3}  {answer.name:<24} camera {answer.camid}  {args.distance} distance {answer.distance:.3f}"
            )
        say(f"the picture is {args.out}")
    return 0
