"""Heads: how the feature maps of a clip become one embedding. One file a method."""

from __future__ import annotations

from collections.abc import Callable

from intraclip.config import ModelConfig
from intraclip.errors import ConfigError
from intraclip.models.heads.base import Head as Head
from intraclip.models.heads.base import HeadOutput as HeadOutput
from intraclip.models.heads.ica import ICA
from intraclip.models.heads.tap import TAP

HEADS: dict[str, Callable[[int, ModelConfig], Head]] = {
    "tap": lambda features, config: TAP(features),
    "ica": lambda features, config: ICA(
        features,
        reduction=config.ica_reduction,
        expansion=config.ica_expansion,
        order=config.ica_order,
    ),
}


def build_head(num_features: int, config: ModelConfig) -> Head:
    """Build the head that `config.head` names.

    Raises:
        ConfigError: unknown name.
    """
    if config.head not in HEADS:
        raise ConfigError(f"model.head: {config.head!r} is not one of {', '.join(HEADS)}")
    return HEADS[config.head](num_features, config)
