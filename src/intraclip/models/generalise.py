"""What makes features say less about the camera: frames of one mean and deviation, IBN-a, and MixStyle."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from intraclip.config import ModelConfig
from intraclip.errors import ConfigError
from intraclip.models.network import StagedNetwork

IBN_STAGES = ("layer1", "layer2", "layer3")


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


class InstanceBatchNorm(nn.BatchNorm2d):
    """Half of the channels by instance normalisation, half by batch normalisation (Pan, Luo, Shi, Tang, ECCV 2018).

    Its tensors have the names and shapes of plain batch normalisation, so ImageNet weights of a plain ResNet fit; the
    statistics of the first half are not used.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise maps ``[N, C, h, w]``."""
        half = self.num_features // 2
        first, second = torch.split(input, [half, self.num_features - half], dim=1)
        alone = F.instance_norm(first, weight=self.weight[:half], bias=self.bias[:half], eps=self.eps)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        if self.training:
            self.num_batches_tracked.add_(1)
        together = F.batch_norm(
            second,
            self.running_mean[half:],
            self.running_var[half:],
            self.weight[half:],
            self.bias[half:],
            self.training,
            self.momentum or 0.0,
            self.eps,
        )
        return torch.cat([alone, together], dim=1)


def generalise(network: StagedNetwork, config: ModelConfig) -> None:
    """Put in what a recipe asks for: IBN-a, MixStyle behind the second and the third stage; changed in place."""
    if config.ibn:
        _add_ibn(network, config.backbone)
    if config.mix_style:
        for stage in network.stages()[1:3]:
            stage[-1].register_forward_hook(MixStyle(config.mix_style))


def _add_ibn(network: nn.Module, name: str) -> None:
    stages = [getattr(network, stage, None) for stage in IBN_STAGES]
    if any(stage is None for stage in stages):
        raise ConfigError(
            f"model.ibn: {name} is no ResNet; set model.ibn = false, and model.standardise = true for the like of it"
        )
    for stage in stages:
        for block in stage.children():  # type: ignore[union-attr]
            block.bn1 = InstanceBatchNorm(block.bn1.num_features)


class MixStyle:
    """Mixes channel statistics of maps between the frames of a batch (Zhou, Yang, Qiao, Xiang, ICLR 2021).

    A forward hook of a stage in training mode. It draws from torch's global random state, which a step seeds.
    """

    CONCENTRATION = 0.1
    """Of the Beta distribution: most frames keep almost all of their statistics, or almost none."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, module: nn.Module, inputs: Any, maps: torch.Tensor) -> torch.Tensor | None:
        """None leaves the maps as they are."""
        if not module.training or float(torch.rand(())) >= self.share:
            return None
        mean = maps.mean(dim=(2, 3), keepdim=True)
        deviation = maps.std(dim=(2, 3), keepdim=True) + 1e-4
        other = torch.randperm(len(maps)).to(maps.device)
        beta = torch.distributions.Beta(self.CONCENTRATION, self.CONCENTRATION)
        kept = beta.sample((len(maps), 1, 1, 1)).to(maps)
        mixed_mean = (kept * mean + (1 - kept) * mean[other]).detach()
        mixed_deviation = (kept * deviation + (1 - kept) * deviation[other]).detach()
        return (maps - mean.detach()) / deviation.detach() * mixed_deviation + mixed_mean
