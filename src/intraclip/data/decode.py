"""Decode a whole batch of JPEGs at once on the device where the model runs."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn.functional import interpolate

from intraclip.core.media import decode_picture
from intraclip.data.loaded import Encoded, Loaded
from intraclip.errors import ConfigError
from intraclip.types import ClipBatch


def decode_batch(loaded: Loaded, device: torch.device | str, *, height: int, width: int) -> ClipBatch:
    """The clips of a batch on the device; encoded frames are decoded and resized there.

    On CUDA all JPEGs go to the GPU's decoder in one call. Its pixels differ from those of the CPU by a few grey levels,
    and it fills damaged parts with grey where the CPU refuses them; frames that are cut off were sorted out before.

    Args:
        loaded: from `intraclip.data.dataset.iterate`; a batch that holds pixels is only moved.
        device: where to.
        height: of the frames wanted, in pixels.
        width: of the frames wanted, in pixels.

    Returns:
        uint8 frames ``[B, T, 3, H, W]``, in memory ``[B, T, H, W, 3]``.

    Raises:
        FrameError: a frame can be decoded neither there nor on the CPU.
    """
    encoded = loaded.encoded
    if encoded is None:
        return loaded.clips.to(device, non_blocking=True)
    clips, length = loaded.clips.frames.shape[:2]
    frames = torch.empty(clips, length, height, width, 3, dtype=torch.uint8, device=device)
    if len(encoded.rows):
        pixels = _decode(encoded, torch.device(device), height, width).permute(0, 2, 3, 1)
        rows = encoded.rows.to(device, non_blocking=True)
        frames[rows] = pixels[encoded.places.to(device, non_blocking=True)]
    if len(encoded.ready_rows):
        ready_rows = encoded.ready_rows.to(device, non_blocking=True)
        frames[ready_rows] = encoded.ready.to(device, non_blocking=True)
    return replace(loaded.clips, frames=frames.permute(0, 1, 4, 2, 3)).to(device, non_blocking=True)


def _decode(encoded: Encoded, device: torch.device, height: int, width: int) -> torch.Tensor:
    """All N JPEGs, uint8 ``[N, 3, H, W]`` on the device."""
    ends = encoded.ends.tolist()
    jpegs = [encoded.data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    try:
        images = _decode_together(jpegs, device)
    except RuntimeError:  # one of them is of a kind that this decoder does not know, or is damaged
        images = [
            torch.from_numpy(decode_picture(jpeg.numpy(), path)).permute(2, 0, 1).to(device)
            for jpeg, path in zip(jpegs, encoded.paths, strict=True)
        ]
    return _resized(images, height, width)


def _decode_together(jpegs: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """RGB images, uint8 ``[3, h, w]`` on the device.

    Raises:
        RuntimeError: one of them cannot be decoded.
        ConfigError: this torchvision has no decoder any more.
    """
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError:
        raise ConfigError(
            "data.decode: this version of torchvision decodes no images; choose cpu, or install torchvision 0.29"
        ) from None
    with warnings.catch_warnings():
        # From 0.29 on torchvision points to torchcodec, which needs an FFmpeg of the system.
        warnings.simplefilter("ignore", DeprecationWarning)
        images: list[torch.Tensor] = decode_jpeg(list(jpegs), mode=ImageReadMode.RGB, device=device)
    return images


def _resized(images: list[torch.Tensor], height: int, width: int) -> torch.Tensor:
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        by_size[image.shape[1], image.shape[2]].append(i)
    if list(by_size) == [(height, width)]:
        return torch.stack(images)
    out = torch.empty(len(images), 3, height, width, dtype=torch.uint8, device=images[0].device)
    for size, members in by_size.items():
        group = torch.stack([images[i] for i in members])
        if size != (height, width):
            group = _resize(group.float(), height, width).round_().clamp_(0, 255).to(torch.uint8)
        out[members] = group
    return out


def _resize(frames: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """As `intraclip.data.frames.resize_frame`, for float ``[N, 3, h, w]``: area averaging or bilinear."""
    h, w = frames.shape[2:]
    if h < height or w < width:
        return interpolate(frames, (height, width), mode="bilinear", align_corners=False)
    return _area(h, height, frames.device) @ frames @ _area(w, width, frames.device).T


def _area(size: int, wanted: int, device: torch.device) -> torch.Tensor:
    """Share of each of `size` pixels in each of `wanted` larger ones, float ``[wanted, size]``; rows add up to 1."""
    step = size / wanted
    left = torch.arange(wanted, device=device)[:, None] * step
    pixel = torch.arange(size, device=device)[None, :]
    overlap = torch.minimum(left + step, pixel + 1) - torch.maximum(left, pixel)
    return overlap.clamp_(min=0) / step
