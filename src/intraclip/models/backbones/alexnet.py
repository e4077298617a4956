"""AlexNet (Krizhevsky et al. 2012) from torchvision."""

from __future__ import annotations

import torchvision

from intraclip.models.backbones.settings import BackboneSettings
from intraclip.models.network import Stage, StagedNetwork


class AlexNet(StagedNetwork):
    """torchvision's AlexNet up to its last pooling: F = 256, maps of 7 x 3 for frames of 256 x 128.

    The three FC layers fix the input size; they go.
    """

    Settings = BackboneSettings
    same_weights = ("last_stride", "width")
    imagenet = torchvision.models.AlexNet_Weights.IMAGENET1K_V1
    num_features = 256
    min_size = 63

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__()
        self.features = torchvision.models.alexnet(weights=None).features

    def stages(self) -> list[Stage]:
        """Each ends with a pooling."""
        modules = list(self.features.children())
        return [tuple(modules[:3]), tuple(modules[3:6]), tuple(modules[6:])]
