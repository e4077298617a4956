"""Quality Aware Network (Liu, Yan, Ouyang, CVPR 2017, section 3)."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import HeadOutput, masked_mean, whole_mask
from intraclip.models.heads.sequence import SequenceHead


class QAN(SequenceHead):
    """Mean over time, weighted by a learned quality of each frame.

    ``q = sigmoid(FC F -> 1)``, ``e = BN(FC F -> D)``, embedding ``sum(q e) / sum(q)``.

    Source: code of a public reimplementation. The original takes the quality from a middle layer of the network and
    trains with its own pair of losses; here it reads the same frame vectors as the embedding. No auxiliary loss.
    Reads frame vectors, ignores their order; any T.

    Args:
        num_features: F.
        embedding_size: D, at most F.
    """

    def __init__(self, num_features: int, *, embedding_size: int = 1024) -> None:
        super().__init__()
        self.num_features = num_features
        self.embedding_size = min(embedding_size, num_features)
        self.quality = nn.Linear(num_features, 1)
        self.project = nn.Linear(num_features, self.embedding_size, bias=False)
        self.norm = nn.BatchNorm1d(self.embedding_size)

    def aggregate(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `SequenceHead.aggregate`."""
        mask = whole_mask(features, mask)
        embedded = self.norm(self.project(features).flatten(0, 1)).unflatten(0, mask.shape)
        # Divided before it is summed: sum(q) of a clip of bad frames can be very small.
        weights = torch.sigmoid(self.quality(features).float()) * mask.unsqueeze(-1)
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-12)
        return HeadOutput((embedded * weights).sum(dim=1), masked_mean(features, mask))
