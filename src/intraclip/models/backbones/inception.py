"""Inception v3 (Szegedy et al. 2016) from torchvision."""

from __future__ import annotations

import torchvision

from intraclip.models.backbones.settings import BackboneSettings
from intraclip.models.network import Stage, StagedNetwork


class InceptionV3(StagedNetwork):
    """torchvision's Inception v3 up to the last mixed block; maps of 6 x 2 for frames of 256 x 128."""

    Settings = BackboneSettings
    same_weights = ("last_stride", "width")
    imagenet = torchvision.models.Inception_V3_Weights.IMAGENET1K_V1
    num_features = 2048
    min_size = 75

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__()
        # transform_input would undo ImageNet's normalisation for the original TensorFlow weights; frames here are
        # normalised by the recipe. init_weights draws a truncated normal for every layer, which takes a minute.
        inception = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=False)
        for name, module in inception.named_children():
            if name not in ("AuxLogits", "avgpool", "dropout", "fc"):
                self.add_module(name, module)

    def stages(self) -> list[Stage]:
        """One a convolution, pooling or mixed block."""
        return [(module,) for module in self.children()]
