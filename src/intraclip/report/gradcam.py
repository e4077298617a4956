"""Where a network looks: Grad-CAM (Selvaraju et al. 2017) on the frames of a clip, as in Fig. 1 of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from intraclip.core.extras import require_extra
from intraclip.data.silhouettes import load_silhouettes
from intraclip.errors import ConfigError, DataError
from intraclip.models.embedder import ClipEmbedder
from intraclip.report.strips import Picture
from intraclip.types import Tracklet

CLIPS_AT_ONCE = 8
"""Clips in one backward pass; bounds memory."""
VISIBLE = 0.15
"""Least share of every frame that a *pictured* person covers, where silhouettes are known."""


def activation_maps(
    model: ClipEmbedder, frames: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor, *, layer: str = ""
) -> npt.NDArray[np.float32]:
    """Grad-CAM of the backbone's maps for one number of each clip.

    The weight of a feature map is the mean of the number's gradient over the map's positions; the weighted sum is cut
    off below 0 and enlarged to the frame. Maps are scaled by the largest value *of the clip*, so that a frame that
    counts less than its neighbours looks it.

    Args:
        model: in evaluation mode.
        frames: normalised float ``[B, T, 3, H, W]``.
        mask: bool ``[B, T]``.
        targets: what the maps explain. int64 ``[B]``: the logit of this class. float ``[B, D]``: how far the embedding
            reaches in this direction, their dot product; that needs no class, so it works for people of test.
        layer: name of a module inside the backbone, such as ``layer3``, whose output is explained; empty for the
            backbone's own output.

    Returns:
        float32 ``[B, T, H, W]`` in 0..1; all 0 where nothing speaks for the target.
    """
    captum = require_extra("captum.attr", extra="report", purpose="Grad-CAM")

    def logits(clips: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(clips, valid).logits
        return found

    def reach(clips: torch.Tensor, valid: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        return (model.embed(clips, valid) * directions).sum(dim=1)

    directed = targets.is_floating_point()
    method: Any = captum.LayerGradCam(reach if directed else logits, module_of(model, layer))
    device = next(model.parameters()).device
    height, width = frames.shape[-2:]
    found = []
    with torch.enable_grad():
        for start in range(0, len(frames), CLIPS_AT_ONCE):
            part = slice(start, start + CLIPS_AT_ONCE)
            valid, wanted = mask[part].to(device), targets[part].to(device)
            maps = method.attribute(
                frames[part].to(device),
                target=None if directed else wanted,
                additional_forward_args=(valid, wanted) if directed else (valid,),
                relu_attributions=True,
            )
            found.append(maps.detach().cpu())
    small = torch.cat(found)
    # Enlarging is linear and the maps are not negative: the result is not either.
    large = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    large = large.reshape(*frames.shape[:2], height, width)
    peak = large.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(peak > 0, large / peak.clamp_min(1e-30), torch.zeros_like(large)).float().numpy()


def module_of(model: ClipEmbedder, layer: str) -> nn.Module:
    """The backbone's module of that name; the whole backbone for an empty one.

    Raises:
        ConfigError: there is none; the message lists the names at the top.
    """
    try:
        return model.backbone.get_submodule(layer)
    except AttributeError:
        names = ", ".join(name for name, _ in model.backbone.named_children())
        raise ConfigError(
            f"layer {layer!r} is not in the backbone {model.config.backbone}; at the top it has {names}"
        ) from None


@torch.inference_mode()
def grid(model: ClipEmbedder, height: int, width: int, *, layer: str = "") -> tuple[int, int]:
    """Rows and columns of a layer's maps for frames of that size, ``(h, w)``; `layer` as in `activation_maps`.

    Raises:
        ValueError: the module's output is no map ``[N, F, h, w]``.
    """
    sizes: list[tuple[int, ...]] = []
    hook = module_of(model, layer).register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape)))
    try:
        device = next(model.parameters()).device
        model.maps(torch.zeros(1, 1, 3, height, width, device=device))
    finally:
        hook.remove()
    if not sizes or len(sizes[0]) != 4:
        raise ValueError(f"layer {layer!r} gives no maps [N, F, h, w]: {sizes[:1]}")
    return sizes[0][2], sizes[0][3]


def overlay(frames: Picture, maps: npt.NDArray[np.float32]) -> Picture:
    """Frames ``[T, H, W, 3]`` with their activation ``[T, H, W]`` in 0..1: what counts glows, the rest stays grey."""
    pictures = np.empty_like(frames)
    for t, (frame, activation) in enumerate(zip(frames, maps, strict=True)):
        level = (255 * np.clip(activation, 0, 1)).astype(np.uint8)
        heat = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
        grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        weight = (0.15 + 0.45 * np.clip(activation, 0, 1))[..., None]
        pictures[t] = np.round(grey * (1 - weight) + heat * weight).astype(np.uint8)
    return pictures


def share_inside(maps: npt.NDArray[np.float32], people: npt.NDArray[np.bool_]) -> float:
    """Share of the activation ``[T, H, W]`` on the person (True in `people`), 0..1; nan when there is none at all.

    >>> share_inside(np.ones((1, 2, 2), np.float32), np.array([[[True, False], [False, False]]]))
    0.25
    """
    total = float(maps.sum(dtype=np.float64))
    return float(maps[people].sum(dtype=np.float64)) / total if total > 0 else float("nan")


def area_of_half(maps: npt.NDArray[np.float32]) -> float:
    """Least share of the area that holds half of the activation ``[T, H, W]``, 0..0.5; nan without activation.

    0.5: an even map; the smaller, the more concentrated, wherever that is. The mean over frames: a frame without
    activation is left out.

    >>> area_of_half(np.array([[[4, 1], [1, 2]]], np.float32))
    0.25
    """
    found = []
    for frame in maps.reshape(len(maps), -1).astype(np.float64):
        held = np.cumsum(np.sort(frame)[::-1])
        if held[-1] > 0:
            # An even map must give exactly half, whatever rounding did to its sum.
            found.append((int(np.searchsorted(held, held[-1] / 2 * (1 - 1e-9))) + 1) / len(frame))
    return float(np.mean(found)) if found else float("nan")


def evenness(maps: npt.NDArray[np.float32]) -> float:
    """Entropy of the activation ``[T, H, W]`` over the frame, over that of an even map: 0..1; nan without activation.

    1: even; 0: one pixel holds everything. The mean over frames: a frame without activation is left out.

    >>> evenness(np.array([[[1, 1], [0, 0]]], np.float32))
    0.5
    """
    found = []
    for frame in maps.reshape(len(maps), -1).astype(np.float64):
        total = frame.sum()
        if total > 0:
            share = frame[frame > 0] / total
            found.append(float(-(share * np.log(share)).sum() / np.log(len(frame))))
    return float(np.mean(found)) if found else float("nan")


def silhouettes_of(root: Path, tracklet: Tracklet) -> npt.NDArray[np.bool_] | None:
    """True outlines of the person in a tracklet's frames, where the data came with them.

    Returns:
        bool ``[n, H, W]``, or None: real data, or outlines of another number of frames.
    """
    try:
        found: npt.NDArray[np.bool_] = load_silhouettes(root, tracklet.name)
    except (DataError, OSError, ValueError):  # ValueError: a name that is no file name
        return None
    return found if len(found) == len(tracklet) else None


def is_visible(silhouettes: npt.NDArray[np.bool_] | None) -> bool:
    """Whether a person is to be seen in every frame; taken as given where silhouettes are not known."""
    return silhouettes is None or bool((silhouettes.mean(axis=(1, 2)) >= VISIBLE).all())


def resize_masks(masks: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Nearest pixel of masks ``[T, h, w]`` on a grid of ``[T, height, width]``."""
    rows = (2 * np.arange(height) + 1) * masks.shape[1] // (2 * height)
    columns = (2 * np.arange(width) + 1) * masks.shape[2] // (2 * width)
    return masks[:, rows[:, None], columns]
