"""Diversity regularised spatiotemporal attention (Li, Bak, Carr, Wang, CVPR 2018, section 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from intraclip.models.heads.base import Head, HeadOutput, masked_mean
from intraclip.models.heads.sequence import pack_frames, softmax_over_time
from intraclip.models.heads.settings import DRSASettings

PARTS = 3


class DRSA(Head):
    """K = 3 attention maps a frame find K parts of the body; each part is averaged over time with its own weights.

    Maps: FC F -> 64, BN, ReLU, FC 64 -> K, BN, softmax over the positions. A part of a frame: mean of the features
    under its map, FC F -> 128, scaled to length 1. Over time: softmax of a learned score of each part. The embedding
    joins the parts, D = 128 K. Layers have at most F features.

    Auxiliary loss, of weight 1 in the authors' code: ``|| R R^T - 1 ||`` (Frobenius) with R the square roots of a
    frame's K maps. Its entries are 1 minus squared Hellinger distances, so it pushes the maps apart. The
    authors take one root over the whole batch (``penalty = "batch"``), which grows with the batch; by default it is one
    a frame and their mean over the valid frames.

    Source: the authors' code for maps, parts and penalty; the weights over time are from the paper's text by memory.
    The authors train with OIM loss alone: that is the loss `oim`, with triplet and cross-entropy at weight 0. Left out:
    the backbone's pre-training on images. Reads maps, ignores the order of frames; any T (theirs was 6).

    Args:
        penalty: one root a frame, or over the batch.
    """

    Settings = DRSASettings
    weights_tell = True  # the penalty is for training alone

    def __init__(self, num_features: int, *, penalty: Literal["frame", "batch"] = "frame") -> None:
        super().__init__()
        self.penalty = penalty
        part_size, hidden = min(128, num_features), min(64, num_features)
        self.embedding_size = PARTS * part_size
        self.hidden = nn.Linear(num_features, hidden, bias=False)
        self.hidden_norm = nn.BatchNorm1d(hidden)
        self.attend = nn.Linear(hidden, PARTS, bias=False)
        self.attend_norm = nn.BatchNorm1d(PARTS)
        self.attend_norm.bias.requires_grad_(False)  # an offset, which the softmax does not see
        self.project = nn.Linear(num_features, part_size)
        self.score = nn.Parameter(torch.empty(PARTS, part_size))
        nn.init.normal_(self.score, std=part_size**-0.5)

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`."""
        # One row a position: [B, T, h, w, F] -> [B, T, N, F].
        tokens, mask = pack_frames(maps.permute(0, 1, 3, 4, 2).flatten(2, 3), mask)
        attention = self._attention(tokens)
        parts = F.normalize(self.project(attention @ tokens), dim=-1)
        weights = softmax_over_time((parts * self.score).sum(dim=-1), mask)
        embedding = (parts * weights.unsqueeze(-1)).sum(dim=1).flatten(1)
        auxiliary = overlap(attention, mask, over=self.penalty) if self.training else None
        return HeadOutput(embedding, masked_mean(tokens.mean(dim=2), mask), auxiliary)

    def _attention(self, tokens: torch.Tensor) -> torch.Tensor:
        """Maps of the parts: ``[B, T, N, F] -> [B, T, K, N]``, each a distribution over the positions."""
        hidden = self.hidden_norm(self.hidden(tokens).flatten(0, 2)).relu()
        scores: torch.Tensor = self.attend_norm(self.attend(hidden)).unflatten(0, tokens.shape[:3])
        return scores.softmax(dim=2).transpose(2, 3)


def overlap(
    attention: torch.Tensor, mask: torch.Tensor, *, over: Literal["frame", "batch"] = "frame"
) -> torch.Tensor:
    """How much the maps of a frame, ``[B, T, K, N]`` with each row a distribution, overlap; 0 if not at all.

    A scalar: the mean over the valid frames, or one root of the sum over all of them.
    """
    roots = attention.float().clamp_min(1e-12).sqrt()
    affinity = roots @ roots.transpose(2, 3) - torch.eye(roots.shape[2], device=roots.device)
    # A norm has no gradient at 0.
    squares = affinity.square().sum(dim=(2, 3))
    if over == "batch":
        return ((squares * mask).sum() + 1e-5).sqrt()
    return ((squares + 1e-5).sqrt() * mask).sum() / mask.sum()
