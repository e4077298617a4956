"""Where a frame's time goes, from camera to answer: processor time by stage, and one picture of it.

    python benchmarks/stages.py cam1.mp4 cam2.mp4 --detector yolox_nano.onnx --tiling on --out work --svg stages.svg

Videos are ingested, their tracklets embedded and added to a gallery, and every tracklet is searched for once, all in
this process. The clock is the processor time of all of its threads, on one core where the system can pin a process,
with one video at a time and a decoder that has no threads of its own: so nothing that a stage is charged with belongs
to another. Loading networks is not part of it. Each stage's time is divided by the frames of the videos, those that
were passed over included; what follows people also depends on how many there are, and embedding on how long they stay.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.sax.saxutils import escape

from intraclip.process import tune

FINDING = {
    "decode": "decode, two passes",
    "moved": "has anything moved?",
    "detect": "find people",
    "motion": "the camera's motion",
    "follow": "follow",
    "crop": "cut out and write",
}
ANSWERING = {
    "embed": "read and embed",
    "add": "write to the gallery",
    "search": "search (each once)",
}
STAGES = FINDING | ANSWERING
"""In the order in which a frame comes through them, with their names for people."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What was measured.

    Attributes:
        seconds: processor time by stage.
        frames: of all videos.
        tracklets: that were found, embedded and searched for.
        size: of the first video's frames, in words.
    """

    seconds: Mapping[str, float]
    frames: int
    tracklets: int
    size: str

    def ms(self, stage: str) -> float:
        """Milliseconds a frame."""
        return 1000 * self.seconds[stage] / self.frames

    @property
    def total_ms(self) -> float:
        """Milliseconds a frame, all stages."""
        return sum(map(self.ms, STAGES))


# -- measuring ---------------------------------------------------------------------------------------------


@contextmanager
def counted(spent: dict[str, float], *places: tuple[Any, str, str]) -> Iterator[None]:
    """Charge calls to stages: places are an owner, its function's name, and the stage."""

    def wrapped(call: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*args: Any, **more: Any) -> Any:
            started = time.process_time()
            try:
                return call(*args, **more)
            finally:
                spent[stage] += time.process_time() - started

        return timed

    with ExitStack() as patches:
        for owner, name, stage in places:
            patches.enter_context(patch.object(owner, name, wrapped(getattr(owner, name), stage)))
        yield


def measure(
    videos: Sequence[Path],
    detector: Path,
    out: Path,
    *,
    quality: Any,
    model: Path | None,
    more: Mapping[str, Any],
) -> Profile:
    """From videos to answers.

    Args:
        videos: one a camera.
        detector: as for `intraclip ingest`.
        out: folder to work in; what is in it is removed.
        quality: `balanced` or `fast`.
        model: as for `intraclip gallery add`.
        more: settings of ingest.
    """
    from intraclip.embed.default import networks_here, path_of
    from intraclip.embed.network import opened
    from intraclip.gallery import adding
    from intraclip.gallery.gallery import Gallery, create_gallery
    from intraclip.ingest import IngestConfig, camera_motion, ingest, search

    shutil.rmtree(out, ignore_errors=True)
    spent: dict[str, float] = defaultdict(float)
    # Ingest times its stages itself, by the clock of the wall; here by that of the processor.
    with (
        patch("time.perf_counter", time.process_time),
        patch("os.cpu_count", lambda: 1),
        counted(
            spent,
            (search, "_blocks", "moved"),
            (search, "_moved", "moved"),
            (camera_motion.CameraMotion, "estimate", "motion"),
        ),
    ):
        found = ingest(
            videos, detector=detector, out=out / "tracklets", settings=IngestConfig(quality=quality, **more)
        )
    told: dict[str, float] = defaultdict(float)
    for video in found.videos:
        for stage, seconds in video.seconds.items():
            told[stage] += seconds
    spent |= {
        "decode": told["decode"],
        "detect": told["detect"] - spent["moved"],
        "follow": told["track"] - spent["motion"],
        "crop": told["crop"],
    }

    network = opened(model or path_of(next(networks_here())), engine="auto")
    extractor, settings = network.extractor, replace(network.settings, workers=0)
    tracklets = adding.read_tracklets(out / "tracklets", adding.Naming())
    with create_gallery(
        out / "gallery",
        fingerprint=extractor.fingerprint(settings.clip),
        dimension=extractor.embedding_size,
    ) as gallery:
        started = time.process_time()
        with counted(spent, (Gallery, "add", "add"), (adding, "pictures_of", "add")):
            adding.add_tracklets(gallery, tracklets, extractor, settings)
        spent["embed"] = time.process_time() - started - spent["add"]
        with counted(spent, (Gallery, "build_index", "add")):
            gallery.build_index()
        with counted(spent, (Gallery, "search_tracklet", "search")):
            for _, record in tracklets:
                gallery.search_tracklet(record.id, k=10)
    first = found.videos[0]
    return Profile(
        seconds={stage: spent[stage] for stage in STAGES},
        frames=sum(video.frames_used for video in found.videos),
        tracklets=len(tracklets),
        size=f"{first.width} x {first.height}",
    )


# -- drawing -----------------------------------------------------------------------------------------------

WIDTH, MARGIN, BARS, BAR, ROW = 400, 14, 162, 118, 25
"""Pixels: of the picture, around it, where bars begin, the longest bar, a row."""

STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.quiet { fill: #59636e }
.page { fill: #ffffff; stroke: #d1d9e0 }
.finding { fill: #0969da }
.answering { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.quiet { fill: #9198a1 }
.page { fill: #0d1117; stroke: #3d444d }
.finding { fill: #4493f8 }
.answering { fill: #f0883e }
}
"""


def draw(profile: Profile, caption: str) -> str:
    """The picture as SVG: a bar a stage, readable on light and dark pages, 400 pixels wide."""
    rows: list[str] = []
    y = MARGIN + 14
    rows.append(f'<text class="title" x="{MARGIN}" y="{y}">From camera to answer</text>')
    y += 20
    rows.append(
        f'<text class="quiet" x="{MARGIN}" y="{y}">{profile.total_ms:.1f} ms of one core a frame of '
        f"{escape(profile.size)}</text>"
    )
    longest = max(map(profile.ms, STAGES)) or 1.0
    for kind, title, stages in (
        ("finding", "from the video to tracklets", FINDING),
        ("answering", "from tracklets to the answer", ANSWERING),
    ):
        y += 30
        total = sum(map(profile.ms, stages))
        rows.append(f'<text class="quiet" x="{MARGIN}" y="{y}">{title}: {total:.1f} ms</text>')
        for stage, name in stages.items():
            y += ROW
            ms = profile.ms(stage)
            length = max(1.0, BAR * ms / longest)
            rows.append(f'<text x="{MARGIN}" y="{y}">{escape(name)}</text>')
            rows.append(
                f'<rect class="{kind}" x="{BARS}" y="{y - 12}" width="{length:.1f}" height="15" rx="2"/>'
            )
            share = 100 * ms / (profile.total_ms or 1.0)
            digits = 1 if ms >= 0.95 else 2
            rows.append(f'<text x="{BARS + length + 6:.1f}" y="{y}">{ms:.{digits}f} ms, {share:.0f} %</text>')
    if caption:
        y += 30
        rows.append(f'<text class="quiet" x="{MARGIN}" y="{y}">{escape(caption)}</text>')
    height = y + MARGIN
    words = "; ".join(f"{name} {profile.ms(stage):.2f} ms" for stage, name in STAGES.items())
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img">',
            f"<title>From camera to answer: {profile.total_ms:.1f} ms of one core a frame</title>",
            f"<desc>{escape(words)}</desc>",
            f"<style>{STYLE}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
            *rows,
            "</svg>\n",
        ]
    )


def main() -> None:
    """Read the flags, measure, print a table, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, nargs="+", help="one a camera")
    parser.add_argument("--detector", type=Path, required=True, help="as for `intraclip ingest`")
    parser.add_argument("--out", type=Path, required=True, help="folder to work in")
    parser.add_argument("--quality", choices=("balanced", "fast"), default="balanced")
    parser.add_argument("--model", type=Path, help="as for `intraclip gallery add`")
    parser.add_argument("--tiling", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--min-height", type=int, default=48, help="ingest's gate, pixels")
    parser.add_argument("--min-width", type=int, default=16, help="ingest's gate, pixels")
    parser.add_argument("--svg", type=Path, help="draw the picture here")
    parser.add_argument("--caption", default="", help="the picture's last line: processor, date")
    parser.add_argument("--json", type=Path, help="write all figures here too")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "threads;1"
    tune()  # a thread that spins would be charged to whoever computes
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    gates = {name: getattr(args, name) for name in ("tiling", "min_height", "min_width")}
    profile = measure(
        args.videos, args.detector, args.out / "stages", quality=args.quality, model=args.model, more=gates
    )
    print(f"{profile.frames} frames of {profile.size}, {profile.tracklets} tracklets, {args.quality}")
    for stage, name in STAGES.items():
        share = profile.ms(stage) / profile.total_ms
        print(f"{name:24} {profile.ms(stage):8.3f} ms a frame  {100 * share:5.1f} %")
    print(f"{'all':24} {profile.total_ms:8.3f} ms a frame")
    if profile.tracklets:
        a_search = 1000 * profile.seconds["search"] / profile.tracklets
        print(
            f"a search takes {a_search:.2f} ms, to embed and add a tracklet "
            f"{1000 * (profile.seconds['embed'] + profile.seconds['add']) / profile.tracklets:.0f} ms"
        )
    if args.svg:
        args.svg.write_text(draw(profile, args.caption))
    if args.json:
        args.json.write_text(
            json.dumps(
                {"seconds": dict(profile.seconds), "frames": profile.frames, "tracklets": profile.tracklets},
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
