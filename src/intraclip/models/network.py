"""What every backbone is: a network of frames that can be cut into stages and blocks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from intraclip.config import InputConfig
from intraclip.core.registry import NoSettings

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum


Stage = tuple[nn.Module, ...]


class StagedNetwork(nn.Module):
    """A backbone, ``[N, 3, H, W]`` -> ``[N, F, h, w]``: a chain of stages, made with its settings (see `build`).

    Attributes:
        Settings: dataclass of what a recipe can set, ``[model.backbone] name = ...``.
        same_weights: settings that leave names and shapes of the weights as they are.
        imagenet: torchvision's entry for its ImageNet weights, which are of width 1; None where there are none.
        num_features: F.
        min_size: smallest height and width in pixels that still leave a map.
        recompute: keep only the borders of the stages for the backward pass and compute the rest again
            (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
        unused: names of parameters that the maps do not depend on.
        own_loss: in training it has a loss of its own, which needs no other beside it.
        normalises: it brings frames itself into the form that its weights want.
        reads_clips: it is a `ClipNetwork`.
        anew: names of weights that the usual files of weights do not have; they stay as they were built.
    """

    Settings: ClassVar[type] = NoSettings
    same_weights: ClassVar[tuple[str, ...]] = ()
    imagenet: ClassVar[WeightsEnum | None] = None
    num_features: int
    min_size: ClassVar[int] = 1
    own_loss: ClassVar[bool] = False
    normalises: ClassVar[bool] = False
    reads_clips: ClassVar[bool] = False
    recompute = False
    unused: frozenset[str] = frozenset()
    anew: frozenset[str] = frozenset()

    @classmethod
    def build(cls, name: str, input_config: InputConfig, settings: Any) -> StagedNetwork:
        """Make one with random weights."""
        return cls(settings)

    def load_usual(self) -> str:
        """Fill it with usual weights beyond `imagenet`; says where they come from, and nothing where it has none."""
        return ""

    def load(
        self, state: Mapping[str, torch.Tensor], *, source: str, size: tuple[int, int] | None = None
    ) -> None:
        """Fill it with weights as its usual files have them; those of a classifier are left out.

        `size` is that of the frames that they were made for, where it is known.

        Raises:
            CheckpointError: they do not fit.
        """
        from intraclip.models.state_dicts import load_matching

        load_matching(self, state, source=source)

    def stages(self) -> list[Stage]:
        """The chain. No stage may begin with a layer that works in place: it would overwrite the border."""
        raise TypeError(f"{type(self).__name__} names no stages")

    def block_names(self) -> list[list[str]]:
        """Names of the parameters by block (of a ResNet, residual ones; else stages), in the order of their work.

        The stem, everything before the first block, counts to the first.
        """
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        found: list[list[str]] = []
        for block in self._block_modules():
            own = [names[id(parameter)] for module in block for parameter in module.parameters()]
            if own or not found:
                found.append(own)
        return found

    def _block_modules(self) -> list[Stage]:
        return self.stages()

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames ``[N, 3, H, W]`` -> maps ``[N, F, h, w]``."""
        maps = frames
        for stage in self.stages():
            maps = self.run_stage(stage, maps)
        return maps

    def prepare(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames as the first stage reads them."""
        return frames

    def run_stage(self, stage: Stage, maps: torch.Tensor) -> torch.Tensor:
        """What a stage makes of its input, `recompute` minded."""
        if not (self.recompute and torch.is_grad_enabled()):
            return _run_stage(stage, maps)
        from intraclip.models.second_pass import recomputed

        return recomputed(stage, partial(_run_stage, stage), maps)


def _run_stage(stage: Stage, maps: torch.Tensor) -> torch.Tensor:
    for module in stage:
        maps = module(maps)
    return maps
