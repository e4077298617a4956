"""A batch on its way from a worker to the device: ready frames, or JPEG bytes still to be decoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info

from intraclip.core.media import is_ordinary_jpeg
from intraclip.data.clips import Clip
from intraclip.data.frames import encoded_frame
from intraclip.errors import FrameError
from intraclip.types import ClipBatch, Tracklet


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """JPEG frames of a batch of B clips, not decoded yet.

    Attributes:
        data: uint8 ``[bytes]``, N JPEGs one after the other.
        ends: int64 ``[N]``, end of each of them.
        paths: names of the N frames, for messages.
        rows: int64 ``[A]``, clips of the batch that are here.
        places: int64 ``[A, T]``, number of the JPEG of each of their frames.
        ready_rows: int64 ``[B - A]``, clips that a worker decoded, because a frame is no ordinary JPEG.
        ready: their frames, uint8 ``[B - A, T, H, W, 3]``.
    """

    data: torch.Tensor
    ends: torch.Tensor
    paths: tuple[str, ...]
    rows: torch.Tensor
    places: torch.Tensor
    ready_rows: torch.Tensor
    ready: torch.Tensor

    def placeholder(self, clips: int) -> torch.Tensor:
        """Stands for the frames of the batch: uint8 ``[B, T, 3, 0, 0]``."""
        return torch.empty(clips, self.places.shape[1], 3, 0, 0, dtype=torch.uint8)

    def with_ready(self, frames: torch.Tensor, rows: Sequence[int]) -> Encoded:
        """The same with the clips that a worker decoded."""
        return replace(self, ready=frames, ready_rows=torch.tensor(list(rows), dtype=torch.int64))


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A batch as a worker hands it over.

    Attributes:
        clips: uint8 frames; where `encoded` is set, only their place: ``[B, T, 3, 0, 0]``.
        owners: int64 ``[B]``, number of the tracklet that each clip comes from.
        unreadable: messages about frames that were replaced by a neighbour.
        encoded: frames to be decoded by `intraclip.data.decode.decode_batch`; None where the clips are ready.
    """

    clips: ClipBatch
    owners: torch.Tensor
    unreadable: tuple[str, ...] = ()
    encoded: Encoded | None = None

    def pin_memory(self) -> Loaded:
        """The same in page-locked memory; torch's data loader asks for it by this name."""
        clips, encoded = self.clips, self.encoded
        if encoded is not None:
            names = ("data", "ready", "rows", "places", "ready_rows")
            encoded = replace(encoded, **{name: getattr(encoded, name).pin_memory() for name in names})
        else:
            clips = replace(clips, frames=clips.frames.pin_memory())
        return replace(self, clips=clips, encoded=encoded)

    def __reduce__(self) -> tuple[Any, ...]:
        # Every tensor that leaves a worker costs a file descriptor and a socket message. Only the large ones are
        # worth it; the others travel as plain bytes.
        clips, encoded = self.clips, self.encoded
        small = (clips.mask, clips.pids, clips.camids, clips.labels, self.owners)
        jpegs = None
        if encoded is not None:
            few = (encoded.ends, encoded.rows, encoded.places, encoded.ready_rows)
            jpegs = (encoded.data, encoded.ready, [tensor.numpy() for tensor in few], encoded.paths)
        frames = clips.frames if encoded is None else tuple(clips.frames.shape)
        return _rebuild, (frames, [tensor.numpy() for tensor in small], self.unreadable, jpegs)


def _rebuild(
    frames: torch.Tensor | tuple[int, ...],
    small: Sequence[npt.NDArray[Any]],
    unreadable: tuple[str, ...],
    jpegs: tuple[torch.Tensor, torch.Tensor, Sequence[npt.NDArray[Any]], tuple[str, ...]] | None,
) -> Loaded:
    mask, pids, camids, labels, owners = map(torch.from_numpy, small)
    encoded = None
    if jpegs is not None:
        data, ready, few, paths = jpegs
        ends, rows, places, ready_rows = map(torch.from_numpy, few)
        encoded = Encoded(
            data=data, ends=ends, paths=paths, rows=rows, places=places, ready_rows=ready_rows, ready=ready
        )
    if isinstance(frames, tuple):
        frames = torch.empty(frames, dtype=torch.uint8)
    clips = ClipBatch(frames=frames, mask=mask, pids=pids, camids=camids, labels=labels)
    return Loaded(clips=clips, owners=owners, unreadable=unreadable, encoded=encoded)


def empty_frames(shape: Sequence[int]) -> torch.Tensor:
    """An uninitialised uint8 tensor; in a worker it lies in shared memory, where the parent finds it without a copy."""
    if get_worker_info() is None:
        return torch.empty(tuple(shape), dtype=torch.uint8)
    # As torch's own collate function does it; torch offers no public way that does not write the memory first.
    storage = torch.UntypedStorage._new_shared(max(math.prod(shape), 1))  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage)[: math.prod(shape)].view(tuple(shape))


def encode_clips(clips: Sequence[tuple[Tracklet, Clip]]) -> tuple[Encoded, list[int]]:
    """Gather the JPEG bytes of clips of equal length, each frame once.

    Returns:
        The bytes; and the rows of clips that have to be decoded by frame, because a frame is missing, is no JPEG
        that any decoder shows alike, or looks damaged: GPUs fill what is cut off with grey and say nothing.
    """
    parts: list[npt.NDArray[np.uint8]] = []
    paths: list[str] = []
    rows: list[int] = []
    places: list[list[int]] = []
    others: list[int] = []
    for row, (tracklet, clip) in enumerate(clips):
        indices = clip.indices.tolist()
        try:
            found = {index: encoded_frame(tracklet, index) for index in dict.fromkeys(indices)}
        except FrameError:
            found = {}
        if not found or not all(map(is_ordinary_jpeg, found.values())):
            others.append(row)
            continue
        number = {index: len(parts) + i for i, index in enumerate(found)}
        parts += found.values()
        paths += [str(tracklet.frame_path(index)) for index in found]
        rows.append(row)
        places.append([number[index] for index in indices])
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    data = empty_frames((int(ends[-1]) if parts else 0,))
    if parts:
        np.concatenate(parts, out=data.numpy())
    encoded = Encoded(
        data=data,
        ends=torch.from_numpy(ends),
        paths=tuple(paths),
        rows=torch.tensor(rows, dtype=torch.int64),
        places=torch.tensor(places, dtype=torch.int64).reshape(len(rows), len(clips[0][1].indices)),
        ready_rows=torch.empty(0, dtype=torch.int64),
        ready=torch.empty(0, dtype=torch.uint8),
    )
    return encoded, others
