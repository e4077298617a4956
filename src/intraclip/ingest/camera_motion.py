"""How the camera itself moves from one searched frame to the next."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.ingest.frame_source import Image

STANDS = np.eye(2, 3)
"""Motion of a camera that has none."""

CORNERS = 200
"""By which the motion is told, at most; more cost more."""

APART = 12
"""Pixels between two corners, at least, in a picture of half the size: the best ones may all lie in one place."""

WINDOW = 21
"""Side in pixels of what is looked for again around a corner, in a picture of half the size."""

LEAST = 12
"""With fewer corners nothing is said."""

STILL_PIXELS = 1.0
"""A corner that moves by less than this has not moved."""


class CameraMotion:
    """Tells the motion of the camera by corners that lie on nobody.

    People have the best corners of many views, and they move: by those, a fixed camera seems to go along with the
    crowd, and everyone is carried on to their neighbour. So corners are looked for beside people and spread over the
    frame; and where half of them have not moved, neither has the camera.

    Attributes:
        latest: what was said last, ``[2, 3]``.
    """

    def __init__(self) -> None:
        self.latest: npt.NDArray[np.floating] = STANDS
        self._before: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]] | None = None

    def estimate(
        self, image: Image, boxes: npt.NDArray[np.floating] | None = None
    ) -> npt.NDArray[np.floating]:
        """Where points of the image before are in this one, uint8 ``[H, W, 3]`` BGR; boxes ``[N, 4]`` hold people.

        Returns:
            ``[2, 3]``: shift, turn and scale. `STANDS` for a camera that stands, for the first image, for one of
            another size than the one before, and where too few corners are seen again.
        """
        height, width = image.shape[:2]
        half = max(1, width // 2), max(1, height // 2)
        now = np.asarray(cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), half), np.uint8)
        before, self._before = self._before, (now, _corners(now, boxes))
        self.latest = STANDS if before is None or before[0].shape != now.shape else _motion(*before, now)
        return self.latest


def _corners(grey: npt.NDArray[np.uint8], boxes: npt.NDArray[np.floating] | None) -> npt.NDArray[np.float32]:
    """Float32 ``[N, 1, 2]`` in a picture of half the size."""
    free = np.full(grey.shape, 255, np.uint8)
    if boxes is not None:
        # What is looked for again must not show their outline either.
        beside = np.asarray(boxes) / 2 + np.array([-1, -1, 1, 1]) * (WINDOW // 2)
        for left, top, right, bottom in beside.clip(0).round().astype(int).tolist():
            free[top:bottom, left:right] = 0
    found = cv2.goodFeaturesToTrack(grey, CORNERS, qualityLevel=0.01, minDistance=APART, mask=free)
    # There is None where there are none.
    return np.zeros((0, 1, 2), np.float32) if found is None else np.asarray(found, np.float32)


def _motion(
    then: npt.NDArray[np.uint8], corners: npt.NDArray[np.float32], now: npt.NDArray[np.uint8]
) -> npt.NDArray[np.floating]:
    if len(corners) < LEAST:
        return STANDS
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        then, now, corners, np.zeros_like(corners), winSize=(WINDOW, WINDOW)
    )
    again = status[:, 0] == 1
    old, new = 2 * corners[again, 0], 2 * moved[again, 0]
    if len(old) < LEAST or np.median(np.hypot(*(new - old).T)) < STILL_PIXELS:
        return STANDS
    motion, _ = cv2.estimateAffinePartial2D(old, new, method=cv2.RANSAC, ransacReprojThreshold=6.0)
    return STANDS if motion is None else np.asarray(motion)
