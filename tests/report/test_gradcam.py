from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from intraclip.config import InputConfig, ModelConfig
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.network import StagedNetwork
from intraclip.report.gradcam import CLIPS_AT_ONCE, activation_maps, overlay, share_inside

INPUT = InputConfig(height=64, width=32)


class UpperAndLower(StagedNetwork):
    """Two maps: brightness of the frame's upper half, and of its lower half, elsewhere 0."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        grey = nn.functional.avg_pool2d(frames.mean(dim=1, keepdim=True), 8)
        half = grey.shape[2] // 2
        upper, lower = grey.clone(), grey.clone()
        upper[:, :, half:] = 0
        lower[:, :, :half] = 0
        return torch.cat([upper, lower], dim=1)


def halves() -> ClipEmbedder:
    """Class 0 is decided by the upper half, class 1 by the lower half, class 2 by darkness anywhere."""
    model = ClipEmbedder(ModelConfig(backbone="small", weights="", head="tap"), INPUT, num_classes=3)
    model.backbone = UpperAndLower()
    model.classifier = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    return model.eval()


def test_map_lies_where_the_class_is_decided() -> None:
    frames = torch.rand(3, 4, 3, 64, 32) + 0.5
    mask = torch.ones(3, 4, dtype=torch.bool)
    maps = activation_maps(halves(), frames, mask, torch.tensor([0, 1, 2]))
    assert maps.shape == (3, 4, 64, 32)
    lower_half = np.zeros((4, 64, 32), dtype=bool)
    lower_half[:, 32:] = True
    assert share_inside(maps[0], lower_half) < 0.05
    assert share_inside(maps[1], lower_half) > 0.95
    # Nothing speaks for the third class: no map, and no number that pretends one.
    assert not maps[2].any()
    assert np.isnan(share_inside(maps[2], lower_half))


def test_frames_of_a_clip_share_one_scale() -> None:
    frames = torch.ones(1, 2, 3, 64, 32)
    frames[0, 1] *= 0.5
    maps = activation_maps(halves(), frames, torch.ones(1, 2, dtype=torch.bool), torch.tensor([0]))[0]
    assert maps[0].max() == pytest.approx(1)
    assert maps[1].max() == pytest.approx(0.5)


@pytest.mark.parametrize("head", ["tap", "ica"])
def test_real_networks_give_maps_in_range(head: str) -> None:
    config = ModelConfig(backbone="small", weights="", head=head, backbone_settings={"width": 0.5})  # type: ignore[arg-type]
    model = build_embedder(config, INPUT, num_classes=5, seed=1).eval()
    clips = CLIPS_AT_ONCE + 1  # more than one pass
    frames = torch.randn(clips, 3, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(clips, 3, dtype=torch.bool)
    mask[0, 2] = False
    targets = torch.arange(clips) % 5
    maps = activation_maps(model, frames, mask, targets)
    assert maps.shape == (clips, 3, 64, 32)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() == pytest.approx(1)
    assert not maps[0, 2].any()  # padding says nothing
    assert all(parameter.grad is None for parameter in model.parameters())
    alone = activation_maps(model, frames[-1:], mask[-1:], targets[-1:])
    np.testing.assert_allclose(alone[0], maps[-1], atol=1e-4)


def test_overlay_glows_where_the_map_is_high() -> None:
    frames = np.full((1, 8, 8, 3), 128, dtype=np.uint8)
    maps = np.zeros((1, 8, 8), dtype=np.float32)
    maps[:, :4] = 0.9
    seen = overlay(frames, maps)
    assert seen.shape == frames.shape
    assert seen.dtype == np.uint8
    red, blue = seen[0, 0, 0].astype(int), seen[0, 7, 7].astype(int)
    assert red[0] > red[2] + 40
    assert blue[2] >= blue[0]
