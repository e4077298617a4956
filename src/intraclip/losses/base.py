"""What every loss takes and gives. A new one is a file with a `Loss` and a line in `intraclip.losses.LOSSES`."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn

from intraclip.losses.settings import LossSettings as LossSettings


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
