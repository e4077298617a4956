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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.extras import require_extra
from intraclip.errors import DataError
from intraclip.ingest.camera_tracks import CameraTracks, Tracks

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
    """Compare tracks with the truth.

    Args:
        truth: boxes with ids, by camera; cameras that are not in it are not scored.
        found: boxes with ids, by camera; of a camera that is not in it nobody was found.
        across: whether an id of `found` is one person in all cameras.

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
    true, ours, overlaps = [], [], []
    order = [np.argsort(side.frame, kind="stable") for side in (truth, found)]
    frames = np.union1d(truth.frame, found.frame)
    ends = [
        [np.searchsorted(side.frame[o], frames, side=edge) for edge in ("left", "right")]
        for side, o in zip((truth, found), order, strict=True)
    ]
    for place in range(len(frames)):
        t = order[0][ends[0][0][place] : ends[0][1][place]]
        f = order[1][ends[1][0][place] : ends[1][1][place]]
        true.append(truth.track[t])
        ours.append(found.track[f])
        overlaps.append(
            np.asarray(
                box_iou(
                    truth.boxes[t].astype(np.float64), found.boxes[f].astype(np.float64), box_format="xyxy"
                ),
                dtype=np.float64,
            ).reshape(len(t), len(f))
        )
    return true, ours, overlaps


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
