"""Networks of timm whose last stage does not shrink the maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from intraclip.errors import ConfigError
from intraclip.models.backbones.timm import TimmBody

_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def remove_last_stride(body: TimmBody, wanted: tuple[int, int]) -> None:
    """Let the last layers of stride 2 step by one.

    Args:
        body: in evaluation mode.
        wanted: height and width of the maps then, or one less.

    Raises:
        ConfigError: they are not all that shrinks in the last stage.
    """
    seen: list[tuple[int, nn.Module]] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.append((inputs[0].shape[2] * inputs[0].shape[3], module))

    strided = [m for m in body.network.modules() if isinstance(m, _STRIDED) and _pair(m.stride) == (2, 2)]
    hooks = [module.register_forward_hook(note) for module in strided]
    frame = torch.zeros(1, 3, *body.size)
    with torch.no_grad():
        body(frame)
        for hook in hooks:
            hook.remove()
        smallest = min((size for size, _ in seen), default=0)
        for size, module in seen:
            if size == smallest:
                module.stride = (1, 1)  # type: ignore[assignment]
                if isinstance(module, nn.AvgPool2d):
                    module.kernel_size = 1
        try:
            found = tuple(body(frame).shape[2:])
        except RuntimeError:
            found = ()
    # An odd map of h rows was made of 2 h or of 2 h - 1.
    if not found or any(not 0 <= double - side <= 1 for double, side in zip(wanted, found, strict=True)):
        raise ConfigError(
            f"model.backbone.last_stride: the last stage of {body.name} does not shrink by layers of stride 2 "
            "alone; only 2 is possible"
        )


def _pair(stride: Any) -> tuple[int, int]:
    return (stride, stride) if isinstance(stride, int) else tuple(stride)
