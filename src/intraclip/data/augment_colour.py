"""The part of SDA that changes light, colour, sharpness and noise: one draw a clip, or one a frame.

What cameras differ in: white balance and exposure (a gain of each channel), saturation, contrast, brightness, sharpness
and noise. Order of operations: saturation, gain, contrast, brightness, blur, noise, then a clamp to what a camera can
record. None of it is in the paper.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from intraclip.config import AugmentConfig
from intraclip.data.augment_kernels import Channels

FIELDS = 9
"""Saturation, gain of red, green and blue, contrast, brightness, share of the sides, deviation of noise, its seed."""
UNCHANGED = (1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0)

LUMA = (0.299, 0.587, 0.114)
MOST_NOISE = 0.04
SHARES = ((0.6, 0.6), (0.4, 1.0))
"""Share of the sides that a blurred frame is made smaller to, and the running total of its chance."""
SEEDS = 2**24
"""Whole numbers below it are exact in float32."""


def draw_colour(config: AugmentConfig, shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Draw the changes of a batch.

    Returns:
        float32 ``[B, U, 9]``, see `FIELDS`; `UNCHANGED` where the coin says so.
    """

    def uniform(low: float, high: float, columns: int = 1) -> torch.Tensor:
        return low + (high - low) * torch.rand((*shape, columns), generator=generator)

    def coin(probability: float) -> torch.Tensor:
        return torch.rand((*shape, 1), generator=generator) < probability

    strength = config.colour_strength
    changed = torch.cat(
        [
            uniform(1 - 0.5 * strength, 1 + 0.3 * strength),
            ((uniform(-0.2, 0.2, 3) + uniform(-0.4, 0.4)) * strength).exp(),
            (uniform(-0.3, 0.3) * strength).exp(),
            uniform(-0.1, 0.1) * strength,
        ],
        dim=-1,
    )
    kept = torch.tensor(UNCHANGED).expand(*shape, FIELDS)
    colour = torch.where(coin(config.colour_probability), changed, kept[..., :6])
    which, share = uniform(0, 1), kept[..., 6:7]
    for smaller, until in reversed(SHARES):
        share = torch.where(which < until, torch.tensor(smaller), share)
    share = torch.where(coin(config.blur_probability), share, kept[..., 6:7])
    deviation = torch.where(coin(config.noise_probability), uniform(0, MOST_NOISE), kept[..., 7:8])
    seed = torch.randint(0, SEEDS, (*shape, 1), generator=generator).to(torch.float32)
    return torch.cat([colour, share, deviation, seed], dim=-1)


def change_colours(pictures: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Apply a draw.

    Args:
        pictures: float ``[N, F, 3, H, W]`` in 0..1, on any device: N runs of F frames that share a draw.
        drawn: float32 ``[N, 9]``, on the CPU.

    Returns:
        float32 of the same shape and device, in 0..1. Frames of a run are treated alike, noise included.
    """
    out = pictures.float()
    there = drawn.to(out.device)
    columns = there.view(len(there), FIELDS, 1, 1, 1)
    luma = torch.tensor(LUMA, device=out.device).view(1, 1, 3, 1, 1)
    grey = (out * luma).sum(dim=2, keepdim=True)
    out = grey + (out - grey) * columns[:, 0:1]
    out = out * there[:, None, 1:4, None, None]
    mean = out.mean(dim=(2, 3, 4), keepdim=True)
    out = mean + (out - mean) * columns[:, 4:5] + columns[:, 5:6]
    for share, _ in SHARES:
        which = (drawn[:, 6] == torch.tensor(share)).nonzero().flatten().to(out.device)
        if len(which):
            out = out.index_copy(0, which, _blurred(out[which], share))
    for number in drawn[:, 7].nonzero().flatten().tolist():
        generator = torch.Generator().manual_seed(int(drawn[number, 8]))
        noise = torch.randn(out.shape[2:], generator=generator).to(out.device)
        out[number] += noise * drawn[number, 7].to(out.device)
    return out.clamp_(0, 1)


def change_normalised(
    units: torch.Tensor, colour: torch.Tensor, erase: torch.Tensor, *, mean: Channels, std: Channels
) -> None:
    """Change colours of normalised units ``[N, F, 3, H, W]`` in place; what is erased stays 0."""
    middle, scale = (torch.tensor(c, device=units.device).view(1, 1, 3, 1, 1) for c in (mean, std))
    changed = change_colours(units.float() * scale + middle, colour.reshape(-1, FIELDS))
    changed = (changed - middle) / scale
    for number, (top, left, height, width) in enumerate(erase.reshape(-1, 4).tolist()):
        changed[number, ..., top : top + height, left : left + width] = 0
    units.copy_(changed)


def _blurred(pictures: torch.Tensor, share: float) -> torch.Tensor:
    frames = pictures.flatten(0, 1)
    small = F.interpolate(frames, scale_factor=share, mode="bilinear", antialias=True)
    return F.interpolate(small, size=frames.shape[-2:], mode="bilinear").view(pictures.shape)
