"""Frames -> who is where: by a detector and a tracker, or from a file of tracks or detections."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from intraclip.ingest.config import IngestConfig
from intraclip.ingest.crops import cut
from intraclip.ingest.detection_log import DetectionLog
from intraclip.ingest.detections import Detections, Floats
from intraclip.ingest.detector import Detector
from intraclip.ingest.frame_source import FrameSource, Image, VideoFrame
from intraclip.ingest.gates import Observations, overlap_in_front, sharpness
from intraclip.ingest.mot import MotFile
from intraclip.ingest.search import PIECE_PRICE, Cadence, Still, filled, finder
from intraclip.ingest.tiling import PROBE_FRAMES, Detect, tiles_find_more
from intraclip.ingest.tracking import PeopleTracker


class Followed(NamedTuple):
    """Everyone who is followed in one frame.

    Attributes:
        numbers: int64 ``[N]``, of the tracks.
        people: their boxes and scores.
        hidden: float32 ``[N]`` in 0..1, share of each that is known not to be seen; 0 where nobody knows.
        searched: whether the frame was searched. Where it was not, nobody is given: who was there is known only
            after the next search.
    """

    numbers: npt.NDArray[np.int64]
    people: Detections
    hidden: Floats
    searched: bool = True


class Follower(Protocol):
    """Says who is where in the frames of one video, in order.

    Attributes:
        seconds: time spent so far, by stage.
        detections: people found so far that could begin a track.
    """

    seconds: dict[str, float]
    detections: int

    def due(self, time_s: float) -> bool:
        """Whether it wants to see the frame of this time."""
        ...

    def __call__(self, frame: VideoFrame) -> Followed:
        """Everyone in the next frame."""
        ...


class TracksFromFile:
    """Follows nobody itself: the file knows."""

    def __init__(self, tracks: MotFile) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.detections = 0
        self._tracks = tracks

    def due(self, time_s: float) -> bool:
        """See `Follower`."""
        return True

    def __call__(self, frame: VideoFrame) -> Followed:
        """See `Follower`."""
        file, rows = self._tracks, self._tracks.rows_of(frame.index)
        people = Detections(boxes=file.boxes[rows], scores=file.score[rows])
        self.detections += len(people)
        return Followed(file.track[rows], people, file.hidden[rows])


class DetectAndTrack:
    """Finds people in the frames of one camera and continues their tracks; passes over frames as `quality` allows.

    Args:
        detect: people in a frame; asked for frames that are searched only.
        config: of the tracker, and `quality`.
        fps: nominal frames a second of the frames that will come.
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

    def due(self, time_s: float) -> bool:
        """See `Follower`."""
        return self._cadence.due(time_s)

    def __call__(self, frame: VideoFrame) -> Followed:
        """See `Follower`."""
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
            self._cadence.searched(frame.time_s, numbers, people.boxes, strong.boxes)
        return Followed(numbers, people, np.zeros(len(people), np.float32))


def from_file(detections: MotFile) -> Callable[[VideoFrame], Detections]:
    """A detector that looks into a file of detections."""

    def detect(frame: VideoFrame) -> Detections:
        rows = detections.rows_of(frame.index)
        return Detections(boxes=detections.boxes[rows], scores=detections.score[rows])

    return detect


def from_network(find: Detect, log: DetectionLog, config: IngestConfig) -> Callable[[VideoFrame], Detections]:
    """A detector that asks the network, unless the log knows already or, but for `quality=full`, nothing has moved."""

    def search(frame: VideoFrame) -> Detections:
        return log(frame.index, lambda: find(frame.image))

    return search if config.quality == "full" else Still(search)


def choose_tiles(
    source: FrameSource, detector: Detector, config: IngestConfig
) -> tuple[bool, tuple[int, int] | None]:
    """Whether to search a video for small people too, and what `tiling=auto` found without and with them."""
    height, width = source.info.height, source.info.width
    if config.tiling == "off" or (height <= detector.height and width <= detector.width):
        return False, None
    if config.tiling == "on":
        return True, None
    pays, without, with_tiles = tiles_find_more(
        source.probe(PROBE_FRAMES),
        detector,
        finder(detector, config, height=height, width=width, small=True),
        score=config.track_score,
        gain=config.tiling_gain,
        price=1.0 if config.quality == "full" else PIECE_PRICE,
    )
    return pays, (without, with_tiles)


def observe(
    source: FrameSource,
    follower: Follower,
    config: IngestConfig,
    *,
    look: Callable[[VideoFrame, Observations], None] | None = None,
    watch: Callable[[], None] | None = None,
) -> tuple[Observations, int]:
    """Everyone in one video.

    Args:
        source: the video.
        follower: says who is where.
        config: whether sharpness is measured.
        look: called for every frame with everyone in it.
        watch: called after every frame.

    Returns:
        Every followed box, by frame and then by track; and the number of frames used.
    """
    parts: list[Observations] = []
    frames: list[tuple[int, float, bool]] = []

    def wanted(index: int, time_s: float) -> bool:
        frames.append((index, time_s, follower.due(time_s)))
        return frames[-1][2]

    for frame in source.frames(wanted=wanted):
        numbers, people, hidden, _ = follower(frame)
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
        if watch is not None:
            watch()
    seen = Observations.join(parts)
    if not all(searched for _, _, searched in frames):
        with timed(follower.seconds, "track"):
            index, time_s, searched_ones = zip(*frames, strict=True)
            seen = filled(seen, np.array(index, np.int64), np.array(time_s), np.array(searched_ones))
    return seen, len(frames)


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
