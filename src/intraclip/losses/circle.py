"""Circle loss (Sun, Cheng, Zhang et al., CVPR 2020, equation 6), over the pairs of a batch."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from intraclip.losses.base import Loss, LossInput, LossOutput
from intraclip.losses.settings import CircleSettings


def circle_loss(
    features: torch.Tensor, labels: torch.Tensor, *, margin: float = 0.25, scale: float = 64.0
) -> torch.Tensor:
    """Mean over anchors of ``log(1 + sum_n exp(scale a_n (s_n - m)) sum_p exp(-scale a_p (s_p - 1 + m)))``.

    s are cosines between the anchor and its positives (p) and negatives (n); the factors ``a_p = max(0, 1 + m - s_p)``
    and ``a_n = max(0, s_n + m)`` are how far each is from where it should be, and get no gradient.

    Args:
        features: float ``[N, D]``.
        labels: int64 ``[N]``; every row has a positive and a negative.
        margin: m.
        scale: gamma.
    """
    unit = F.normalize(features, dim=1)
    cosines = unit @ unit.T
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    away_p = (1 + margin - cosines.detach()).clamp_min(0)
    away_n = (cosines.detach() + margin).clamp_min(0)
    nothing = float("-inf")
    logits_p = (-scale * away_p * (cosines - 1 + margin)).masked_fill(~positive, nothing)
    logits_n = (scale * away_n * (cosines - margin)).masked_fill(same, nothing)
    return F.softplus(logits_p.logsumexp(dim=1) + logits_n.logsumexp(dim=1)).mean()


class Circle(Loss):
    """`circle_loss` with the recipe's margin and scale."""

    Settings = CircleSettings
    title = "Circle loss"

    def forward(self, given: LossInput) -> LossOutput:
        """See `Loss.forward`."""
        loss = circle_loss(
            given.features,
            given.feature_labels,
            margin=self.settings.margin,
            scale=self.settings.scale,
        )
        return LossOutput(loss, {})
