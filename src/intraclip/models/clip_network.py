"""Backbones of clips: networks whose maps of a frame depend on the other frames of its clip."""

from __future__ import annotations

from collections.abc import Callable

import torch

from intraclip.models.heads.base import whole_mask
from intraclip.models.network import Stage, StagedNetwork
from intraclip.models.second_pass import recomputed

Run = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Maps ``[B T, C, h, w]`` and the mask ``[B, T]`` -> maps ``[B T, C', h', w']``."""


class ClipNetwork(StagedNetwork):
    """A backbone that reads whole clips: ``[B, T, 3, H, W]`` -> ``[B T, F, h, w]``.

    Frames come packed (`intraclip.models.heads.sequence.pack_frames`): valid ones first, the rest filled with the last
    of them. What the padding holds must not reach the maps of valid frames.
    """

    reads_clips = True

    def forward(self, frames: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Maps of clips; ``[B T, F, h, w]``, the frames of a clip one after another.

        Args:
            frames: float ``[B, T, 3, H, W]``, packed.
            mask: bool ``[B, T]``, True for the first frames of a clip and False for the rest; None: all valid.
        """
        mask = whole_mask(frames, mask)
        maps = frames.flatten(0, 1)
        for run, stage in zip(self.runs(), self.stages(), strict=True):
            again = self.recompute and torch.is_grad_enabled()
            maps = recomputed(stage, run, maps, mask) if again else run(maps, mask)
        return maps

    def learn(self, frames: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What `forward` gives, and the network's own loss, a scalar, or None; in training mode."""
        return self(frames, mask), None

    def runs(self) -> list[Run]:
        """What each of the `stages` computes."""
        raise TypeError(f"{type(self).__name__} defines no runs")

    def stages(self) -> list[Stage]:
        """See `StagedNetwork.stages`."""
        raise TypeError(f"{type(self).__name__} names no stages")
