"""Settings of the backbones of the first version. No torch in here: recipes are read without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from intraclip.core.settings import bounded


@dataclass(frozen=True, kw_only=True)
class BackboneSettings:
    """All of them take both, also where they do not read one, because their fingerprints tell it."""

    last_stride: Literal[1, 2] = 2
    """Stride of the last stage, of ResNets and networks of timm; 1 keeps maps twice as large."""
    width: float = bounded(1.0, 0, above=True)
    """Channel multiplier, of resnet18 and small."""


ResNet50Settings = ResNet18Settings = InceptionV3Settings = AlexNetSettings = BackboneSettings
SmallNetSettings = TimmBodySettings = BackboneSettings
