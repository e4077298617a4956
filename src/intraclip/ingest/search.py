"""Where and when one camera's frames are searched for people.

A detector costs most of the time, so `balanced` and `fast` ask it less. A frame is searched at its own scale in one
piece, where the detector can, instead of on overlapping tiles and as a whole. A frame in which nothing has moved
since the last search has the people of that search. And frames between two searches are passed over: the next search
comes before anyone has moved so far that the tracker could mistake them; `filled` puts them back where they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.ingest.camera_motion import STANDS
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Detections, Floats, box_iou
from intraclip.ingest.detector import Detector
from intraclip.ingest.frame_source import Image, VideoFrame
from intraclip.ingest.gates import Observations, overlap_in_front
from intraclip.ingest.tiling import Detect, detect_tiled, tiles_of


@dataclass(frozen=True, kw_only=True)
class Thrift:
    """How much a quality saves.

    Attributes:
        reach: how far people may move between two searches, in widths of their box. After 0.65 of a width, two boxes
            of one person overlap by a fifth (IoU), even if the tracker foresaw none of the movement.
        longest_s: between two searches, at most, in seconds.
        scale: at which frames are searched, of their own.
    """

    reach: float
    longest_s: float
    scale: float = 1.0


THRIFT: dict[str, Thrift | None] = {
    "full": None,
    "balanced": Thrift(reach=0.65, longest_s=0.3),
    "fast": Thrift(reach=1.0, longest_s=0.4, scale=0.75),
}
"""By `IngestConfig.quality`; None: everything is searched."""

FASTEST = 0.9
"""Of the speeds in a frame this quantile decides: one box that jumps should not."""

LARGEST = 1088, 1920
"""Height and width in pixels of what is searched in one piece; larger frames are divided."""

PIECE_PRICE = 0.5
"""What a frame in one piece costs, of what it costs on overlapping tiles and as a whole; less in fact."""

WHOLE_TOO = 1.5
"""A frame this many times as high as the detector's input is searched as a whole too: somebody may fill it."""

WALK = 2.5
"""Widths a second of somebody whose speed is not known yet: 1.4 m/s, and 0.55 m from elbow to elbow."""

SAME = 0.9
"""Overlap (IoU) of a tracked box and the detection that it was made of."""

NEAR = 0.25
"""Below this overlap (IoU) the tracker does not take two boxes of successive searches for one person."""

BRIDGED = 1
"""Searches in a row that may miss somebody who is found before and after."""

STILL_BLOCK = 8
"""Pixels: frames are compared by means of blocks of this side, in which a sensor's noise has gone."""

STILL_LEVELS = 5
"""Grey levels, of 255, by which a block must change to count as moved."""

STILL_SECONDS = 2.0
"""A scene that stands still is searched as often as this all the same."""


def finder(detector: Detector, config: IngestConfig, *, height: int, width: int, small: bool) -> Detect:
    """How the frames of one camera, of this size in pixels, are searched.

    `small`: search for small people too; else the whole frame is shrunk to the detector's input.
    """
    if not small:
        return detector
    # Not every kind can be had for inputs of another size.
    sized: Callable[[int, int], Detect | None] | None = getattr(detector, "sized", None)
    if (thrift := THRIFT[config.quality]) is not None and sized is not None:
        tile_height, tile_width = min(height, LARGEST[0]), min(width, LARGEST[1])
        piece = sized(round(tile_height * thrift.scale), round(tile_width * thrift.scale))
        if piece is not None:
            tiles = tiles_of(
                height, width, tile_height=tile_height, tile_width=tile_width, overlap=config.tile_overlap
            )
            if len(tiles) == 1 and height * thrift.scale <= WHOLE_TOO * detector.height:
                return piece
            return lambda image: detect_tiled(image, detector, tiles, nms_iou=config.nms_iou, piece=piece)
    tiles = tiles_of(
        height, width, tile_height=detector.height, tile_width=detector.width, overlap=config.tile_overlap
    )
    return lambda image: detect_tiled(image, detector, tiles, nms_iou=config.nms_iou)


class Still:
    """Answers for frames in which nothing has moved since the last search; `find` searches a frame."""

    def __init__(self, find: Callable[[VideoFrame], Detections]) -> None:
        self._find = find
        self._before: tuple[float, npt.NDArray[np.int16], Detections] | None = None
        self.reused = 0

    def __call__(self, frame: VideoFrame) -> Detections:
        """People in the next frame."""
        blocks = _blocks(frame.image)
        if self._before is not None:
            time_s, then, found = self._before
            if (
                frame.time_s - time_s < STILL_SECONDS
                and blocks.shape == then.shape
                and not _moved(then, blocks)
            ):
                self.reused += 1
                return found
        found = self._find(frame)
        self._before = frame.time_s, blocks, found
        return found


def _blocks(image: Image) -> npt.NDArray[np.int16]:
    height, width = image.shape[:2]
    size = max(1, width // STILL_BLOCK), max(1, height // STILL_BLOCK)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.int16)


def _moved(then: npt.NDArray[np.int16], now: npt.NDArray[np.int16]) -> bool:
    change = now - then
    # Colour by colour: somebody in red may be as bright as the wall. Light and exposure change everything at once,
    # which is no movement.
    everywhere = np.median(change, axis=(0, 1)).astype(np.int16)
    return bool((np.abs(change - everywhere) > STILL_LEVELS).any())


class Cadence:
    """Says which frames are searched; `fps` is the nominal rate of the frames that will come."""

    def __init__(self, config: IngestConfig, *, fps: float) -> None:
        self._thrift = THRIFT[config.quality]
        self._confirm = config.confirm_frames
        self._period = 1 / fps
        # When was searched last, and how long after that the next search is: one value, as threads may ask meanwhile.
        self._state: tuple[float, float] | None = None
        self._boxes: dict[int, Floats] = {}
        self._found = self._new = np.zeros((0, 4), np.float32)

    def due(self, time_s: float) -> bool:
        """Whether the frame of this time is searched."""
        # Half a period of slack: stamps are rounded. A clock that jumps back begins anew.
        if self._thrift is None or (state := self._state) is None:
            return True
        passed = time_s - state[0]
        return passed < 0 or passed > state[1] - self._period / 2

    @property
    def confirm(self) -> int:
        """Searches in which somebody must be seen in succession to count: as long as `confirm_frames` frames last."""
        frames = 1 if self._state is None else max(1, round(self._state[1] / self._period))
        return self._confirm if frames == 1 else max(min(2, self._confirm), -(-self._confirm // frames))

    def searched(
        self,
        time_s: float,
        numbers: npt.NDArray[np.int64],
        boxes: Floats,
        found: Floats,
        *,
        motion: npt.NDArray[np.floating] = STANDS,
    ) -> None:
        """Learn how fast people move, beside the camera's own motion: the tracker knows of that.

        Args:
            time_s: of the frame that was searched.
            numbers: of the tracks in it.
            boxes: float32 ``[N, 4]``, where they are.
            found: float32 ``[M, 4]``, everyone who was found and may begin a track, those of tracks too.
            motion: ``[2, 3]``, where points of the frame searched before are in this one, as far as the camera goes.
        """
        if self._thrift is None:
            return
        carried = dict(zip(self._boxes, carry(np.array([*self._boxes.values()]), motion), strict=True))
        passed = time_s - self._state[0] if self._state is not None else 0.0
        speeds = [
            float(
                np.hypot(*(box[:2] + box[2:] - before[:2] - before[2:]) / 2)
                / max(box[2] - box[0], 1.0)
                / passed
            )
            for number, box in zip(numbers.tolist(), boxes, strict=True)
            if passed > 0 and (before := carried.get(number)) is not None
        ]
        speed = float(np.quantile(speeds, FASTEST)) if speeds else 0.0
        new = found[box_iou(found, boxes).max(axis=1, initial=0.0) < SAME]
        found_before, new_before = carry(self._found, motion), carry(self._new, motion)
        vanished = new_before[box_iou(new_before, found).max(axis=1, initial=0.0) < NEAR]
        arrived = new[box_iou(new, found_before).max(axis=1, initial=0.0) < NEAR]
        if len(new):
            speed = max(speed, WALK)
        self._boxes = dict(zip(numbers.tolist(), boxes, strict=True))
        self._found, self._new = found, new
        longest = max(self._thrift.longest_s, self._period)
        frames = max(1, int(min(self._thrift.reach / max(speed, 1e-3), longest) / self._period + 1e-6))
        if _reach_each_other(vanished, arrived):
            frames = 1
        self._state = time_s, frames * self._period


def carry(boxes: Floats, motion: npt.NDArray[np.floating]) -> Floats:
    """Boxes ``[N, 4]`` whose centres go along with the camera's motion ``[2, 3]``; they keep their size.

    >>> carry(np.array([[0, 0, 10, 20]], np.float32), np.array([[1, 0, 5], [0, 1, -2]])).tolist()
    [[5.0, -2.0, 15.0, 18.0]]
    """
    boxes = boxes.reshape(-1, 4)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    shift = centres @ motion[:, :2].T + motion[:, 2] - centres
    return np.asarray(boxes + np.concatenate([shift, shift], axis=1), np.float32)


def _reach_each_other(gone: Floats, come: Floats) -> bool:
    """Whether somebody may have gone from one box to another that does not overlap it: less than two widths away."""
    if not len(gone) or not len(come):
        return False
    way = (gone[:, None, :2] + gone[:, None, 2:] - come[None, :, :2] - come[None, :, 2:]) / 2
    width = gone[:, None, 2] - gone[:, None, 0]
    return bool((np.hypot(way[..., 0], way[..., 1]) < 2 * width).any())


def filled(
    seen: Observations,
    index: npt.NDArray[np.int64],
    time_s: npt.NDArray[np.float64],
    searched: npt.NDArray[np.bool_],
) -> Observations:
    """Put people where they were in the frames between two searches: on the straight way, at an even pace.

    Who is missed by one search, and found by the next, was there all the time. Their overlap is left open (NaN). `seen`
    is everyone in the frames that were searched; `index` int64 ``[F]``, `time_s` float64 ``[F]`` and `searched` bool
    ``[F]`` are of all frames, in order. Rows come and go by frame and then by track.
    """
    if searched.all() or not len(seen):
        return seen
    place = np.searchsorted(index, seen.frame)
    search = np.cumsum(searched)[place]
    order = np.lexsort((seen.frame, seen.track))
    left, right = order[:-1], order[1:]
    joined = (seen.track[left] == seen.track[right]) & (search[right] - search[left] <= 1 + BRIDGED)
    between = np.where(joined, place[right] - place[left] - 1, 0)
    left, right = np.repeat(left, between), np.repeat(right, between)
    step = np.arange(len(left)) - np.repeat(np.cumsum(between) - between, between) + 1
    at = place[left] + step
    share = ((time_s[at] - seen.time_s[left]) / (seen.time_s[right] - seen.time_s[left])).astype(np.float32)

    def on_the_way(values: Floats) -> Floats:
        weight = share.reshape(-1, *[1] * (values.ndim - 1))
        a, b = values[left], values[right]
        return np.where(weight < 0.5, a, b) if np.isinf(values).any() else a * (1 - weight) + b * weight

    new = Observations(
        frame=index[at],
        time_s=time_s[at],
        track=seen.track[left],
        boxes=on_the_way(seen.boxes),
        score=on_the_way(seen.score),
        overlap=np.full(len(at), np.nan, np.float32),
        sharpness=on_the_way(seen.sharpness),
    )
    both = Observations.join([seen, new])
    return both[np.lexsort((both.track, both.frame))]


def with_overlap(seen: Observations) -> Observations:
    """Work out how far people hide each other in frames where that was left open (NaN); rows are by frame."""
    unknown = np.isnan(seen.overlap)
    if not unknown.any():
        return seen
    overlap = seen.overlap.copy()
    for rows in np.split(np.arange(len(seen)), np.flatnonzero(np.diff(seen.frame)) + 1):
        if unknown[rows].any():
            overlap[rows] = np.fmax(overlap[rows], overlap_in_front(seen.boxes[rows]))
    return replace(seen, overlap=overlap)
