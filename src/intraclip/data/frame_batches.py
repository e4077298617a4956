"""Batches of single frames across tracklets: every frame that a test clip needs, once, in full batches.

A clip's padding repeats frames that it has already, so it is neither read nor computed. The frames of a clip follow
each other, as do the clips of a tracklet: whoever adds vectors up needs to hold one open clip and one open tracklet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from intraclip.config import ClipConfig, InputConfig
from intraclip.data.frames import read_tracklet_frame_into
from intraclip.data.test_clips import tracklet_clips
from intraclip.errors import DataError, FrameError, IntraclipError
from intraclip.types import Tracklet


class Schedule(NamedTuple):
    """Frames of one tracklet that its test clips need, clip by clip.

    Attributes:
        frames: int64 ``[n]``, frame numbers, padding left out.
        clips: int64 ``[n]``, number of the clip that each belongs to.
    """

    frames: npt.NDArray[np.int64]
    clips: npt.NDArray[np.int64]


@lru_cache(maxsize=64)
def schedule(length: int, clip: ClipConfig) -> Schedule:
    """Frames that the test clips of a tracklet of `length` frames need.

    >>> schedule(6, ClipConfig(num_frames=4))
    Schedule(frames=array([0, 1, 2, 3, 4, 5]), clips=array([0, 0, 0, 0, 1, 1]))
    """
    valid = [c.indices[c.mask] for c in tracklet_clips(length, clip)]
    return Schedule(np.concatenate(valid), np.repeat(np.arange(len(valid)), [len(v) for v in valid]))


def frames_needed(tracklets: Sequence[Tracklet], clip: ClipConfig) -> npt.NDArray[np.int64]:
    """Frames that each tracklet's test clips need, int64 ``[N]``.

    Raises:
        DataError: a tracklet is shorter than T and the policy is ``error``.
    """
    counts: dict[int, int] = {}
    for tracklet in tracklets:
        if len(tracklet) not in counts:
            try:
                counts[len(tracklet)] = len(schedule(len(tracklet), clip).frames)
            except DataError as error:
                raise DataError(f"tracklet {tracklet.name} in {tracklet.root}: {error}") from None
    return np.array([counts[len(t)] for t in tracklets], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class FrameBatch:
    """Frames of several tracklets, as a worker hands them over. M frames were wanted, R of them could be read.

    Only the pixels are a tensor: they alone are worth a file descriptor and a socket message, see `ClipBatch`.

    Attributes:
        frames: uint8 ``[R, 3, H, W]`` RGB, channels-last in memory.
        owners: int64 ``[M]``, number of the tracklet that each comes from.
        clips: int64 ``[M]``, number of the clip within the tracklet.
        read: bool ``[M]``, False for a frame that cannot be read.
        ends_clip: bool ``[M]``, True for the last frame of a clip.
        ends_tracklet: bool ``[M]``, True for the last frame of a tracklet.
        unreadable: messages by tracklet number.
    """

    frames: torch.Tensor
    owners: npt.NDArray[np.int64]
    clips: npt.NDArray[np.int64]
    read: npt.NDArray[np.bool_]
    ends_clip: npt.NDArray[np.bool_]
    ends_tracklet: npt.NDArray[np.bool_]
    unreadable: tuple[tuple[int, str], ...] = ()

    def pin_memory(self) -> FrameBatch:
        """The same with the pixels in page-locked memory; torch's data loader asks for it by this name."""
        return replace(self, frames=self.frames.pin_memory())


class FrameBatches(Dataset["FrameBatch | IntraclipError"]):
    """Batches of `max_frames` frames across the borders of clips and tracklets; item i is batch i. See `iterate`.

    Args:
        skip_unreadable: hand over what can be read instead of an error.
        parts: ranges of tracklet numbers that share no batch, in the order they are wanted; by default one of all.
            A part's batches do not depend on which other parts are asked for.
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        clip: ClipConfig,
        input_config: InputConfig,
        *,
        max_frames: int,
        skip_unreadable: bool = False,
        parts: Sequence[range] | None = None,
    ) -> None:
        self.tracklets = tracklets
        self.clip = clip
        self.max_frames = max_frames
        self.height, self.width = input_config.height, input_config.width
        self.skip_unreadable = skip_unreadable
        self.parts = [range(len(tracklets))] if parts is None else list(parts)
        # Wanted frame j of tracklet i has number _starts[i] + j, over all tracklets.
        self._starts = np.concatenate(([0], np.cumsum(frames_needed(tracklets, clip))))
        sizes = [int(self._starts[p.stop] - self._starts[p.start]) if p else 0 for p in self.parts]
        self.num_frames = sum(sizes)
        self._part_ends = np.cumsum([-(-size // max_frames) for size in sizes], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._part_ends[-1]) if len(self._part_ends) else 0

    def __getitem__(self, item: int) -> FrameBatch | IntraclipError:
        number = int(np.searchsorted(self._part_ends, item, side="right"))
        within = item - (int(self._part_ends[number - 1]) if number else 0)
        part = self.parts[number]
        start = int(self._starts[part.start]) + within * self.max_frames
        stop = min(start + self.max_frames, int(self._starts[part.stop]))
        try:
            return self._read(start, stop)
        except IntraclipError as error:
            return error  # torch rebuilds an exception of a worker from its text alone; `iterate` raises it

    def _read(self, start: int, stop: int) -> FrameBatch:
        """Wanted frames `start` to `stop`, counted over all tracklets."""
        pixels = np.empty((stop - start, self.height, self.width, 3), dtype=np.uint8)
        filled = 0
        columns: list[npt.NDArray[np.int64]] = []  # owner, clip, read, ends clip, ends tracklet
        unreadable: list[tuple[int, str]] = []
        owner = int(np.searchsorted(self._starts, start, side="right")) - 1
        while start < stop:
            tracklet, first = self.tracklets[owner], start - int(self._starts[owner])
            plan = schedule(len(tracklet), self.clip)
            last = min(stop - int(self._starts[owner]), len(plan.frames))
            clips, read = plan.clips[first:last], np.ones(last - first, dtype=np.bool_)
            for place, index in enumerate(plan.frames[first:last].tolist()):
                try:
                    read_tracklet_frame_into(tracklet, index, pixels[filled])
                    filled += 1
                except FrameError as error:
                    if not self.skip_unreadable:
                        raise
                    read[place] = False
                    unreadable.append((owner, str(error)))
            ends_clip = np.append(plan.clips[1:], -1)[first:last] != clips
            ends_tracklet = np.arange(first, last) == len(plan.frames) - 1
            columns.append(np.stack([np.full(len(clips), owner), clips, read, ends_clip, ends_tracklet]))
            start += last - first
            owner += 1
        owners, clip_numbers, *flags = np.concatenate(columns, axis=1)
        read, ends_clip, ends_tracklet = (flag.astype(np.bool_) for flag in flags)
        return FrameBatch(
            frames=torch.from_numpy(pixels[:filled]).permute(0, 3, 1, 2),
            owners=owners,
            clips=clip_numbers,
            read=read,
            ends_clip=ends_clip,
            ends_tracklet=ends_tracklet,
            unreadable=tuple(unreadable),
        )
