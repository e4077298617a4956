"""Accumulation over time of AMOC (Liu et al., IEEE TCSVT 2018, arXiv 1701.00193): a recurrence without gates."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import Head, HeadOutput, masked_mean
from intraclip.models.heads.sequence import GRID, accumulate, pack_maps, to_grid


class AMOCRNN(Head):
    """One vector a frame from all positions of its maps, accumulated by a plain recurrent network; mean of its outputs.

    ``c_t = FC(maps_t)`` over all positions, ``o_t = c_t + U tanh(o_(t-1))``, embedding ``mean(o)``, D = 128 at most.

    Behind the backbone ``amoc``, which joins appearance and motion, it is the whole method. Source: public notes for
    the recurrence and the mean; FC and the form of the recurrence from the authors' code of the network that it builds
    on (McLaughlin et al., CVPR 2016). Left out: its dropout of 0.6. No auxiliary loss of its own. Reads maps in the
    order of their frames; any T (theirs was 16).
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        numbers = num_features * GRID[0] * GRID[1]
        self.embedding_size = min(128, numbers)
        self.read = nn.Linear(numbers, self.embedding_size)
        self.recall = nn.Linear(self.embedding_size, self.embedding_size)

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`."""
        maps, mask = pack_maps(maps, mask)
        read = self.read(to_grid(maps.flatten(0, 1), GRID).flatten(1)).unflatten(0, mask.shape)
        embedding = masked_mean(accumulate(read, self.recall), mask)
        return HeadOutput(embedding, masked_mean(maps.mean(dim=(3, 4)), mask))
