"""Backbones: frames ``[N, 3, H, W]`` -> feature maps ``[N, F, h, w]``; or clips, see `clip_network`.

Those by name are built from torchvision's blocks and keep torchvision's key names, so that its ImageNet files load;
``timm:NAME`` is any network of timm (`intraclip.models.timm_backbones`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum
from torchvision.models.resnet import BasicBlock

from intraclip.config import TIMM, USUAL_WEIGHTS, InputConfig, ModelConfig
from intraclip.errors import CheckpointError, ConfigError
from intraclip.models.amoc import AMOCBody
from intraclip.models.network import Built, Stage, StagedNetwork
from intraclip.models.resnet3d import ResNet3D
from intraclip.models.state_dicts import load_matching, read_state_dict, reason
from intraclip.models.timm_backbones import TimmBody, build_timm, load_pretrained, load_state


class ResNetBody(StagedNetwork):
    """A torchvision ResNet without its pooling and classifier; maps at 1/32 of the frame, 1/16 with last stride 1."""

    def __init__(self, resnet: torchvision.models.ResNet) -> None:
        super().__init__()
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(resnet, name))

    def stages(self) -> list[Stage]:
        """The stem, then the four stages of residual blocks."""
        return _resnet_stages(self)

    def _block_modules(self) -> list[Stage]:
        return _resnet_blocks(self)


def _resnet_stages(network: nn.Module) -> list[Stage]:
    modules = list(network.children())
    return [tuple(modules[:4]), *((module,) for module in modules[4:])]


def _resnet_blocks(network: nn.Module) -> list[Stage]:
    stem, *layers = _resnet_stages(network)
    first, *others = [block for (layer,) in layers for block in layer.children()]
    return [(*stem, first), *((block,) for block in others)]


class BasicResNet(StagedNetwork):
    """ResNet18 (He et al. 2016) with a channel multiplier; at width 1 the keys and shapes are torchvision's.

    Maps at 1/32 of the frame, or 1/16 with last stride 1.
    """

    def __init__(self, *, width: float, last_stride: int) -> None:
        super().__init__()
        channels = [max(8, round(width * c)) for c in (64, 128, 256, 512)]
        self.conv1 = nn.Conv2d(3, channels[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        previous = channels[0]
        for number, (out, stride) in enumerate(zip(channels, (1, 2, 2, last_stride), strict=True), start=1):
            self.add_module(f"layer{number}", _basic_stage(previous, out, stride))
            previous = out
        self.num_features = previous
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self) -> list[Stage]:
        """The stem, then the four stages of residual blocks."""
        return _resnet_stages(self)

    def _block_modules(self) -> list[Stage]:
        return _resnet_blocks(self)


def _basic_stage(previous: int, out: int, stride: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or previous != out:
        downsample = nn.Sequential(
            nn.Conv2d(previous, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
        )
    return nn.Sequential(BasicBlock(previous, out, stride, downsample), BasicBlock(out, out))


class InceptionBody(StagedNetwork):
    """torchvision's Inception v3 up to the last mixed block; maps of 6 x 2 for frames of 256 x 128."""

    def __init__(self, inception: torchvision.models.Inception3) -> None:
        super().__init__()
        for name, module in inception.named_children():
            if name not in ("AuxLogits", "avgpool", "dropout", "fc"):
                self.add_module(name, module)

    def stages(self) -> list[Stage]:
        """One a convolution, pooling or mixed block."""
        return [(module,) for module in self.children()]


class AlexNetBody(StagedNetwork):
    """torchvision's AlexNet up to its last pooling: F = 256, maps of 7 x 3 for frames of 256 x 128.

    The three FC layers fix the input size; they go.
    """

    def __init__(self, alexnet: torchvision.models.AlexNet) -> None:
        super().__init__()
        self.features = alexnet.features

    def stages(self) -> list[Stage]:
        """Each ends with a pooling."""
        modules = list(self.features.children())
        return [tuple(modules[:3]), tuple(modules[3:6]), tuple(modules[6:])]


class SmallNet(StagedNetwork):
    """Four strided convolutions with batch normalisation: for tests and quick looks on a CPU. Maps at 1/16."""

    def __init__(self, *, width: float) -> None:
        super().__init__()
        channels = [3, *(max(8, round(width * c)) for c in (32, 64, 96, 128))]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(b),
                    nn.ReLU(inplace=True),
                )
                for a, b in itertools.pairwise(channels)
            )
        )
        self.num_features = channels[-1]

    def stages(self) -> list[Stage]:
        """One a convolution."""
        return [(block,) for block in self.blocks.children()]


def _resnet50(config: ModelConfig) -> Built:
    resnet = torchvision.models.resnet50(weights=None)
    if config.last_stride == 1:
        resnet.layer4[0].conv2.stride = (1, 1)
        resnet.layer4[0].downsample[0].stride = (1, 1)
    return Built(ResNetBody(resnet), 2048, 1)


def _resnet18(config: ModelConfig) -> Built:
    network = BasicResNet(width=config.width, last_stride=config.last_stride)
    return Built(network, network.num_features, 1)


def _inception_v3(config: ModelConfig) -> Built:
    # transform_input would undo ImageNet's normalisation for the original TensorFlow weights; frames here are
    # normalised by the recipe. init_weights draws a truncated normal for every layer, which takes a minute.
    inception = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=False)
    return Built(InceptionBody(inception), 2048, 75)


def _alexnet(config: ModelConfig) -> Built:
    return Built(AlexNetBody(torchvision.models.alexnet(weights=None)), 256, 63)


def _small(config: ModelConfig) -> Built:
    network = SmallNet(width=config.width)
    return Built(network, network.num_features, 1)


def _resnet50_3d(config: ModelConfig) -> Built:
    network = ResNet3D(width=config.width, last_stride=config.last_stride)
    return Built(network, network.num_features, 1)


def _amoc(config: ModelConfig) -> Built:
    network = AMOCBody(width=config.width)
    return Built(network, network.num_features, 16)


BACKBONES: dict[str, Callable[[ModelConfig], Built]] = {
    "resnet50": _resnet50,
    "inception_v3": _inception_v3,
    "alexnet": _alexnet,
    "resnet18": _resnet18,
    "small": _small,
    "resnet50_3d": _resnet50_3d,
    "amoc": _amoc,
}


def build_backbone(config: ModelConfig, input_config: InputConfig) -> Built:
    """Build a backbone with random weights.

    Raises:
        ConfigError: the name is unknown, or the input is too small for it.
    """
    if config.backbone.startswith(TIMM):
        return build_timm(config, input_config)
    if config.backbone not in BACKBONES:
        raise ConfigError(
            f"model.backbone: {config.backbone!r} is not one of {', '.join(BACKBONES)}, nor {TIMM}NAME"
        )
    built = BACKBONES[config.backbone](config)
    if min(input_config.height, input_config.width) < built.min_size:
        raise ConfigError(
            f"input: {input_config.height} x {input_config.width} is too small for {config.backbone}, which needs "
            f"at least {built.min_size} pixels each way"
        )
    return built


def load_backbone_weights(network: nn.Module, config: ModelConfig) -> str:
    """Fill a backbone as `config.weights` says: with its usual weights, from a local file, or not at all.

    Args:
        network: what `build_backbone` made; changed in place.
        config: `backbone` and `weights` are read.

    Returns:
        Where they came from, for people; empty for random weights.

    Raises:
        ConfigError: there are no ImageNet weights for this backbone or width.
        CheckpointError: the file is missing, unreadable, or has other keys or shapes; or it cannot be downloaded.
    """
    if not config.weights:
        return ""
    usual = config.weights in USUAL_WEIGHTS
    if isinstance(network, TimmBody) and usual:
        return load_pretrained(network)
    state = _imagenet_state(config) if usual else read_state_dict(Path(config.weights))
    source = f"torchvision's ImageNet weights of {config.backbone}" if usual else config.weights
    if isinstance(network, TimmBody):
        load_state(network, state, source=source)
    else:
        load_matching(network, state, source=source)
    return source


def imagenet_weights(config: ModelConfig) -> WeightsEnum:
    """The entry of torchvision for the ImageNet weights of a backbone: its address, size and digest.

    Raises:
        ConfigError: there are none for a backbone of this width.
    """
    if config.backbone in ("small", "amoc") or (
        config.backbone in ("resnet18", "resnet50_3d") and config.width != 1
    ):
        raise ConfigError(
            f"model.weights: there are no ImageNet weights for {config.backbone} of width {config.width}; "
            'set model.weights = "" for random weights'
        )
    found: WeightsEnum = torchvision.models.get_model_weights(config.backbone.removesuffix("_3d"))[
        "IMAGENET1K_V1"
    ]
    return found


def _imagenet_state(config: ModelConfig) -> Mapping[str, torch.Tensor]:
    weights = imagenet_weights(config)
    try:
        state: Mapping[str, torch.Tensor] = weights.get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise CheckpointError(
            f"torchvision's ImageNet weights of {config.backbone} cannot be downloaded ({error}); fetch {weights.url} "
            "on a machine with internet access and set model.weights to the file"
        ) from None
    except Exception as error:  # what a damaged file makes pickle raise is anything
        raise CheckpointError(
            f"torchvision's ImageNet weights of {config.backbone} cannot be read ({reason(error)}); delete "
            f"{Path(torch.hub.get_dir()) / 'checkpoints' / Path(weights.url).name} and try again"
        ) from None
    return state
