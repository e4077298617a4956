"""`intraclip data make` and `intraclip data check`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from intraclip.cli.common import parse, print_json, progress_bar, say
from intraclip.data.benchmark.config import BenchmarkConfig, Difficulty
from intraclip.errors import ConfigError

HELP = """usage: intraclip data make DIR [options]     render the shipped benchmark
       intraclip data check DIR [options]    say what a data folder holds, lacks, and what is corrupt

`intraclip data make --help` and `intraclip data check --help` explain the options."""


@dataclass(frozen=True, kw_only=True)
class MakeArgs:
    """Render the shipped benchmark: walking people seen by several cameras, in a published layout.

    The same seed and settings give the same bytes on every machine of one processor family.
    """

    folder: tyro.conf.Positional[Path]
    """Folder to write; must be empty or absent."""
    identities: int = 100
    """People with a pid. In the mars layout half of them train and half test."""
    cameras: int | None = None
    """2 to 6 for mars (4 by default), 2 for the others."""
    seed: int = 0
    """Seed of people, cameras and nuisances."""
    layout: Literal["mars", "ilids-vid", "prid2011"] = "mars"
    """Published layout to write."""
    tracklets_per_camera: tuple[int, int] = (1, 3)
    """Fewest and most tracklets of a person in a camera (mars only)."""
    frames: tuple[int, int] = (12, 24)
    """Fewest and most frames of a tracklet."""
    height: int = 256
    """Frame height in pixels."""
    width: int = 128
    """Frame width in pixels."""
    difficulty: Difficulty = field(default_factory=Difficulty)
    workers: int | None = None
    """Processes that render; as many as there are cores by default."""
    json: bool = False
    """Print what was written as JSON."""


@dataclass(frozen=True, kw_only=True)
class CheckArgs:
    """Say in plain words what a data folder holds, what is missing, and what is corrupt.

    The exit code is 0 when nothing is wrong, 1 when something is.
    """

    folder: tyro.conf.Positional[Path]
    """Data folder."""
    layout: Literal["auto", "mars", "ilids-vid", "prid2011", "lsvid", "folder"] = "auto"
    """Layout of the folder."""
    decode: Literal["none", "sample", "all"] = "sample"
    """Which frames to decode, to find corrupt ones."""
    json: bool = False
    """Print the findings as JSON."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP)
        return 0
    if argv[0] == "make":
        return _make(argv[1:])
    if argv[0] == "check":
        return _check(argv[1:])
    raise ConfigError(f"unknown command 'data {argv[0]}'; there are 'data make' and 'data check'")


def _make(argv: Sequence[str]) -> int:
    args = parse(MakeArgs, argv, command="data make")
    config = BenchmarkConfig(
        identities=args.identities,
        cameras=args.cameras if args.cameras is not None else (4 if args.layout == "mars" else 2),
        seed=args.seed,
        layout=args.layout,
        tracklets_per_camera=args.tracklets_per_camera,
        frames=args.frames,
        height=args.height,
        width=args.width,
        difficulty=args.difficulty,
    )
    from intraclip.data.benchmark import make_benchmark

    with progress_bar("rendering frames") as update:
        summary = make_benchmark(args.folder, config, workers=args.workers, progress=update)
    if args.json:
        print_json({**vars(summary), "root": str(summary.root)})
    else:
        say(
            f"{summary.frames:,} frames in {summary.tracklets:,} tracklets of {summary.identities} people are in "
            f"{summary.root} ({summary.layout} layout), {summary.frames / summary.seconds:.0f} frames/s"
        )
    return 0


def _check(argv: Sequence[str]) -> int:
    args = parse(CheckArgs, argv, command="data check")
    from intraclip.data.check import check_dataset

    report = check_dataset(args.folder, layout=args.layout, decode=args.decode)
    if args.json:
        print_json(report.to_json_dict())
    else:
        sys.stdout.write(report.to_text().rstrip() + "\n")
    return 0 if report.ok else 1
