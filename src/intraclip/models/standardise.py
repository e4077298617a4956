"""Frames of one mean and deviation, where a recipe asks for them."""

from __future__ import annotations

import torch
from torch import nn


class StandardiseFrames(nn.Module):
    """Instance normalisation of the input (Ulyanov et al. 2016): one mean and deviation a frame and colour channel.

    What a camera's exposure, contrast and white balance do to a whole frame is taken out.
    """

    DEVIATION = 0.45
    """Of the result: about that of pictures scaled to [-1, 1], which pretrained networks expect."""

    FLOOR = 0.06
    """Added to a frame's own deviation, so that a frame of one colour does not become noise."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Normalised frames ``[N, 3, H, W]`` -> the same shape."""
        mean = frames.mean(dim=(2, 3), keepdim=True)
        deviation = (frames - mean).square().mean(dim=(2, 3), keepdim=True).sqrt()
        return (frames - mean) * (self.DEVIATION / (deviation + self.FLOOR))
