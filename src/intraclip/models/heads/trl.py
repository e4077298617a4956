"""Temporal residual learning (Dai et al., IEEE Transactions on Image Processing 2019)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from intraclip.errors import ConfigError
from intraclip.models.heads.base import HeadOutput, masked_mean, whole_mask
from intraclip.models.heads.sequence import LSTM, SequenceHead, clear_padding
from intraclip.models.heads.settings import TRLSettings


class TRL(SequenceHead):
    """Two bidirectional LSTMs: one for what the frames have in common, one for what it leaves over.

    ``g = BiLSTM(x)`` is the generic part, ``s = BiLSTM(x - g)`` the specific part; the embedding is the mean over
    time of ``[g ; s]``, D = 2 F. So that the difference exists, each direction has F / 2 units.

    Source: the paper's abstract for the two BiLSTMs and their roles; that they are wired by a difference, joined
    and averaged is from memory. With `transformer`, the paper's spatial-temporal transformer brings the frames into
    place and the backbone reads them again, see `FrameTransformer`. No auxiliary loss. Reads frame vectors in their
    order; any T.

    Args:
        transformer: align the frames; costs a second pass through the backbone.

    Raises:
        ConfigError: F is odd.
    """

    Settings = TRLSettings
    weights_tell = True

    def __init__(self, num_features: int, *, transformer: bool = False) -> None:
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
        self.aligns = transformer
        if transformer:
            self.transformer = FrameTransformer(num_features)

    def align(self, frames: torch.Tensor, maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """See `Head.align`."""
        aligned: torch.Tensor = self.transformer(frames, maps, mask)
        return aligned

    def aggregate(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `SequenceHead.aggregate`."""
        mask = whole_mask(features, mask)
        generic = self.generic(features, mask)
        specific = self.specific(features - generic, mask)
        joined = torch.cat([generic, specific], dim=2)
        return HeadOutput(masked_mean(joined, mask), masked_mean(features, mask))


class FrameTransformer(nn.Module):
    """Spatial-temporal transformer (ST2N): scales and moves each frame so that its person is where the others' is.

    A frame's two scales and two shifts are a linear layer of its own vector and of the mean of the other frames'
    vectors. It starts with all frames as they are. Scales stay in 0.5..1.5, shifts within half of the frame.

    Source: the paper's abstract says that the parameters come from the high-level features of the frame itself and from
    the temporal context of the others, and that there are few of them. **From memory**: which features and which layer
    (Jaderberg et al. 2015, section 3, for the sampling).
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.locate = nn.Linear(2 * num_features, 4)
        nn.init.zeros_(self.locate.weight)
        nn.init.zeros_(self.locate.bias)

    def forward(self, frames: torch.Tensor, maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """See `Head.align`."""
        own = clear_padding(maps.mean(dim=(3, 4)), mask)
        count = mask.sum(dim=1).to(own.dtype)
        others = (own.sum(dim=1, keepdim=True) - own) / (count - 1).clamp_min(1).view(-1, 1, 1)
        found = self.locate(torch.cat([own, others], dim=2)).float().tanh().flatten(0, 1)
        scale, shift = 1 + 0.5 * found[:, :2], found[:, 2:]
        height, width = frames.shape[3], frames.shape[4]
        x = scale[:, :1] * _middles(width, found) + shift[:, :1]
        y = scale[:, 1:] * _middles(height, found) + shift[:, 1:]
        grid = torch.stack(
            [x.unsqueeze(1).expand(-1, height, -1), y.unsqueeze(2).expand(-1, -1, width)], dim=3
        )
        moved = F.grid_sample(frames.flatten(0, 1).float(), grid, align_corners=False)
        return moved.to(frames.dtype).reshape(frames.shape)


def _middles(count: int, like: torch.Tensor) -> torch.Tensor:
    """Middles of pixels in -1..1, ``[1, count]``."""
    return ((2 * torch.arange(count, device=like.device, dtype=like.dtype) + 1) / count - 1).unsqueeze(0)


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
