"""Frames -> who is where: by a detector and a tracker, or from a file of tracks or detections."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from intraclip.ingest.config import IngestConfig
from intraclip.ingest.crops import cut
from intraclip.ingest.detection_log import DetectionLog
from intraclip.ingest.detections import Detections, Floats, box_iou
from intraclip.ingest.detector import Detector
from intraclip.ingest.frame_source import FrameSource, Image, VideoFrame
from intraclip.ingest.gates import Observations, overlap_in_front, sharpness
from intraclip.ingest.mot import MotFile
from intraclip.ingest.search import NEAR, PIECE_PRICE, SAME, Cadence, Still, filled, finder, with_overlap
from intraclip.ingest.tiling import PROBE_FRAMES, Detect, TilesTrial
from intraclip.ingest.tracking import PeopleTracker


class Earlier(NamedTuple):
    """Where somebody was, in which box ``[4]`` of which track, before it was sure that there is somebody."""

    frame: int
    time_s: float
    number: int
    box: Floats
    score: float


class Followed(NamedTuple):
    """Everyone who is followed in one frame.

    Attributes:
        numbers: int64 ``[N]``, of the tracks.
        people: their boxes and scores.
        hidden: float32 ``[N]`` in 0..1, share of each that is known not to be seen; 0 where nobody knows.
        searched: whether the frame was searched. Where it was not, nobody is given: who was there is known only
            after the next search.
        earlier: where people who count from this frame on were in frames before it; see `Earlier`.
    """

    numbers: npt.NDArray[np.int64]
    people: Detections
    hidden: Floats
    searched: bool = True
    earlier: Sequence[Earlier] = ()


class TracksFromFile:
    """Says who is where in the frames of one video, in order, as a file of tracks knows.

    Attributes:
        seconds: time spent so far, by stage.
        detections: people found so far that could begin a track.
    """

    def __init__(self, tracks: MotFile) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.detections = 0
        self._tracks = tracks

    def due(self, time_s: float) -> bool:
        """Whether it wants to see the frame of this time."""
        return True

    def __call__(self, frame: VideoFrame) -> Followed:
        """Everyone in the next frame."""
        people, rows = self._tracks.people(frame), self._tracks.rows_of(frame.index)
        self.detections += len(people)
        return Followed(self._tracks.track[rows], people, self._tracks.hidden[rows])


class DetectAndTrack:
    """Finds people in the frames of one camera and continues their tracks; passes over frames as `quality` allows.

    `detect` is asked for frames that are searched only; `fps` is the nominal rate of the frames that will come.
    """

    def __init__(
        self, detect: Callable[[VideoFrame], Detections], config: IngestConfig, *, fps: float
    ) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.detections = 0
        self._detect = detect
        self._track_score = config.track_score
        self._tracker = PeopleTracker(config, fps=fps)
        self._cadence = Cadence(config, fps=fps)
        self._beginnings = Beginnings(config)

    def due(self, time_s: float) -> bool:
        """As of `TracksFromFile`."""
        return self._cadence.due(time_s)

    def __call__(self, frame: VideoFrame) -> Followed:
        """As of `TracksFromFile`."""
        if not self.due(frame.time_s):
            return Followed(
                np.zeros(0, np.int64), Detections.join([]), np.zeros(0, np.float32), searched=False
            )
        with timed(self.seconds, "detect"):
            found = self._detect(frame)
        self.detections += int((found.scores >= self._track_score).sum())
        with timed(self.seconds, "track"):
            numbers, people = self._tracker.update(
                found, time_s=frame.time_s, image=frame.image, confirm=self._cadence.confirm
            )
            strong = found[found.scores >= self._track_score]
            self._cadence.searched(
                frame.time_s, numbers, people.boxes, strong.boxes, motion=self._tracker.motion
            )
            earlier = self._beginnings(frame, numbers, people, strong)
        return Followed(numbers, people, np.zeros(len(people), np.float32), earlier=earlier)


Follower = TracksFromFile | DetectAndTrack


class Beginnings:
    """Gives tracks their first moments back, which the tracker keeps to itself until it is sure.

    Nothing for `quality=full`. Else they are the boxes of the searches right before that nobody had, nearest first.
    """

    def __init__(self, config: IngestConfig) -> None:
        self._newest = 0
        self._free: deque[tuple[int, float, Detections]] = deque(
            maxlen=0 if config.quality == "full" else config.confirm_frames - 1
        )

    def __call__(
        self, frame: VideoFrame, numbers: npt.NDArray[np.int64], people: Detections, found: Detections
    ) -> list[Earlier]:
        """Beginnings of the tracks that are new in a frame that was searched.

        `people` are the boxes of the tracks of these numbers; `found` is everyone who may begin a track, those of
        tracks too.
        """
        if not self._free.maxlen:
            return []
        begun: list[Earlier] = []
        for row, number in enumerate(numbers.tolist()):
            if number > self._newest:
                box = people.boxes[row]
                for place in reversed(range(len(self._free))):
                    index, time_s, free = self._free[place]
                    overlap = box_iou(free.boxes, box[None])[:, 0]
                    if not len(free) or overlap.max() < NEAR:
                        break
                    best = int(overlap.argmax())
                    box = free.boxes[best]
                    begun.append(Earlier(index, time_s, number, box, float(free.scores[best])))
                    keep = np.arange(len(free)) != best
                    self._free[place] = index, time_s, free[keep]
        self._newest = max(self._newest, *numbers.tolist(), 0)
        taken = box_iou(found.boxes, people.boxes).max(axis=1, initial=0.0) >= SAME
        self._free.append((frame.index, frame.time_s, found[~taken]))
        return begun


def from_network(
    find: Detect, config: IngestConfig, *, log: DetectionLog | None = None
) -> Callable[[VideoFrame], Detections]:
    """A detector that asks the network, unless a log knows already or, but for `quality=full`, nothing has moved."""

    def search(frame: VideoFrame) -> Detections:
        return find(frame.image) if log is None else log(frame.index, lambda: find(frame.image))

    return search if config.quality == "full" else Still(search)


def tiles_or_trial(detector: Detector, config: IngestConfig, *, height: int, width: int) -> bool | TilesTrial:
    """Whether frames of a size are searched for small people too, or how to find out on some of them."""
    if config.tiling == "off" or (height <= detector.height and width <= detector.width):
        return False
    if config.tiling == "on":
        return True
    return TilesTrial(
        detector,
        finder(detector, config, height=height, width=width, small=True),
        score=config.track_score,
        gain=config.tiling_gain,
        price=1.0 if config.quality == "full" else PIECE_PRICE,
    )


def choose_tiles(
    source: FrameSource, detector: Detector, config: IngestConfig
) -> tuple[bool, tuple[int, int] | None]:
    """Whether to search a video for small people too, and what `tiling=auto` found without and with them."""
    found = tiles_or_trial(detector, config, height=source.info.height, width=source.info.width)
    if isinstance(found, bool):
        return found, None
    for image in source.probe(PROBE_FRAMES):
        found.add(image)
    return found.pays, (found.few, found.many)


def observe(
    source: FrameSource,
    follower: Follower,
    config: IngestConfig,
    *,
    look: Callable[[VideoFrame, Observations], None] | None = None,
    watch: Callable[[], None] | None = None,
) -> tuple[Observations, int]:
    """Everyone in one video.

    `look` is called for every frame with everyone in it, `watch` after every frame.

    Returns:
        Every followed box, by frame and then by track; and the number of frames used, those passed over included, which
        stand in `source.passed`.
    """
    parts: list[Observations] = []
    beginnings: list[Observations] = []
    frames: list[tuple[int, float, bool]] = []

    def wanted(index: int, time_s: float) -> bool:
        due = follower.due(time_s)
        if not due:
            frames.append((index, time_s, False))
        return due

    for frame in source.frames(wanted=wanted):
        frames.append((frame.index, frame.time_s, True))
        numbers, people, hidden, _, earlier = follower(frame)
        with timed(follower.seconds, "track"):
            parts.append(
                Observations(
                    frame=np.full(len(people), frame.index, np.int64),
                    time_s=np.full(len(people), frame.time_s, np.float64),
                    track=numbers,
                    boxes=people.boxes,
                    score=people.scores,
                    overlap=np.maximum(overlap_in_front(people.boxes), hidden),
                    sharpness=_sharpness(frame.image, people, measure=config.min_sharpness > 0),
                )
            )
        if look is not None:
            with timed(follower.seconds, "encode"):
                look(frame, parts[-1])
        if earlier:
            beginnings.append(_as_rows(earlier, parts[-1]))
        if watch is not None:
            watch()
    with timed(follower.seconds, "track"):
        index, time_s, searched = (
            np.array(column) for column in (zip(*frames, strict=True) if frames else ((), (), ()))
        )
        fill = partial(filled, index=index, time_s=time_s, searched=searched)
        seen = fill(Observations.join(parts))
        if beginnings:
            # A track that is too short without them stays so: most such are no people.
            early = Observations.join(beginnings)
            long = np.bincount(seen.track, minlength=int(early.track.max()) + 1) >= config.min_frames
            early = early[long[early.track]]
            seen = Observations.join([*parts, early])
            seen = fill(seen[np.lexsort((seen.track, seen.frame))])
        seen = with_overlap(seen)
    source.passed = frozenset(index for index, _, searched in frames if not searched)
    return seen, len(frames)


def _as_rows(earlier: Sequence[Earlier], now: Observations) -> Observations:
    index, time_s, number, boxes, score = zip(*earlier, strict=True)
    return Observations(
        frame=np.array(index, np.int64),
        time_s=np.array(time_s, np.float64),
        track=np.array(number, np.int64),
        boxes=np.stack(boxes),
        score=np.array(score, np.float32),
        overlap=np.full(len(boxes), np.nan, np.float32),  # known once everybody is
        sharpness=now.sharpness[np.searchsorted(now.track, number)],
    )


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time spent inside to a stage."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] += time.perf_counter() - started


def _sharpness(image: Image, people: Detections, *, measure: bool) -> Floats:
    if not measure:
        return np.full(len(people), np.inf, np.float32)
    return np.array([sharpness(cut(image, box, margin=0.0)) for box in people.boxes], np.float32)
