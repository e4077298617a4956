"""Settings of the heads. No torch in here: recipes are read without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from intraclip.core.registry import NoSettings
from intraclip.core.settings import bounded


@dataclass(frozen=True, kw_only=True)
class DRSASettings:
    """Settings of the head ``drsa``."""

    penalty: Literal["frame", "batch"] = "frame"
    """What one root of the penalty is taken over: a frame, or, as in the authors' code, the whole batch."""


@dataclass(frozen=True, kw_only=True)
class ICASettings:
    """Settings of the head ``ica``."""

    reduction: int = bounded(4, 1)
    """The bottleneck: F to F / reduction (first public version of the paper, Fig. 2)."""
    expansion: int = bounded(2, 1)
    """The output: the bottleneck times expansion."""
    order: Literal["fc-relu-bn", "fc-bn-relu"] = "fc-relu-bn"
    """Order inside the first block; the paper does not draw it, docs/results.md compares. The last block is FC-BN."""


@dataclass(frozen=True, kw_only=True)
class QANSettings:
    """Settings of the head ``qan``."""

    quality: Literal["last", "middle"] = "last"
    """Where a frame's quality is read from: its vector, or as published the maps in the middle of the backbone."""


@dataclass(frozen=True, kw_only=True)
class StripesSettings:
    """Settings of the head ``stripes``."""

    stripes: int = bounded(2, 1)
    """Horizontal stripes that are averaged besides the whole map."""
    embedding_size: int = bounded(256, 1)
    """Size of the embedding."""


@dataclass(frozen=True, kw_only=True)
class TRLSettings:
    """Settings of the head ``trl``."""

    transformer: bool = False
    """Align the frames by the paper's spatial-temporal transformer; the backbone reads them twice."""


TAPSettings = GaoTASettings = GaoRNNSettings = STMPSettings = STASettings = GLTRSettings = NoSettings
NonLocal3DSettings = AMOCSettings = AMOCRNNSettings = TemporalTransformerSettings = GeMSettings = NoSettings
