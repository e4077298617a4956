"""Detections of successive frames -> one track a person."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.extras import require_extra
from intraclip.ingest.camera_motion import STANDS, CameraMotion
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Detections
from intraclip.ingest.frame_source import Image

BUFFER = 0.3
"""Where frames are passed over, boxes are compared with a margin of this share of their size on every side: between
two searches people, and a camera that is carried, move farther than the tracker foresees. The smaller margin of Yang et
al., "Hard to Track Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching
Space", WACV 2023."""


class PeopleTracker:
    """Follows people through one video; a thin layer over the trackers library.

    `fps` is the nominal rate of the frames that will come.

    Raises:
        MissingExtraError: the trackers library is not installed.
    """

    def __init__(self, config: IngestConfig, *, fps: float) -> None:
        library = require_extra("trackers", extra="ingest", purpose="tracking people")
        self._supervision = require_extra("supervision", extra="ingest", purpose="tracking people")
        # The library counts its patience in frames of 30 a second, whatever the video's rate.
        common: dict[str, Any] = {
            "lost_track_buffer": round(30 * config.lost_seconds),
            "frame_rate": fps,
            "minimum_consecutive_frames": config.confirm_frames,
        }
        self._camera: CameraMotion | None = None
        self._wants_image = config.tracker == "botsort" and config.camera_motion
        if config.tracker == "bytetrack":
            self._tracker = library.ByteTrackTracker(
                track_activation_threshold=config.track_score,
                high_conf_det_threshold=config.track_score,
                minimum_iou_threshold=config.match_iou,
                **common,
            )
        elif config.tracker == "botsort":
            self._tracker = library.BoTSORTTracker(
                track_activation_threshold=config.track_score,
                high_conf_det_threshold=config.track_score,
                minimum_iou_threshold_first_assoc=config.match_iou,
                enable_cmc=self._wants_image,
                # Everyone must be seen `confirm_frames` times, on the first frame too.
                instant_first_frame_activation=False,
                **common,
            )
            if self._wants_image and config.quality != "full":
                self._tracker.cmc = self._camera = CameraMotion()
        else:
            self._tracker = library.OCSORTTracker(
                high_conf_det_threshold=config.track_score, minimum_iou_threshold=config.match_iou, **common
            )

        if config.quality != "full":
            overlaps = require_extra("trackers.utils.iou", extra="ingest", purpose="tracking people")
            self._tracker.iou = overlaps.BIoU(BUFFER)

    @property
    def motion(self) -> npt.NDArray[np.floating]:
        """The camera's own between the last two frames, ``[2, 3]``; none where it is not estimated, or for `full`."""
        return STANDS if self._camera is None else self._camera.latest

    def update(
        self, detections: Detections, *, time_s: float, image: Image, confirm: int | None = None
    ) -> tuple[npt.NDArray[np.int64], Detections]:
        """Continue all tracks by one frame, later than the one before.

        The image is looked at for the camera's own motion alone. `confirm` is how often in succession somebody must be
        seen to count; `confirm_frames` by default.

        Returns:
            The detections that belong to a confirmed track, with their track numbers ``[N]``: from 1 on, in
            order of confirmation.
        """
        if self._camera is not None:
            self._camera.latest = STANDS  # it is not asked where there is nobody
        if confirm is not None:
            self._tracker.minimum_consecutive_frames = confirm
        found = self._supervision.Detections(xyxy=detections.boxes, confidence=detections.scores)
        tracked = self._tracker.update(found, image if self._wants_image else None, timestamp=time_s)
        if not len(tracked):
            return np.zeros(0, np.int64), Detections.join([])
        numbers = np.asarray(tracked.tracker_id, dtype=np.int64) + 1
        order = np.argsort(numbers, kind="stable")
        order = order[numbers[order] > 0]
        boxes = np.asarray(tracked.xyxy, dtype=np.float32)[order]
        scores = np.asarray(tracked.confidence, dtype=np.float32)[order]
        return numbers[order], Detections(boxes=boxes, scores=scores)
