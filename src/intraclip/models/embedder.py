"""The whole network: backbone, head, identity classifier."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from intraclip.config import InputConfig, ModelConfig
from intraclip.models.backbones.build import build_backbone
from intraclip.models.generalise import add_ibn, mix_styles
from intraclip.models.heads.base import FrameHead
from intraclip.models.heads.build import build_head


class ClipOutput(NamedTuple):
    """What the network makes of a batch of clips.

    Attributes:
        embedding: ``[B, D]``.
        triplet_features: ``[B, D]`` or ``[B, F]``, what the triplet loss reads.
        logits: ``[B, num_classes]``.
        auxiliary_loss: the head's own loss, or None.
    """

    embedding: torch.Tensor
    triplet_features: torch.Tensor
    logits: torch.Tensor
    auxiliary_loss: torch.Tensor | None


class StandardiseFrames(nn.Module):
    """Instance normalisation of the input (Ulyanov et al. 2016): one mean and deviation a frame and colour channel.

    What a camera's exposure, contrast and white balance do to a whole frame is taken out.
    """

    DEVIATION = 0.45
    """Of the result: about that of pictures scaled to [-1, 1], which pretrained networks expect."""

    FLOOR = 0.06
    """Added to a frame's own deviation, so that a frame of one colour does not become noise."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Normalised frames ``[N, 3, H, W]`` -> the same shape."""
        mean = frames.mean(dim=(2, 3), keepdim=True)
        deviation = (frames - mean).square().mean(dim=(2, 3), keepdim=True).sqrt()
        return (frames - mean) * (self.DEVIATION / (deviation + self.FLOOR))


class ClipEmbedder(nn.Module):
    """Clips of frames -> embeddings, and identity logits for training.

    Args:
        config: backbone, head and their settings. Weights are random.
        input_config: frame size, to check that the backbone can take it.
        num_classes: training identities.
    """

    def __init__(self, config: ModelConfig, input_config: InputConfig, *, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.input_config = input_config
        self.num_classes = num_classes
        self.backbone = build_backbone(config, input_config)
        if config.ibn:
            add_ibn(self.backbone, config.backbone)
        if config.mix_style:
            mix_styles(self.backbone, config.mix_style)
        self.standardise = StandardiseFrames() if config.standardise else nn.Identity()
        self.num_features = self.backbone.num_features
        self.head = build_head(self.num_features, config)
        self._triplet_vector = config.triplet_vector
        self.classifier = nn.Linear(self.head.embedding_size, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.01)

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.head.embedding_size

    @property
    def num_pooled(self) -> int:
        """Size of Z, the average before any learned layer."""
        return self.num_features

    @property
    def vector_size(self) -> int:
        """V, size of a frame vector."""
        return self.head.num_features if isinstance(self.head, FrameHead) else self.num_features

    def frame_maps(self, frames: torch.Tensor) -> torch.Tensor:
        """Feature maps ``[N, F, h, w]`` of normalised frames ``[N, 3, H, W]``."""
        maps: torch.Tensor = self.backbone(self.standardise(frames))
        return maps

    def frame_vectors(self, frames: torch.Tensor) -> torch.Tensor:
        """``[N, V]`` of normalised frames ``[N, 3, H, W]``: what a `FrameHead` reads, or the spatial means."""
        maps = self.frame_maps(frames)
        return self.head.frame_vectors(maps) if isinstance(self.head, FrameHead) else maps.mean(dim=(2, 3))

    def maps(self, frames: torch.Tensor) -> torch.Tensor:
        """Feature maps ``[B, T, F, h, w]`` of normalised frames ``[B, T, 3, H, W]``."""
        maps = self.frame_maps(frames.flatten(0, 1))
        return maps.reshape(*frames.shape[:2], *maps.shape[1:])

    def forward(self, frames: torch.Tensor, mask: torch.Tensor | None = None) -> ClipOutput:
        """Run the network.

        Args:
            frames: normalised float ``[B, T, 3, H, W]``.
            mask: bool ``[B, T]``, False for padding; None for clips without.
        """
        out = self.head(self.maps(frames), mask)
        output = out.embedding if out.before_neck is None else out.before_neck
        triplet = out.pooled if self._triplet_vector == "pooled" else output
        classified = out.embedding if out.after_neck is None else out.after_neck
        return ClipOutput(out.embedding, triplet, self.classifier(classified), out.auxiliary_loss)

    def embed(self, frames: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Embeddings ``[B, D]`` alone; arguments as in `forward`."""
        embedding: torch.Tensor = self.head(self.maps(frames), mask).embedding
        return embedding


def build_embedder(
    config: ModelConfig, input_config: InputConfig, *, num_classes: int, seed: int
) -> ClipEmbedder:
    """Build a network with seeded random weights; `intraclip.models.start` fills it with others."""
    # A network that is opened inside somebody's inference mode can be trained all the same.
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ClipEmbedder(config, input_config, num_classes=num_classes)
