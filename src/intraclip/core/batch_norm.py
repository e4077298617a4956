"""Batch normalisation over the clips of all processes of a training."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from intraclip.core.distributed import World


def synchronise_batch_norm(model: nn.Module, world: World) -> nn.Module:
    """Make every batch normalisation count the clips of all processes; keys of the weights stay."""
    if world.device.type == "cuda":
        if any(isinstance(m, _BatchNorm) and m._modules for m in model.modules()):
            # timm's layers normalise and activate; torch's own conversion would lose the activation.
            from timm.layers.norm_act import convert_sync_batchnorm

            with_activation: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
            return with_activation
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, GlobalBatchNorm(child, world))
    return model


class GlobalBatchNorm(_BatchNorm):
    """Batch normalisation over all processes, on any device; torch's own `SyncBatchNorm` wants GPUs.

    Args:
        local: the layer that it takes the place of; its parameters and statistics are taken over, not copied, and so is
            what it does after normalising (timm's activations).
        world: the processes; all have batches of one size.
    """

    def __init__(self, local: _BatchNorm, world: World) -> None:
        super().__init__(
            local.num_features, local.eps, local.momentum, local.affine, local.track_running_stats
        )
        self._parameters, self._buffers = local._parameters, local._buffers
        self._modules = local._modules
        self.world = world
        self.train(local.training)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch normalisation wants [N, C, ...], got {tuple(input.shape)}")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise ``[N, C, ...]``."""
        return self._activate(self._normalise(input))

    def _activate(self, normal: torch.Tensor) -> torch.Tensor:
        for module in self._modules.values():
            if module is not None:
                normal = module(normal)
        return normal

    def _normalise(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        given, input = input.dtype, input.float()  # under autocast sums of bf16 would lose too much
        dims = [d for d in range(input.ndim) if d != 1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        count = input.numel() // input.shape[1] * self.world.size
        mean = _AllSum.apply(input.sum(dims)) / count
        centred = input - mean.view(shape)
        variance = _AllSum.apply(centred.square().sum(dims)) / count
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                momentum = self.momentum if self.momentum is not None else 0.1
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        normal: torch.Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(given)


class _AllSum(torch.autograd.Function):
    """Sum over processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total
