"""Backbones: frames ``[N, 3, H, W]`` -> feature maps ``[N, F, h, w]``.

Each is built from torchvision's blocks and keeps torchvision's key names, so that its ImageNet files load.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
import torchvision
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint
from torchvision.models import WeightsEnum
from torchvision.models.resnet import BasicBlock

from intraclip.config import InputConfig, ModelConfig
from intraclip.errors import CheckpointError, ConfigError


class Built(NamedTuple):
    """A backbone without weights.

    Attributes:
        network: ``[N, 3, H, W]`` -> ``[N, F, h, w]``.
        num_features: F.
        min_size: smallest height and width in pixels that still leave a map.
    """

    network: StagedNetwork
    num_features: int
    min_size: int


Stage = tuple[nn.Module, ...]


class StagedNetwork(nn.Module):
    """A network that is a chain of stages.

    Attributes:
        recompute: keep only the borders of the stages for the backward pass and compute the rest again
            (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
    """

    recompute = False

    def stages(self) -> list[Stage]:
        """The chain. No stage may begin with a layer that works in place: it would overwrite the border."""
        raise TypeError(f"{type(self).__name__} names no stages")

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames ``[N, 3, H, W]`` -> maps ``[N, F, h, w]``."""
        maps = frames
        for stage in self.stages():
            if self.recompute and torch.is_grad_enabled():
                maps = checkpoint(
                    _run_stage, stage, maps, use_reentrant=False, context_fn=partial(_recomputing, stage)
                )
            else:
                maps = _run_stage(stage, maps)
        return maps


def _run_stage(stage: Stage, maps: torch.Tensor) -> torch.Tensor:
    for module in stage:
        maps = module(maps)
    return maps


def _recomputing(stage: Stage) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), frozen_statistics(stage)


@contextmanager
def frozen_statistics(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Batch normalisation inside `modules` uses a batch's statistics as ever, but does not remember them.

    For a second pass over a batch whose first one was counted already.
    """
    norms = [m for module in modules for m in module.modules() if isinstance(m, _NormBase)]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked.clone() for norm in norms if norm.num_batches_tracked is not None]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        counted = (norm for norm in norms if norm.num_batches_tracked is not None)
        for norm, count in zip(counted, counts, strict=True):
            norm.num_batches_tracked.copy_(count)  # type: ignore[union-attr]


class ResNetBody(StagedNetwork):
    """A torchvision ResNet without its pooling and classifier; maps at 1/32 of the frame, 1/16 with last stride 1."""

    def __init__(self, resnet: torchvision.models.ResNet) -> None:
        super().__init__()
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(resnet, name))

    def stages(self) -> list[Stage]:
        """The stem, then the four stages of residual blocks."""
        return _resnet_stages(self)


def _resnet_stages(network: nn.Module) -> list[Stage]:
    modules = list(network.children())
    return [tuple(modules[:4]), *((module,) for module in modules[4:])]


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


BACKBONES: dict[str, Callable[[ModelConfig], Built]] = {
    "resnet50": _resnet50,
    "inception_v3": _inception_v3,
    "alexnet": _alexnet,
    "resnet18": _resnet18,
    "small": _small,
}

_CLASSIFIER_PREFIXES = ("fc.", "classifier.", "AuxLogits.")


def build_backbone(config: ModelConfig, input_config: InputConfig) -> Built:
    """Build a backbone with random weights.

    Raises:
        ConfigError: the name is unknown, or the input is too small for it.
    """
    if config.backbone not in BACKBONES:
        raise ConfigError(f"model.backbone: {config.backbone!r} is not one of {', '.join(BACKBONES)}")
    built = BACKBONES[config.backbone](config)
    if min(input_config.height, input_config.width) < built.min_size:
        raise ConfigError(
            f"input: {input_config.height} x {input_config.width} is too small for {config.backbone}, which needs "
            f"at least {built.min_size} pixels each way"
        )
    return built


def load_backbone_weights(network: nn.Module, config: ModelConfig) -> None:
    """Fill a backbone as `config.weights` says: from torchvision's ImageNet file, a local file, or not at all.

    Args:
        network: what `build_backbone` made; changed in place.
        config: `backbone` and `weights` are read.

    Raises:
        ConfigError: there are no ImageNet weights for this backbone or width.
        CheckpointError: the file is missing, unreadable, or has other keys or shapes.
    """
    if not config.weights:
        return
    if config.weights == "imagenet":
        state = _imagenet_state(config)
        source = f"torchvision's ImageNet weights of {config.backbone}"
    else:
        state = read_state_dict(Path(config.weights))
        source = config.weights
    load_matching(network, state, source=source)


def load_matching(network: nn.Module, state: Mapping[str, torch.Tensor], *, source: str) -> None:
    """Load a state dict with torchvision's key names; the classifier's keys are left out.

    Raises:
        CheckpointError: keys are missing or unknown, or shapes differ; all of them are listed.
    """
    body = {k.removeprefix("module."): v for k, v in state.items()}
    body = {k: v for k, v in body.items() if not k.startswith(_CLASSIFIER_PREFIXES)}
    own = network.state_dict()
    missing = [k for k in own if k not in body and not k.endswith("num_batches_tracked")]
    unknown = [k for k in body if k not in own]
    shapes = [
        f"{k}: {tuple(body[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in body and body[k].shape != own[k].shape
    ]
    if missing or unknown or shapes:
        lines = [
            f"  {len(found)} {what}: {', '.join(found[:4])}{', ...' if len(found) > 4 else ''}"
            for what, found in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
            if found
        ]
        raise CheckpointError(f"{source} does not fit the backbone:\n" + "\n".join(lines))
    network.load_state_dict(body, strict=False)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read a .safetensors file, or a .pth file without running any pickled code.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something other than tensors by name.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no weights file {path}; give 'imagenet', a file, or nothing")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        # Training scripts, torchvision's among them, keep their options beside the weights. A Namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds for a damaged file
        raise CheckpointError(f"{path} cannot be read as weights: {_reason(error)}") from None
    for key in ("state_dict", "model"):  # where training scripts, torchvision's among them, keep the weights
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no tensors by name, but {type(state).__name__}")
    return {str(k): v for k, v in state.items()}


def _reason(error: Exception) -> str:
    """Why a file could not be read, in one sentence: torch's own runs over many lines, with colours of a terminal."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    if found := re.search(r"Unsupported global: GLOBAL (\S+)", text):
        return (
            f"it holds {found[1]} beside tensors, which could run code; save the state_dict alone, in Python: "
            'torch.save(model.state_dict(), "weights.pth")'
        )
    if found := re.search(
        r"WeightsUnpickler error:\s*(.+)", text
    ):  # the rest of it advises to trust the file
        return f"it is damaged, or holds more than tensors by name ({found[1].strip()})"
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)


def imagenet_weights(config: ModelConfig) -> WeightsEnum:
    """The entry of torchvision for the ImageNet weights of a backbone: its address, size and digest.

    Raises:
        ConfigError: there are none for a backbone of this width.
    """
    if config.backbone == "small" or (config.backbone == "resnet18" and config.width != 1):
        raise ConfigError(
            f"model.weights: there are no ImageNet weights for {config.backbone} of width {config.width}; "
            'set model.weights = "" for random weights'
        )
    found: WeightsEnum = torchvision.models.get_model_weights(config.backbone)["IMAGENET1K_V1"]
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
            f"torchvision's ImageNet weights of {config.backbone} cannot be read ({_reason(error)}); delete "
            f"{Path(torch.hub.get_dir()) / 'checkpoints' / Path(weights.url).name} and try again"
        ) from None
    return state
