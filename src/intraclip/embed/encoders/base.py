"""What every frame encoder takes and gives."""

from __future__ import annotations

from typing import Protocol

import torch


class FrameEncoder(Protocol):
    """A network that turns each frame into one vector, whatever runs it.

    Attributes:
        name: for people, such as ``resnet50 (torch)`` or a file name.
        fingerprint: hexadecimal digest of weights and preprocessing; two encoders with the same one give the same
            vectors up to rounding.
        height: of the frames it takes, in pixels.
        width: of the frames it takes, in pixels.
        num_features: F.
    """

    name: str
    fingerprint: str
    height: int
    width: int
    num_features: int

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Encode frames; preprocessing (scaling, normalisation, channel order) is the encoder's own.

        Args:
            frames: uint8 ``[N, 3, H, W]`` RGB, any N, any memory layout, on the CPU.

        Returns:
            float32 ``[N, F]`` on the CPU.
        """
        ...
