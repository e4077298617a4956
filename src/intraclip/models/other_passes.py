"""Passes of networks that read more than what a backbone makes of each frame by itself.

A backbone may read whole clips; a head may read maps of the middle of a backbone too, or bring frames into place first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from intraclip.models.heads.base import HeadOutput, whole_mask
from intraclip.models.heads.sequence import pack_maps
from intraclip.models.network import StagedNetwork
from intraclip.models.second_pass import frozen_statistics

if TYPE_CHECKING:
    from intraclip.models.clip_network import ClipNetwork
    from intraclip.models.embedder import ClipEmbedder


def run(
    model: ClipEmbedder, frames: torch.Tensor, mask: torch.Tensor | None
) -> tuple[HeadOutput, torch.Tensor | None]:
    """What the head makes of clips, and the backbone's own loss; arguments as in `ClipEmbedder.forward`."""
    if model.backbone.reads_clips:
        frames, mask = pack_maps(frames, mask)
        if model.training:
            maps, loss = cast("ClipNetwork", model.backbone).learn(model.standardised(frames), mask)
            return model.head(maps.reshape(*frames.shape[:2], *maps.shape[1:]), mask), loss
        return model.head(model.maps(frames, mask), mask), None
    mask = whole_mask(frames, mask)
    if model.head.reads_middle:
        both = with_middle(model.backbone, model.standardise(frames.flatten(0, 1)))
        maps, middle = (found.reshape(*frames.shape[:2], *found.shape[1:]) for found in both)
        return model.head.with_middle(maps, middle, mask), None
    # The pass that looks where the person is does not count in the backbone's statistics.
    with frozen_statistics([model.backbone] if model.training else []):
        first = model.maps(frames)
    frames = model.head.align(frames, first, mask)
    return model.head(model.maps(frames), mask), None


def with_middle(backbone: StagedNetwork, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The maps, and those of the stage in the middle, ``[N, F', h', w']``: of a ResNet, its second of four."""
    stages = backbone.stages()
    middle = maps = backbone.prepare(frames)
    for number, stage in enumerate(stages):
        maps = backbone.run_stage(stage, maps)
        if number == (len(stages) - 1) // 2:
            middle = maps
    return maps, middle


def middle_features(model: ClipEmbedder) -> int:
    """Channels of the maps in the middle of the backbone, seen on a black frame."""
    frame = torch.zeros(1, 3, model.input_config.height, model.input_config.width)
    training = model.backbone.training
    with torch.no_grad():
        _, middle = with_middle(model.backbone.eval(), frame)
    model.backbone.train(training)
    return middle.shape[1]


def needs_clips(model: ClipEmbedder) -> str:
    """Why a network needs whole clips, as the beginning of a sentence; for one without `frame_head`."""
    if model.backbone.reads_clips:
        return f"the backbone {model.config.backbone} reads whole clips"
    return f"the head {model.config.head} reads whole feature maps"
