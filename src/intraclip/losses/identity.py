"""Cross-entropy over the training identities (paper, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn import functional as F

from intraclip.core.settings import bounded, share
from intraclip.losses.base import Loss, LossInput, LossOutput, LossSettings


@dataclass(frozen=True, kw_only=True)
class IdentitySettings(LossSettings):
    """Settings of the loss ``identity``."""

    weight: float = bounded(1.0, 0)
    """Of the cross-entropy over training identities in the sum."""
    label_smoothing: float = share(0.0)
    """Share of the target that is spread over all identities."""


class Identity(Loss):
    """Cross-entropy of the classifier, with label smoothing; logged even at weight 0."""

    Settings = IdentitySettings
    title = "Identity loss"
    always = True

    def forward(self, given: LossInput) -> LossOutput:
        """See `Loss.forward`."""
        loss = F.cross_entropy(given.logits, given.labels, label_smoothing=self.settings.label_smoothing)
        accuracy = (given.logits.argmax(dim=1) == given.labels).float().mean()
        return LossOutput(loss, {"accuracy": accuracy.detach()})
