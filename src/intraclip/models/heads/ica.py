"""Intra-Clip Aggregation (paper, section 2.2)."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import FrameHead, HeadOutput
from intraclip.models.heads.settings import ICASettings


class ICA(FrameHead):
    """Mean over time and space (Z, equation 3), then a bottleneck of FC and BN (Y, equation 4).

    The sizes follow Fig. 2 of the paper's first public version: F -> F / 4 -> F / 2. The printed text names FC,
    BN and a non-linearity without their order, so the order of the first block is a setting; the last block is
    FC-BN, so that the embedding is centred and signed, which distances want.

    Args:
        num_features: F.
        reduction: F / reduction features in the bottleneck.
        expansion: bottleneck * expansion features in Y.
        order: "fc-relu-bn" or "fc-bn-relu".

    >>> output = ICA(2048)(torch.rand(8, 4, 2048, 8, 4))  # maps [B, T, F, h, w]; frame vectors [B, T, F] will do too
    >>> output.embedding.shape, output.pooled.shape
    (torch.Size([8, 1024]), torch.Size([8, 2048]))
    """

    Settings = ICASettings
    triplet_reads = "pooled"
    weights_tell = True

    def __init__(
        self,
        num_features: int,
        *,
        reduction: int = ICASettings.reduction,
        expansion: int = ICASettings.expansion,
        order: str = ICASettings.order,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        hidden = max(1, num_features // reduction)
        self.embedding_size = hidden * expansion
        # A bias before batch normalisation is subtracted again by its mean.
        first = nn.Linear(num_features, hidden, bias=order != "fc-bn-relu")
        norm, relu = nn.BatchNorm1d(hidden), nn.ReLU()
        last = nn.Linear(hidden, self.embedding_size, bias=False)
        middle = (norm, relu) if order == "fc-bn-relu" else (relu, norm)
        self.bottleneck = nn.Sequential(first, *middle, last, nn.BatchNorm1d(self.embedding_size))
        for layer in (first, last):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def from_mean(self, z: torch.Tensor) -> HeadOutput:
        """See `FrameHead.from_mean`; the embedding is Y (equation 4), `pooled` is Z."""
        return HeadOutput(self.bottleneck(z), z)
