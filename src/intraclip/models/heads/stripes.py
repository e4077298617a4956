"""One linear layer on the means of the whole map and of horizontal stripes: the head of the shipped network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from intraclip.models.heads.base import FrameHead, HeadOutput
from intraclip.models.heads.settings import StripesSettings


class Stripes(FrameHead):
    """Mean over time of the map and of its horizontal stripes, then FC, then unit length.

    Stripes after Sun et al. 2018 ("Beyond Part Models", section 3.2), which classify each stripe by itself; here they
    are joined with the whole before one layer. Unit length makes Euclidean and cosine distance rank alike.

    Args:
        stripes: horizontal stripes of equal height, from head to feet.
        embedding_size: D.
    """

    Settings = StripesSettings
    weights_tell = True

    def __init__(
        self,
        num_features: int,
        *,
        stripes: int = StripesSettings.stripes,
        embedding_size: int = StripesSettings.embedding_size,
    ) -> None:
        super().__init__()
        self.stripes = stripes
        self.num_features = num_features * (1 + stripes)
        self.embedding_size = embedding_size
        self.project = nn.Linear(self.num_features, embedding_size)
        nn.init.normal_(self.project.weight, std=0.01)
        nn.init.zeros_(self.project.bias)

    def frame_vectors(self, maps: torch.Tensor) -> torch.Tensor:
        """See `FrameHead.frame_vectors`: ``[..., F (1 + stripes)]``, the whole first, then stripes from the top."""
        height = maps.shape[-2]
        # As adaptive pooling divides rows: maps of any height have every stripe.
        rows = [
            slice(i * height // self.stripes, -(-(i + 1) * height // self.stripes))
            for i in range(self.stripes)
        ]
        parts = [maps, *(maps[..., part, :] for part in rows)]
        return torch.cat([self.pooled_over_space(part) for part in parts], dim=-1)

    def frame_settings(self) -> dict[str, Any]:
        """See `FrameHead.frame_settings`."""
        return {"stripes": self.stripes}

    def from_mean(self, z: torch.Tensor) -> HeadOutput:
        """See `FrameHead.from_mean`."""
        whole = z[:, : self.num_features // (1 + self.stripes)]
        return HeadOutput(F.normalize(self.project(z), dim=1), whole)
