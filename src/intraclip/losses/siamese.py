"""Contrastive loss over the pairs of a batch (Hadsell, Chopra, LeCun, CVPR 2006, equation 4)."""

from __future__ import annotations

import torch

from intraclip.losses.base import Loss, LossInput, LossOutput
from intraclip.losses.settings import SiameseSettings
from intraclip.losses.triplet import euclidean_distances


def contrastive_loss(features: torch.Tensor, labels: torch.Tensor, *, margin: float = 2.0) -> torch.Tensor:
    """Half the squared distance of pairs of one label, and half of ``max(0, margin - d)^2`` of other pairs.

    The mean over the first kind plus the mean over the second: the networks that train with it (McLaughlin et al., CVPR
    2016, section 3.5; AMOC) draw as many of the one as of the other.

    Args:
        features: float ``[N, D]``.
        labels: int64 ``[N]``; a kind of pair that the batch does not have costs nothing.
        margin: how far apart two labels should be.
    """
    distances = euclidean_distances(features)
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    alike = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    near = distances.square() / 2
    far = (margin - distances).clamp_min(0).square() / 2
    return _mean(near, alike) + _mean(far, ~same)


def _mean(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return (values * where).sum() / where.sum().clamp_min(1)


class Siamese(Loss):
    """`contrastive_loss` with the recipe's margin."""

    Settings = SiameseSettings
    title = "Contrastive loss"

    def forward(self, given: LossInput) -> LossOutput:
        """See `Loss.forward`."""
        loss = contrastive_loss(given.features, given.feature_labels, margin=self.settings.margin)
        return LossOutput(loss, {})
