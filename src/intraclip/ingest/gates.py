"""Which frames of a track are good enough to learn from and to search with.

A gate is a rule over boxes that drops single frames; a frame is counted under the first one that drops it.
A whole track goes when too few frames are left, or when the detector doubted it all along.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.core.spread import evenly
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Floats, box_area, shared_area
from intraclip.ingest.frame_source import Image

TOUCH_SHARE = 0.01
"""A box closer to the border than this share of the image's shorter side touches it: detectors stop a little short."""

NEIGHBOURS = 9
"""Untouched boxes that a box at the border is compared with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observations:
    """People in frames: one row a person and frame, in columns, so that hours of video fit in memory.

    Attributes:
        frame: int64 ``[N]``, number of the frame in the file, from 0.
        time_s: float64 ``[N]``, time stamp of the frame.
        track: int64 ``[N]``, number of the track.
        boxes: float32 ``[N, 4]``, left, top, right, bottom in pixels; may reach beyond the image.
        score: float32 ``[N]``, of the detection.
        overlap: float32 ``[N]``, share of the box that a person in front covers, from `overlap_in_front`.
        sharpness: float32 ``[N]``, of the crop, from `sharpness`; infinite where it was not measured.

    Raises:
        ValueError: the lengths disagree.
    """

    frame: npt.NDArray[np.int64]
    time_s: npt.NDArray[np.float64]
    track: npt.NDArray[np.int64]
    boxes: Floats
    score: Floats
    overlap: Floats
    sharpness: Floats

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if len(set(lengths.values())) != 1 or self.boxes.shape[1:] != (4,):
            raise ValueError(f"Observations want columns of one length and boxes [N, 4]; got {lengths}")

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, rows: npt.NDArray[Any]) -> Observations:
        return Observations(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def __repr__(self) -> str:
        return f"Observations({len(self)} of {len(np.unique(self.track))} tracks)"

    @staticmethod
    def join(parts: Sequence[Observations]) -> Observations:
        """All rows of several tables, in order."""
        none = np.zeros(0, np.float32)
        empty = Observations(
            frame=np.zeros(0, np.int64),
            time_s=np.zeros(0, np.float64),
            track=np.zeros(0, np.int64),
            boxes=np.zeros((0, 4), np.float32),
            score=none,
            overlap=none,
            sharpness=none,
        )
        return Observations(
            **{f.name: np.concatenate([getattr(p, f.name) for p in (empty, *parts)]) for f in fields(empty)}
        )


def overlap_in_front(boxes: Floats) -> Floats:
    """Share of every box ``[N, 4]`` of a frame that the nearest single person in front covers: float32 ``[N]`` in 0..1.

    Whoever stands lower in the image is in front: true for cameras that look down on a floor. The person in
    front is seen whole, so the overlap only counts for the one behind.
    """
    in_front = boxes[None, :, 3] > boxes[:, None, 3]
    covered = np.where(in_front, shared_area(boxes, boxes), 0.0) / np.maximum(box_area(boxes)[:, None], 1e-9)
    return np.asarray(covered.max(axis=1, initial=0.0), dtype=np.float32)


def sharpness(crop: Image) -> float:
    """Variance of the Laplacian of a crop in grey, scaled to 128 pixels in height; higher is sharper.

    The scale makes near and far people comparable.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    width = max(1, round(grey.shape[1] * 128 / grey.shape[0]))
    interpolation = cv2.INTER_AREA if grey.shape[0] > 128 else cv2.INTER_LINEAR
    return float(cv2.Laplacian(cv2.resize(grey, (width, 128), interpolation=interpolation), cv2.CV_64F).var())


def truncation(boxes: Floats, *, height: int, width: int) -> Floats:
    """Estimated share of the person outside the image, 0..1, for every box ``[N, 4]`` of one track, in order of time.

    Detectors end a box at the image's border, so the box alone does not tell. Two hints are combined, the larger
    counts: the part of the box beyond the image, and, for boxes that touch the border, how much smaller they are
    than the track's boxes that do not touch it: than the median area of the `NEIGHBOURS` nearest in time, because
    people grow and shrink as they come and go. A track that always touches has only the first hint.
    """
    limits = np.array([width, height], np.float32)
    visible = (np.minimum(boxes[:, 2:], limits) - np.maximum(boxes[:, :2], 0)).clip(min=0).prod(axis=1)
    share = 1 - visible / np.maximum(box_area(boxes), 1e-6)
    near = TOUCH_SHARE * min(height, width)
    touches = (boxes[:, :2] <= near).any(axis=1) | (boxes[:, 2:] >= limits - near).any(axis=1)
    free = np.flatnonzero(~touches)
    if len(free):
        for row in np.flatnonzero(touches):
            nearest = free[np.argsort(np.abs(free - row), kind="stable")[:NEIGHBOURS]]
            share[row] = max(share[row], 1 - visible[row] / max(float(np.median(visible[nearest])), 1e-6))
    return np.asarray(share.clip(0, 1), dtype=np.float32)


def failed_gates(track: Observations, config: IngestConfig, *, height: int, width: int) -> list[str | None]:
    """The first gate that drops each frame of a track, in order of time, or None for good frames."""
    boxes = track.boxes
    limits = np.array([width, height, width, height], np.float32)
    seen = np.clip(boxes, 0, limits)
    wide, high = seen[:, 2] - seen[:, 0], seen[:, 3] - seen[:, 1]
    ratio = high / np.maximum(wide, 1e-6)
    fails: Mapping[str, npt.NDArray[np.bool_]] = {
        "too_small": (high < config.min_height) | (wide < config.min_width),
        "aspect": (ratio < config.min_aspect) | (ratio > config.max_aspect),
        "truncated": truncation(boxes, height=height, width=width) > config.max_truncation,
        "overlapped": track.overlap > config.max_overlap,
        "blurred": track.sharpness < config.min_sharpness,
    }
    return [next((gate for gate, failed in fails.items() if failed[i]), None) for i in range(len(track))]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What the gates left of one track.

    Attributes:
        parts: frames to write of every part that is kept, in order of time, by the part's number from 1.
        divided: whether the track was divided, because it lasts longer than `split_seconds`.
        dropped_frames: frames dropped, by gate.
        reasons: why the whole track, or parts of it, were dropped: `short` when there were too few frames to begin
            with, `doubtful` when the mean score was too low, else the gate that took most of the frames.
    """

    parts: Mapping[int, Observations]
    divided: bool
    dropped_frames: Counter[str]
    reasons: Counter[str]


def select(track: Observations, config: IngestConfig, *, height: int, width: int) -> Selection:
    """Divide a track that is too long, apply the gates, then thin every part out evenly to `config.max_frames`.

    The track is of one person, in order of time, at least one frame.
    """
    duration = float(track.time_s[-1] - track.time_s[0])
    count = max(1, math.ceil(duration / config.split_seconds)) if config.split_seconds else 1
    # The gates see the whole track: a part alone may not know how large a person is that touches the border.
    failed = failed_gates(track, config, height=height, width=width)
    part_of = np.minimum((track.time_s - track.time_s[0]) * count / max(duration, 1e-9), count - 1).astype(
        int
    )
    parts: dict[int, Observations] = {}
    dropped: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for number in range(count):
        rows = np.flatnonzero(part_of == number)
        good = np.array([row for row in rows if failed[row] is None], np.int64)
        if len(rows) < config.min_frames:
            reasons["short"] += bool(len(rows) or count == 1)
            continue
        if float(track.score[rows].mean()) < config.min_track_score:
            reasons["doubtful"] += 1
            continue
        lost = Counter(gate for row in rows if (gate := failed[row]) is not None)
        dropped += lost
        if len(good) < config.min_frames:
            reasons[lost.most_common(1)[0][0]] += 1
            continue
        parts[number + 1] = track[good[evenly(len(good), config.max_frames)]]
    return Selection(parts=parts, divided=count > 1, dropped_frames=dropped, reasons=+reasons)
