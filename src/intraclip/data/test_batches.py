"""Batches of whole test clips."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import Dataset

from intraclip.config import ClipConfig, InputConfig
from intraclip.data.clip_batch import ClipBatch
from intraclip.data.clips import Clip
from intraclip.data.frame_loader import FrameLoader
from intraclip.data.test_clips import tracklet_clips
from intraclip.errors import IntraclipError
from intraclip.types import Tracklet


class TestBatches(Dataset["ClipBatch | IntraclipError"]):
    """Every test clip of every tracklet, in batches of clips of equal length.

    Args:
        max_frames: frames in a batch at most; a single longer clip still makes a batch.
    """

    __test__ = False  # not a test of pytest

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        clip: ClipConfig,
        input_config: InputConfig,
        *,
        max_frames: int,
        skip_unreadable: bool = False,
    ) -> None:
        self.tracklets = tracklets
        self.loader = FrameLoader(input_config, skip_unreadable=skip_unreadable)
        self.loader.warn_if_enlarged(tracklets)
        self.batches: list[list[tuple[int, Clip]]] = []
        for owner, tracklet in enumerate(tracklets):
            for clip_frames in tracklet_clips(len(tracklet), clip):
                length = len(clip_frames.indices)
                last = self.batches[-1] if self.batches else None
                if last and len(last[0][1].indices) == length and (len(last) + 1) * length <= max_frames:
                    last.append((owner, clip_frames))
                else:
                    self.batches.append([(owner, clip_frames)])

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, item: int) -> ClipBatch | IntraclipError:
        chosen = self.batches[item]
        return self.loader.batch(self.tracklets, chosen, [-1] * len(chosen))
