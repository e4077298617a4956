"""Generalised-mean pooling (Radenovic, Tolias, Chum, TPAMI 2019, section 3.2), over time or space."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import HeadOutput, masked_mean, whole_mask
from intraclip.models.heads.sequence import SequenceHead

START = 3.0
"""Of the exponent, which stays at 1 or above."""


class GeM(SequenceHead):
    """``(mean over T of x^p)^(1/p)`` a feature, with one learned exponent: TAP at p = 1, the maximum at infinity.

    A modern reference, none of the paper's rivals. The original pools over space; here space is averaged and time is
    pooled. No auxiliary loss. Reads frame vectors, which must not be negative (as after a ReLU; what is negative
    counts as 0), ignores their order; any T. D = F.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.embedding_size = num_features
        self.exponent = nn.Parameter(torch.tensor([START]))

    def aggregate(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `SequenceHead.aggregate`."""
        mask = whole_mask(features, mask)
        p = self.exponent.clamp_min(1.0)
        # x^p has no finite slope in p at 0. Divided by the largest, powers cannot overflow; the factor cancels.
        positive = features.float().clamp_min(1e-6)
        largest = positive.detach().amax(dim=1, keepdim=True)
        mean = masked_mean((positive / largest).pow(p), mask)
        return HeadOutput(largest.squeeze(1) * mean.pow(1 / p), masked_mean(features, mask))


class SpaceGeM(nn.Module):
    """``(mean over h x w of x^p)^(1/p)`` a channel: the original's pooling, for maps that are not negative."""

    def __init__(self) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor([START]))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps ``[..., F, h, w]`` -> ``[..., F]``; what is negative counts as 0."""
        p = self.exponent.clamp_min(1.0)
        return maps.float().clamp_min(1e-6).pow(p).mean(dim=(-2, -1)).pow(1 / p).to(maps.dtype)
