"""Batch-hard triplet loss (paper, section 3.2; Hermans et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from intraclip.core.numbers import is_number
from intraclip.errors import ConfigError, DataError
from intraclip.losses.base import Loss, LossInput, LossOutput
from intraclip.losses.settings import TripletSettings


def euclidean_distances(features: torch.Tensor) -> torch.Tensor:
    """Pairwise Euclidean distances of ``[B, D]``: ``[B, B]``, with finite gradients also where two rows are equal."""
    # |a - b|^2 = |a|^2 + |b|^2 - 2 ab needs no B x B x D tensor. Rounding may leave a small negative number, and
    # the root has no gradient at 0: the clamp answers both, its gradient there is 0.
    given = features.dtype
    if features.device.type == "cuda":
        # A GPU that may use TF32 rounds the product's entries to 10 bits, and the difference of two long vectors is
        # mostly rounding then. B x B products of doubles cost next to nothing.
        features = features.double()
    squares = features.square().sum(dim=1)
    squared = squares.unsqueeze(1) + squares.unsqueeze(0) - 2 * features @ features.T
    return squared.clamp_min(1e-12).sqrt().to(given)


class TripletOutput(NamedTuple):
    """Loss and what to watch.

    Attributes:
        loss: scalar.
        positive: mean distance to the hardest positive.
        negative: mean distance to the hardest negative.
        active: share of anchors whose hardest negative is not farther than their hardest positive plus margin.
    """

    loss: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor
    active: torch.Tensor


def batch_hard_triplet(
    features: torch.Tensor, labels: torch.Tensor, *, margin: float = 0.3, soft: bool = False
) -> TripletOutput:
    """Batch-hard triplet loss (Hermans et al. 2017, equation 5): every row is an anchor once.

    The hardest positive is the farthest row of the same label, the hardest negative the nearest of another.

    Args:
        features: float ``[B, D]``.
        labels: whole numbers ``[B]``, as tensor, array or list.
        margin: of the hinge ``max(0, d_p - d_n + margin)``.
        soft: ``log(1 + exp(d_p - d_n))`` instead; `margin` is then used for `active` only.

    Raises:
        ConfigError: a margin below 0, or that is no number.
        DataError: shapes do not belong together, or an anchor has no positive or no negative; labels on a GPU are
            not looked at, because that would make the processor wait for it.

    >>> features = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
    >>> found = batch_hard_triplet(features, [0, 0, 1, 1], margin=1.5)
    >>> found.loss.item(), found.active.item()
    (0.25, 0.5)
    """
    if not is_number(margin) or margin < 0:
        raise ConfigError(f"margin: {margin!r}, a number of 0 or more is needed; soft=True goes without")
    features = torch.as_tensor(features)
    labels = torch.as_tensor(labels, device=features.device)
    if features.ndim != 2 or not features.is_floating_point() or labels.shape != features.shape[:1]:
        raise DataError(
            f"batch-hard mining wants float features [B, D] and a label for each, got {features.dtype} "
            f"{list(features.shape)} and labels {list(labels.shape)}"
        )
    distances = euclidean_distances(features)
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    positives = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    minable = labels.device.type != "cpu" or (len(labels) and (positives.any(dim=1) & ~same.all(dim=1)).all())
    if not minable:
        raise DataError(
            f"batch-hard mining needs two clips of every identity and two identities, got labels {labels.tolist()}"
        )
    positive = distances.masked_fill(~positives, float("-inf")).amax(dim=1)
    negative = distances.masked_fill(same, float("inf")).amin(dim=1)
    gap = positive - negative
    loss = F.softplus(gap) if soft else F.relu(gap + margin)
    with torch.no_grad():
        active = (gap + margin > 0).float().mean()
    return TripletOutput(loss.mean(), positive.mean().detach(), negative.mean().detach(), active)


class BatchHardTriplet(nn.Module):
    """`batch_hard_triplet` as a module whose call returns the scalar loss alone.

    >>> features = torch.tensor([[0.0], [1.0], [3.0], [4.0]], requires_grad=True)
    >>> BatchHardTriplet(margin=1.5)(features, [0, 0, 1, 1]).backward()
    >>> features.grad.tolist()
    [[-0.25], [0.75], [-0.75], [0.25]]
    """

    def __init__(self, *, margin: float = 0.3, soft: bool = False) -> None:
        super().__init__()
        self.margin, self.soft = margin, soft

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean loss over all anchors; arguments as in `batch_hard_triplet`."""
        return batch_hard_triplet(features, labels, margin=self.margin, soft=self.soft).loss


class Triplet(Loss):
    """`batch_hard_triplet` of the recipe's kind; logged even at weight 0."""

    Settings = TripletSettings
    title = "Triplet loss"

    def forward(self, given: LossInput) -> LossOutput:
        """See `Loss.forward`."""
        features = F.normalize(given.features, dim=1) if self.settings.unit else given.features
        found = batch_hard_triplet(
            features, given.feature_labels, margin=self.settings.margin, soft=self.settings.kind == "soft"
        )
        watched = {
            "positive_distance": found.positive,
            "negative_distance": found.negative,
            "active_triplets": found.active,
        }
        return LossOutput(found.loss, watched)
