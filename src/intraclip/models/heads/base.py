"""What every head takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import nn

from intraclip.core.registry import NoSettings
from intraclip.errors import DataError


class HeadOutput(NamedTuple):
    """What a head makes of a batch of clips.

    Attributes:
        embedding: ``[B, D]``, used at test and read by the classifier.
        pooled: ``[B, F]``, the average before any learned layer (Z of equation 3).
        auxiliary_loss: scalar that the head adds to the training loss, or None.
        before_neck: ``[B, D]``, the embedding before a `neck`; None without one.
        after_neck: ``[B, D]``, likewise after it, which the classifier reads.
        parts: ``[B, K, F]``, vectors of K parts of the body for the loss `parts`; None for heads without.
    """

    embedding: torch.Tensor
    pooled: torch.Tensor
    auxiliary_loss: torch.Tensor | None = None
    before_neck: torch.Tensor | None = None
    after_neck: torch.Tensor | None = None
    parts: torch.Tensor | None = None


class Head(nn.Module):
    """Base of all heads: made with F, the number of features, and settings by name.

    One that reads maps, or the order of frames, derives from this class directly.

    Attributes:
        Settings: dataclass of what a recipe can set, ``[model.head] name = ...``.
        triplet_reads: what the triplet loss reads where the recipe leaves it to the head; either where both are one.
        weights_tell: names and shapes of its weights tell its settings, so that fingerprints need not.
        told: settings that are not by default, where the weights do not tell them.
        embedding_size: D.
        reads_middle: `with_middle` takes the place of `forward`: maps of the middle of the backbone are wanted too.
        aligns: `align` changes the frames from what the backbone makes of them, and the backbone reads them again.
    """

    Settings: ClassVar[type] = NoSettings
    triplet_reads: ClassVar[Literal["embedding", "pooled", "either"]] = "embedding"
    weights_tell: ClassVar[bool] = False
    told: Mapping[str, Any] = MappingProxyType({})
    embedding_size: int
    reads_middle = False
    aligns = False

    def take_middle(self, features: int) -> None:
        """Make what reads the middle maps, of F' features, in heads that say `reads_middle`; before anything else."""
        raise TypeError(f"{type(self).__name__} reads no middle maps")

    def with_middle(
        self, maps: torch.Tensor, middle: torch.Tensor, mask: torch.Tensor | None = None
    ) -> HeadOutput:
        """`forward` for heads that say `reads_middle`; `middle` are those maps, float ``[B, T, F', h', w']``."""
        raise TypeError(f"{type(self).__name__} reads no middle maps")

    def align(self, frames: torch.Tensor, maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Frames ``[B, T, 3, H, W]`` brought into place, for heads that say `aligns`; the rest as in `forward`."""
        raise TypeError(f"{type(self).__name__} aligns nothing")

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """Aggregate clips of maps, float ``[B, T, F, h, w]``.

        `mask` ``[B, T]`` is False for padding, with at least one True a clip. None: every frame counts.
        """
        raise TypeError(f"{type(self).__name__} defines no forward")


class FrameHead(Head):
    """A head that reads nothing of a clip but the mean of its frame vectors, as a rule the spatial means of its maps.

    Frames can then be embedded one by one, in any batches and by any engine, and be added up afterwards: extraction
    embeds every frame once, and streaming is exact.

    Attributes:
        num_features: V, size of the frame vectors that it reads; F unless `frame_vectors` says otherwise.
    """

    num_features: int

    def pool_space_with(self, pooling: nn.Module) -> None:
        """Pool positions with a module, ``[..., F, h, w]`` -> ``[..., F]``, in place of their mean."""
        self.add_module("space", pooling)

    def frame_vectors(self, maps: torch.Tensor) -> torch.Tensor:
        """One vector a frame: maps ``[..., F, h, w]`` -> ``[..., V]``; pooled over space unless a head overrides it."""
        return self.pooled_over_space(maps)

    def frame_settings(self) -> dict[str, Any]:
        """Settings that the frame vectors depend on, for the fingerprint of what makes them."""
        return {}

    def pooled_over_space(self, maps: torch.Tensor) -> torch.Tensor:
        """``[..., F, h, w]`` -> ``[..., F]``: the spatial mean, or what `pool_space_with` was given."""
        pooling = self._modules.get("space")
        pooled: torch.Tensor = maps.mean(dim=(-2, -1)) if pooling is None else pooling(maps)
        return pooled

    def from_mean(self, z: torch.Tensor) -> HeadOutput:
        """The head's output for means of frame vectors: Z of equation 3, float ``[B, V]``."""
        raise TypeError(f"{type(self).__name__} defines no from_mean")

    def aggregate(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """Aggregate clips of frame vectors, float ``[B, T, V]``; `mask` as in `forward`."""
        return self.from_mean(masked_mean(features, whole_mask(features, mask)))

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`: the vector of each frame, then `aggregate`. Frame vectors ``[B, T, V]`` are taken too.

        Raises:
            DataError: something else, such as maps of frames that are in no clips.
        """
        if maps.ndim not in (3, 5):
            raise DataError(
                f"{type(self).__name__} takes maps [B, T, F, h, w] or frame vectors [B, T, F] of B clips of T frames, "
                f"not {list(maps.shape)}; maps [B * T, F, h, w] become clips with maps.unflatten(0, (B, T))"
            )
        return self.aggregate(maps if maps.ndim == 3 else self.frame_vectors(maps), mask)


def whole_mask(frames: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The mask, or without one that of clips ``[B, T, ...]`` without padding: bool ``[B, T]``."""
    return torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device) if mask is None else mask


def masked_mean(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of features ``[B, T, F]`` over the valid frames; ``[B, F]``."""
    weights = mask.to(features.dtype)
    return (features * weights.unsqueeze(-1)).sum(dim=1) / weights.sum(dim=1, keepdim=True)
