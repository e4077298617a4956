"""`intraclip data make`, `make-videos`, `pack` and `check`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from intraclip.cli.common import ForPrograms, Parts, print_json, progress_bar, say
from intraclip.config import Layout
from intraclip.core.folders import leaving_nothing
from intraclip.core.settings import bounded
from intraclip.errors import ConfigError
from intraclip.studio.config import BenchmarkConfig, Difficulty, Diverse, DiverseConfig, VideosConfig

HELP = """usage: intraclip data COMMAND DIR [options]

  make DIR             render people as a data set in a published layout
  make-videos DIR      render videos of several cameras, with the truth
  pack DIR --out OUT   write a data set into a few large files, fast to read
  check DIR            say what a data folder holds, lacks, and what is corrupt

`intraclip data make --help` and so on explain the options."""


@dataclass(frozen=True, kw_only=True)
class MakeArgs(ForPrograms):
    """Render the shipped benchmark: walking people seen by several cameras, in a published layout.

    The same seed and settings give the same bytes on every machine of one processor family.
    """

    folder: tyro.conf.Positional[Path]
    """Folder to write; must be empty or absent."""
    preset: Literal["benchmark", "diverse"] = "benchmark"
    """For measuring (benchmark) or for learning (diverse). The latter has many people, each in a few of many cameras,
    under many lights, and is written as a tree of folders."""
    identities: int | None = None
    """People with a pid: 100 by default, 3000 for diverse. In the mars layout half of them train and half test."""
    cameras: int | None = None
    """2 to 6 for mars (4 by default), 2 for ilids-vid and prid2011, 240 by default for diverse."""
    seed: int = 0
    """Seed of people, cameras and nuisances."""
    layout: Literal["mars", "ilids-vid", "prid2011"] | None = None
    """Published layout to write, mars by default (benchmark only)."""
    tracklets_per_camera: tuple[int, int] | None = None
    """Fewest and most tracklets of a person in a camera, 1 3 by default (mars only)."""
    frames: tuple[int, int] | None = None
    """Fewest and most frames of a tracklet, 12 24 by default; for diverse the same number twice, 10 10 by default."""
    visits: int | None = None
    """Tracklets of a person, each in another camera, 4 by default (diverse only)."""
    test: int | None = None
    """People kept for query and gallery, 0 by default (diverse only)."""
    height: int = 256
    """Frame height in pixels."""
    width: int = 128
    """Frame width in pixels."""
    difficulty: Difficulty = field(default_factory=Difficulty)
    """How hard it is (benchmark only)."""
    diverse: Diverse = field(default_factory=Diverse)
    """Groups of settings, each of which can be switched off (diverse only)."""
    workers: int | None = bounded(None, 1)
    """Processes that render; as many as there are cores by default."""


@dataclass(frozen=True, kw_only=True)
class MakeVideosArgs(ForPrograms):
    """Render the shipped benchmark as videos: several cameras film the same people, who hide one another.

    DIR gets camN.mp4 and ground_truth: boxes in MOTChallenge's format with the pid as id, who is seen where and when,
    and times between cameras. The same seed and settings give the same bytes on every machine of one processor family.
    """

    folder: tyro.conf.Positional[Path]
    """Folder to write; must be empty or absent."""
    settings: Annotated[VideosConfig, tyro.conf.arg(name="")] = field(default_factory=VideosConfig)
    workers: int | None = bounded(None, 1)
    """Processes that render, at most one a camera; as many as there are cores by default."""


@dataclass(frozen=True, kw_only=True)
class PackArgs(ForPrograms):
    """Write a data set once into a few large files (safetensors) that all commands read like the folder, but faster.

    All splits of the data set are in the pack. After an interruption the same command continues; finished shards are
    checked and kept.
    """

    folder: tyro.conf.Positional[Path]
    """Data folder, or another pack."""
    out: Path
    """Folder of the pack; new, empty, or the same pack unfinished."""
    layout: Layout = "auto"
    """Layout of the data folder."""
    frames: Literal["keep", "jpeg", "raw"] = "keep"
    """Bytes of the files as they are, JPEG at training size, or pixels at training size (raw). The last is the fastest
    and largest: 98 kB a frame of 256 x 128."""
    height: int = 256
    """Frame height in pixels, for jpeg and raw."""
    width: int = 128
    """Frame width in pixels, for jpeg and raw."""
    quality: int = 95
    """Quality of jpeg, 1 to 100. A JPEG that has the size already is kept as it is."""
    on_unreadable: Literal["stop", "skip"] = "stop"
    """A frame that cannot be read: stop, or list it and go on."""
    verify: bool = False
    """Read the finished pack once more and compare all checksums."""
    workers: int | None = bounded(None, 1)
    """Processes that read and write; as many as there are cores by default, at most 8."""
    shard_megabytes: int = bounded(64, 1)
    """Size of a shard, about, in MiB. Each process holds one in memory twice."""


@dataclass(frozen=True, kw_only=True)
class CheckArgs(ForPrograms):
    """Say in plain words what a data folder holds, what is missing, and what is corrupt.

    The exit code is 0 when nothing is wrong, 1 when something is.
    """

    folder: tyro.conf.Positional[Path]
    """Data folder."""
    layout: Layout = "auto"
    """Layout of the folder."""
    decode: Literal["none", "sample", "all"] = "sample"
    """Which frames to decode, to find corrupt ones."""


def _make(args: MakeArgs) -> int:
    _refuse_options_of_the_other_preset(args)
    from intraclip.studio import make_benchmark, make_diverse

    config = _diverse_config(args) if args.preset == "diverse" else _benchmark_config(args)
    with leaving_nothing(args.folder), progress_bar("rendering frames") as update:
        if isinstance(config, DiverseConfig):
            summary = make_diverse(args.folder, config, workers=args.workers, progress=update)
        else:
            summary = make_benchmark(args.folder, config, workers=args.workers, progress=update)
    if args.json:
        print_json(vars(summary))
    else:
        say(
            f"{summary.frames:,} frames in {summary.tracklets:,} tracklets of {summary.identities} people are in "
            f"{summary.root} ({summary.layout} layout), {summary.frames / summary.seconds:.0f} frames/s"
        )
    return 0


def _benchmark_config(args: MakeArgs) -> BenchmarkConfig:
    names = ("identities", "cameras", "layout", "tracklets_per_camera", "frames")
    given = _given(args, *names)
    if args.layout not in (None, "mars"):
        given.setdefault("cameras", 2)
    return BenchmarkConfig(
        **given, seed=args.seed, height=args.height, width=args.width, difficulty=args.difficulty
    )


def _diverse_config(args: MakeArgs) -> DiverseConfig:
    low, high = args.frames or (10, 10)
    if low != high:
        raise ConfigError(
            f"--frames is {low} to {high}; tracklets of the diverse preset are equally long: write it twice, such as "
            f"--frames {high} {high}"
        )
    given = _given(args, "identities", "cameras", "visits", "test")
    return DiverseConfig(
        **given, frames=high, seed=args.seed, height=args.height, width=args.width, diverse=args.diverse
    )


def _given(args: MakeArgs, *names: str) -> dict[str, Any]:
    """Those of the flags that have a value."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def _refuse_options_of_the_other_preset(args: MakeArgs) -> None:
    if args.preset == "diverse":
        wrong = _given(args, "layout", "tracklets_per_camera")
        wrong |= {"difficulty.*": 0} if args.difficulty != Difficulty() else {}
    else:
        wrong = _given(args, "visits", "test")
        wrong |= {"diverse.*": 0} if args.diverse != Diverse() else {}
    if wrong:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ConfigError(f"{names} cannot be given with --preset {args.preset}; leave out one of them")


def _make_videos(args: MakeVideosArgs) -> int:
    from intraclip.studio.videos import make_videos

    with leaving_nothing(args.folder), progress_bar("rendering frames") as update:
        summary = make_videos(args.folder, args.settings, workers=args.workers, progress=update)
    if args.json:
        print_json(vars(summary))
    else:
        say(
            f"{summary.people} people in {len(summary.videos)} videos of {args.settings.seconds:g} s are in "
            f"{summary.root}: {summary.visits} visits, {summary.boxes:,} boxes, {summary.in_view:.1f} people in a "
            f"picture, {summary.frames / summary.seconds:.0f} frames/s"
        )
        if 2 * summary.recurring < summary.people:
            say(
                f"note: {summary.recurring or 'none'} of them {'is' if summary.recurring == 1 else 'are'} seen by two "
                f"cameras or more: a search finds the others nowhere else; make the videos longer (--seconds) or the "
                f"ways between cameras shorter (--travel)"
            )
    return 0


def _pack(args: PackArgs) -> int:
    from intraclip.data.pack.format import PackSettings
    from intraclip.data.pack.verify import verify_pack
    from intraclip.data.pack.write import write_pack

    with progress_bar("packing frames", unit="frames") as update:
        summary = write_pack(
            args.folder,
            args.out,
            settings=PackSettings(
                frames=args.frames, height=args.height, width=args.width, quality=args.quality
            ),
            layout=args.layout,
            on_unreadable=args.on_unreadable,
            workers=args.workers or min(8, os.cpu_count() or 1),
            shard_bytes=args.shard_megabytes << 20,
            progress=update,
        )
    problems: list[str] = []
    if args.verify:
        with progress_bar("comparing checksums", unit="bytes") as update:
            problems = verify_pack(summary.root, progress=update)
    if args.json:
        print_json({**vars(summary), "problems": problems})
    for line in summary.unreadable:
        say(f"unreadable: {line}")
    say(
        f"{summary.frames:,} frames of {summary.tracklets:,} tracklets are in {summary.root}: "
        f"{summary.bytes / 1e6:,.1f} MB in {summary.shards} shards, "
        f"{summary.splits} split{'s' * (summary.splits > 1)}"
    )
    if summary.frames_written < summary.frames:
        say(f"{summary.frames - summary.frames_written:,} frames were there from an earlier run")
    if summary.frames_written:
        say(f"{summary.frames_written / summary.seconds:,.0f} frames/s")
    for problem in problems:
        say(f"damaged: {problem}")
    if args.verify and not problems:
        say("all checksums are right")
    return 1 if problems else 0


def _check(args: CheckArgs) -> int:
    from intraclip.data.check import check_dataset

    report = check_dataset(args.folder, layout=args.layout, decode=args.decode)
    if args.json:
        print_json(report.to_json_dict())
    else:
        sys.stdout.write(report.to_text().rstrip() + "\n")
    return 0 if report.ok else 1


PARTS: Parts = {
    "make": (MakeArgs, _make),
    "make-videos": (MakeVideosArgs, _make_videos),
    "pack": (PackArgs, _pack),
    "check": (CheckArgs, _check),
}
