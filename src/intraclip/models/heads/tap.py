"""Temporal average pooling: the paper's baseline."""

from __future__ import annotations

import torch

from intraclip.models.heads.base import FrameHead, HeadOutput


class TAP(FrameHead):
    """Mean over time and space; no parameters.

    Args:
        num_features: F, which is also D.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.embedding_size = num_features

    def from_mean(self, z: torch.Tensor) -> HeadOutput:
        """See `FrameHead.from_mean`; the embedding is Z itself."""
        return HeadOutput(z, z)
