"""Settings of the backbones. No torch in here: recipes are read without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from intraclip.core.settings import bounded


@dataclass(frozen=True, kw_only=True)
class BackboneSettings:
    """Those of the first version take both, also where they do not read one, because their fingerprints tell it."""

    last_stride: Literal[1, 2] = 2
    """Stride of the last stage, of ResNets and networks of timm; 1 keeps maps twice as large."""
    width: float = bounded(1.0, 0, above=True)
    """Channel multiplier, of resnet18 and small."""


@dataclass(frozen=True, kw_only=True)
class AMOCBodySettings:
    """Settings of the backbone ``amoc``."""

    width: float = bounded(1.0, 0, above=True)
    """Channel multiplier."""
    flow_weight: float = bounded(1.0, 0)
    """Weight of the loss on flow; 0 leaves the flow to what re-identification makes of it."""


@dataclass(frozen=True, kw_only=True)
class ResNet3DSettings:
    """Settings of the backbone ``resnet50_3d``."""

    last_stride: Literal[1, 2] = 2
    """Stride of the last stage over space; 1 keeps maps twice as large."""
    width: float = bounded(1.0, 0, above=True)
    """Channel multiplier."""


ResNet50Settings = ResNet18Settings = InceptionV3Settings = AlexNetSettings = BackboneSettings
SmallNetSettings = TimmBodySettings = BackboneSettings
