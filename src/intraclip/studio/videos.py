"""The benchmark as videos: one file a camera, and the truth in MOTChallenge's format.

`journeys` says who walks where and when, `place` what stands there, `crowd` draws a frame; this module encodes
frames and writes what is known about them.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from intraclip.core.files import write_json, write_text
from intraclip.core.folders import claim_folder
from intraclip.core.processes import process_count, processes
from intraclip.core.progress import Progress
from intraclip.core.video import open_video, writing_video
from intraclip.errors import DataError, OutputError
from intraclip.studio.camera import draw_camera
from intraclip.studio.config import VideosConfig, VideosSummary
from intraclip.studio.crowd import Crowd, Seen
from intraclip.studio.identity import draw_identity
from intraclip.studio.journeys import Visit, Way, draw_ways, plan_visits, recurring
from intraclip.studio.make import REMEDY, write_truth

VIDEOS_VERSION = 2
"""Rises when the same seed gives other videos."""

CODEC = "mp4v"
"""MPEG-4 Part 2: OpenCV's own FFmpeg writes and reads it everywhere."""

PEDESTRIAN = 1
"""MOTChallenge's class of people."""

VISIT_COLUMNS = (
    "pid", "camid", "first_frame", "last_frame", "start_s", "end_s", "boxes", "visibility", "height",
    "previous_camid", "travel_s", "companion",
)  # fmt: skip


class Line(NamedTuple):
    """One line of a file of ground truth: frame from 1, pid, box, and the share of the person that is seen."""

    frame: int
    pid: int
    left: int
    top: int
    width: int
    height: int
    visibility: float

    @classmethod
    def of(cls, frame: int, person: Seen) -> Line:
        """Somebody in a frame, which counts from 0."""
        left, top, right, bottom = person.box
        return cls(frame + 1, person.pid, left, top, right - left, bottom - top, person.visibility)

    def in_mot(self) -> str:
        """Frame, id, left, top, width, height, 1 (it counts), class, visibility."""
        box = f"{self.left},{self.top},{self.width},{self.height}"
        return f"{self.frame},{self.pid},{box},1,{PEDESTRIAN},{self.visibility:.3f}\n"


_Filmed = tuple[list[Line], str]
"""The truth about a video, and the digest of its pixels."""


def make_videos(
    out: Path,
    config: VideosConfig,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> VideosSummary:
    """Film people who walk from camera to camera, and write the videos with their truth.

    What the folder holds docs/benchmark.md says; ``videos.json`` is written last: a folder without it is not finished.
    The same settings give the same bytes on one machine and with one set of libraries, whatever the number of workers.

    Raises:
        OutputError: `out` is not empty, or a video cannot be written.
        ConfigError: `workers` is below 1.
    """
    count = process_count(workers, config.cameras)
    began = time.perf_counter()
    claim_folder(out, "ground_truth", remedy=REMEDY)
    visits = plan_visits(config)
    videos = {camid: out / f"cam{camid}.mp4" for camid in range(1, config.cameras + 1)}
    filmed = _film_all(videos, config, visits, count, progress)
    truth = {camid: lines for camid, (lines, _) in filmed.items()}
    for camid, lines in truth.items():
        write_text(out / "ground_truth" / f"cam{camid}.txt", "".join(line.in_mot() for line in lines))
    rows = _visit_rows(config, visits, truth)
    write_text(out / "ground_truth" / "travel.toml", _travel_toml(draw_ways(config)))
    cameras = [asdict(draw_camera(config.seed, n, config.difficulty)) for n in range(1, config.cameras + 1)]
    write_truth(
        out / "ground_truth",
        {"visits.csv": rows},
        [draw_identity(config.seed, pid, config.difficulty) for pid in range(1, config.people + 1)],
        [{**camera, "fps": config.fps} for camera in cameras],
        columns=VISIT_COLUMNS,
    )
    boxes = sum(map(len, truth.values()))
    frames = config.frames * config.cameras
    summary = VideosSummary(
        root=out,
        videos=tuple(videos.values()),
        people=len({row["pid"] for row in rows}),
        recurring=len(recurring(config, visits)),
        visits=len(rows),
        boxes=boxes,
        frames=frames,
        in_view=round(boxes / frames, 2),
        sha256=hashlib.sha256("".join(digest for _, digest in filmed.values()).encode()).hexdigest(),
        seconds=round(time.perf_counter() - began, 3),
    )
    told = {key: value for key, value in vars(summary).items() if key not in ("root", "videos", "seconds")}
    write_json(out / "videos.json", {"videos_version": VIDEOS_VERSION, "config": asdict(config), **told})
    return summary


# -- filming -----------------------------------------------------------------------------------------------


def _film_all(
    videos: Mapping[int, Path],
    config: VideosConfig,
    visits: Sequence[Visit],
    workers: int,
    progress: Progress | None,
) -> dict[int, _Filmed]:
    total = config.frames * config.cameras
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    if workers == 1:
        return {camid: _film(path, camid, config, visits, one_more) for camid, path in videos.items()}
    counter = multiprocessing.get_context("spawn").Value("q", 0)
    with processes(workers, doing="renders", begin=_begin, given=(counter,)) as pool:
        jobs = {camid: pool.submit(_work, path, camid, config, visits) for camid, path in videos.items()}
        waiting = set(jobs.values())
        while waiting:
            finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
            for job in finished:
                job.result()
            if progress is not None and counter.value:
                progress(counter.value, total)
        return {camid: job.result() for camid, job in jobs.items()}


_counter: Any = None


def _begin(counter: Any) -> None:
    global _counter
    _counter = counter


def _work(path: Path, camid: int, config: VideosConfig, visits: Sequence[Visit]) -> _Filmed:
    def one_more() -> None:
        with _counter.get_lock():
            _counter.value += 1

    return _film(path, camid, config, visits, one_more)


def _film(
    path: Path, camid: int, config: VideosConfig, visits: Sequence[Visit], one_more: Callable[[], None]
) -> _Filmed:
    """Write one camera's video."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    digest = hashlib.sha256()
    lines: list[Line] = []
    try:
        with writing_video(
            path, codec=CODEC, fps=config.fps, width=config.width, height=config.height
        ) as writer:
            crowd = Crowd(config, camid, visits)
            for frame in range(config.frames):
                shot = crowd.shot(frame)
                digest.update(shot.picture.tobytes())
                writer.write(np.ascontiguousarray(shot.picture[..., ::-1]))
                lines += [Line.of(frame, person) for person in sorted(shot.people, key=lambda p: p.pid)]
                one_more()
    finally:
        cv2.setNumThreads(threads)
    _require_frames(path, config.frames)
    return lines, digest.hexdigest()


def _require_frames(path: Path, frames: int) -> None:
    """OpenCV says nothing when the disk is full; the file does."""
    try:
        capture = open_video(path)
        found = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
    except DataError:
        found = 0
    if found != frames:
        raise OutputError(f"{path} holds {found} of {frames} frames; is the disk full?")


# -- ground truth ------------------------------------------------------------------------------------------


def _visit_rows(
    config: VideosConfig, visits: Sequence[Visit], lines: Mapping[int, Sequence[Line]]
) -> list[dict[str, object]]:
    """Who was really seen where and when, by person and time."""
    seen: dict[tuple[int, int], list[Line]] = {}
    for camid, found in lines.items():
        for line in found:
            seen.setdefault((line.pid, camid), []).append(line)
    rows: list[dict[str, object]] = []
    before: tuple[int, int, int] | None = None  # pid, camid and last frame of the row above
    for visit in visits:
        mine = seen.get((visit.pid, visit.camid))
        if mine is None:
            continue
        first, last = mine[0].frame, mine[-1].frame
        came = before if before is not None and before[0] == visit.pid else None
        values = (
            visit.pid, visit.camid, first, last, f"{(first - 1) / config.fps:.3f}", f"{(last - 1) / config.fps:.3f}",
            len(mine), f"{np.mean([line.visibility for line in mine]):.3f}",
            int(np.median([line.height for line in mine])), came[1] if came else "",
            f"{(first - came[2]) / config.fps:.3f}" if came else "", visit.companion or "",
        )  # fmt: skip
        rows.append(dict(zip(VISIT_COLUMNS, values, strict=True)))
        before = visit.pid, visit.camid, last
    return rows


def _travel_toml(ways: Mapping[tuple[int, int], Way]) -> str:
    return "\n".join(
        f"[[travel]]\ncameras = [{a}, {b}]\nminimum_s = {way.minimum_s}\nusual_s = {way.usual_s}\n"
        for (a, b), way in ways.items()
    )
