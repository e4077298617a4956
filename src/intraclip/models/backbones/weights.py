"""The first weights of a backbone: its usual ones, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torchvision.models import WeightsEnum

from intraclip.config import USUAL_WEIGHTS, ModelConfig
from intraclip.core.settings import differing, settings_of
from intraclip.errors import CheckpointError, ConfigError
from intraclip.models.backbones import BACKBONES
from intraclip.models.network import StagedNetwork
from intraclip.models.state_dicts import read_state_dict, reason


def load_backbone_weights(network: StagedNetwork, config: ModelConfig) -> str:
    """Fill a backbone as `config.weights` says: with its usual weights, from a local file, or not at all.

    Returns:
        Where they came from, for people; empty for random weights.
    """
    if not config.weights:
        return ""
    if config.weights in USUAL_WEIGHTS:
        if own := network.load_usual():
            return own
        state, source = _imagenet_state(config), f"torchvision's ImageNet weights of {config.backbone}"
    else:
        state, source = read_state_dict(Path(config.weights)), config.weights
    network.load(state, source=source)
    return source


def imagenet_weights(config: ModelConfig) -> WeightsEnum:
    """The entry of torchvision for the ImageNet weights of a backbone: its address, size and digest.

    Raises:
        ConfigError: there are none for a backbone of these settings.
    """
    settings = settings_of(BACKBONES, config.backbone, config.backbone_settings)
    kind = BACKBONES.load(config.backbone)
    found: WeightsEnum | None = kind.imagenet
    if found is None or ("width" not in kind.same_weights and settings.width != 1):
        told = "".join(f" of {key} {value}" for key, value in differing(settings).items())
        raise ConfigError(
            f"model.weights: there are no ImageNet weights for {config.backbone}{told}; "
            'set model.weights = "" for random weights'
        )
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
