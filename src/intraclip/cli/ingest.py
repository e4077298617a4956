"""`intraclip ingest`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Annotated

import tyro

from intraclip.cli.common import ForPrograms, command, print_json, print_tracks, progress_bar, say
from intraclip.ingest import IngestConfig


@dataclass(frozen=True, kw_only=True)
class IngestArgs(ForPrograms):
    """Turn videos into tracklets: decode, detect people, track them, crop them.

    The folder can be read by `intraclip gallery add`, `extract`, `rank` and `data check`; look at its
    contact_sheets first.
    Nothing leaves this machine.
    """

    videos: tyro.conf.Positional[tuple[Path, ...]]
    """Video files, folders of numbered pictures (or MOTChallenge sequences), or folders of these; the camera number
    is read from the name (cam3, c3, camera_3) or given with --cameras."""
    detector: Path | None = None
    """Person detector: an ONNX file in YOLOX layout, weights of one of torchvision's detection models (.pth), or a
    name of `intraclip models list`."""
    tracks: tuple[Path, ...] = ()
    """Instead of a detector: one file a video in MOTChallenge format, from any tracker. Files whose ids are all -1
    are detections, and are followed."""
    model: Path | None = None
    """A re-ID network that divides tracks which change from one person to another: a run, a name of
    `intraclip models list`, or a TOML file that describes another network (docs/export.md). It is asked about everyone
    every --appearance-seconds."""
    truth: Path | None = None
    """True boxes, to score the tracks by, each camera by itself: a folder of MOTChallenge files, one a camera
    (cam1.txt), or a file of the AI City Challenge. With --resume a finished folder is scored."""
    out: Path
    """Folder to write; must be empty or absent, except with --resume."""
    resume: bool = False
    """Go on with what an interrupted run left in --out; the other flags must be the same."""
    settings: Annotated[IngestConfig, tyro.conf.arg(name="")] = field(default_factory=IngestConfig)


def main(args: IngestArgs) -> int:
    """Run the command."""
    from intraclip.errors import ConfigError
    from intraclip.ingest import ingest

    if not args.videos:
        raise ConfigError("intraclip ingest: name at least one video file or folder")
    encoder = None
    if args.model is not None:
        from intraclip.embed.encoders import open_encoder

        encoder = open_encoder(args.model)
    with progress_bar("ingesting", unit="frames") as update:
        summary = ingest(
            args.videos,
            out=args.out,
            detector=args.detector,
            settings=args.settings,
            tracks=args.tracks,
            encoder=encoder,
            truth=args.truth,
            resume=args.resume,
            progress=update,
        )
    if args.json:
        print_json(
            {
                "out": summary.out,
                "tracklets": summary.tracklets,
                "shares_of_time": {stage: round(share, 4) for stage, share in summary.shares().items()},
                "videos": [v.to_json_dict() for v in summary.videos],
                "scores": None if summary.scores is None else summary.scores.to_json_dict(),
                "notes": list(summary.notes),
            }
        )
    else:
        print(summary)
        if summary.scores is not None:
            print_tracks(summary.scores)
        if summary.tracklets:
            add = command("gallery", "add", "GALLERY", "--data", args.out, "--model", args.model or "MODEL")
            say(f"look at {quote(str(args.out / 'contact_sheets'))}, then: {add}")
    return 0
