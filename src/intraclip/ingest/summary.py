"""What ingest did, by video and altogether."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intraclip.ingest.track_scores import CamerasScores

STAGES = ("decode", "detect", "track", "encode", "crop")

_REMEDIES = {
    "decode": "a smaller picture, or fewer frames where the codec allows to skip (--max-fps)",
    "detect": "fewer frames (--max-fps), a smaller detector, or --tiling off where people are large",
    "track": "--no-camera-motion where the camera stands still",
    "encode": "looking less often (--appearance-seconds), or a smaller encoder",
    "crop": "fewer frames a tracklet (--max-frames)",
}


@dataclass(kw_only=True)
class VideoSummary:
    """What became of one video.

    Attributes:
        video: the file or folder.
        view: name of the view: of its files in `tracks`, `boxes` and `contact_sheets`, and how its tracklets begin.
        fps: nominal frames a second.
        frames: frames in the video.
        frames_used: frames searched for people, after sampling.
        frames_taken_over: of these, frames that an interrupted run had searched already.
        tiled: whether people were looked for on tiles.
        probe: with `tiling=auto`, people found on the probed frames without and with tiles; else None.
        detections: people found that could begin a track, summed over the frames.
        switches: cuts made where a track changed from one person to another; needs an encoder.
        crops: frames written.
        tracks_dropped: tracks, or parts of divided ones, that were dropped, by reason: `short`, `doubtful`, or the gate
            that took most of the frames.
        frames_dropped: frames of tracks dropped, by gate.
        seconds: time spent by stage: decode (both passes), detect (with the probing), track, encode (only with an
            encoder), crop (cut out, compress, write, contact sheet).
    """

    video: Path
    view: str
    camid: int
    width: int
    height: int
    fps: float
    frames: int = 0
    frames_used: int = 0
    frames_taken_over: int = 0
    tiled: bool = False
    probe: tuple[int, int] | None = None
    detections: int = 0
    tracks: int = 0
    switches: int = 0
    tracklets: int = 0
    crops: int = 0
    tracks_dropped: dict[str, int] = field(default_factory=dict)
    frames_dropped: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(self.tracks_dropped.items()))
        speed = (
            f"{self.frames_taken_over} frames searched before an interruption"
            if self.frames_taken_over
            else f"{self.frames_used / max(sum(self.seconds.values()), 1e-9):.1f} frames/s"
        )
        return (
            f"{self.view} ({self.video.name}): {self.frames_used} of {self.frames} frames"
            f"{', tiled' if self.tiled else ''}, {self.detections} detections, {self.tracks} tracks"
            f"{f' (after {self.switches} cuts between people)' if self.switches else ''}, "
            f"{self.tracklets} tracklets with {self.crops} frames"
            f"{f' (tracks dropped: {dropped})' if dropped else ''}; {speed}"
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {**asdict(self), "video": str(self.video)}

    @staticmethod
    def from_json_dict(values: Mapping[str, Any]) -> VideoSummary:
        """What `to_json_dict` made; keys that it does not know are left out."""
        known = {f.name: values[f.name] for f in fields(VideoSummary) if f.name in values}
        probe = known.get("probe")
        return VideoSummary(
            **{**known, "video": Path(known["video"]), "probe": tuple(probe) if probe else None}
        )


@dataclass(frozen=True, kw_only=True)
class IngestSummary:
    """What `ingest` did.

    Attributes:
        videos: one summary a video, in the order given.
        notes: what the user should know: made-up camera numbers, videos cut off, videos without people.
        scores: of the tracks against the truth; None without it.
    """

    out: Path
    videos: tuple[VideoSummary, ...]
    notes: tuple[str, ...]
    scores: CamerasScores | None = None

    @property
    def tracklets(self) -> int:
        """Tracklets written."""
        return sum(v.tracklets for v in self.videos)

    def shares(self) -> dict[str, float]:
        """Share of the time that every stage took, over all videos, in 0..1."""
        known = [stage for stage in STAGES if any(stage in v.seconds for v in self.videos)]
        spent = {stage: sum(v.seconds.get(stage, 0.0) for v in self.videos) for stage in known}
        total = max(sum(spent.values()), 1e-9)
        return {stage: seconds / total for stage, seconds in spent.items()}

    def __str__(self) -> str:
        cameras = len({v.camid for v in self.videos})
        shares = self.shares()
        slowest = max(shares, key=lambda stage: shares[stage])
        time = ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items())
        return "\n".join(
            [
                *map(str, self.videos),
                *(f"note: {n}" for n in self.notes),
                f"time: {time}; what makes it faster: {_REMEDIES[slowest]}",
                f"{self.tracklets} tracklets of {cameras} camera{'s' if cameras != 1 else ''} in {self.out}",
            ]
        )
