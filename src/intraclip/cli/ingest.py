"""`intraclip ingest`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from intraclip.cli.common import parse, print_json, progress_bar, say
from intraclip.ingest import IngestConfig


@dataclass(frozen=True, kw_only=True)
class IngestArgs:
    """Turn videos into tracklets: decode, detect people, track them, crop them.

    The folder can be read by `intraclip extract`, `rank` and `data check`; look at its contact_sheets first.
    Nothing leaves this machine.
    """

    videos: tyro.conf.Positional[tuple[Path, ...]]
    """Video files; the camera number is read from the file name (cam3, c3, camera_3) or given with --cameras."""
    detector: Path
    """Person detector: an ONNX file in YOLOX layout."""
    out: Path
    """Folder to write; must be empty or absent."""
    json: bool = False
    """Print what was found as JSON."""
    settings: Annotated[IngestConfig, tyro.conf.arg(name="")] = field(default_factory=IngestConfig)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    args = parse(IngestArgs, argv, command="ingest")
    from intraclip.errors import ConfigError
    from intraclip.ingest import ingest

    if not args.videos:
        raise ConfigError("intraclip ingest: name at least one video file")
    clock: dict[Path, float] = {}
    with progress_bar("ingesting") as update:

        def watch(video: Path, done: int, total: int, people: int) -> None:
            started = clock.setdefault(video, time.perf_counter())
            rate = done / max(time.perf_counter() - started, 1e-3)
            update(done, total or None, f"{video.name}  {people} people followed  {rate:.1f} frames/s")

        summary = ingest(args.videos, args.detector, args.out, args.settings, progress=watch)
    if args.json:
        print_json(
            {
                "out": str(summary.out),
                "tracklets": summary.tracklets,
                "videos": [{**asdict(v), "video": str(v.video)} for v in summary.videos],
                "notes": list(summary.notes),
            }
        )
    else:
        print(summary)
        say(
            f"look at {args.out / 'contact_sheets'}, then: intraclip extract RUN --data {args.out} --out FILE.npz"
        )
    return 0
