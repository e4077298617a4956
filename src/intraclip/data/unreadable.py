"""Clips of which some frames cannot be read, where a recipe goes on all the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from intraclip.data.clips import Clip
from intraclip.data.frames import read_tracklet_frame_into
from intraclip.errors import DataError, FrameError
from intraclip.types import Tracklet


def load_what_can_be_read(
    tracklet: Tracklet, clip: Clip, out: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """`FrameLoader.load`, with the nearest readable frame of the clip in place of one that is not.

    Where no frame of the clip can be read, the first of the tracklet stands for all of them.
    """
    indices = clip.indices.tolist()
    row_of: dict[int, int] = {}
    failed: dict[int, str] = {}
    for row, index in enumerate(indices):
        if index not in row_of and index not in failed:
            try:
                read_tracklet_frame_into(tracklet, index, out[row])
                row_of[index] = row
            except FrameError as error:
                failed[index] = str(error)
    if not row_of:
        _read_any(tracklet, out[0])
        row_of[indices[0]] = 0
    for row, index in enumerate(indices):
        source = row_of[min(row_of, key=lambda other: (abs(other - index), other))]
        if source != row:
            out[row] = out[source]
    mask = clip.mask & ~np.isin(clip.indices, list(failed))
    if not mask.any():
        mask = np.arange(len(mask)) == 0  # a clip needs one frame that counts: the replacement does
    return mask, list(failed.values())


def _read_any(tracklet: Tracklet, out: npt.NDArray[np.uint8]) -> None:
    for index in range(len(tracklet)):
        try:
            return read_tracklet_frame_into(tracklet, index, out)
        except FrameError:
            continue
    raise DataError(
        f"no frame of tracklet {tracklet.name} (pid {tracklet.pid}, camid {tracklet.camid}) in {tracklet.root} can be "
        "read; remove the tracklet or restore its files"
    )
