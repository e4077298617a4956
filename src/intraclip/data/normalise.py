"""From grey levels to the floats of a network."""

from __future__ import annotations

import torch

from intraclip.data.augment_kernels import Channels, Draws, augment_units, empty_channels_last


def normalise(frames: torch.Tensor, *, mean: Channels, std: Channels) -> torch.Tensor:
    """Scale uint8 frames ``[..., 3, H, W]`` to 0..1, subtract the mean, divide by the deviation.

    With mean and deviation of 0.5 the result lies in [-1, 1] (paper, section 3.2).

    Args:
        frames: uint8, on any device.
        mean: of red, green and blue in 0..1.
        std: likewise.

    Returns:
        float32 of the frames' shape with channels-last memory.
    """
    frames = torch.as_tensor(frames)
    if frames.ndim < 3 or frames.shape[-3] != 3 or frames.dtype != torch.uint8:
        raise ValueError(
            f"normalisation wants uint8 [..., 3, H, W], got {frames.dtype} {tuple(frames.shape)}"
        )
    out = empty_channels_last(frames.shape, dtype=torch.float32, device=frames.device)
    if frames.numel():
        height, width = frames.shape[-2:]
        units = frames.reshape(-1, 1, 3, height, width)
        whole, nothing = torch.tensor([0, 0, height, width]), torch.zeros(len(units), dtype=torch.int64)
        unchanged = Draws(whole.expand(len(units), 4), nothing[:, None].expand(-1, 4), nothing, nothing)
        augment_units(units, unchanged, mean=mean, std=std, out=out.view(units.shape))
    return out
