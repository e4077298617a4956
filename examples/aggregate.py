"""ICA inside somebody else's network."""

import torch
from torch import nn

import intraclip as ic


class Guest(nn.Module):
    """Frames through any backbone, then clips through ICA."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 64, 7, stride=8), nn.ReLU())
        self.head = ic.ICA(64)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Clips [B, T, 3, H, W] -> embeddings [B, D]."""
        maps = self.backbone(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])  # [B, T, F, h, w]
        return self.head(maps).embedding


found = Guest()(torch.rand(8, 4, 3, 128, 64))
print(tuple(found.shape), "and there are", len(ic.heads()), "heads:", ", ".join(ic.heads()))
