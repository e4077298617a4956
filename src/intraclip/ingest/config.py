"""Settings of `intraclip ingest`; nothing heavy is imported here, so that `--help` answers at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from intraclip.core.numbers import MAX_ID
from intraclip.core.settings import bounded, require_bounds, share

Tiling = Literal["auto", "on", "off"]
Device = Literal["auto", "cpu", "cuda"]
TrackerName = Literal["botsort", "bytetrack", "ocsort"]
Quality = Literal["fast", "balanced", "full"]


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """How a video becomes tracklets: sampling, detection, tracking, quality gates, camera numbers.

    Lengths are pixels of the upright source frame, times are seconds, scores and shares lie in 0..1.

    Raises:
        ConfigError: a value is out of range; the message lists every one.

    >>> IngestConfig(min_frames=0, tiling="always")
    Traceback (most recent call last):
    ...
    intraclip.errors.ConfigError: ingest: tiling: 'always' is not one of auto, on, off; \
min_frames: 0 is too small, at least 1
    """

    quality: Quality = "balanced"
    """How much the detector is asked. `full` searches every frame, small people on overlapping tiles. `balanced`
    searches frames at their own scale in one piece, not again where nothing has moved, and passes over frames while
    nobody moves by more than two thirds of the width of their box; people are put back there, on the way between
    two searches. `fast` does it at three quarters of the scale, with longer steps."""

    frame_stride: int = bounded(1, 1)
    """Use every n-th frame. Trackers want 5 frames a second or more; below that people jump too far."""

    max_fps: float = bounded(0.0, 0)
    """Use at most this many frames a second, by their time stamps; 0 uses every frame."""

    folder_fps: float = bounded(0.0, 0)
    """Frames a second of a folder of pictures without a `seqinfo.ini` that tells; 0 means 25, with a note."""

    detector_model: str = ""
    """Which of torchvision's detection models a file of weights belongs to, such as `fasterrcnn_resnet50_fpn_v2`;
    empty reads it from the start of the file's name. ONNX files need none."""

    device: Device = "auto"
    """Where torchvision's detectors run; `auto` takes a GPU if there is one. ONNX files run on the CPU."""

    tiling: Tiling = "auto"
    """Detect on overlapping tiles of the detector's input size as well as on the whole frame. Small people
    in large frames vanish when the frame is shrunk to the detector's input; tiles find them and cost one
    detector run each. `auto` tries both on a few frames spread over the video and takes tiles when they find
    at least `tiling_gain` times as many people."""

    tiling_gain: float = bounded(1.3, 1)
    """What `tiling=auto` asks of tiles: people found with tiles, divided by people found without."""

    tile_overlap: float = bounded(0.25, 0, 0.9)
    """Share of a tile that its neighbour sees too, at least. It should exceed the height of a small person,
    so that everyone is whole in some tile; people larger than that are found on the whole frame."""

    person_class: int = bounded(0, 0)
    """Which of the detector's classes means person, counted from 0, the background not counted; 0 in COCO."""

    mot_class: int = bounded(1, 0)
    """Which class of a MOTChallenge file with a column of classes means person; 1 by its rules."""

    min_score: float = share(0.1)
    """Detections below this score (objectness times class) are forgotten. Kept low on purpose: the tracker
    uses weak detections to continue a track, never to begin one."""

    nms_iou: float = share(0.45)
    """Of two detections that overlap more than this (intersection over union) the weaker is dropped. Higher
    keeps more people of a crowd apart, and gives some of them two tracks at once, which is worse."""

    tracker: TrackerName = "botsort"
    """How detections become tracks. `botsort` lets weak detections continue a track only where they fit its
    predicted box closely, and can follow a moving camera; `bytetrack` is more generous with weak detections,
    which in crowds makes its tracks jump between people several times as often; `ocsort` ignores weak
    detections, and breaks more tracks."""

    camera_motion: bool = True
    """Estimate how the camera itself moves between frames, and correct for it (`botsort` only). Without it a
    camera that turns breaks every track and hands some to strangers. For fixed cameras switch it off: it
    changes nothing there and costs 3 to 4 ms a frame that is searched (10 to 12 with `full`)."""

    track_score: float = share(0.4)
    """Only a detection of at least this score begins a track."""

    match_iou: float = share(0.2)
    """A detection continues a track when it overlaps the track's predicted box at least this much."""

    confirm_frames: int = bounded(3, 1)
    """A track counts once it was seen in this many successive frames: false detections flicker."""

    lost_seconds: float = bounded(1.0, 0)
    """A track that is not seen for longer than this ends. Longer bridges more occlusions, and joins more
    strangers."""

    appearance_seconds: float = bounded(0.4, 0)
    """With an encoder: everyone is looked at as often as this, to divide tracks that change from one person to another.
    Less often costs less time, and finds fewer changes."""

    margin: float = bounded(0.05, 0)
    """Crops are wider and higher than the box by this share of it on every side, then clipped to the frame."""

    min_height: int = bounded(48, 1)
    """Frames whose box is lower than this are dropped."""

    min_width: int = bounded(16, 1)
    """Frames whose box is narrower than this are dropped."""

    min_aspect: float = bounded(1.2, 0)
    """Frames whose box has a lower ratio of height to width are dropped: no standing or walking person, or
    a person cut off."""

    max_aspect: float = 5.0
    """Frames whose box has a higher ratio of height to width are dropped."""

    max_truncation: float = share(0.3)
    """Frames in which more than this share of the person lies outside the image are dropped. The share is
    estimated from the person's size shortly before or after."""

    max_overlap: float = share(0.5)
    """Frames in which more than this share of the box is covered by a person in front are dropped."""

    min_sharpness: float = bounded(0.0, 0)
    """Frames whose crop is more blurred than this are dropped: variance of the Laplacian of the crop in grey,
    scaled to 128 pixels in height. 0 switches it off; blurred crops lie below about 50."""

    min_track_score: float = share(0.5)
    """Tracks whose mean score is lower are dropped: parked scooters, chairs, boxes that hold half of two
    people. Some real people who are mostly hidden go with them."""

    min_frames: int = bounded(8, 1)
    """Tracks with fewer frames left after the gates are dropped."""

    max_frames: int = bounded(128, 0)
    """Of longer tracklets this many frames are kept, evenly spread; 0 keeps all."""

    split_seconds: float = bounded(0.0, 0)
    """Tracks that last longer than this become several tracklets of equal duration (`cam1_t0007p1`, `cam1_t0007p2`);
    0 divides none. Somebody who stands about for an hour is better found by several moments than by one mean."""

    cameras: dict[str, int] = field(default_factory=dict)
    """Camera number of a video by its file name: `--cameras lobby.mp4 4`, or `{"lobby.mp4": 4}`; the others are read
    from the file name (`cam3`, `c3`, `camera_3`)."""

    same_camera: bool = False
    """Allow several videos of one camera."""

    def __post_init__(self) -> None:
        wrong = [
            f"cameras has {name!r}: {camid}, camera numbers must be at least 0 and at most {MAX_ID}"
            for name, camid in self.cameras.items()
            if not 0 <= camid <= MAX_ID
        ]
        if self.max_aspect <= self.min_aspect:
            wrong.append(f"max_aspect: {self.max_aspect} must be above min_aspect ({self.min_aspect})")
        if self.track_score < self.min_score:
            wrong.append(f"track_score: {self.track_score} must be at least min_score ({self.min_score})")
        if 0 < self.max_frames < self.min_frames:
            wrong.append(f"max_frames: {self.max_frames} must be at least min_frames ({self.min_frames})")
        require_bounds(self, "ingest", wrong)


ALL = IngestConfig()
"""As by default, which reads every frame of a video."""
