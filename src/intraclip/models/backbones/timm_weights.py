"""Weights of networks of timm: of an installed package, from timm's own source, or of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from intraclip.config import TIMM
from intraclip.core.extras import require_extra
from intraclip.errors import CheckpointError, ConfigError, first_line
from intraclip.models.backbones.timm import TimmBody, check_name, create
from intraclip.models.packaged import PACKAGES, packaged_weights


def load_usual(body: TimmBody) -> str:
    """Fill a network with its usual weights: those of an installed package, else from timm's own source.

    Returns:
        Where they come from, for people.

    Raises:
        CheckpointError: they cannot be downloaded.
        ConfigError: there are none.
    """
    name = body.name.removeprefix(TIMM)
    packaged = packaged_weights(name)
    if packaged is not None:
        _fill(body, packaged.read(body.network), source=str(packaged))
        return str(packaged)
    place = usual_place(name)
    hint = f", or install {PACKAGES[name].distribution} (extra weights)" if name in PACKAGES else ""
    try:
        with torch.random.fork_rng(devices=[]):
            twin = create(name, body.size, pretrained=True).state_dict()
    except Exception as error:  # hub, requests and timm raise kinds of their own when there is no internet
        raise CheckpointError(
            f"timm's weights of {name} cannot be had ({first_line(error)}); fetch {place} on a machine with "
            f"internet access and set model.weights to the file{hint}"
        ) from None
    body.network.load_state_dict({k: v for k, v in twin.items() if k in body.network.state_dict()})
    return f"timm's weights of {name} ({place})"


def load(
    body: TimmBody, state: Mapping[str, torch.Tensor], *, source: str, size: tuple[int, int] | None
) -> None:
    """Fill a network with weights in timm's layout; see `TimmBody.load`."""
    learned, own = state.get("pos_embed"), body.network.state_dict().get("pos_embed")
    if size is not None and learned is not None and own is not None and learned.shape != own.shape:
        from timm.layers.pos_embed import resample_abs_pos_embed

        places: Any = body.network.patch_embed
        grid = [side // patch for side, patch in zip(size, places.patch_size, strict=True)]
        prefix = learned.shape[1] - grid[0] * grid[1]
        fitted = resample_abs_pos_embed(learned, list(places.grid_size), grid, num_prefix_tokens=prefix)
        state = {**state, "pos_embed": fitted}
    _fill(body, state, source=source)


def _fill(body: TimmBody, state: Mapping[str, torch.Tensor], *, source: str) -> None:
    own = body.network.state_dict()
    if not all(name in state and state[name].shape == tensor.shape for name, tensor in own.items()):
        try:  # timm knows older names, and fits position embeddings to the frame
            with torch.random.fork_rng(devices=[]):
                state = create(body.name.removeprefix(TIMM), body.size, state=state).state_dict()
        except Exception as error:  # a filter meets keys that it does not expect
            raise CheckpointError(
                f"{source} does not fit the backbone {body.name}: {first_line(error)}"
            ) from None
    body.network.load_state_dict({name: state[name] for name in own})


def usual_place(name: str) -> str:
    """Where timm has the weights of a network: a name on the hub, or an address.

    Raises:
        ConfigError: it has none, or no such network.
    """
    check_name(name)
    timm = require_extra("timm", extra="timm", purpose=f"{TIMM}{name}")
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    place = config.hf_hub_id or config.url
    if not place:
        raise ConfigError(
            f"model.weights: timm has no pretrained weights of {name}; give a file, or nothing for random weights"
        )
    return str(place)
