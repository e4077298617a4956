"""ResNets (He et al. 2016) from torchvision's blocks, with torchvision's key names."""

from __future__ import annotations

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from intraclip.models.backbones.settings import BackboneSettings
from intraclip.models.network import Stage, StagedNetwork


class _ResNet(StagedNetwork):
    """A stem of four modules, then four stages of residual blocks."""

    Settings = BackboneSettings

    def stages(self) -> list[Stage]:
        """The stem, then the four stages of residual blocks."""
        modules = list(self.children())
        return [tuple(modules[:4]), *((module,) for module in modules[4:])]

    def _block_modules(self) -> list[Stage]:
        stem, *layers = self.stages()
        first, *others = [block for (layer,) in layers for block in layer.children()]
        return [(*stem, first), *((block,) for block in others)]


class ResNet50(_ResNet):
    """torchvision's ResNet50 without its pooling and classifier; maps at 1/32 of the frame, 1/16 with last stride 1."""

    same_weights = ("last_stride", "width")
    imagenet = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
    num_features = 2048

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__()
        resnet = torchvision.models.resnet50(weights=None)
        if settings.last_stride == 1:
            resnet.layer4[0].conv2.stride = (1, 1)
            resnet.layer4[0].downsample[0].stride = (1, 1)
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(resnet, name))


class ResNet18(_ResNet):
    """ResNet18 (He et al. 2016) with a channel multiplier; at width 1 the keys and shapes are torchvision's.

    Maps at 1/32 of the frame, or 1/16 with last stride 1.
    """

    same_weights = ("last_stride",)
    imagenet = torchvision.models.ResNet18_Weights.IMAGENET1K_V1

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__()
        channels = [max(8, round(settings.width * c)) for c in (64, 128, 256, 512)]
        self.conv1 = nn.Conv2d(3, channels[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        previous = channels[0]
        for number, (out, stride) in enumerate(
            zip(channels, (1, 2, 2, settings.last_stride), strict=True), start=1
        ):
            self.add_module(f"layer{number}", _basic_stage(previous, out, stride))
            previous = out
        self.num_features = previous
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _basic_stage(previous: int, out: int, stride: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or previous != out:
        downsample = nn.Sequential(
            nn.Conv2d(previous, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
        )
    return nn.Sequential(BasicBlock(previous, out, stride, downsample), BasicBlock(out, out))
