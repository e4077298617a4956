"""ResNet50 inflated to separable 3-D convolutions, with non-local blocks inside (Liao et al., ACCV 2018)."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import ResNet50_Weights

from intraclip.models.backbones.settings import ResNet3DSettings
from intraclip.models.clip_network import ClipNetwork, Run
from intraclip.models.heads.sequence import NonLocal, with_neighbours
from intraclip.models.network import Stage

BLOCKS = (3, 4, 6, 3)
"""Residual blocks in each stage of ResNet50."""

NON_LOCAL = {(2, 1), (2, 3), (3, 1), (3, 3), (3, 5)}
"""Stage and block that a non-local block follows: every other block of the second and third stage."""

EXPANSION = 4


class OverTime(nn.Module):
    """A convolution over time, 3 x 1 x 1, of maps ``[B T, C, h, w]``; zeros beyond the ends of a clip.

    It starts as the identity: an inflated network starts from its 2-D self.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3 * channels, channels, 1, bias=False)
        self.channels = channels
        self.reset()

    def reset(self) -> None:
        """Back to the identity."""
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[:, self.channels : 2 * self.channels, 0, 0] = torch.eye(self.channels)

    def forward(self, maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Maps and the mask ``[B, T]`` -> maps of the same shape."""
        clips = maps.reshape(*mask.shape, *maps.shape[1:])
        convolved: torch.Tensor = self.conv(with_neighbours(clips, mask))
        return convolved


class Bottleneck3D(nn.Module):
    """torchvision's bottleneck with its 3 x 3 convolution taken apart: 1 x 3 x 3 over space, 3 x 1 x 1 over time.

    Args:
        inputs: channels that come in.
        inner: channels inside; 4 times as many come out.
        stride: over space. Time keeps its length.
        attention: a non-local block follows.
    """

    def __init__(self, inputs: int, inner: int, *, stride: int, attention: bool) -> None:
        super().__init__()
        outputs = EXPANSION * inner
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.over_time = OverTime(inner)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else None
        )
        self.attention = NonLocal(outputs, outputs // 2) if attention else None

    def forward(self, maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Maps ``[B T, C, h, w]`` and the mask ``[B, T]`` -> ``[B T, C', h', w']``."""
        kept = maps if self.downsample is None else self.downsample(maps)
        inner = self.bn1(self.conv1(maps)).relu()
        inner = self.bn2(self.over_time(self.conv2(inner), mask)).relu()
        out: torch.Tensor = (self.bn3(self.conv3(inner)) + kept).relu()
        return out if self.attention is None else attend(self.attention, out, mask)


def attend(block: NonLocal, maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A non-local block over all positions of all frames of a clip: maps ``[B T, C, h, w]`` -> the same shape."""
    rows, columns = maps.shape[2], maps.shape[3]
    tokens = maps.permute(0, 2, 3, 1).reshape(mask.shape[0], -1, maps.shape[1])
    attended: torch.Tensor = block(tokens, mask.repeat_interleave(rows * columns, dim=1))
    return attended.reshape(-1, rows, columns, maps.shape[1]).permute(0, 3, 1, 2)


class Layer(nn.Sequential):
    """Blocks one after another, each with the mask."""

    def forward(self, maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """See `Bottleneck3D.forward`."""
        for block in self:
            maps = block(maps, mask)
        return maps


class ResNet3D(ClipNetwork):
    """The whole ResNet50 inflated: every k x k convolution becomes one over space, then one of 3 frames over time.

    Five non-local blocks over all positions of all frames stand behind blocks of the second and third stage; see
    `NON_LOCAL`. What comes out is averaged over space and time, as the head ``tap`` does.

    Source: the paper's abstract and text for separable 3-D convolutions in place of all of ResNet50's and for the
    non-local block; public code that compares with it for where the five stand; **from memory** that the two halves of
    a convolution have no normalisation between them. At width 1 the names and shapes of what is not new are
    torchvision's, whose ImageNet weights load; convolutions over time and non-local blocks start as the identity.

    Args:
        settings: width and last stride.
        blocks: residual blocks in each stage; a non-local block goes with its residual block.
    """

    Settings = ResNet3DSettings
    same_weights = ("last_stride",)
    imagenet = ResNet50_Weights.IMAGENET1K_V1

    def __init__(self, settings: ResNet3DSettings, *, blocks: tuple[int, int, int, int] = BLOCKS) -> None:
        super().__init__()
        inner = [max(8, round(settings.width * c)) for c in (64, 128, 256, 512)]
        self.conv1 = nn.Conv2d(3, inner[0], 7, stride=2, padding=3, bias=False)
        self.over_time = OverTime(inner[0])
        self.bn1 = nn.BatchNorm2d(inner[0])
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = inner[0]
        for stage, (count, size, stride) in enumerate(
            zip(blocks, inner, (1, 2, 2, settings.last_stride), strict=True), start=1
        ):
            layer = [
                Bottleneck3D(
                    channels if number == 0 else EXPANSION * size,
                    size,
                    stride=stride if number == 0 else 1,
                    attention=(stage, number) in NON_LOCAL,
                )
                for number in range(count)
            ]
            self.add_module(f"layer{stage}", Layer(*layer))
            channels = EXPANSION * size
        self.num_features = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, OverTime):
                module.reset()
        self.anew = frozenset(
            name for name in self.state_dict() if "over_time." in name or "attention." in name
        )

    def stages(self) -> list[Stage]:
        """The stem, then the four stages of residual blocks."""
        return [(self.conv1, self.over_time, self.bn1, self.maxpool), *((layer,) for layer in self._layers())]

    def runs(self) -> list[Run]:
        """See `ClipNetwork.runs`."""
        return [self._stem, *self._layers()]

    def _block_modules(self) -> list[Stage]:
        first, *others = [block for layer in self._layers() for block in layer]
        return [(*self.stages()[0], first), *((block,) for block in others)]

    def _layers(self) -> list[Layer]:
        return [layer for layer in self.children() if isinstance(layer, Layer)]

    def _stem(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.maxpool(self.bn1(self.over_time(self.conv1(frames), mask)).relu())
        return pooled
