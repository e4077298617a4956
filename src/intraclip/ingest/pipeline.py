"""Video -> detections -> tracks -> tracklets on disk.

Every video is read twice: once to find and follow people, once to cut out the frames that were chosen. Which
frames of a track are worth keeping is only known at its end, and decoding costs far less than finding people; so
memory holds boxes and never crops, however long the video is.

`tracklets.csv` and then `ingest.json` are written last, each in one step: a folder without `ingest.json` is
unfinished, and `resume` goes on with it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intraclip.core.environment import versions
from intraclip.core.files import file_digest, write_text
from intraclip.core.progress import Progress
from intraclip.core.tables import csv_text
from intraclip.errors import ConfigError
from intraclip.ingest.cameras import assign_cameras, view_names
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detection_log import DetectionLog
from intraclip.ingest.detector import Detector, open_detector
from intraclip.ingest.follow import (
    DetectAndTrack,
    Follower,
    TracksFromFile,
    choose_tiles,
    from_network,
    observe,
)
from intraclip.ingest.frame_source import FrameSource
from intraclip.ingest.gates import Observations
from intraclip.ingest.job import Job, begun_in_full
from intraclip.ingest.mot import MotFile, read_mot, write_mot
from intraclip.ingest.search import finder
from intraclip.ingest.side_by_side import OneAtATime, Stopped, side_by_side
from intraclip.ingest.sources import find_videos, match_tracks, open_source
from intraclip.ingest.summary import IngestSummary, VideoSummary
from intraclip.ingest.track_scores import Truth
from intraclip.ingest.tracking import PeopleTracker
from intraclip.ingest.tracklets import COLUMNS, write_tracklets

if TYPE_CHECKING:
    from intraclip.ingest.appearance import Encoder

FORMAT_VERSION = 2

_PACKAGES = (
    "intraclip", "numpy", "onnxruntime", "opencv-python-headless", "simplejpeg", "supervision", "torchvision",
    "trackers",
)  # fmt: skip
"""Whose versions stand in the record."""


def ingest(
    videos: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    detector: str | Path | None = None,
    tracks: str | Path | Sequence[str | Path] = (),
    encoder: Encoder | None = None,
    settings: IngestConfig | None = None,
    truth: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> IngestSummary:
    """Turn videos into a folder of tracklets without identities: find people, follow them, cut them out.

    All inputs are checked before the first frame is searched. Videos without people are no error: they give no
    tracklets, and a note.

    Args:
        videos: one, or one a camera: files, folders of numbered pictures, or folders of these.
        out: folder to write; new or empty, unless resuming.
        detector: a YOLOX network (.onnx), weights of a detection model of torchvision (.pth), or a name of
            `intraclip models list`.
        tracks: instead of a detector: one file a video in MOTChallenge format, with tracks of any tracker, or
            detections (ids of -1), which are then followed.
        encoder: a re-ID network that divides tracks which change from one person to another, such as
            ``load("base").extractor.encoder``; see `appearance`.
        settings: everything else.
        truth: true boxes to score the tracks by: a folder of MOTChallenge files, one a camera, or a file of the AI City
            Challenge. The summary then has `scores`.
        resume: go on with an interrupted ingest of the same videos and settings in `out`. Finished videos are kept,
            and of an interrupted one the answers of the detector; the result is that of an uninterrupted run. A folder
            that is empty is begun, one that is finished is left as it is, and scored.
        progress: called after every frame with the frames in which people were looked for, those of finished videos
            included, and the frames of all videos, 0 where one does not say.

    Raises:
        CheckpointError: the detector's weights are damaged or belong to another model.
        ConfigError: no videos, neither or both of detector and tracks, or cameras that are not there.
        DataError: a video, the detector, a file of tracks or the truth cannot be used, camera numbers clash, or tracks
            do not fit their video.
        MissingExtraError: a package for detection or tracking is not installed.
        OutputError: `out` is not empty, cannot be written, or is, with `resume`, of another job: what differs is named.

    >>> ingest(["cam1.mp4"], out="tracklets")
    Traceback (most recent call last):
    ...
    intraclip.errors.ConfigError: give a detector, or tracks in MOTChallenge format instead
    """
    out, config = Path(out), settings or IngestConfig()
    if (detector is None) == (not tracks):
        raise ConfigError(
            "give a detector, or tracks in MOTChallenge format instead"
            + ("; both were given" if tracks else "")
        )
    if resume and begun_in_full(out):
        config = replace(config, quality="full")
    paths = find_videos(_each(videos))
    camids, notes = assign_cameras(paths, mapping=config.cameras, same_camera=config.same_camera)
    views = view_names(camids)
    sources = [open_source(path, config) for path in paths]
    known = None if truth is None else Truth(Path(truth), list(camids))
    files = _read_tracks(_each(tracks), sources, views, config) if tracks else [None] * len(sources)
    workers = 1 if config.quality == "full" else min(os.cpu_count() or 1, len(sources))
    network = open_detector(Path(detector), config, at_once=workers) if detector is not None else None
    if not all(file is not None and file.followed for file in files):
        PeopleTracker(config, fps=sources[0].sampled_fps)  # fails now rather than after the first frame
    shared = None if encoder is None else OneAtATime(encoder)
    job_settings = {
        "config": asdict(config),
        "videos": [s.fingerprint() | {"camera": c} for s, c in zip(sources, camids, strict=True)],
        "detector": None if network is None else {"name": network.name, "sha256": network.sha256},
        "encoder": None if encoder is None else encoder.fingerprint,
        "tracks": [file_digest(f.path) for f in files if f is not None],
    }
    with Job(out, job_settings) as job:
        job.begin(resume=resume)
        if job.record is not None:
            done = tuple(VideoSummary.from_json_dict(v) for v in job.record["videos"])
            notes = [*job.record["notes"], f"{out} was finished already; nothing was done"]
            return _scored(IngestSummary(out=out, videos=done, notes=tuple(notes)), known, sources)
        pace = _Pace(sources, progress)

        def one(number: int) -> dict[str, Any]:
            source, view = sources[number], views[number]
            kept = job.finished(view)
            if kept is not None:
                pace.done(number, source.info.announced_frames)
                return kept
            job.clear(view)
            summary = VideoSummary(
                video=source.path,
                view=view,
                camid=camids[number],
                width=source.info.width,
                height=source.info.height,
                fps=source.info.fps,
            )
            return _ingest_video(
                source, network, files[number], shared, job, config, summary, partial(pace.watch, number)
            )

        every = side_by_side(one, len(sources), workers=workers, stop=pace.stop)
        summaries = [VideoSummary.from_json_dict(kept["summary"]) for kept in every]
        rows = [row for kept in every for row in kept["rows"]]
        notes += [note for kept in every for note in kept["notes"]]
        if not rows:
            notes.append(
                "no tracklets were written: nobody was found, or every track was dropped by a gate; look at the counts "
                "of dropped tracks, and at track_score, min_height and min_frames"
            )
        write_text(out / "tracklets.csv", csv_text(COLUMNS, rows))
        job.end(
            {
                "format_version": FORMAT_VERSION,
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "versions": versions(*_PACKAGES),
                "detector": None
                if network is None or detector is None
                else {
                    "file": Path(detector).name,
                    "name": network.name,
                    "sha256": network.sha256,
                    "input": [network.height, network.width],
                },
                "videos": [s.to_json_dict() for s in summaries],
                "notes": notes,
            }
        )
    return _scored(IngestSummary(out=out, videos=tuple(summaries), notes=tuple(notes)), known, sources)


def _scored(summary: IngestSummary, truth: Truth | None, sources: Sequence[FrameSource]) -> IngestSummary:
    if truth is None:
        return summary
    scores, notes = truth.score(summary.out, summary.videos, sources)
    return replace(summary, scores=scores, notes=(*summary.notes, *notes))


def _ingest_video(
    source: FrameSource,
    network: Detector | None,
    tracks: MotFile | None,
    encoder: Encoder | None,
    job: Job,
    config: IngestConfig,
    summary: VideoSummary,
    watch: Callable[[int], None],
) -> dict[str, Any]:
    """Follow everyone in one video, write its tracklets, and mark it as finished.

    Returns:
        What the manifest and the record need to know of it, as JSON can hold it.
    """
    follower: Follower
    if tracks is not None:
        follower = (
            TracksFromFile(tracks)
            if tracks.followed
            # Looking into a file costs nothing.
            else DetectAndTrack(tracks.people, replace(config, quality="full"), fps=source.sampled_fps)
        )
        seen = _observe(source, follower, encoder, config, summary, watch)
        tracks = tracks.within(summary.frames, source.path)
    else:
        assert network is not None
        probing = time.perf_counter()
        with DetectionLog(job.log_of(summary.view), lambda: choose_tiles(source, network, config)) as log:
            probing = time.perf_counter() - probing - source.seconds
            summary.tiled, probe = log.decided
            summary.probe = tuple(probe) if probe else None
            find = finder(
                network, config, height=source.info.height, width=source.info.width, small=summary.tiled
            )
            detect = from_network(find, config, log=log)
            follower = DetectAndTrack(detect, config, fps=source.sampled_fps)
            follower.seconds["detect"] = probing
            seen = _observe(source, follower, encoder, config, summary, watch)
            summary.frames_taken_over = log.replayed
    boxes = zip(
        seen.frame.tolist(),
        seen.track.tolist(),
        map(tuple, seen.boxes.tolist()),
        seen.score.tolist(),
        strict=True,
    )
    write_text(job.out / "tracks" / f"{summary.view}.txt", write_mot(boxes))
    rows = write_tracklets(source, seen, job.out, config, summary, watch=lambda _frame: watch(summary.frames))
    summary.seconds = {stage: round(spent, 3) for stage, spent in summary.seconds.items()}
    kept = {"summary": summary.to_json_dict(), "rows": rows, "notes": _notes_about(source, summary, tracks)}
    job.finish(summary.view, kept, [str(row[0]) for row in rows])
    return kept


def _observe(
    source: FrameSource,
    follower: Follower,
    encoder: Encoder | None,
    config: IngestConfig,
    summary: VideoSummary,
    watch: Callable[[int], None],
) -> Observations:
    sampler = None
    if encoder is not None:
        from intraclip.ingest.appearance import AppearanceSampler  # loads torch

        sampler = AppearanceSampler(encoder, config)
    seen, summary.frames_used = observe(
        source,
        follower,
        config,
        look=sampler.look if sampler else None,
        watch=lambda: watch(source.frames_read),
    )
    if sampler:
        seen, summary.switches = sampler.divide(seen)
    summary.frames = source.frames_read
    summary.detections = follower.detections
    summary.tracks = len(set(seen.track.tolist()))
    summary.seconds = {"decode": source.seconds, "detect": 0.0, **follower.seconds}
    return seen


def _each(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]


def _read_tracks(
    tracks: Sequence[Path], sources: Sequence[FrameSource], views: Sequence[str], config: IngestConfig
) -> list[MotFile | None]:
    """Files of tracks in the order of the videos, checked against them."""
    matched = match_tracks(tracks, [s.path for s in sources], views)
    files: list[MotFile | None] = []
    for path, source in zip(matched, sources, strict=True):
        file = read_mot(path, person_class=config.mot_class)
        file = file.inside(height=source.info.height, width=source.info.width)
        # Headers may be wrong; only then is it worth to count.
        if len(file) and int(file.frame[-1]) >= source.info.announced_frames:
            file = file.within(source.count_frames(), source.path)
        files.append(file)
    return files


class _Pace:
    """Turns frames of videos, which may be at work side by side, into progress of the whole."""

    def __init__(self, sources: Sequence[FrameSource], progress: Progress | None) -> None:
        self._progress = progress
        self._lengths = [s.info.announced_frames for s in sources]
        self._total = sum(self._lengths) if all(self._lengths) else 0
        self._done = [0] * len(sources)
        self._lock = threading.Lock()
        self._stopped = False

    def done(self, number: int, frames: int) -> None:
        """So many frames of a video are done."""
        self._done[number] = min(frames, self._lengths[number] or frames)

    def watch(self, number: int, frames: int) -> None:
        """As `done`, and say so."""
        with self._lock:
            if self._stopped:
                raise Stopped
            self.done(number, frames)
            if self._progress is not None:
                self._progress(sum(self._done), self._total)

    def stop(self) -> None:
        """Whoever says how far they have come is told to end."""
        self._stopped = True


def _notes_about(source: FrameSource, summary: VideoSummary, tracks: MotFile | None) -> list[str]:
    notes = list(source.notes)
    announced = source.info.announced_frames
    # Some headers only estimate: one frame in fifty, and two, may be missing without a word.
    slack = max(2, announced // 50)
    if announced - summary.frames > slack:
        found = f"{source.path.name}: its header announces {announced} frames"
        if source.reached_s >= (announced - slack) / source.info.fps:
            notes.append(
                f"{found}, {summary.frames} were read, to its end; its frame rate varies, or frames are missing"
            )
        else:
            notes.append(
                f"{found}, the last {announced - summary.frames} cannot be read; the file is cut off or damaged, what "
                "was read is kept"
            )
    if not summary.tracks:
        notes.append(f"{source.path.name}: no people found")
    if tracks is not None and tracks.ignored:
        reasons = ", ".join(f"{count} with {reason}" for reason, count in sorted(tracks.ignored.items()))
        notes.append(f"{tracks.path.name}: lines that do not count were left out: {reasons}")
    if tracks is not None and not len(tracks):
        notes.append(f"{tracks.path.name}: no line counts; mot_class says which class is a person")
    if tracks is not None and tracks.is_scored:
        notes.append(
            f"{tracks.path.name}: confidences beyond 0..1 are taken as scores whose sign decides, 0 becomes 0.5"
        )
    return notes
