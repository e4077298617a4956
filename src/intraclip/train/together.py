"""What a training in several processes needs beyond one: shares of a batch, gradients, numbers to log."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from intraclip.config import Recipe
from intraclip.core.distributed import World
from intraclip.errors import ConfigError


def check_division(recipe: Recipe, world: World) -> None:
    """Refuse a batch whose identities, or a process's clips in pieces, cannot be divided."""
    identities, clips = recipe.batch.identities, recipe.batch.clips
    if identities % world.size:
        raise ConfigError(
            f"batch.identities: {identities} cannot be divided among {world.size} processes; choose a multiple"
        )
    own = identities * clips // world.size
    if own % recipe.step.pieces:
        raise ConfigError(f"step.pieces: {recipe.step.pieces} must divide the {own} clips of a process")


def sharing_gradients(model: nn.Module, device: torch.device) -> DistributedDataParallel:
    """The network, so that processes exchange the gradients of what learns now."""
    devices = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True)


def mean_over_processes(values: torch.Tensor, world: World) -> torch.Tensor:
    """The mean of what all processes bring."""
    dist.all_reduce(values)
    return values / world.size
