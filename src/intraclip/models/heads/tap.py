"""Temporal average pooling: the paper's baseline."""

from __future__ import annotations

import torch

from intraclip.models.heads.base import Head, HeadOutput, space_time_mean


class TAP(Head):
    """Mean over time and space; no parameters.

    Args:
        num_features: F, which is also D.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.embedding_size = num_features

    def forward(self, maps: torch.Tensor, mask: torch.Tensor) -> HeadOutput:
        """See `Head.forward`; the embedding is Z itself."""
        z = space_time_mean(maps, mask)
        return HeadOutput(z, z)
