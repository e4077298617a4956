"""Batch-hard triplet loss of parts of the body (Liu, Yuan, Zhou, Li, AAAI 2019, multi-level training objective)."""

from __future__ import annotations

import torch

from intraclip.errors import ConfigError
from intraclip.losses.base import Loss, LossInput, LossOutput
from intraclip.losses.settings import PartTripletSettings
from intraclip.losses.triplet import batch_hard_triplet


def part_triplet(parts: torch.Tensor, labels: torch.Tensor, *, margin: float = 0.4) -> torch.Tensor:
    """`batch_hard_triplet` of each part by itself; the mean over the parts.

    Args:
        parts: float ``[N, K, F]``.
        labels: int64 ``[N]``; every row has a positive and a negative.
        margin: the authors' code has 0.4.
    """
    found = [batch_hard_triplet(part, labels, margin=margin).loss for part in parts.unbind(dim=1)]
    return torch.stack(found).mean()


class PartTriplet(Loss):
    """`part_triplet` with the recipe's margin, for heads that give vectors of parts.

    Raises:
        ConfigError: at the first step, the head gives none.
    """

    Settings = PartTripletSettings
    title = "Part triplet loss"

    def forward(self, given: LossInput) -> LossOutput:
        """See `Loss.forward`."""
        if given.parts is None:
            raise ConfigError(
                f"loss.parts.weight: {self.settings.weight}, but the head gives no vectors of parts; set it to 0, or "
                "choose the head stmp"
            )
        return LossOutput(part_triplet(given.parts, given.feature_labels, margin=self.settings.margin), {})
