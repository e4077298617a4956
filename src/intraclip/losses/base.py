"""What every loss takes and gives, and the weighted sum of a recipe's losses.

A new one is a file with a `Loss` and a line in `intraclip.losses.LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import nn

from intraclip.core.settings import Given, settings_of
from intraclip.losses import ALWAYS, LOSSES
from intraclip.losses.settings import LossSettings as LossSettings

if TYPE_CHECKING:
    from intraclip.models.embedder import ClipOutput  # brings torchvision, which takes seconds to import


class LossInput(NamedTuple):
    """What losses read of a batch.

    Attributes:
        features: float32 ``[N, D]``, what the triplet loss reads (`ModelConfig.triplet_reads`), of all processes.
        feature_labels: int64 ``[N]``, training classes of the features.
        logits: float32 ``[B, C]``, of this process.
        labels: int64 ``[B]``, training classes of the logits.
        parts: float32 ``[N, K, F]``, vectors of parts of the body, as `features`; None where the head gives none.
    """

    features: torch.Tensor
    feature_labels: torch.Tensor
    logits: torch.Tensor
    labels: torch.Tensor
    parts: torch.Tensor | None = None


class LossOutput(NamedTuple):
    """What a loss gives: a scalar, without its weight, and detached scalars for the log, by name."""

    loss: torch.Tensor
    watched: dict[str, torch.Tensor]


class Loss(nn.Module):
    """One term of the training's loss, made for C training identities and features of D numbers.

    Buffers that it keeps are part of a run's checkpoints.

    Attributes:
        Settings: dataclass of what a recipe can set, ``[loss.NAME] weight = ...``.
        title: of its curve in the report and its column in the tables; its key in the log is its name in `LOSSES`.
    """

    Settings: ClassVar[type] = LossSettings
    title: ClassVar[str]

    def __init__(self, settings: Any, num_classes: int, num_features: int) -> None:
        super().__init__()
        self.settings, self.num_classes, self.num_features = settings, num_classes, num_features

    def forward(self, given: LossInput) -> LossOutput:
        """Compute the loss of a batch; called once a step."""
        raise TypeError(f"{type(self).__name__} defines no forward")


Gather = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Features and labels of this process -> those of all processes."""


class TotalLoss(nn.Module):
    """Weighted sum of the losses that a recipe asks for, and the head's own.

    Those without weight are left out unless they are always logged.

    Args:
        given: `Recipe.loss`.
        gather: with several processes, brings features and labels of all of them together, so that pairs are mined
            over the whole batch.
        num_classes: training identities, for losses with a memory.
        num_features: size of what the triplet loss reads, likewise.
    """

    def __init__(
        self,
        given: Mapping[str, Given],
        *,
        gather: Gather | None = None,
        num_classes: int = 0,
        num_features: int = 0,
    ) -> None:
        super().__init__()
        self.losses, self.gather = nn.ModuleDict(), gather
        for name in LOSSES:
            if name in given or name in ALWAYS:
                settings = settings_of(LOSSES, name, given.get(name, {}))
                if settings.weight > 0 or name in ALWAYS:
                    self.losses[name] = LOSSES.load(name)(settings, num_classes, num_features)

    def forward(
        self, output: ClipOutput, labels: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Compute the loss of a network's output for training classes, int64 ``[B]``.

        Returns:
            The scalar to minimise, and detached scalars to log: `loss`, each loss by its name, what they
            watch, and `auxiliary`, which head and backbone add themselves.
        """
        features, feature_labels = output.triplet_features.float(), labels
        parts = None if output.parts is None else output.parts.float()
        if self.gather is not None:
            features, feature_labels = self.gather(features, labels)
            if parts is not None:
                rows, _ = self.gather(parts.flatten(1), labels)
                parts = rows.reshape(-1, *parts.shape[1:])
        given = LossInput(features, feature_labels, output.logits.float(), labels, parts)
        weighted: list[torch.Tensor] = []
        values: dict[str, torch.Tensor] = {}
        watched: dict[str, torch.Tensor] = {}
        for name, loss in self.losses.items():
            value, seen = loss(given)
            settings: Any = loss.settings
            weighted.append(settings.weight * value)
            values[name] = value.detach()
            watched |= seen
        total = sum(weighted[1:], weighted[0])  # the identity loss is always there
        if output.auxiliary_loss is not None:
            total = total + output.auxiliary_loss
            values["auxiliary"] = output.auxiliary_loss.detach()
        return total, {"loss": total.detach(), **values, **watched}
