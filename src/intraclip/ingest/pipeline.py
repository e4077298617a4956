"""Video -> detections -> tracks -> tracklets on disk.

Every video is read twice: once to find and follow people, once to cut out the frames that were chosen. Which
frames of a track are worth keeping is only known at its end, and decoding costs far less than finding people; so
memory holds boxes and never crops, however long the video is.

`tracklets.csv` and then `ingest.json` are written last, each in one step: a folder without `ingest.json` is
unfinished.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np

from intraclip.errors import DataError, OutputError, require_empty_folder
from intraclip.ingest.cameras import assign_cameras, view_names
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.crops import cut, write_jpeg
from intraclip.ingest.detector import Detections, PersonDetector
from intraclip.ingest.gates import Observations, evenly, overlap_in_front, select, sharpness
from intraclip.ingest.sheets import Strip, thumbnail, write_sheets
from intraclip.ingest.tiling import PROBE_FRAMES, detect_tiled, tiles_find_more, tiles_of
from intraclip.ingest.tracking import PeopleTracker
from intraclip.ingest.video import Image, Video

FORMAT_VERSION = 1
COLUMNS = (
    "tracklet", "folder", "pid", "camid", "subset", "camera", "video", "start_s", "end_s", "first_frame",
    "last_frame", "num_frames",
)  # fmt: skip
SHEET_IMAGES = 8

Progress = Callable[[Path, int, int, int], None]
"""Called after every frame: the video, frames done, frames announced (0: unknown), people followed so far."""


@dataclass(kw_only=True)
class VideoSummary:
    """What became of one video.

    Attributes:
        video: the file.
        view: name of the view: of its files in `tracks` and `contact_sheets`, and how its tracklets begin.
        camid: camera number.
        width: of the frames in pixels.
        height: of the frames in pixels.
        fps: nominal frames a second.
        frames: frames in the file.
        frames_used: frames searched for people, after sampling.
        tiled: whether people were looked for on tiles.
        probe: with `tiling=auto`, people found on the probed frames without and with tiles; else None.
        detections: people found that could begin a track, summed over the frames.
        tracks: tracks found.
        tracklets: tracks kept.
        crops: frames written.
        tracks_dropped: tracks dropped, by reason: `short`, or the gate that took most of the frames.
        frames_dropped: frames of tracks dropped, by gate.
        seconds: time spent by stage: decode, detect (with the probing), track, crop.
    """

    video: Path
    view: str
    camid: int
    width: int
    height: int
    fps: float
    frames: int = 0
    frames_used: int = 0
    tiled: bool = False
    probe: tuple[int, int] | None = None
    detections: int = 0
    tracks: int = 0
    tracklets: int = 0
    crops: int = 0
    tracks_dropped: dict[str, int] = field(default_factory=dict)
    frames_dropped: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(self.tracks_dropped.items()))
        total = sum(self.seconds.values())
        return (
            f"{self.view} ({self.video.name}): {self.frames_used} of {self.frames} frames"
            f"{', tiled' if self.tiled else ''}, {self.detections} detections, {self.tracks} tracks, "
            f"{self.tracklets} tracklets with {self.crops} frames"
            f"{f' (tracks dropped: {dropped})' if dropped else ''}; "
            f"{self.frames_used / max(total, 1e-9):.1f} frames/s"
        )


@dataclass(frozen=True, kw_only=True)
class IngestSummary:
    """What `ingest` did.

    Attributes:
        out: the folder.
        videos: one summary a video, in the order given.
        notes: what the user should know: made-up camera numbers, videos cut off, videos without people.
    """

    out: Path
    videos: tuple[VideoSummary, ...]
    notes: tuple[str, ...]

    @property
    def tracklets(self) -> int:
        """Tracklets written."""
        return sum(v.tracklets for v in self.videos)

    def __str__(self) -> str:
        cameras = len({v.camid for v in self.videos})
        total = f"{self.tracklets} tracklets of {cameras} camera{'s' if cameras != 1 else ''} in {self.out}"
        return "\n".join([*map(str, self.videos), *(f"note: {n}" for n in self.notes), total])


def ingest(
    videos: Sequence[Path],
    detector: Path,
    out: Path,
    config: IngestConfig,
    *,
    progress: Progress | None = None,
) -> IngestSummary:
    """Turn videos into a folder of tracklets without identities.

    All inputs are checked before the first frame is searched. Videos without people are no error: they give no
    tracklets, and a note.

    Args:
        videos: one video a camera.
        detector: YOLOX network in an ONNX file.
        out: folder to write; new or empty.
        config: all settings.
        progress: called after every frame.

    Returns:
        What was found, by video.

    Raises:
        ConfigError: `config.cameras` names a file that is not among the videos.
        DataError: a video or the detector cannot be used, or camera numbers clash.
        MissingExtraError: ONNX Runtime or the trackers library is not installed.
        OutputError: `out` is not empty, or cannot be written.
    """
    if not videos:
        raise DataError("no videos given; give at least one video file")
    require_empty_folder(out, remedy="give a new folder, or remove it first")
    camids, notes = assign_cameras(videos, mapping=config.cameras, same_camera=config.same_camera)
    views = view_names(camids)
    sources = [Video(path, frame_stride=config.frame_stride, max_fps=config.max_fps) for path in videos]
    network = PersonDetector(
        detector, person_class=config.person_class, min_score=config.min_score, nms_iou=config.nms_iou
    )
    PeopleTracker(config, fps=sources[0].sampled_fps)  # fails now rather than after the first frame
    _make_folders(out, "tracklets", "tracks", "contact_sheets")

    summaries, rows = [], []
    for source, camid, view in zip(sources, camids, views, strict=True):
        info = source.info
        summary = VideoSummary(
            video=info.path, view=view, camid=camid, width=info.width, height=info.height, fps=info.fps
        )
        seen = follow(source, network, config, summary, progress=progress)
        _write_text(out / "tracks" / f"{view}.txt", motchallenge(seen))
        rows += write_tracklets(source, seen, out, config, summary)
        notes += _notes_about(source, summary)
        summaries.append(summary)
    if not rows:
        notes.append(
            "no tracklets were written: nobody was found, or every track was dropped by a gate; look at the counts "
            "of dropped tracks, and at track_score, min_height and min_frames"
        )
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    _write_text(out / "tracklets.csv", table.getvalue())
    record = {
        "format_version": FORMAT_VERSION,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": _versions(),
        "config": asdict(config),
        "detector": {
            "file": detector.name,
            "sha256": network.sha256,
            "input": [network.height, network.width],
        },
        "videos": [{**asdict(s), "video": str(s.video)} for s in summaries],
        "notes": notes,
    }
    _write_text(out / "ingest.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return IngestSummary(out=out, videos=tuple(summaries), notes=tuple(notes))


def follow(
    source: Video,
    detector: PersonDetector,
    config: IngestConfig,
    summary: VideoSummary,
    *,
    progress: Progress | None = None,
) -> Observations:
    """Find and follow everyone in one video.

    Args:
        source: the video.
        detector: finds people.
        config: all settings.
        summary: counts and times are entered here.
        progress: called after every frame.

    Returns:
        Every tracked box, by frame and then by track.
    """
    seconds: dict[str, float] = defaultdict(float)
    with _timed(seconds, "detect"):
        before = source.seconds
        summary.tiled, summary.probe = _choose_tiling(source, detector, config)
    seconds["detect"] -= source.seconds - before
    tracker = PeopleTracker(config, fps=source.sampled_fps)
    parts: list[Observations] = []
    tracks = 0
    for frame in source.frames():
        with _timed(seconds, "detect"):
            found = _detect(frame.image, detector, config, tiled=summary.tiled)
        summary.detections += int((found.scores >= config.track_score).sum())
        with _timed(seconds, "track"):
            numbers, people = tracker.update(found, time_s=frame.time_s, image=frame.image)
            parts.append(
                Observations(
                    frame=np.full(len(people), frame.index, np.int64),
                    time_s=np.full(len(people), frame.time_s, np.float64),
                    track=numbers,
                    boxes=people.boxes,
                    score=people.scores,
                    overlap=overlap_in_front(people.boxes),
                    sharpness=_sharpness(frame.image, people, measure=config.min_sharpness > 0),
                )
            )
        tracks = max(tracks, int(numbers.max(initial=0)))
        summary.frames_used += 1
        if progress is not None:
            progress(source.path, source.frames_read, source.info.announced_frames, tracks)
    summary.frames = source.frames_read
    summary.tracks = tracks
    summary.seconds = {"decode": source.seconds, **seconds}
    return Observations.join(parts)


def write_tracklets(
    source: Video, seen: Observations, out: Path, config: IngestConfig, summary: VideoSummary
) -> list[tuple[object, ...]]:
    """Apply the gates, cut out the chosen frames, draw the contact sheet.

    Args:
        source: the video; it is read a second time.
        seen: every tracked box.
        out: the output folder.
        config: all settings.
        summary: counts and times are entered here.

    Returns:
        Rows for `tracklets.csv`.

    Raises:
        DataError: a frame that was there the first time cannot be decoded again.
        OutputError: a file cannot be written.
    """
    decoded_before, started = source.seconds, time.perf_counter()
    kept: dict[str, Observations] = {}
    tracks_dropped: Counter[str] = Counter()
    frames_dropped: Counter[str] = Counter()
    order = np.argsort(seen.track, kind="stable")
    starts = np.flatnonzero(np.diff(seen.track[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else []:
        track = seen[rows]
        selection = select(track, config, height=summary.height, width=summary.width)
        frames_dropped += selection.dropped_frames
        if selection.reason is None:
            kept[f"{summary.view}_t{track.track[0]:04d}"] = selection.kept
        else:
            tracks_dropped[selection.reason] += 1

    strips = _write_crops(source, kept, out, config)
    write_sheets(out / "contact_sheets", summary.view, strips)

    summary.tracklets = len(kept)
    summary.crops = sum(map(len, kept.values()))
    summary.tracks_dropped = dict(tracks_dropped)
    summary.frames_dropped = dict(frames_dropped)
    decoded = source.seconds - decoded_before
    summary.seconds["decode"] += decoded
    summary.seconds["crop"] = time.perf_counter() - started - decoded
    summary.seconds = {stage: round(spent, 3) for stage, spent in summary.seconds.items()}
    return [
        (
            name, f"tracklets/{name}", "", summary.camid, "", f"cam{summary.camid}", summary.video.name,
            f"{t.time_s[0]:.3f}", f"{t.time_s[-1]:.3f}", int(t.frame[0]), int(t.frame[-1]), len(t),
        )
        for name, t in kept.items()
    ]  # fmt: skip


def motchallenge(seen: Observations) -> str:
    """Tracks in MOTChallenge's text format: frame (from 1), id, left, top, width, height, score, -1, -1, -1."""
    lines = [
        f"{frame + 1},{track},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},-1,-1,-1\n"
        for frame, track, (x1, y1, x2, y2), score in zip(
            seen.frame.tolist(), seen.track.tolist(), seen.boxes.tolist(), seen.score.tolist(), strict=True
        )
    ]
    return "".join(lines)


def _choose_tiling(
    source: Video, detector: PersonDetector, config: IngestConfig
) -> tuple[bool, tuple[int, int] | None]:
    height, width = source.info.height, source.info.width
    if config.tiling == "off" or (height <= detector.height and width <= detector.width):
        return False, None
    if config.tiling == "on":
        return True, None
    tiles = tiles_of(
        height, width, tile_height=detector.height, tile_width=detector.width, overlap=config.tile_overlap
    )
    pays, without, with_tiles = tiles_find_more(
        source.probe(PROBE_FRAMES),
        detector,
        tiles,
        nms_iou=config.nms_iou,
        score=config.track_score,
        gain=config.tiling_gain,
    )
    return pays, (without, with_tiles)


def _detect(image: Image, detector: PersonDetector, config: IngestConfig, *, tiled: bool) -> Detections:
    if not tiled:
        return detector(image)
    height, width = image.shape[:2]
    tiles = tiles_of(
        height, width, tile_height=detector.height, tile_width=detector.width, overlap=config.tile_overlap
    )
    return detect_tiled(image, detector, tiles, nms_iou=config.nms_iou)


def _sharpness(
    image: Image, people: Detections, *, measure: bool
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    if not measure:
        return np.full(len(people), np.inf, np.float32)
    return np.array([sharpness(cut(image, box, margin=0.0)) for box in people.boxes], np.float32)


def _write_crops(
    source: Video, kept: dict[str, Observations], out: Path, config: IngestConfig
) -> list[Strip]:
    """Read the video again, write every chosen frame, and return the film strips of the contact sheet."""
    wanted: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, track in kept.items():
        _make_folders(out / "tracklets", name)
        for row, frame in enumerate(track.frame.tolist()):
            wanted[frame].append((name, row))
    shown = {name: set(evenly(len(track), SHEET_IMAGES).tolist()) for name, track in kept.items()}
    images: dict[str, list[Image]] = {name: [] for name in kept}
    # Names sort by time: six digits, more where a video has more than a million frames.
    digits = max(6, len(str(max(wanted, default=0))))
    missing = set(wanted)
    for frame in source.frames(only=frozenset(wanted)) if wanted else ():
        missing.discard(frame.index)
        for name, row in wanted[frame.index]:
            crop = cut(frame.image, kept[name].boxes[row], margin=config.margin)
            write_jpeg(out / "tracklets" / name / f"{frame.index:0{digits}d}.jpg", crop)
            if row in shown[name]:
                images[name].append(thumbnail(crop))
    if missing:
        raise DataError(
            f"{source.path}: frame {min(missing)} and {len(missing) - 1} others could be decoded the first time but "
            "not the second; the file changes or its disk fails, copy it and try again"
        )
    return [
        Strip(
            label=(
                name,
                f"{track.time_s[0]:.1f} to {track.time_s[-1]:.1f} s",
                f"{len(track)} frames",
                f"score {track.score.mean():.2f}",
            ),
            images=tuple(images[name]),
        )
        for name, track in kept.items()
    ]


def _notes_about(source: Video, summary: VideoSummary) -> list[str]:
    notes = []
    if missing := source.info.announced_frames - summary.frames if _is_cut_off(source, summary) else 0:
        notes.append(
            f"{source.path.name}: its header announces {source.info.announced_frames} frames, the last {missing} "
            "cannot be read; the file is cut off or damaged, what was read is kept"
        )
    if not summary.tracks:
        notes.append(f"{source.path.name}: no people found")
    return notes


def _is_cut_off(source: Video, summary: VideoSummary) -> bool:
    # Some headers only estimate: one frame in fifty, and two, may be missing without a word.
    announced = source.info.announced_frames
    return announced - summary.frames > max(2, announced // 50)


def _versions() -> dict[str, str]:
    versions = {"opencv": cv2.__version__}
    for name in ("intraclip", "numpy", "onnxruntime", "simplejpeg", "supervision", "trackers"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] += time.perf_counter() - started


def _make_folders(parent: Path, *names: str) -> None:
    for name in names:
        try:
            (parent / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {parent / name}: {error.strerror}") from error


def _write_text(path: Path, text: str) -> None:
    """Write a file in one step: it is there complete, or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
