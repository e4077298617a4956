"""From a recipe's settings to a backbone and a head."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from intraclip.config import InputConfig, ModelConfig
from intraclip.core.settings import differing, settings_of
from intraclip.errors import ConfigError
from intraclip.models.backbones import BACKBONES
from intraclip.models.heads import HEADS
from intraclip.models.heads.base import FrameHead, Head
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


def build_head(num_features: int, config: ModelConfig) -> Head:
    """Build the head that `config.head` names, with the neck that `config.neck` asks for.

    Raises:
        ConfigError: unknown name, or settings that the head does not have.
    """
    settings = settings_of(HEADS, config.head, config.head_settings)
    head: Head = HEADS.load(config.head)(num_features, **asdict(settings))
    if not head.weights_tell:
        head.told = differing(settings)
    if config.pooling == "gem":
        if not isinstance(head, FrameHead):
            raise ConfigError(
                f"model.pooling: the head {config.head} does not read one vector a frame alone; leave it at mean"
            )
        from intraclip.models.heads.gem import SpaceGeM

        head.pool_space_with(SpaceGeM())
    if config.neck == "none":
        return head
    from intraclip.models.heads.neck import FrameNeck, Neck

    search_before = config.neck_test == "before"
    if isinstance(head, FrameHead):
        return FrameNeck(head, search_before=search_before)
    return Neck(head, search_before=search_before)


def triplet_vector(config: ModelConfig) -> Literal["embedding", "pooled"]:
    """`triplet_reads` with `auto` decided, as the head says."""
    if config.triplet_reads == "auto":
        return "pooled" if HEADS.load(config.head).triplet_reads == "pooled" else "embedding"
    return config.triplet_reads
