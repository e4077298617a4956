"""Batch normalisation between any head and the classifier (BNNeck).

Luo, Gu, Liao, Lai, Jiang, "Bag of Tricks and A Strong Baseline for Deep Person Re-identification", CVPR Workshops 2019,
section 3.5: the triplet loss reads what comes before it, the classifier and, unless a recipe says otherwise, the search
what comes after. Its bias stays 0, so that classes are told apart by direction.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from intraclip.models.heads.base import FrameHead, Head, HeadOutput


class Neck(Head):
    """A head with batch normalisation behind it; its `HeadOutput` tells the embedding before and after.

    Args:
        head: any head.
        search_before: in evaluation mode the embedding is what comes before the neck.
    """

    def __init__(self, head: Head, *, search_before: bool = False) -> None:
        super().__init__()
        self.search_before = search_before
        self.head = head
        self.embedding_size = head.embedding_size
        self.reads_middle, self.aligns = head.reads_middle, head.aligns
        self.norm = nn.BatchNorm1d(head.embedding_size)
        self.norm.bias.requires_grad_(False)
        self.told = head.told

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`."""
        return self._normalised(self.head(maps, mask))

    def take_middle(self, features: int) -> None:
        """See `Head.take_middle`."""
        self.head.take_middle(features)

    def with_middle(
        self, maps: torch.Tensor, middle: torch.Tensor, mask: torch.Tensor | None = None
    ) -> HeadOutput:
        """See `Head.with_middle`."""
        return self._normalised(self.head.with_middle(maps, middle, mask))

    def align(self, frames: torch.Tensor, maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """See `Head.align`."""
        return self.head.align(frames, maps, mask)

    def _normalised(self, out: HeadOutput) -> HeadOutput:
        after = self.norm(out.embedding)
        before = self.search_before and not self.training
        return out._replace(
            embedding=out.embedding if before else after, before_neck=out.embedding, after_neck=after
        )


class FrameNeck(Neck, FrameHead):
    """The same for a head that reads the mean alone."""

    head: FrameHead

    def __init__(self, head: FrameHead, *, search_before: bool = False) -> None:
        super().__init__(head, search_before=search_before)
        self.num_features = head.num_features

    def frame_vectors(self, maps: torch.Tensor) -> torch.Tensor:
        """See `FrameHead.frame_vectors`."""
        return self.head.frame_vectors(maps)

    def frame_settings(self) -> dict[str, Any]:
        """See `FrameHead.frame_settings`."""
        return self.head.frame_settings()

    def from_mean(self, z: torch.Tensor) -> HeadOutput:
        """See `FrameHead.from_mean`."""
        return self._normalised(self.head.from_mean(z))
