"""Recurrent network (Gao & Nevatia 2018, "Revisiting Temporal Modeling for Video-based Person ReID", section 3.2)."""

from __future__ import annotations

import torch

from intraclip.models.heads.base import HeadOutput, masked_mean, whole_mask
from intraclip.models.heads.sequence import LSTM, SequenceHead


class GaoRNN(SequenceHead):
    """LSTM over the frame vectors, F -> 512, or F if that is less; the embedding is the mean of its outputs.

    Source: the authors' code. No auxiliary loss. Reads frame vectors in their order; any T.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.embedding_size = min(512, num_features)
        self.lstm = LSTM(num_features, self.embedding_size)

    def aggregate(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `SequenceHead.aggregate`."""
        mask = whole_mask(features, mask)
        # Packed clips end with their padding, which an LSTM cannot see from the frames before.
        return HeadOutput(masked_mean(self.lstm(features), mask), masked_mean(features, mask))
