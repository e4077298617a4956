"""Where a network looks: Grad-CAM (Selvaraju et al. 2017) on the frames of a clip, as in Fig. 1 of the paper."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from intraclip.errors import require_extra
from intraclip.models.embedder import ClipEmbedder
from intraclip.report.strips import Picture

CLIPS_AT_ONCE = 8
"""Clips in one backward pass; bounds memory."""


def activation_maps(
    model: ClipEmbedder, frames: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor
) -> npt.NDArray[np.float32]:
    """Grad-CAM of the backbone's maps for one class logit of each clip.

    The weight of a feature map is the mean of the logit's gradient over the map's positions; the weighted sum is cut
    off below 0 and enlarged to the frame. Maps are scaled by the largest value *of the clip*, so that a frame that
    counts less than its neighbours looks it.

    Args:
        model: in evaluation mode.
        frames: normalised float ``[B, T, 3, H, W]``.
        mask: bool ``[B, T]``.
        targets: int64 ``[B]``, classes.

    Returns:
        float32 ``[B, T, H, W]`` in 0..1; all 0 where nothing speaks for the class.
    """
    captum = require_extra("captum.attr", extra="report", purpose="Grad-CAM")

    def logits(clips: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(clips, valid).logits
        return found

    method: Any = captum.LayerGradCam(logits, model.backbone)
    device = next(model.parameters()).device
    height, width = frames.shape[-2:]
    found = []
    with torch.enable_grad():
        for start in range(0, len(frames), CLIPS_AT_ONCE):
            part = slice(start, start + CLIPS_AT_ONCE)
            maps = method.attribute(
                frames[part].to(device),
                target=targets[part].to(device),
                additional_forward_args=(mask[part].to(device),),
                relu_attributions=True,
            )
            found.append(maps.detach().cpu())
    small = torch.cat(found)
    # Enlarging is linear and the maps are not negative: the result is not either.
    large = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    large = large.reshape(*frames.shape[:2], height, width)
    peak = large.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(peak > 0, large / peak.clamp_min(1e-30), torch.zeros_like(large)).float().numpy()


def overlay(frames: Picture, maps: npt.NDArray[np.float32]) -> Picture:
    """Frames with their activation over them: what does not count stays grey, what counts glows.

    Args:
        frames: uint8 ``[T, H, W, 3]``, RGB.
        maps: float ``[T, H, W]`` in 0..1.

    Returns:
        uint8 ``[T, H, W, 3]``.
    """
    pictures = np.empty_like(frames)
    for t, (frame, activation) in enumerate(zip(frames, maps, strict=True)):
        level = (255 * np.clip(activation, 0, 1)).astype(np.uint8)
        heat = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
        grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        weight = (0.15 + 0.45 * np.clip(activation, 0, 1))[..., None]
        pictures[t] = np.round(grey * (1 - weight) + heat * weight).astype(np.uint8)
    return pictures


def share_inside(maps: npt.NDArray[np.float32], people: npt.NDArray[np.bool_]) -> float:
    """Share of the activation that lies on the person, 0..1; nan when there is no activation at all.

    Args:
        maps: float ``[T, H, W]``.
        people: bool ``[T, H, W]``, True on the person.

    >>> share_inside(np.ones((1, 2, 2), np.float32), np.array([[[True, False], [False, False]]]))
    0.25
    """
    total = float(maps.sum(dtype=np.float64))
    return float(maps[people].sum(dtype=np.float64)) / total if total > 0 else float("nan")
