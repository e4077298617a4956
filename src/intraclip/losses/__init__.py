"""Losses, one file a loss: triplet and cross-entropy (paper, section 3.2), and what other recipes add."""

from __future__ import annotations

from intraclip.config import LossConfig
from intraclip.losses.base import Loss as Loss
from intraclip.losses.circle import Circle
from intraclip.losses.circle import circle_loss as circle_loss
from intraclip.losses.identity import Identity
from intraclip.losses.memory import Memory
from intraclip.losses.oim import OIM
from intraclip.losses.parts import PartTriplet
from intraclip.losses.siamese import Siamese
from intraclip.losses.total import Gather, WeightedSum, instances
from intraclip.losses.triplet import BatchHardTriplet as BatchHardTriplet
from intraclip.losses.triplet import Triplet
from intraclip.losses.triplet import TripletOutput as TripletOutput
from intraclip.losses.triplet import batch_hard_triplet as batch_hard_triplet
from intraclip.losses.triplet import euclidean_distances as euclidean_distances

LOSSES: dict[str, type[Loss]] = {
    "triplet": Triplet,
    "identity": Identity,
    "circle": Circle,
    "memory": Memory,
    "oim": OIM,
    "siamese": Siamese,
    "parts": PartTriplet,
}
"""By their key in the log; the weight and settings of each are in `LossConfig`."""


class TotalLoss(WeightedSum):
    """The weighted sum of the losses that a recipe asks for.

    Args:
        config: weights and settings.
        gather: see `WeightedSum`.
        num_classes: training identities; needed by `memory` and `oim`.
        num_features: size of what the triplet loss reads; likewise.
    """

    def __init__(
        self,
        config: LossConfig,
        *,
        gather: Gather | None = None,
        num_classes: int = 0,
        num_features: int = 0,
    ) -> None:
        super().__init__(instances(LOSSES, config, num_classes, num_features), gather=gather)
        self.config = config
