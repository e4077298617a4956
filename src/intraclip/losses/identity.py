"""Cross-entropy over the training identities (paper, section 3.2)."""

from __future__ import annotations

from torch.nn import functional as F

from intraclip.losses.base import Loss, LossInput, LossOutput
from intraclip.losses.settings import IdentitySettings


class Identity(Loss):
    """Cross-entropy of the classifier, with label smoothing; logged even at weight 0."""

    Settings = IdentitySettings
    title = "Identity loss"

    def forward(self, given: LossInput) -> LossOutput:
        """See `Loss.forward`."""
        loss = F.cross_entropy(given.logits, given.labels, label_smoothing=self.settings.label_smoothing)
        accuracy = (given.logits.argmax(dim=1) == given.labels).float().mean()
        return LossOutput(loss, {"accuracy": accuracy.detach()})
