"""Temporal residual learning (Dai et al., IEEE Transactions on Image Processing 2019)."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.errors import ConfigError
from intraclip.models.heads.base import HeadOutput, masked_mean, whole_mask
from intraclip.models.heads.sequence import LSTM, SequenceHead


class TRL(SequenceHead):
    """Two bidirectional LSTMs: one for what the frames have in common, one for what it leaves over.

    ``g = BiLSTM(x)`` is the generic part, ``s = BiLSTM(x - g)`` the specific part; the embedding is the mean over
    time of ``[g ; s]``, D = 2 F. So that the difference exists, each direction has F / 2 units.

    Source: the paper's abstract for the two BiLSTMs and their roles; that they are wired by a difference, joined
    and averaged is from memory. Left out: the paper's spatial transformer (ST2N), which aligns the frames before
    the backbone. No auxiliary loss. Reads frame vectors in their order; any T.

    Args:
        num_features: F.

    Raises:
        ConfigError: F is odd.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        if num_features % 2:
            raise ConfigError(
                f"model.head: trl halves the features of the backbone, and {num_features} is odd; choose another "
                "model.width"
            )
        self.num_features = num_features
        self.embedding_size = 2 * num_features
        self.generic = _BiLSTM(num_features)
        self.specific = _BiLSTM(num_features)

    def aggregate(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `SequenceHead.aggregate`."""
        mask = whole_mask(features, mask)
        generic = self.generic(features, mask)
        specific = self.specific(features - generic, mask)
        joined = torch.cat([generic, specific], dim=2)
        return HeadOutput(masked_mean(joined, mask), masked_mean(features, mask))


class _BiLSTM(nn.Module):
    """Bidirectional LSTM ``[B, T, F] -> [B, T, F]`` whose backward half starts at the last valid frame.

    torch's own bidirectional LSTM starts at T, in the padding, or needs packed sequences, which cannot be exported.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.forwards = LSTM(num_features, num_features // 2)
        self.backwards = LSTM(num_features, num_features // 2)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        position = torch.arange(mask.shape[1], device=mask.device)
        mirrored = torch.where(mask, mask.sum(dim=1, keepdim=True) - 1 - position, position)
        behind = self.backwards(_take(features, mirrored))
        return torch.cat([self.forwards(features), _take(behind, mirrored)], dim=2)


def _take(x: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Frames ``[B, T]`` of ``[B, T, C]``, each clip its own."""
    return x.gather(1, frames.unsqueeze(-1).expand(-1, -1, x.shape[2]))
