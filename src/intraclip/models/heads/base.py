"""What every head takes and gives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn


class HeadOutput(NamedTuple):
    """What a head makes of a batch of clips.

    Attributes:
        embedding: ``[B, D]``, used at test and read by the classifier.
        pooled: ``[B, F]``, the average before any learned layer (Z of equation 3).
        auxiliary_loss: scalar that the head adds to the training loss, or None.
    """

    embedding: torch.Tensor
    pooled: torch.Tensor
    auxiliary_loss: torch.Tensor | None = None


class Head(nn.Module):
    """Base of all heads.

    Attributes:
        embedding_size: D.
    """

    embedding_size: int

    def forward(self, maps: torch.Tensor, mask: torch.Tensor) -> HeadOutput:
        """Aggregate a clip.

        Args:
            maps: float ``[B, T, F, h, w]``.
            mask: bool ``[B, T]``, False for padding; at least one True a clip.
        """
        raise TypeError(f"{type(self).__name__} defines no forward")


def space_time_mean(maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the valid frames and all positions: Z of equation 3.

    Args:
        maps: float ``[B, T, F, h, w]``.
        mask: bool ``[B, T]``.

    Returns:
        ``[B, F]``.
    """
    frame_features = maps.mean(dim=(3, 4))
    weights = mask.to(frame_features.dtype)
    return (frame_features * weights.unsqueeze(-1)).sum(dim=1) / weights.sum(dim=1, keepdim=True)
