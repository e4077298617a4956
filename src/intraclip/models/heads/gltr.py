"""Global-local temporal representation (Li, Wang, Tian, Gao, Zhang, ICCV 2019, section 4)."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import HeadOutput, masked_mean, whole_mask
from intraclip.models.heads.sequence import NonLocal, SequenceHead, clear_padding


class GLTR(SequenceHead):
    """Dilated convolutions over time for what is near, self-attention over time for what is far.

    FC F -> 128; convolutions over 3 frames at dilation 1, 2 and 3, 128 -> 128 each without bias, joined with
    their input to 512; self-attention over the frames (a non-local block, 256 inside); mean over time.

    Source: the authors' code. Differences: their convolutions start at a deviation of 0.001, here as torch starts
    them; their classifier reads BN, ReLU and dropout of the embedding, here the embedding, as with every head. No
    auxiliary loss. Reads frame vectors in their order; any T (theirs was 16; below 4 the largest dilation meets only
    zeros beside its own frame). A branch has at most F features.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        size = min(128, num_features)
        self.embedding_size = 4 * size
        self.project = nn.Linear(num_features, size)
        self.pyramid = nn.ModuleList(
            nn.Conv1d(size, size, 3, padding=dilation, dilation=dilation, bias=False)
            for dilation in (1, 2, 3)
        )
        self.attention = NonLocal(4 * size, 2 * size)

    def aggregate(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `SequenceHead.aggregate`."""
        mask = whole_mask(features, mask)
        local = clear_padding(self.project(features), mask).transpose(1, 2)
        joined = torch.cat([local, *(conv(local) for conv in self.pyramid)], dim=1).transpose(1, 2)
        return HeadOutput(masked_mean(self.attention(joined, mask), mask), masked_mean(features, mask))
