"""A batch of clips, and how it goes from a worker to the device."""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipBatch:
    """Clips ready for a network.

    Attributes:
        frames: uint8 ``[B, T, 3, H, W]`` RGB in 0..255, or float after augmentation and normalisation.
        mask: bool ``[B, T]``, False where a frame only pads a tracklet that is shorter than T.
        pids: int64 ``[B]``.
        camids: int64 ``[B]``.
        labels: int64 ``[B]``, contiguous training class; -1 outside training.
        owners: int64 ``[B]``, number of the tracklet that each clip comes from.
        unreadable: messages about frames that were replaced by a neighbour.

    Raises:
        ValueError: the leading dimensions disagree.
    """

    frames: torch.Tensor
    mask: torch.Tensor
    pids: torch.Tensor
    camids: torch.Tensor
    labels: torch.Tensor
    owners: torch.Tensor
    unreadable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors().items()}
        lead = shapes["frames"][:2]
        wanted = {"frames": shapes["frames"], "mask": lead}
        wanted |= dict.fromkeys(("pids", "camids", "labels", "owners"), lead[:1])
        if len(shapes["frames"]) != 5 or shapes != wanted:
            raise ValueError(
                f"ClipBatch wants frames [B, T, C, H, W] and matching leading dimensions: {shapes}"
            )

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "unreadable"}

    def __len__(self) -> int:
        return int(self.frames.shape[0])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> ClipBatch:
        """The same batch on another device."""
        tensors = self._tensors().items()
        moved: dict[str, Any] = {k: v.to(device, non_blocking=non_blocking) for k, v in tensors}
        return replace(self, **moved)

    def pin_memory(self) -> ClipBatch:
        """The same in page-locked memory; torch's data loader asks for it by this name."""
        return replace(self, frames=self.frames.pin_memory())

    def __reduce__(self) -> tuple[Any, ...]:
        # Every tensor that leaves a worker costs a file descriptor and a socket message. Only the large ones are
        # worth it; the others travel as plain bytes.
        small = {name: tensor.numpy() for name, tensor in self._tensors().items() if name != "frames"}
        return _rebuild, (self.frames, small, self.unreadable)

    def __repr__(self) -> str:
        return (
            f"ClipBatch(frames={tuple(self.frames.shape)} {self.frames.dtype}, "
            f"{len(set(self.pids.tolist()))} pids, {int((~self.mask).sum())} padding frames)"
        )


def _rebuild(
    frames: torch.Tensor, small: Mapping[str, npt.NDArray[Any]], unreadable: tuple[str, ...]
) -> ClipBatch:
    others = {name: torch.from_numpy(array) for name, array in small.items()}
    return ClipBatch(frames=frames, **others, unreadable=unreadable)


def empty_frames(shape: Sequence[int]) -> torch.Tensor:
    """An uninitialised uint8 tensor; in a worker it lies in shared memory, where the parent finds it without a copy."""
    if get_worker_info() is None:
        return torch.empty(tuple(shape), dtype=torch.uint8)
    # As torch's own collate function does it; torch offers no public way that does not write the memory first.
    storage = torch.UntypedStorage._new_shared(max(math.prod(shape), 1))  # type: ignore[no-untyped-call]
    _populate(storage)
    return torch.empty(0, dtype=torch.uint8).set_(storage)[: math.prod(shape)].view(tuple(shape))


_MADV_POPULATE_WRITE = 23
"""Of madvise(2), from Linux 5.14 on."""


def _populate(storage: torch.UntypedStorage) -> None:
    """Let the kernel make all pages of a mapping at once, for less than a fault each.

    Where it does not know how, it refuses, and they are made one by one.
    """
    if sys.platform.startswith("linux"):
        before = storage.data_ptr() % mmap.PAGESIZE
        start, size = storage.data_ptr() - before, storage.nbytes() + before
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_POPULATE_WRITE)
