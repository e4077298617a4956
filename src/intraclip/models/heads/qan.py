"""Quality Aware Network (Liu, Yan, Ouyang, CVPR 2017, section 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from intraclip.models.heads.base import HeadOutput, masked_mean, whole_mask
from intraclip.models.heads.sequence import GRID, SequenceHead, to_grid
from intraclip.models.heads.settings import QANSettings


class QAN(SequenceHead):
    """Mean over time, weighted by a learned quality of each frame.

    ``q = sigmoid(FC -> 1)``, ``e = BN(FC F -> D)``, embedding ``sum(q e) / sum(q)``; D is 1024, at most F.

    q reads the same frame vector as e; or, as published, all positions of the maps of a middle stage of the backbone
    (the authors' is the second pooling of GoogLeNet, 1/8 of the frame; here the middle one of the backbone's stages,
    for a ResNet its second of four, 1/8 as well).

    Source: the authors' network files for q from a middle layer; code of a public reimplementation for the rest. The
    original has no FC before the mean and scales its embedding to length 1; it trains with a triplet and a contrastive
    loss (losses `triplet` with unit length, and `siamese`). No auxiliary loss. Ignores the order of frames; any T.

    Args:
        quality: where it is read from, the frame vectors (``last``) or the middle maps.
    """

    Settings = QANSettings
    weights_tell = True

    def __init__(self, num_features: int, *, quality: Literal["last", "middle"] = "last") -> None:
        super().__init__()
        self.num_features = num_features
        self.embedding_size = min(1024, num_features)
        self.reads_middle = quality == "middle"
        self.quality = nn.Linear(num_features, 1)
        self.project = nn.Linear(num_features, self.embedding_size, bias=False)
        self.norm = nn.BatchNorm1d(self.embedding_size)

    def aggregate(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `SequenceHead.aggregate`."""
        return self._weighted(features, features, whole_mask(features, mask))

    def take_middle(self, features: int) -> None:
        """See `Head.take_middle`."""
        self.quality = nn.Linear(features * GRID[0] * GRID[1], 1)

    def with_middle(
        self, maps: torch.Tensor, middle: torch.Tensor, mask: torch.Tensor | None = None
    ) -> HeadOutput:
        """See `Head.with_middle`."""
        mask = whole_mask(maps, mask)
        # Zeros in place of padding: 0 * nan would reach the sum.
        pooled = maps.mean(dim=(3, 4)).masked_fill(~mask.unsqueeze(-1), 0.0)
        places = to_grid(middle.flatten(0, 1), GRID).flatten(1).reshape(*maps.shape[:2], -1)
        return self._weighted(pooled, places.masked_fill(~mask.unsqueeze(-1), 0.0), mask)

    def _weighted(self, features: torch.Tensor, judged: torch.Tensor, mask: torch.Tensor) -> HeadOutput:
        embedded = self.norm(self.project(features).flatten(0, 1)).unflatten(0, mask.shape)
        # Divided before it is summed: sum(q) of a clip of bad frames can be very small.
        weights = torch.sigmoid(self.quality(judged).float()) * mask.unsqueeze(-1)
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-12)
        return HeadOutput((embedded * weights).sum(dim=1), masked_mean(features, mask))
