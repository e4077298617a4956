"""How well tracks agree with the truth, within cameras and across them, as TrackEval counts.

HOTA, DetA and AssA (Luiten et al., "HOTA: a higher order metric for evaluating multi-object tracking", IJCV 2021), MOTA
(Bernardin & Stiefelhagen, "Evaluating multiple object tracking performance: the CLEAR MOT metrics", 2008), IDF1
(Ristani et al., "Performance measures and a data set for multi-target, multi-camera tracking", 2016). The library
`trackers` computes them; it gives what TrackEval gives.

*Within cameras* every camera is a sequence of its own, whose people are its own; sequences are combined as TrackEval
combines them. *Across cameras* all cameras are one sequence, one after the other, so an id must be the same person in
all of them: the measure of the AI City Challenge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.extras import require_extra
from intraclip.errors import DataError
from intraclip.ingest.camera_tracks import CameraTracks, Tracks, read_tracks
from intraclip.ingest.frame_source import FrameSource
from intraclip.ingest.mot import read_mot
from intraclip.ingest.summary import VideoSummary

Ids = list[npt.NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class TrackScores:
    """Shares of 0..1, MOTA below 1; boxes match at an overlap (IoU) of 0.5, for HOTA at 0.05 to 0.95.

    Attributes:
        hota: geometric mean of DetA and AssA, mean over overlaps.
        deta: detection accuracy.
        assa: association accuracy.
        mota: 1 - (missed + wrong + switches) / boxes of the truth.
        idf1: of the best one-to-one matching of ids.
        switches: boxes whose person had another id when last matched.
    """

    hota: float
    deta: float
    assa: float
    mota: float
    idf1: float
    switches: int


@dataclass(frozen=True, kw_only=True)
class CamerasScores:
    """Of several cameras.

    Attributes:
        cameras: each by itself, by number; without those that nobody is in and where nobody was found.
        within: all of these combined.
        across: of ids that are the same in all cameras; None where they are each camera's own.
    """

    cameras: dict[int, TrackScores]
    within: TrackScores
    across: TrackScores | None

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def score_tracks(truth: Tracks, found: Tracks, *, across: bool = True) -> CamerasScores:
    """Compare tracks with the truth, both by camera.

    Cameras that are not in the truth are not scored; in those that are not in `found` nobody was found. `across`:
    whether an id of `found` is one person in all cameras.

    Raises:
        DataError: the truth holds no boxes, or no camera is in both.
    """
    require_extra("trackers", extra="ingest", purpose="scores of tracks")
    if not any(len(one) for one in truth.values()):
        raise DataError("the truth holds no boxes; nothing can be scored")
    if not set(truth) & set(found):
        raise DataError(
            f"the truth is of cameras {listed(truth)}, the tracks are of {listed(found)}; give both the same numbers"
        )
    said = {camera: (one, found.get(camera)) for camera, one in sorted(truth.items())}
    parts = {camera: _frames(one, ours) for camera, (one, ours) in said.items() if len(one) or ours}
    by_camera = {camera: _measured(*part) for camera, part in parts.items()}
    together = None
    if across:
        together = _measured(
            [t for true, _, _ in parts.values() for t in true],
            [f for _, ours, _ in parts.values() for f in ours],
            [s for _, _, overlaps in parts.values() for s in overlaps],
        )
    by_metric = zip(_metrics(), zip(*by_camera.values(), strict=True), strict=True)
    combined = [aggregate(list(measured)) for (_, aggregate), measured in by_metric]
    return CamerasScores(
        cameras={camera: _scores(*measured) for camera, measured in by_camera.items()},
        within=_scores(*combined),
        across=None if together is None else _scores(*together),
    )


def _frames(truth: CameraTracks, found: CameraTracks | None) -> tuple[Ids, Ids, list[npt.NDArray[Any]]]:
    """Ids and overlaps frame by frame; frames without boxes on either side say nothing and are left out."""
    from trackers.eval.box import box_iou

    if found is None:
        found = CameraTracks(
            frame=np.zeros(0, np.int64), track=np.zeros(0, np.int64), boxes=np.zeros((0, 4), np.float32)
        )
    frames = np.union1d(truth.frame, found.frame)
    true, ours, overlaps = [], [], []
    for one, other in zip(_by_frame(truth, frames), _by_frame(found, frames), strict=True):
        true.append(one.track)
        ours.append(other.track)
        boxes, others = (side.boxes.astype(np.float64) for side in (one, other))
        shared = np.asarray(box_iou(boxes, others, box_format="xyxy"), dtype=np.float64)
        overlaps.append(shared.reshape(len(one), len(other)))
    return true, ours, overlaps


def _by_frame(tracks: CameraTracks, frames: npt.NDArray[np.int64]) -> Iterator[CameraTracks]:
    order = np.argsort(tracks.frame, kind="stable")
    starts, ends = (np.searchsorted(tracks.frame[order], frames, side=edge) for edge in ("left", "right"))
    for start, end in zip(starts, ends, strict=True):
        yield tracks[order[start:end]]


def _metrics() -> list[tuple[Callable[..., Any], Callable[..., Any]]]:
    """HOTA, CLEAR and identity: what measures one sequence, and what combines several."""
    from trackers.eval import clear, hota, identity

    return [
        (hota.compute_hota_metrics, hota.aggregate_hota_metrics),
        (clear.compute_clear_metrics, clear.aggregate_clear_metrics),
        (identity.compute_identity_metrics, identity.aggregate_identity_metrics),
    ]


def _measured(true: Ids, ours: Ids, overlaps: Sequence[npt.NDArray[Any]]) -> list[Any]:
    return [measure(true, ours, list(overlaps)) for measure, _ in _metrics()]


def _scores(hota: Any, clear: Any, identity: Any) -> TrackScores:
    return TrackScores(
        hota=float(hota["HOTA"]),
        deta=float(hota["DetA"]),
        assa=float(hota["AssA"]),
        mota=float(clear["MOTA"]),
        idf1=float(identity["IDF1"]),
        switches=int(clear["IDSW"]),
    )


def listed(cameras: Iterable[int]) -> str:
    """Numbers of cameras, for people."""
    return ", ".join(map(str, sorted(set(cameras)))) or "none"


class Truth:
    """True boxes of some of the cameras, which tracks of `intraclip ingest` are compared with, each camera by itself.

    Raises:
        DataError: it cannot be read, no camera is in both, or one has several recordings.
    """

    def __init__(self, path: Path, camids: Sequence[int]) -> None:
        require_extra("trackers", extra="ingest", purpose="scores of tracks")
        tracks = read_tracks(path)
        if several := sorted({c for c in camids if camids.count(c) > 1} & set(tracks)):
            raise DataError(
                f"camera {several[0]} has several recordings, whose frames all count from the first, and {path} tells "
                "cameras apart alone; ingest one recording of each camera to score it"
            )
        self.tracks = {camid: tracks[camid] for camid in sorted(set(camids) & set(tracks))}
        if not sum(map(len, self.tracks.values())):
            raise DataError(
                f"{path} holds no boxes of the cameras of the videos: it is of {listed(tracks)}, the videos are of "
                f"{listed(camids)}; give both the same numbers (--cameras)"
            )
        self.notes = [
            f"not scored: cameras {listed(those)}, {why}"
            for those, why in (
                (set(camids) - set(tracks), "of which there is no truth"),
                (set(tracks) - set(camids), "of which there is no video"),
            )
            if those
        ]

    def score(
        self, out: Path, videos: Sequence[VideoSummary], sources: Sequence[FrameSource]
    ) -> tuple[CamerasScores, list[str]]:
        """Scores of what stands in the folder of an ingest, in the frames that were used; and notes."""
        truth, found, notes = {}, {}, list(self.notes)
        for video, source in zip(videos, sources, strict=True):
            if video.camid not in self.tracks:
                continue
            ours = CameraTracks.of(read_mot(out / "tracks" / f"{video.view}.txt"))
            true = self.tracks[video.camid]
            beyond = int((true.frame >= video.frames).sum())
            if beyond:
                notes.append(
                    f"the truth of camera {video.camid} has {beyond} boxes after the last of {video.frames} "
                    f"frames that could be read of {video.video.name}; they were left out"
                )
            used = source.sampled_frames()
            truth[video.camid], found[video.camid] = (t[np.isin(t.frame, used)] for t in (true, ours))
        return score_tracks(truth, found, across=False), notes
