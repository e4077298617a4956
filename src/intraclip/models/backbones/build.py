"""From a recipe's settings to a backbone."""

from __future__ import annotations

from intraclip.config import InputConfig, ModelConfig
from intraclip.core.settings import settings_of
from intraclip.errors import ConfigError
from intraclip.models.backbones import BACKBONES
from intraclip.models.network import StagedNetwork


def build_backbone(config: ModelConfig, input_config: InputConfig) -> StagedNetwork:
    """Build a backbone with random weights.

    Raises:
        ConfigError: the name or a setting is unknown, or the input is too small for it.
    """
    settings = settings_of(BACKBONES, config.backbone, config.backbone_settings)
    kind = BACKBONES.load(config.backbone)
    network: StagedNetwork = kind.build(config.backbone, input_config, settings)
    if min(input_config.height, input_config.width) < network.min_size:
        raise ConfigError(
            f"input: {input_config.height} x {input_config.width} is too small for {config.backbone}, which needs "
            f"at least {network.min_size} pixels each way"
        )
    return network
