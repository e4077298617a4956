"""Spatial-temporal attention (Fu, Wang, Wei, Huang, AAAI 2019, section "Our method")."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from intraclip.models.heads.base import Head, HeadOutput, masked_mean
from intraclip.models.heads.sequence import clear_padding, pack_maps, to_grid

STRIPES = 4

REGULARISATION = 0.1
"""Weight of the auxiliary loss."""


class STA(Head):
    """Attention without parameters, from the energy of the maps: which frame shows which stripe of the body best.

    Energy of a position: its length over the channels, scaled so that a frame's energies have length 1. Scores
    ``[T, K]``: the energies averaged over K = 4 horizontal stripes, then scaled to sum to 1 over time. For each stripe,
    the features of its best frame and the weighted sum over the frames are joined; mean over the stripes,
    FC 2 F -> 1024, BN, ReLU.

    Auxiliary loss, inter-frame regularisation: the distance ``|| a_i - a_j ||`` between the energies of two frames.
    The paper draws two frames; here it is the mean over all pairs of valid frames, which is what the draw gives on
    average. The paper's weight is not known to us.

    Source: public code for the head; the regulariser from the paper's text. Reads maps, ignores the order of
    frames; any T. D is at most F.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.embedding_size = min(1024, num_features)
        self.project = nn.Linear(2 * num_features, self.embedding_size, bias=False)
        self.norm = nn.BatchNorm1d(self.embedding_size)

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`."""
        maps, mask = pack_maps(maps, mask)
        energy = frame_energy(maps)
        scores = F.normalize(clear_padding(self._stripes(energy.unsqueeze(2)).squeeze(2), mask), p=1.0, dim=1)
        stripes = self._stripes(maps)
        best = scores.argmax(dim=1, keepdim=True).unsqueeze(2).expand(-1, 1, stripes.shape[2], -1)
        of_best_frame = stripes.gather(1, best).squeeze(1)
        weighted = (stripes * scores.unsqueeze(2)).sum(dim=1)
        joined = torch.cat([of_best_frame, weighted], dim=1).mean(dim=2)
        embedding = self.norm(self.project(joined)).relu()
        auxiliary = REGULARISATION * frame_disagreement(energy, mask) if self.training else None
        return HeadOutput(embedding, masked_mean(maps.mean(dim=(3, 4)), mask), auxiliary)

    def _stripes(self, maps: torch.Tensor) -> torch.Tensor:
        """``[B, T, C, h, w] -> [B, T, C, K]``: means over horizontal stripes."""
        pooled = to_grid(maps.flatten(0, 1), (STRIPES, 1))
        return pooled.reshape(*maps.shape[:3], STRIPES)


def frame_energy(maps: torch.Tensor) -> torch.Tensor:
    """Length over the channels ``[B, T, C, h, w]`` at each position, scaled to length 1 a frame; ``[B, T, h, w]``."""
    # A length has no gradient at 0, and after a ReLU whole positions are 0.
    energy = (maps.float().square().sum(dim=2) + 1e-12).sqrt()
    return F.normalize(energy.flatten(2), dim=2).reshape(energy.shape)


def frame_disagreement(energy: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean distance between the energies ``[B, T, h, w]`` of two different valid frames of a clip.

    A scalar, the mean over all pairs of all clips; 0 for clips of one frame.
    """
    flat = energy.flatten(2)
    distances = ((flat.unsqueeze(1) - flat.unsqueeze(2)).square().sum(dim=3) + 1e-12).sqrt()
    different = ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    pairs = mask.unsqueeze(1) & mask.unsqueeze(2) & different
    return (distances * pairs).sum() / pairs.sum().clamp_min(1)
