"""Tracks -> tracklets on disk: gates, crops, boxes, contact sheet."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from intraclip.core.folders import make_folder
from intraclip.core.spread import evenly
from intraclip.core.tables import write_csv
from intraclip.errors import DataError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.crops import cut, write_jpeg
from intraclip.ingest.frame_source import FrameSource, Image
from intraclip.ingest.gates import Observations, select
from intraclip.ingest.summary import VideoSummary

COLUMNS = (
    "tracklet", "folder", "pid", "camid", "subset", "camera", "video", "start_s", "end_s", "first_frame",
    "last_frame", "num_frames", "track",
)  # fmt: skip
"""Of `tracklets.csv`."""

BOX_COLUMNS = ("tracklet", "file", "frame", "time_s", "left", "top", "width", "height", "score", "overlap")
"""Of `boxes/VIEW.csv`: one row a crop; the box is the person's, without the margin of the crop."""

SHEET_IMAGES = 8
CELL_HEIGHT, CELL_WIDTH, LABEL_WIDTH, GAP = 120, 72, 150, 4
ROWS_A_SHEET = 40

Strip = tuple[tuple[str, ...], Sequence[Image]]
"""A row of a contact sheet: lines of text, and the film strip beside them, BGR of any size, in order of time."""


def write_tracklets(
    source: FrameSource,
    seen: Observations,
    out: Path,
    config: IngestConfig,
    summary: VideoSummary,
    *,
    watch: Callable[[int], None] | None = None,
) -> list[list[object]]:
    """Apply the gates, cut out the chosen frames, write their boxes, draw the contact sheet.

    The video is read a second time; counts and times are entered in `summary`. `watch` is called after every frame that
    something is cut out of, with the number of frames gone past.

    Returns:
        Rows for `tracklets.csv`.

    Raises:
        DataError: a frame that was there the first time cannot be decoded again.
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
        tracks_dropped += selection.reasons
        name = f"{summary.view}_t{track.track[0]:04d}"
        for number, part in selection.parts.items():
            kept[f"{name}p{number}" if selection.divided else name] = part

    strips = _write_crops(source, kept, out, config, watch)
    write_csv(out / "boxes" / f"{summary.view}.csv", BOX_COLUMNS, _box_rows(kept))
    write_sheets(out / "contact_sheets", summary.view, strips)

    summary.tracklets = len(kept)
    summary.crops = sum(map(len, kept.values()))
    summary.tracks_dropped = dict(tracks_dropped)
    summary.frames_dropped = dict(frames_dropped)
    decoded = source.seconds - decoded_before
    summary.seconds["decode"] += decoded
    summary.seconds["crop"] = time.perf_counter() - started - decoded
    return [
        [
            name, f"tracklets/{name}", "", summary.camid, "", f"cam{summary.camid}", summary.video.name,
            f"{t.time_s[0]:.3f}", f"{t.time_s[-1]:.3f}", int(t.frame[0]), int(t.frame[-1]), len(t), int(t.track[0]),
        ]
        for name, t in kept.items()
    ]  # fmt: skip


def _file_names(kept: Mapping[str, Observations]) -> Callable[[int], str]:
    # Names sort by time: six digits, more where a video has more than a million frames.
    digits = max(6, len(str(max((int(t.frame[-1]) for t in kept.values()), default=0))))
    return lambda frame: f"{frame:0{digits}d}.jpg"


def _box_rows(kept: Mapping[str, Observations]) -> list[list[object]]:
    file_name = _file_names(kept)
    return [
        [
            name, file_name(frame), frame, f"{seconds:.3f}", f"{x1:.2f}", f"{y1:.2f}", f"{x2 - x1:.2f}",
            f"{y2 - y1:.2f}", f"{score:.4f}", f"{overlap:.3f}",
        ]
        for name, track in kept.items()
        for frame, seconds, (x1, y1, x2, y2), score, overlap in zip(
            track.frame.tolist(), track.time_s.tolist(), track.boxes.tolist(), track.score.tolist(),
            track.overlap.tolist(), strict=True,
        )
    ]  # fmt: skip


def _write_crops(
    source: FrameSource,
    kept: dict[str, Observations],
    out: Path,
    config: IngestConfig,
    watch: Callable[[int], None] | None,
) -> list[Strip]:
    """Read the video again, write every chosen frame, and return the film strips of the contact sheet.

    Frames that were passed over the first time and cannot be decoded now are left out of `kept`.
    """
    wanted: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, track in kept.items():
        make_folder(out / "tracklets" / name)
        for row, frame_number in enumerate(track.frame.tolist()):
            wanted[frame_number].append((name, row))
    shown = {name: set(evenly(len(track), SHEET_IMAGES).tolist()) for name, track in kept.items()}
    images: dict[str, list[Image]] = {name: [] for name in kept}
    file_name = _file_names(kept)
    missing = set(wanted)
    for frame in source.frames(only=frozenset(wanted)) if wanted else ():
        missing.discard(frame.index)
        for name, row in wanted[frame.index]:
            crop = cut(frame.image, kept[name].boxes[row], margin=config.margin)
            write_jpeg(out / "tracklets" / name / file_name(frame.index), crop)
            if row in shown[name]:
                images[name].append(thumbnail(crop))
        if watch is not None:
            watch(frame.index + 1)
    if gone := missing & source.passed:  # decoded here for the first time, and it cannot be
        for name, track in kept.items():
            kept[name] = track[~np.isin(track.frame, list(gone))]
    if missing := missing - gone:
        raise DataError(
            f"{source.path}: frame {min(missing)} and {len(missing) - 1} others could be decoded the first time but "
            "not the second; the file changes or its disk fails, copy it and try again"
        )
    return [
        (
            (
                name,
                f"{track.time_s[0]:.1f} to {track.time_s[-1]:.1f} s",
                f"{len(track)} frames",
                f"score {track.score.mean():.2f}",
            ),
            images[name],
        )
        for name, track in kept.items()
    ]


# -- contact sheets: one look tells whether the tracks of a view are people ---------------------------------


def write_sheets(folder: Path, name: str, strips: Sequence[Strip]) -> None:
    """Write `name.jpg`, and `name-2.jpg` and so on when there are more than 40 rows."""
    for page, start in enumerate(range(0, len(strips), ROWS_A_SHEET), start=1):
        path = folder / (f"{name}.jpg" if page == 1 else f"{name}-{page}.jpg")
        write_jpeg(path, draw_sheet(strips[start : start + ROWS_A_SHEET]), quality=85)


def thumbnail(image: Image) -> Image:
    """An image ``[H, W, 3]`` scaled to fit a cell of the sheet."""
    scale = min(CELL_HEIGHT / image.shape[0], CELL_WIDTH / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR),
        dtype=np.uint8,
    )


def draw_sheet(strips: Sequence[Strip]) -> Image:
    """One sheet as uint8 ``[H, W, 3]`` BGR: a row a strip, images fitted into cells of 120 x 72 pixels."""
    columns = max(len(images) for _, images in strips)
    sheet = np.full(
        (len(strips) * (CELL_HEIGHT + GAP) + GAP, LABEL_WIDTH + columns * (CELL_WIDTH + GAP), 3), 32, np.uint8
    )
    for row, (label, images) in enumerate(strips):
        top = GAP + row * (CELL_HEIGHT + GAP)
        for line, text in enumerate(label):
            place = (6, top + 22 + 20 * line)
            cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
        for column, image in enumerate(images):
            left = LABEL_WIDTH + column * (CELL_WIDTH + GAP)
            small = thumbnail(image)
            y, x = top + (CELL_HEIGHT - small.shape[0]) // 2, left + (CELL_WIDTH - small.shape[1]) // 2
            sheet[y : y + small.shape[0], x : x + small.shape[1]] = small
    return sheet
