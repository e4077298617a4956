"""A memory of the training identities in place of a classifier.

After TF-CLIP (Yu, Zhang, Wang et al., AAAI 2024, section 3.2: a memory of identity means takes the place of CLIP's text
features) and CLIMB-ReID (Yu et al., AAAI 2025: a second memory of hard examples beside it). Both are buffers, not
weights: they follow the features by momentum. TF-CLIP fills its memory with a pass over the data before training; here
an identity's first batch does, and identities that were not seen yet are left out of the sum.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from intraclip.losses.base import Loss, LossInput, LossOutput
from intraclip.losses.settings import MemorySettings


class Memory(Loss):
    """Cross-entropy of the cosines between features and two memories, divided by a temperature; the mean of both.

    After a step the mean of an identity's features in the batch moves its entry of the first memory, and its hardest
    feature, the one least like that entry, its entry of the second.
    """

    Settings = MemorySettings
    title = "Memory loss"
    means: torch.Tensor
    hardest: torch.Tensor
    seen: torch.Tensor

    def __init__(self, settings: MemorySettings, num_classes: int, num_features: int) -> None:
        super().__init__(settings, num_classes, num_features)
        self.register_buffer("means", torch.zeros(num_classes, num_features))
        self.register_buffer("hardest", torch.zeros(num_classes, num_features))
        self.register_buffer("seen", torch.zeros(num_classes, dtype=torch.bool))

    def forward(self, given: LossInput) -> LossOutput:
        """See `Loss.forward`."""
        unit = F.normalize(given.features, dim=1)
        labels = given.feature_labels
        with torch.no_grad():
            totals = torch.zeros_like(self.means).index_add_(0, labels, unit.detach())
            here = torch.zeros_like(self.seen).index_fill_(0, labels, True)
            batch_means = F.normalize(totals, dim=1)
            first = (here & ~self.seen).unsqueeze(1)
            self.means.copy_(torch.where(first, batch_means, self.means))
            self.hardest.copy_(torch.where(first, batch_means, self.hardest))
            self.seen |= here
        # Copies: what the backward pass reads must not be what the update below writes.
        logits = [(unit @ bank.clone().T) / self.settings.temperature for bank in (self.means, self.hardest)]
        unseen = ~self.seen.unsqueeze(0)
        losses = [F.cross_entropy(found.masked_fill(unseen, float("-inf")), labels) for found in logits]
        with torch.no_grad():
            likeness = (unit.detach() * self.means[labels]).sum(dim=1)
            same = labels.unsqueeze(1) == torch.arange(self.num_classes, device=labels.device)
            place = likeness.unsqueeze(1).masked_fill(~same, float("inf")).argmin(dim=0)
            self._move(self.means, batch_means, here)
            self._move(self.hardest, unit.detach()[place], here)
            accuracy = (logits[0].argmax(dim=1) == labels).float().mean()
        return LossOutput((losses[0] + losses[1]) / 2, {"memory_accuracy": accuracy})

    def _move(self, bank: torch.Tensor, toward: torch.Tensor, here: torch.Tensor) -> None:
        kept = self.settings.momentum
        moved = F.normalize(kept * bank + (1 - kept) * toward, dim=1)
        bank.copy_(torch.where(here.unsqueeze(1), moved, bank))
