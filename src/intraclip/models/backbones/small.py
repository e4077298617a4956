"""A network for tests and quick looks on a CPU."""

from __future__ import annotations

import itertools

from torch import nn

from intraclip.models.backbones.settings import BackboneSettings
from intraclip.models.network import Stage, StagedNetwork


class SmallNet(StagedNetwork):
    """Four strided convolutions with batch normalisation: for tests and quick looks on a CPU. Maps at 1/16."""

    Settings = BackboneSettings
    same_weights = ("last_stride",)

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__()
        channels = [3, *(max(8, round(settings.width * c)) for c in (32, 64, 96, 128))]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(b),
                    nn.ReLU(inplace=True),
                )
                for a, b in itertools.pairwise(channels)
            )
        )
        self.num_features = channels[-1]

    def stages(self) -> list[Stage]:
        """One a convolution."""
        return [(block,) for block in self.blocks.children()]
