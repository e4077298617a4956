"""People in one camera, frame by frame: who begins, who goes on, who has left; with embeddings kept up to date."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from intraclip.data.frames import resize_frame
from intraclip.data.in_memory import ArrayTracklet
from intraclip.embed.streaming import LiveEmbedder
from intraclip.errors import DataError
from intraclip.gallery.pictures import pictures_of
from intraclip.gallery.records import Box, Pictures, TrackletRecord
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.crops import cut
from intraclip.ingest.detections import Detections, Floats
from intraclip.ingest.follow import DetectAndTrack, Earlier
from intraclip.ingest.frame_source import VideoFrame
from intraclip.ingest.gates import Observations, failed_gates, overlap_in_front
from intraclip.live.cameras import Camera, LiveFrame
from intraclip.live.settings import LiveSettings

KEPT = 16
"""Pictures of a tracklet that are held, at most twice as many; evenly spread over it."""

REMEMBERED = 40
"""Boxes of a track by which it is told how much of somebody lies outside the frame."""

LARGEST = 256
"""Height of pictures that are held, in pixels: 4K cameras would fill the memory."""

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A tracklet that has ended.

    Attributes:
        record: as it will stand in the gallery.
        vector: float32 ``[D]``.
        track: what all parts of one track share.
        seen: when the person was seen last, by `time.monotonic`.
        found: when it was known that the tracklet has ended, likewise.
    """

    record: TrackletRecord
    vector: Vector
    pictures: Pictures
    track: str
    seen: float
    found: float


@dataclass(kw_only=True)
class _Track:
    """What is held of somebody who is being followed; does not grow with time."""

    name: str
    began_s: float
    began_at: float
    part: int = 1
    frames: int = 0
    score: float = 0.0
    last_s: float = 0.0
    seen: float = 0.0
    due: float = 0.0
    looks: int = 0
    stride: int = 1
    boxes: list[tuple[int, float, Floats, float, float]] = field(default_factory=list)
    kept: list[tuple[int, Box, npt.NDArray[np.uint8]]] = field(default_factory=list)


@dataclass(kw_only=True, eq=False)
class CameraFollower:
    """Follows people through the frames of one camera.

    Attributes:
        detect: finds people in a frame.
        config: of the tracker and of the gates.
        settings: how long and how often somebody is looked at.
        fps: frames a second that are expected.
        session: begins the ids of all tracklets; different each time that the program runs.
        source: where the frames come from, for records.
        dropped: tracklets that were dropped, by reason.
        ended: tracklets that were not.
    """

    camera: Camera
    detect: Callable[[VideoFrame], Detections]
    config: IngestConfig
    settings: LiveSettings
    embedder: LiveEmbedder
    fps: float
    session: str
    source: str
    ended: int = 0

    def __post_init__(self) -> None:
        self.dropped: dict[str, int] = {"short": 0, "doubtful": 0, "no embedding": 0}
        self._tracks: dict[int, _Track] = {}
        self._count = 0
        self._follower = DetectAndTrack(self.detect, self.config, fps=self.fps)

    @property
    def people(self) -> int:
        """How many are followed now."""
        return len(self._tracks)

    def due(self, time_s: float) -> bool:
        """Whether the frame of this time will be searched; see `intraclip.ingest.search.Cadence`."""
        return self._follower.due(time_s)

    def step(self, frame: LiveFrame) -> list[Ended]:
        """Take the next frame; tracklets that have ended with it."""
        ended = self.leave() if frame.cut else []
        found = self._follower(frame)
        if not found.searched:  # nobody can have moved far
            return ended
        numbers, people = found.numbers, found.people
        overlaps = overlap_in_front(people.boxes)
        looks: list[tuple[_Track, npt.NDArray[np.uint8], Box]] = []
        for row, number in enumerate(numbers.tolist()):
            track = self._tracks.get(number)
            if track is None:
                self._count += 1
                track = self._tracks[number] = self._begun(number, frame, found.earlier)
            box, score = people.boxes[row], float(people.scores[row])
            track.frames += 1
            track.score += score
            track.last_s, track.seen = frame.time_s, frame.arrived
            track.boxes.append((frame.index, frame.time_s, box, score, float(overlaps[row])))
            del track.boxes[:-REMEMBERED]
            if track.due <= frame.time_s + 1e-3 and self._is_fit(track, frame):
                track.due = frame.time_s + self.settings.look_s
                left, top, right, bottom = (float(v) for v in box)
                looks.append(
                    (
                        track,
                        cut(frame.image, box, margin=self.config.margin)[..., ::-1],
                        Box(frame.index, left, top, right - left, bottom - top),
                    )
                )
        if looks:
            self.embedder.update(
                [self._key(t) for t, _, _ in looks], [np.ascontiguousarray(c) for _, c, _ in looks]
            )
            for track, crop, box in looks:
                _keep(track, crop, box)
        return ended + self._over(frame)

    def leave(self) -> list[Ended]:
        """End all tracklets: the camera was lost, or the program stops."""
        numbers = list(self._tracks)
        ended = self._end(numbers)
        if numbers or self._follower.detections:
            self._follower = DetectAndTrack(self.detect, self.config, fps=self.fps)
        return ended

    # -- parts ---------------------------------------------------------------------------------------------

    def _begun(self, number: int, frame: LiveFrame, earlier: Sequence[Earlier]) -> _Track:
        """A track, with the moments before the tracker was sure of it; there are no pictures of these any more."""
        mine = sorted((e for e in earlier if e.number == number), key=lambda e: e.frame)
        began_s = mine[0].time_s if mine else frame.time_s
        return _Track(
            name=f"{self.session}_t{self._count:05d}",
            began_s=began_s,
            began_at=frame.at - (frame.time_s - began_s),
            frames=len(mine),
            score=sum(e.score for e in mine),
            boxes=[(e.frame, e.time_s, e.box, e.score, 0.0) for e in mine],
        )

    def _key(self, track: _Track) -> str:
        return f"{self.camera.number}/{track.name}"

    def _is_fit(self, track: _Track, frame: LiveFrame) -> bool:
        index, time_s, boxes, score, overlap = zip(*track.boxes, strict=True)
        seen = Observations(
            frame=np.array(index, np.int64),
            time_s=np.array(time_s, np.float64),
            track=np.zeros(len(index), np.int64),
            boxes=np.stack(boxes),
            score=np.array(score, np.float32),
            overlap=np.array(overlap, np.float32),
            sharpness=np.full(len(index), np.inf, np.float32),
        )
        height, width = frame.image.shape[:2]
        return failed_gates(seen, self.config, height=height, width=width)[-1] is None

    def _over(self, frame: LiveFrame) -> list[Ended]:
        lost = [n for n, t in self._tracks.items() if frame.time_s - t.last_s > self.config.lost_seconds]
        ended = self._end(lost)
        for number, track in list(self._tracks.items()):
            if self.settings.longest_s and track.last_s - track.began_s >= self.settings.longest_s:
                ended += self._finish(track)
                self._tracks[number] = replace(
                    track, part=track.part + 1, began_s=frame.time_s, began_at=frame.at, frames=0, score=0.0, looks=0,
                    stride=1, kept=[],
                )  # fmt: skip
        return ended

    def _end(self, numbers: Iterable[int]) -> list[Ended]:
        return [done for number in numbers for done in self._finish(self._tracks.pop(number))]

    def _finish(self, track: _Track) -> list[Ended]:
        reason = ""
        vector: Vector | None = None
        if track.looks:
            try:
                vector = self.embedder.finish(self._key(track))
            except DataError:
                reason = "no embedding"
        if track.looks < self.settings.least_looks:
            reason = "short"
        elif track.score / track.frames < self.config.min_track_score:
            reason = "doubtful"
        if reason or vector is None:
            # The last part of a long stay may be short; the person is in the gallery all the same.
            self.dropped[reason] += 1
            return []
        name = track.name if track.part == 1 else f"{track.name}p{track.part}"
        record = TrackletRecord(
            id=name,
            camera=self.camera.name,
            camid=self.camera.number,
            start_s=round(track.began_s, 3),
            end_s=round(track.last_s, 3),
            started_at=track.began_at,
            num_frames=track.frames,
            source=self.source,
            boxes=tuple(box for _, box, _ in track.kept),
        )
        clip = ArrayTracklet.of([crop for _, _, crop in track.kept], name=name)
        self.ended += 1
        return [
            Ended(
                record=record,
                vector=vector,
                pictures=pictures_of(clip),
                track=track.name,
                seen=track.seen,
                found=time.monotonic(),
            )
        ]


def session_name(camera: Camera, now: float) -> str:
    """How ids of this run begin: the camera and the moment, to the millisecond."""
    moment = datetime.fromtimestamp(now, UTC)
    return f"{camera.name}_{moment:%Y%m%d-%H%M%S}.{moment.microsecond // 1000:03d}"


def _keep(track: _Track, crop: npt.NDArray[np.uint8], box: Box) -> None:
    """Hold every n-th picture; where there are too many, every other one goes, and n doubles."""
    if track.looks % track.stride == 0:
        height, width = crop.shape[:2]
        if height > LARGEST:
            crop = resize_frame(crop, LARGEST, max(1, round(width * LARGEST / height)))
        track.kept.append((track.looks, box, np.ascontiguousarray(crop)))
        if len(track.kept) == 2 * KEPT:
            track.kept, track.stride = track.kept[::2], 2 * track.stride
    track.looks += 1
