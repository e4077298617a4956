"""Baselines without learning: what a network must beat before its number means anything."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.config import ClipConfig, InputConfig
from intraclip.data.clips import tracklet_clips
from intraclip.data.frame_loader import FrameLoader
from intraclip.types import Tracklet

STRIPES = 6
BINS = (8, 4, 4)


def colour_histograms(tracklets: Sequence[Tracklet], *, frames: int = 8) -> npt.NDArray[np.float32]:
    """Colour histograms in horizontal stripes, the classic hand-made re-ID feature; float32 ``[N, 768]``.

    Each frame is balanced to grey (its channels are scaled to one mean), which takes a part of the camera's colour
    cast away. HSV histograms of 8 x 4 x 4 bins in six stripes, averaged over evenly spaced frames, each stripe
    scaled to sum 1, then the square root (Euclidean distance is then the Hellinger distance).
    """
    loader = FrameLoader(InputConfig(height=96, width=48))
    config = ClipConfig(num_frames=frames, test_sampling="even")
    features = np.zeros((len(tracklets), STRIPES, int(np.prod(BINS))), dtype=np.float32)
    for row, tracklet in enumerate(tracklets):
        images, mask, _ = loader.load(tracklet, tracklet_clips(len(tracklet), config)[0])
        for image in images[mask]:
            hsv = cv2.cvtColor(_grey_world(image), cv2.COLOR_RGB2HSV)
            for stripe, part in enumerate(np.array_split(hsv, STRIPES)):
                histogram = cv2.calcHist([part], [0, 1, 2], None, list(BINS), [0, 180, 0, 256, 0, 256])
                features[row, stripe] += histogram.ravel()
    features /= np.maximum(features.sum(axis=-1, keepdims=True), 1)
    return np.asarray(np.sqrt(features).reshape(len(tracklets), -1))


def _grey_world(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    means = image.reshape(-1, 3).mean(axis=0)
    balanced = np.clip(image * (means.mean() / np.maximum(means, 1.0)), 0, 255)
    return np.asarray(balanced, dtype=np.uint8)
