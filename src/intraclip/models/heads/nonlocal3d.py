"""3-D convolution and non-local attention, after Liao, He, Yang (2018, arXiv 1807.05073), as a head."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import Head, HeadOutput, masked_mean
from intraclip.models.heads.sequence import NonLocal, pack_maps, with_neighbours


class NonLocal3D(Head):
    """A separable 3-D convolution block and a non-local block on the last maps, then the mean over time and space.

    **A variant, not the method.** Liao et al. inflate the whole ResNet50 to separable 3-D convolutions and put five
    non-local blocks inside it; a head starts where the backbone ends, so frames meet only after the last stage. What
    is the same: convolution over space (1 x 3 x 3), then over time (3 x 1 x 1); the non-local block over all
    positions of all frames; the mean at the end.

    Block: 1 x 1 to F / 4, 1 x 3 x 3, 3 x 1 x 1, 1 x 1 to F, BN and ReLU between, around a residual connection. Both
    blocks start as the identity, so training starts from TAP, as an inflated network starts from its 2-D self.

    Source: the paper's abstract, and public code of the non-local block. No auxiliary loss. Reads maps in the order
    of their frames; any T; attention over T h w positions, so its memory grows with the square of T. D = F; the
    non-local block has F / 2 inside.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.embedding_size = num_features
        inner = max(1, num_features // 4)
        self.over_space = nn.Sequential(
            nn.Conv2d(num_features, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
        )
        last = nn.BatchNorm2d(num_features)
        nn.init.zeros_(last.weight)
        self.over_time = nn.Sequential(
            nn.Conv2d(3 * inner, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, num_features, 1, bias=False),
            last,
        )
        self.attention = NonLocal(num_features, max(1, num_features // 2))

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`."""
        maps, mask = pack_maps(maps, mask)
        spatial = self.over_space(maps.flatten(0, 1)).unflatten(0, mask.shape)
        convolved = (maps + self.over_time(with_neighbours(spatial, mask)).reshape(maps.shape)).relu()
        positions = maps.shape[3] * maps.shape[4]
        tokens = convolved.permute(0, 1, 3, 4, 2).flatten(1, 3)
        attended = self.attention(tokens, mask.repeat_interleave(positions, dim=1))
        features = attended.unflatten(1, (mask.shape[1], positions)).mean(dim=2)
        return HeadOutput(masked_mean(features, mask), masked_mean(maps.mean(dim=(3, 4)), mask))
