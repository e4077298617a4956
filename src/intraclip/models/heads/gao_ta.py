"""Temporal attention (Gao & Nevatia 2018, "Revisiting Temporal Modeling for Video-based Person ReID", section 3.2)."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import Head, HeadOutput, masked_mean
from intraclip.models.heads.sequence import GRID, clear_padding, pack_maps, softmax_over_time, to_grid


class GaoTA(Head):
    """Weighted mean over time; the weights come from a convolution over space, then one over time.

    Convolution as large as the map, F -> 256, ReLU; convolution over 3 frames, 256 -> 1, ReLU; softmax over T.

    Source: the authors' code ("spatial conv + temporal conv", softmax). Theirs is as large as the maps of their
    224 x 112 frames, 7 x 4; here it is `GRID`, and maps of another size are averaged to it. The last bias starts at
    1 here: where the last ReLU is 0 for all frames, as half of all random starts have it, nothing would be
    learned and the head would stay TAP. No auxiliary loss. Reads maps in the order of their frames; any T. D = F.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.embedding_size = num_features
        self.over_space = nn.Conv2d(num_features, min(256, num_features), GRID)
        self.over_time = nn.Conv1d(min(256, num_features), 1, 3, padding=1)
        nn.init.ones_(self.over_time.get_parameter("bias"))

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`."""
        maps, mask = pack_maps(maps, mask)
        features = maps.mean(dim=(3, 4))
        described = self.over_space(to_grid(maps.flatten(0, 1), GRID)).relu().flatten(1)
        described = clear_padding(described.unflatten(0, mask.shape), mask)
        scores = self.over_time(described.transpose(1, 2)).relu().squeeze(1)
        weights = softmax_over_time(scores, mask).unsqueeze(-1)
        return HeadOutput((features * weights).sum(dim=1), masked_mean(features, mask))
