"""A batch of clips."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch


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
        shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors().items()}
        lead = shapes["frames"][:2]
        wanted = {"frames": shapes["frames"], "mask": lead}
        wanted |= dict.fromkeys(("pids", "camids", "labels", "owners"), lead[:1])
        if len(shapes["frames"]) != 5 or shapes != wanted:
            raise ValueError(
                f"ClipBatch wants frames [B, T, C, H, W] and matching leading dimensions: {shapes}"
            )

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it but the messages, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "unreadable"}

    def __len__(self) -> int:
        return int(self.frames.shape[0])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> ClipBatch:
        """The same batch on another device."""
        tensors = self.tensors().items()
        moved: dict[str, Any] = {k: v.to(device, non_blocking=non_blocking) for k, v in tensors}
        return replace(self, **moved)

    def pin_memory(self) -> ClipBatch:
        """The same in page-locked memory; torch's data loader asks for it by this name."""
        return replace(self, frames=self.frames.pin_memory())

    def __repr__(self) -> str:
        return (
            f"ClipBatch(frames={tuple(self.frames.shape)} {self.frames.dtype}, "
            f"{len(set(self.pids.tolist()))} pids, {int((~self.mask).sum())} padding frames)"
        )
