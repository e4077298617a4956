"""How a draw reaches the pixels on an accelerator; units as in `intraclip.data.augment_kernels`.

`augment_vectorised` treats the whole batch in a handful of tensor operations: no loop over clips, and nothing read back
from the device. On CUDA all but rotation is one kernel, `intraclip.data.augment_fused`, where Triton is there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache

import torch
from torch.nn import functional as nnf

from intraclip.data.augment_kernels import Channels, Draws, empty_channels_last


def augment_vectorised(
    frames: torch.Tensor, drawn: Draws, *, mean: Channels, std: Channels, out: torch.Tensor
) -> None:
    """Augment units on the device where they are, without waiting for it.

    Resampled values are not rounded to grey levels as `augment_threaded` does; the two differ by up to 1 level.

    `frames` may have any layout. `drawn` is on the CPU, so that what to do is known without the device.
    """
    units, length, channels, height, width = frames.shape
    device = frames.device
    table = _table(drawn, pinned=device.type == "cuda")
    values = table.numpy()
    rotates = bool(values[:, 9].any())
    draw = table.to(device, non_blocking=True)
    scale, offset = _channel_constants(mean, std, device)
    if device.type == "cuda" and not rotates and out.dtype != torch.float64:
        fused = _fused(device)
        if fused:
            fused(frames, draw, scale=scale, offset=offset, out=out)
            return
    moves = bool(values[:, 8].any() or (values[:, 2:4] != (height, width)).any())
    erases = bool(values[:, 6].any())
    top, left, kept_height, kept_width, *box, flipped, degrees = draw.unbind(1)
    rows = torch.arange(height, device=device, dtype=torch.float32)
    columns = torch.arange(width, device=device, dtype=torch.float32)

    images = frames
    if moves or rotates:
        images = frames.to(torch.float32, memory_format=torch.contiguous_format)
        images = images.view(units, length * channels, height, width)
    if moves:
        y = _box_positions(rows, top, kept_height)
        mirrored = torch.where(flipped[:, None] > 0, width - 1 - columns, columns)
        x = _box_positions(mirrored, left, kept_width)
        images = _sample(images, x[:, None, :], y[:, :, None])
    if rotates:
        radians = degrees.deg2rad()[:, None, None]
        dy, dx = rows[:, None] - (height - 1) / 2, columns - (width - 1) / 2
        x = dx * radians.cos() - dy * radians.sin() + (width - 1) / 2
        y = dx * radians.sin() + dy * radians.cos() + (height - 1) / 2
        images = _sample(images, x, y)

    torch.addcmul(offset, images.view(frames.shape) if moves or rotates else images, scale, out=out)
    if erases:
        inside = _inside(rows, box[0], box[2])[:, :, None] & _inside(columns, box[1], box[3])[:, None, :]
        out.masked_fill_(inside[:, None, None], 0.0)


def _table(drawn: Draws, *, pinned: bool) -> torch.Tensor:
    """The whole draw as one float32 ``[N, 10]`` on the CPU, for one transfer; float32 holds pixel positions exactly.

    Filled by NumPy, whose operations on a few numbers cost a fraction of torch's.
    """
    table = torch.empty(len(drawn.flip), 10, dtype=torch.float32, pin_memory=pinned)
    values = table.numpy()
    values[:, :4], values[:, 4:8], values[:, 8], values[:, 9] = (part.numpy() for part in drawn)
    return table


@lru_cache(maxsize=8)
def _fused(device: torch.device) -> Callable[..., None] | None:
    """`intraclip.data.augment_fused.augment_fused`, tried once on this GPU; None, with a warning, where it fails."""
    try:
        from intraclip.data.augment_fused import augment_fused

        frames = torch.zeros(1, 1, 3, 8, 4, dtype=torch.uint8, device=device)
        draw = torch.tensor([[0, 0, 8, 4, 0, 0, 0, 0, 1, 0]], dtype=torch.float32, device=device)
        out = empty_channels_last(frames.shape, dtype=torch.float32, device=device)
        scale, offset = _channel_constants((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), device)
        augment_fused(frames, draw, scale=scale, offset=offset, out=out)
    except Exception as error:  # no Triton, no compiler for its launcher, a GPU that it does not know
        warnings.warn(
            f"augmentation on {device} takes several passes over the memory instead of one, because Triton cannot be "
            f"used: {type(error).__name__}: {error}",
            stacklevel=2,
        )
        return None
    return augment_fused


def _box_positions(pixels: torch.Tensor, start: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Where each pixel of the result comes from along one axis ``[N, n]``: the box ``[N]`` stretched to all pixels.

    Pixel centres map to pixel centres; beyond the first and the last one the edge is repeated.
    """
    start, size = start[:, None], size[:, None]
    return ((pixels + 0.5) * (size / pixels.shape[-1]) - 0.5).clamp_min(0).minimum(size - 1) + start


def _sample(images: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Bilinear values of ``[N, C, H, W]`` at pixel positions that broadcast to ``[N, H, W]``; 0 outside."""
    units, _, height, width = images.shape
    x, y = (2 * x + 1) / width - 1, (2 * y + 1) / height - 1
    grid = torch.stack([x.expand(units, height, width), y.expand(units, height, width)], dim=-1)
    return nnf.grid_sample(images, grid, align_corners=False)


def _inside(pixels: torch.Tensor, start: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Whether each pixel ``[n]`` lies in the intervals ``[N]``: bool ``[N, n]``."""
    return (pixels >= start[:, None]) & (pixels < (start + size)[:, None])


@lru_cache(maxsize=8)  # moved to the device once, not in every step
def _channel_constants(
    mean: Channels, std: Channels, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and offset ``[3, 1, 1]`` such that ``grey * scale + offset`` is normalised."""
    deviation = torch.tensor(std, dtype=torch.float64).view(3, 1, 1)
    scale = 1 / (255 * deviation)
    offset = -torch.tensor(mean, dtype=torch.float64).view(3, 1, 1) / deviation
    return scale.to(torch.float32).to(device), offset.to(torch.float32).to(device)
