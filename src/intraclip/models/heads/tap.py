"""Temporal average pooling: the paper's baseline."""

from __future__ import annotations

import torch

from intraclip.models.heads.base import FrameHead, HeadOutput


class TAP(FrameHead):
    """Mean over time and space; no parameters.

    Args:
        num_features: F, which is also D.

    >>> TAP(2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])).embedding  # one clip of two frame vectors
    tensor([[2., 4.]])
    """

    triplet_reads = "either"

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.embedding_size = num_features

    def from_mean(self, z: torch.Tensor) -> HeadOutput:
        """See `FrameHead.from_mean`; the embedding is Z itself."""
        return HeadOutput(z, z)
