"""Refining recurrent unit of STMP (Liu, Yuan, Zhou, Li, AAAI 2019, "Spatial and Temporal Mutual Promotion")."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import Head, HeadOutput, masked_mean
from intraclip.models.heads.sequence import GRID, pack_maps, to_grid, walk, with_neighbours

STRIPES = 8
"""Of the loss `parts`: the rows of the authors' maps."""


class STMP(Head):
    """A recurrent unit mends each frame's maps from those before it; 3-D convolutions then read the mended maps.

    Refining recurrent unit: ``g = ConvBNReLU [h - x_t ; x_t - x_(t-1)]`` (1 x 1, 2 F -> 256), a spatial gate from
    the channel mean of g, a channel gate from its spatial mean, ``z = sigmoid(spatial * channel)``,
    ``h = (1 - z) h + z x_t``, starting from ``h = x_1``. Integration: 3-D convolutions 1 x 1 x 1 and 3 x 3 x 3 to 256
    with BN and ReLU, mean over time and space.

    Source: the authors' code. Differences: their spatial gate is as large as the 8 x 8 maps of Inception v3, here
    it is `GRID`, and other maps are averaged to it; Inception's auxiliary classifier is left out. In training the
    mended maps, averaged over time and 8 horizontal stripes, are handed to the loss `parts`, which is their triplet
    loss over the stripes; it has weight 1 and margin 0.4 there, as has the triplet loss of the embedding. No auxiliary
    loss. Reads maps in the order of their frames; any T; the work grows step by step with T. g and the embedding have
    at most F features.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        inner = min(256, num_features)
        self.embedding_size = inner
        self.compare = nn.Sequential(
            nn.Conv2d(2 * num_features, inner, 1, bias=False), nn.BatchNorm2d(inner, eps=1e-3), nn.ReLU()
        )
        self.spatial_gate = nn.Sequential(
            nn.Conv2d(1, 128, GRID, bias=False),
            nn.ReLU(),
            nn.Conv2d(128, GRID[0] * GRID[1], 1, bias=False),
        )
        self.channel_gate = nn.Conv2d(inner, num_features, 1, bias=False)
        self.reduce = nn.Sequential(
            nn.Conv2d(num_features, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU()
        )
        self.integrate = nn.Sequential(
            nn.Conv2d(3 * inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner), nn.ReLU()
        )

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`."""
        maps, mask = pack_maps(maps, mask)
        refined = self.refine(maps)
        reduced = self.reduce(refined.flatten(0, 1)).unflatten(0, mask.shape)
        integrated = self.integrate(with_neighbours(reduced, mask)).mean(dim=(2, 3)).unflatten(0, mask.shape)
        pooled = masked_mean(maps.mean(dim=(3, 4)), mask)
        parts = stripe_means(refined, mask) if self.training else None
        return HeadOutput(masked_mean(integrated, mask), pooled, parts=parts)

    def refine(self, maps: torch.Tensor) -> torch.Tensor:
        """The refining recurrent unit: maps ``[B, T, F, h, w]`` to mended maps of the same shape."""
        start = (maps[:, 0], maps[:, 0])
        if self.training and maps.shape[1] > 1:
            # The first step changes nothing (h = x_1); its differences are zero and would pull down what batch
            # normalisation believes of the others.
            return torch.cat([maps[:, :1], walk(self._refine, start, maps[:, 1:])], dim=1)
        # With it, clips of one frame use every layer, as distributed training asks.
        return walk(self._refine, start, maps)

    def _refine(
        self, state: tuple[torch.Tensor, ...], frame: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """A step of the unit, whose state is h and the frame before; see `walk`."""
        memory, before = state
        gate = self._gate(torch.cat([memory - frame, frame - before], dim=1))
        memory = memory + gate * (frame - memory)
        return (memory, frame), memory

    def _gate(self, differences: torch.Tensor) -> torch.Tensor:
        """The gate z: ``[B, 2 F, h, w] -> [B, F, h, w]``, in 0..1."""
        compared = self.compare(differences)
        size = (compared.shape[2], compared.shape[3])
        overview = to_grid(compared.mean(dim=1, keepdim=True), GRID)
        spatial = to_grid(self.spatial_gate(overview).reshape(-1, 1, *GRID), size)
        channel = self.channel_gate(compared.mean(dim=(2, 3), keepdim=True))
        return torch.sigmoid(spatial * channel)


def stripe_means(maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Means over the valid frames and horizontal stripes: ``[B, T, F, h, w]`` -> ``[B, STRIPES, F]``, top first."""
    stripes = to_grid(maps.flatten(0, 1), (STRIPES, 1)).reshape(*mask.shape, -1)
    return masked_mean(stripes, mask).reshape(-1, maps.shape[2], STRIPES).transpose(1, 2)
