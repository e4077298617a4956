"""Frames of clips, decoded straight to their place in a batch.

That lies in shared memory where a worker makes it: on its way to the network a frame is not copied.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info

from intraclip.config import InputConfig
from intraclip.data.clip_batch import ClipBatch
from intraclip.data.clips import Clip
from intraclip.data.frames import read_tracklet_frame_into
from intraclip.data.pack.opened import pack_of
from intraclip.errors import FrameError, IntraclipError
from intraclip.types import Tracklet

Frames = npt.NDArray[np.uint8]


class FrameLoader:
    """Reads the frames of a clip, strict or forgiving.

    Args:
        config: height and width to resize to.
        skip_unreadable: replace an unreadable frame by the nearest readable one of the clip (else of the
            tracklet) and mask it out, instead of raising.
    """

    def __init__(self, config: InputConfig, *, skip_unreadable: bool = False) -> None:
        self.config = config
        self.skip_unreadable = skip_unreadable

    def load(
        self, tracklet: Tracklet, clip: Clip, out: Frames | None = None
    ) -> tuple[Frames, npt.NDArray[np.bool_], list[str]]:
        """Read one clip: uint8 frames ``[T, H, W, 3]``, mask ``[T]``, a message for each frame that was replaced.

        The frames are `out`, contiguous, where it is given.
        """
        if out is None:
            out = np.empty((len(clip.indices), self.config.height, self.config.width, 3), dtype=np.uint8)
        row_of: dict[int, int] = {}
        try:
            for row, index in enumerate(clip.indices.tolist()):
                if index in row_of:
                    out[row] = out[row_of[index]]
                else:
                    read_tracklet_frame_into(tracklet, index, out[row])
                    row_of[index] = row
        except FrameError:
            if not self.skip_unreadable:
                raise
            from intraclip.data.unreadable import load_what_can_be_read

            return out, *load_what_can_be_read(tracklet, clip, out)
        return out, clip.mask, []

    def warn_if_enlarged(self, tracklets: Sequence[Tracklet]) -> None:
        """Warn about packs whose frames are smaller than what is wanted of them: detail is lost for good."""
        for root in dict.fromkeys(tracklet.root for tracklet in tracklets):
            if (pack := pack_of(root)) is not None:
                pack.warn_if_enlarged(self.config.height, self.config.width)

    def batch(
        self, tracklets: Sequence[Tracklet], chosen: Sequence[tuple[int, Clip]], labels: Sequence[int]
    ) -> ClipBatch | IntraclipError:
        """Read several clips of equal length into one batch, channels last in memory as networks want them.

        An error is returned, not raised: torch rebuilds an exception of a worker from its text alone, which would
        lose the path. `iterate` raises it.
        """
        owners = [owner for owner, _ in chosen]
        shape = (len(chosen), len(chosen[0][1].indices), self.config.height, self.config.width, 3)
        if get_worker_info() is None:
            frames = torch.empty(shape, dtype=torch.uint8)
        else:
            from intraclip.data.workers import shared_frames

            frames = shared_frames(shape)
        mask = np.stack([clip.mask for _, clip in chosen])
        messages: list[str] = []
        try:
            for (owner, clip), place, valid in zip(chosen, frames.numpy(), mask, strict=True):
                _, valid[:], replaced = self.load(tracklets[owner], clip, place)
                messages += replaced
        except IntraclipError as error:
            return error
        return ClipBatch(
            frames=frames.permute(0, 1, 4, 2, 3),
            mask=torch.from_numpy(mask),
            pids=torch.tensor([tracklets[owner].pid for owner in owners]),
            camids=torch.tensor([tracklets[owner].camid for owner in owners]),
            labels=torch.tensor(list(labels)),
            owners=torch.tensor(owners),
            unreadable=tuple(messages),
        )
