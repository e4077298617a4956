"""Temporal transformer encoder with a class token (Dosovitskiy et al., ICLR 2021, section 3.1, over frames)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from intraclip.models.heads.base import HeadOutput, masked_mean, whole_mask
from intraclip.models.heads.sequence import SequenceHead

LAYERS, HEADS = 2, 8
"""Of the encoder, and of a layer's attention."""


class TemporalTransformer(SequenceHead):
    """Frame vectors as tokens, a learned class token before them; the embedding is the class token at the end.

    FC F -> D (512, at most F, a multiple of the 8 heads), sines and cosines of the frame's number added (Vaswani et al.
    2017, section 3.5, so that any T goes), pre-norm layers of self-attention and a two-layer perceptron, a last layer
    normalisation.

    A modern reference, none of the paper's rivals. No auxiliary loss, no dropout. Reads frame vectors in their
    order; any T.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.embedding_size = max(1, min(512, num_features) // HEADS) * HEADS
        self.project = nn.Linear(num_features, self.embedding_size)
        self.token = nn.Parameter(torch.zeros(1, 1, self.embedding_size))
        nn.init.normal_(self.token, std=0.02)
        self.layers = nn.ModuleList(_Layer(self.embedding_size) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(self.embedding_size)

    def aggregate(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `SequenceHead.aggregate`."""
        mask = whole_mask(features, mask)
        frames = self.project(features)
        frames = frames + _positions(mask.shape[1], self.embedding_size, frames.device).to(frames.dtype)
        x = torch.cat([self.token.to(frames.dtype).expand(mask.shape[0], -1, -1), frames], dim=1)
        readable = F.pad(mask, (1, 0), value=True)
        for layer in self.layers:
            x = layer(x, readable)
        return HeadOutput(self.norm(x[:, 0]), masked_mean(features, mask))


class _Layer(nn.Module):
    """Self-attention and perceptron, each after a layer normalisation and around a residual connection."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(size)
        self.query_key_value = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size)
        )

    def forward(self, x: torch.Tensor, readable: torch.Tensor) -> torch.Tensor:
        """``[B, N, C] -> [B, N, C]``; tokens that are not readable (bool ``[B, N]``) are attended by none."""
        joined = self.query_key_value(self.attention_norm(x)).unflatten(2, (3, HEADS, -1))
        query, key, value = joined.permute(2, 0, 3, 1, 4).unbind(0)
        gathered = F.scaled_dot_product_attention(query, key, value, attn_mask=readable[:, None, None, :])
        x = x + self.out(gathered.transpose(1, 2).flatten(2))
        changed: torch.Tensor = self.perceptron(x)
        return x + changed


def _positions(count: int, size: int, device: torch.device) -> torch.Tensor:
    """Sines and cosines ``[count, size]`` of the numbers 0..count - 1, in wavelengths from 2 pi to 20,000 pi."""
    rates = torch.exp(torch.arange(0, size, 2, device=device) * (-math.log(10_000) / size))
    angles = torch.arange(count, device=device).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :size]
