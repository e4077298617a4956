"""Cross-entropy over the training identities (paper, section 3.2)."""

from __future__ import annotations

from torch.nn import functional as F

from intraclip.config import LossConfig
from intraclip.losses.base import Loss, LossInput, LossOutput


class Identity(Loss):
    """Cross-entropy of the classifier, with label smoothing; logged even at weight 0."""

    title = "Identity loss"
    always = True

    def __init__(self, config: LossConfig, num_classes: int, num_features: int) -> None:
        super().__init__(config, num_classes, num_features)
        self.weight = config.identity_weight

    def forward(self, given: LossInput) -> LossOutput:
        """See `Loss.forward`."""
        loss = F.cross_entropy(given.logits, given.labels, label_smoothing=self.config.label_smoothing)
        accuracy = (given.logits.argmax(dim=1) == given.labels).float().mean()
        return LossOutput(loss, {"accuracy": accuracy.detach()})
