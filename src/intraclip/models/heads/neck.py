"""Batch normalisation between any head and the classifier (BNNeck).

Luo, Gu, Liao, Lai, Jiang, "Bag of Tricks and A Strong Baseline for Deep Person Re-identification", CVPR Workshops 2019,
section 3.5: the triplet loss reads what comes before it, the classifier and the search what comes after. Its bias stays
0, so that classes are told apart by direction.
"""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import FrameHead, Head, HeadOutput


class Neck(Head):
    """A head with batch normalisation behind it; its `HeadOutput` tells the embedding before and after.

    Args:
        head: any head.
    """

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head
        self.embedding_size = head.embedding_size
        self.norm = nn.BatchNorm1d(head.embedding_size)
        self.norm.bias.requires_grad_(False)

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`."""
        return self._normalised(self.head(maps, mask))

    def _normalised(self, out: HeadOutput) -> HeadOutput:
        return out._replace(embedding=self.norm(out.embedding), before_neck=out.embedding)


class FrameNeck(Neck, FrameHead):
    """The same for a head that reads the mean alone.

    Args:
        head: such a head.
    """

    head: FrameHead

    def __init__(self, head: FrameHead) -> None:
        super().__init__(head)
        self.num_features = head.num_features

    def frame_vectors(self, maps: torch.Tensor) -> torch.Tensor:
        """See `FrameHead.frame_vectors`."""
        return self.head.frame_vectors(maps)

    def from_mean(self, z: torch.Tensor) -> HeadOutput:
        """See `FrameHead.from_mean`."""
        return self._normalised(self.head.from_mean(z))


def with_neck(head: Head) -> Neck:
    """Put batch normalisation behind a head."""
    return FrameNeck(head) if isinstance(head, FrameHead) else Neck(head)
