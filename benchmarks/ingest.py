"""How fast videos become tracklets, by quality and stage, and what it costs in tracking; sides in turn.

    intraclip data make-videos videos --people 24 --seconds 30 --seed 7
    python benchmarks/ingest.py videos/*.mp4 --detector yolox_nano.onnx --truth videos/ground_truth --out work
    python benchmarks/ingest.py cam*.mp4 --detector yolox_nano.onnx --before ../older/src --out work
    python benchmarks/ingest.py cam1.mp4 --detector yolox_nano.onnx --sizes 640x360 1280x720 --tiling on --out work

Each run is a process of its own, `intraclip ingest` from start to end. Printed are the wall clock, the processor time
of all threads (which depends less on what else the machine does), and from it how many of these cameras one core
follows in real time; then processor time of the first side in units of the others, by round and as the median.
Stages are wall clock, summed over threads that may wait for one another.

`--before` names the sources of an older version, which is the first side then.

`--sizes` asks instead how many cameras of each size and frame rate one core follows: FFmpeg scales the first video, and
each copy is ingested twice, its beginning and all of it, on one core where the system can pin a process. What the
second takes longer is free of start-up. Give `--tiling on` or `off`: `auto` might decide otherwise for the beginning.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUALITIES = ("full", "balanced", "fast")

RATES = (5, 10)
"""Frames a second of the copies that `--sizes` makes."""


@dataclass(kw_only=True)
class Run:
    """One ingest.

    Attributes:
        wall: seconds.
        cpu: seconds, of all threads.
        told: what the command printed as JSON.
    """

    wall: float
    cpu: float
    told: dict[str, Any]

    @property
    def frames(self) -> int:
        """Of all videos."""
        return sum(v["frames_used"] for v in self.told["videos"])

    @property
    def seconds(self) -> float:
        """That the longest video lasts."""
        return float(max(v["frames"] / v["fps"] for v in self.told["videos"]))


def run(
    side: str, sources: Path | None, videos: list[Path], args: argparse.Namespace, more: list[str]
) -> Run:
    """Ingest all videos once."""
    out = args.out / side
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "intraclip", "ingest", *map(str, videos)]
    command += ["--detector", str(args.detector), "--out", str(out), "--json", "-q", *more]
    if sources is None:
        command += ["--quality", side]
    path = str(sources) if sources else os.environ.get("PYTHONPATH", "")
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{side} failed: {' '.join(command)}")
    return Run(wall=time.perf_counter() - started, cpu=used.ru_utime + used.ru_stime, told=json.loads(text))


def scaled(video: Path, size: str, fps: int, seconds: float, folder: Path) -> Path:
    """The beginning of a video in another size and at another rate, as H.264."""
    out = folder / f"{size}-{fps}-{seconds:g}.mp4"
    width, _, height = size.partition("x")
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(video), "-t", str(seconds)]
    command += ["-vf", f"fps={fps},scale={width}:{height}:flags=area", "-pix_fmt", "yuv420p", "-an"]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "fast", "-crf", "20", str(out)], check=True)
    return out


def by_size(args: argparse.Namespace, more: list[str]) -> list[dict[str, Any]]:
    """Processor time that a second of video takes, start-up taken apart, by size, frame rate and quality."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # inherited by every run
    args.out.mkdir(parents=True, exist_ok=True)
    short, long = sorted(args.seconds)
    rows: list[dict[str, Any]] = []
    print("| pixels | frames/s | quality | start, s | ms a frame | cameras a core | tracklets |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in args.sizes:
        for fps in RATES:
            clips = [scaled(args.videos[0], size, fps, seconds, args.out) for seconds in (short, long)]
            for quality in args.qualities:
                first, whole = (
                    [run(quality, None, [clip], args, more) for _ in range(args.rounds)] for clip in clips
                )
                spent = [statistics.median(r.cpu for r in runs) for runs in (first, whole)]
                frames = [runs[0].frames for runs in (first, whole)]
                a_frame = (spent[1] - spent[0]) / (frames[1] - frames[0])
                row = {
                    "size": size,
                    "fps": fps,
                    "quality": quality,
                    "start_s": spent[0] - a_frame * frames[0],
                    "frame_s": a_frame,
                    "cameras": 1 / (a_frame * fps),
                    "tracklets": whole[0].told["tracklets"],
                    "tiled": whole[0].told["videos"][0]["tiled"],
                }
                rows.append(row)
                print(
                    f"| {size} | {fps} | {quality} | {row['start_s']:.1f} | {1000 * a_frame:.1f} | "
                    f"{row['cameras']:.1f} | {row['tracklets']} |",
                    flush=True,
                )
    return rows


def main() -> None:
    """Read the flags, run every side in turn, print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, nargs="+", help="one a camera")
    parser.add_argument("--detector", type=Path, required=True, help="as for `intraclip ingest`")
    parser.add_argument("--out", type=Path, required=True, help="folder to work in")
    parser.add_argument("--qualities", nargs="+", choices=QUALITIES, default=list(QUALITIES))
    parser.add_argument("--before", type=Path, help="sources of an older version, which knows no --quality")
    parser.add_argument(
        "--truth", type=Path, help="folder of files in MOTChallenge format, named like the views"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all figures here too")
    parser.add_argument(
        "--sizes", nargs="+", metavar="WxH", help="cameras a core at these sizes instead; needs FFmpeg"
    )
    parser.add_argument(
        "--seconds", type=float, nargs=2, default=[3.0, 15.0], help="of beginning and whole, with --sizes"
    )
    args, more = parser.parse_known_args()
    if args.sizes:
        rows = by_size(args, more)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1) + "\n")
        return
    sides: dict[str, Path | None] = {"before": args.before} if args.before else {}
    sides |= dict.fromkeys(args.qualities)
    runs: dict[str, list[Run]] = {side: [] for side in sides}
    for number in range(args.rounds):
        for side, sources in sides.items():
            done = run(side, sources, args.videos, args, more)
            runs[side].append(done)
            cameras = len(done.told["videos"]) * done.seconds / done.cpu
            print(
                f"round {number + 1}  {side:9} {done.wall:7.1f} s wall  {done.cpu:7.1f} s processor  "
                f"{done.frames / done.wall:6.1f} frames/s  {1000 * done.cpu / done.frames:6.1f} ms of processor a "
                f"frame  {cameras:5.2f} cameras a core  {done.told['tracklets']} tracklets",
                flush=True,
            )
    first = next(iter(sides))
    for side in [s for s in sides if s != first]:
        pairs = list(zip(runs[first], runs[side], strict=True))
        for what in ("cpu", "wall"):
            ratios = [getattr(a, what) / getattr(b, what) for a, b in pairs]
            print(
                f"{first} / {side}, {what}: {statistics.median(ratios):.2f}  {[round(r, 2) for r in ratios]}"
            )
    for side, rounds in runs.items():
        stages: dict[str, float] = {}
        for video in rounds[-1].told["videos"]:
            for stage, spent in video["seconds"].items():
                stages[stage] = stages.get(stage, 0.0) + spent
        print(
            f"{side:9} by stage, s: " + ", ".join(f"{stage} {spent:.1f}" for stage, spent in stages.items())
        )
    figures: dict[str, Any] = {}
    if args.truth:
        from video_to_answer import table, tracking

        figures = {side: tracking(args.truth, args.out / side / "tracks")["all"] for side in sides}
        table(figures)
    if args.json:
        told = {
            side: [{"wall": r.wall, "cpu": r.cpu, "told": r.told} for r in done]
            for side, done in runs.items()
        }
        args.json.write_text(json.dumps({"runs": told, "tracking": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
