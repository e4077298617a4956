"""A running average of a network's weights and statistics, where a recipe asks for one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


class RunningAverage:
    """Follows a network from step to step, and keeps `share` of what it had at each (`OptimizerConfig.average`).

    Attributes:
        values: averaged tensors, by their names in the network.
    """

    def __init__(self, model: nn.Module, share: float) -> None:
        self.model, self.share = model, share
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Come nearer to the weights: at once in the first steps, slowly later on."""
        nearer = 1 - min(self.share, (1 + step) / (10 + step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, nearer)
            else:
                self.values[name].copy_(value)

    def load(self, values: Mapping[str, torch.Tensor]) -> None:
        """Go on from `values` of an earlier time."""
        for name, value in values.items():
            self.values[name].copy_(value)
