"""What is exported: uint8 frames in, vectors out, with the normalisation inside.

Normalising inside leaves nothing for the caller to get wrong, and a quarter of the bytes to hand over.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from intraclip.config import InputConfig
from intraclip.errors import ConfigError
from intraclip.models.embedder import ClipEmbedder
from intraclip.models.other_passes import needs_clips

Part = Literal["clip", "frame"]


class FrameGraph(nn.Module):
    """Frames -> one vector a frame, as the head reads it."""

    def __init__(self, model: ClipEmbedder, config: InputConfig) -> None:
        super().__init__()
        self.normalise = _Normalise(config)
        self.model = model

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 ``[N, 3, H, W]`` RGB -> float32 ``[N, V]``."""
        return self.model.frame_vectors(self.normalise(frames))


class ClipGraph(nn.Module):
    """Clips -> embeddings: backbone and head."""

    def __init__(self, model: ClipEmbedder, config: InputConfig) -> None:
        super().__init__()
        self.normalise = _Normalise(config)
        self.model = model

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Uint8 ``[B, T, 3, H, W]`` RGB and a bool mask ``[B, T]``, False for padding -> float32 ``[B, D]``."""
        return self.model.embed(self.normalise(frames), mask)


Graph = FrameGraph | ClipGraph


class _Normalise(nn.Module):
    """`intraclip.data.normalise.normalise` with its constants in buffers, so that they are part of the file."""

    def __init__(self, config: InputConfig) -> None:
        super().__init__()
        self.register_buffer("offset", 255 * torch.tensor(config.mean).view(3, 1, 1))
        self.register_buffer("scale", 255 * torch.tensor(config.std).view(3, 1, 1))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        offset, scale = self.get_buffer("offset"), self.get_buffer("scale")
        return (frames.to(offset.dtype) - offset) / scale


def build_graph(model: ClipEmbedder, config: InputConfig, part: Part) -> Graph:
    """The part of a network that is exported, in evaluation mode.

    Raises:
        ConfigError: the frame part of a network whose head needs more than one vector a frame.
    """
    if part == "frame":
        if model.frame_head is None:
            raise ConfigError(
                f"{needs_clips(model)}, so one vector a frame is not enough; export the whole network with --part clip"
            )
        return FrameGraph(model, config).eval()
    return ClipGraph(model, config).eval()
