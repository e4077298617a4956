"""Online instance matching (Xiao, Li, Wang, Lin, Wang, CVPR 2017, section 3.3), for labelled people alone.

A lookup table holds one vector of unit length for each training identity and takes the place of a classifier. The
paper's second part, a queue of people without a name, has no use where every tracklet has one.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from intraclip.losses.base import Loss, LossInput, LossOutput
from intraclip.losses.settings import OIMSettings


def match(
    features: torch.Tensor, labels: torch.Tensor, table: torch.Tensor, *, scale: float = 30.0
) -> torch.Tensor:
    """Cross-entropy of ``scale`` times the cosines to the table's rows.

    Args:
        features: float ``[N, D]``; brought to unit length here.
        labels: int64 ``[N]``, numbers of rows.
        table: float ``[C, D]``; it gets no gradient.
        scale: the inverse of the temperature.
    """
    # A copy: what the backward pass reads must not be what `follow` writes.
    return F.cross_entropy(scale * F.normalize(features, dim=1) @ table.detach().clone().T, labels)


@torch.no_grad()
def follow(
    features: torch.Tensor, labels: torch.Tensor, table: torch.Tensor, *, momentum: float = 0.5
) -> None:
    """Move each row of the table toward the features of its label, one after another, and back to unit length.

    Args:
        features: float ``[N, D]``.
        labels: int64 ``[N]``.
        table: float ``[C, D]``; changed in place. A row of zeros takes its first feature whole.
        momentum: share of a row that a feature leaves.
    """
    for feature, row in zip(F.normalize(features, dim=1), labels, strict=True):
        place = row.unsqueeze(0)
        moved = momentum * table.index_select(0, place) + (1 - momentum) * feature.unsqueeze(0)
        table.index_copy_(0, place, F.normalize(moved, dim=1))


class OIM(Loss):
    """`match`, then `follow`, with a table of the training identities; it reads what the triplet loss reads."""

    Settings = OIMSettings
    title = "Instance matching loss"
    table: torch.Tensor

    def __init__(self, settings: OIMSettings, num_classes: int, num_features: int) -> None:
        super().__init__(settings, num_classes, num_features)
        self.register_buffer("table", torch.zeros(num_classes, num_features))

    def forward(self, given: LossInput) -> LossOutput:
        """See `Loss.forward`."""
        features, labels = given.features, given.feature_labels
        loss = match(features, labels, self.table, scale=self.settings.scale)
        follow(features.detach(), labels, self.table, momentum=self.settings.momentum)
        return LossOutput(loss, {})
