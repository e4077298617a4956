"""The whole network, backbone, head and identity classifier, and how it is built from a recipe's settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal, NamedTuple

import torch
from torch import nn

from intraclip.config import InputConfig, ModelConfig
from intraclip.core.settings import differing, settings_of
from intraclip.errors import ConfigError
from intraclip.models.backbones import BACKBONES
from intraclip.models.heads import HEADS
from intraclip.models.heads.base import FrameHead, Head, HeadOutput, whole_mask
from intraclip.models.network import StagedNetwork


class ClipOutput(NamedTuple):
    """What the network makes of a batch of clips.

    Attributes:
        embedding: ``[B, D]``.
        triplet_features: ``[B, D]`` or ``[B, F]``, what the triplet loss reads.
        logits: ``[B, num_classes]``.
        auxiliary_loss: the sum of the head's own loss and the backbone's, or None.
        parts: ``[B, K, F]``, what the loss `parts` reads, or None.
    """

    embedding: torch.Tensor
    triplet_features: torch.Tensor
    logits: torch.Tensor
    auxiliary_loss: torch.Tensor | None
    parts: torch.Tensor | None = None


class ClipEmbedder(nn.Module):
    """Clips of frames -> embeddings, and identity logits for training, with random weights."""

    def __init__(self, config: ModelConfig, input_config: InputConfig, *, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.input_config = input_config
        self.num_classes = num_classes
        self.backbone = build_backbone(config, input_config)
        if config.ibn or config.mix_style:
            from intraclip.models.generalise import generalise

            generalise(self.backbone, config)
        self.standardise: nn.Module = nn.Identity()
        if config.standardise:
            from intraclip.models.generalise import StandardiseFrames

            self.standardise = StandardiseFrames()
        self.num_features = self.backbone.num_features
        self.head = build_head(self.num_features, config)
        if self.backbone.reads_clips and (self.head.reads_middle or self.head.aligns):
            raise ConfigError(
                f"model.head: {config.head} with these settings reads a backbone of frames, and {config.backbone} is "
                "one of clips"
            )
        if self.head.reads_middle:
            from intraclip.models.other_passes import middle_features

            self.head.take_middle(middle_features(self))
        self.triplet_vector = triplet_vector(config)
        self.classifier = nn.Linear(self.head.embedding_size, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.01)

    @property
    def by_frame(self) -> bool:
        """Whether the head reads the maps of every frame as the backbone makes them of this frame alone."""
        return not (self.backbone.reads_clips or self.head.reads_middle or self.head.aligns)

    @property
    def frame_head(self) -> FrameHead | None:
        """The head, where one vector of each frame by itself is all that it needs; else None."""
        return self.head if isinstance(self.head, FrameHead) and self.by_frame else None

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.head.embedding_size

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

    def maps(self, frames: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Feature maps ``[B, T, F, h, w]`` of normalised frames ``[B, T, 3, H, W]``; `mask` as in `forward`."""
        if self.backbone.reads_clips:
            found: torch.Tensor = self.backbone(self.standardised(frames), whole_mask(frames, mask))
        else:
            found = self.frame_maps(frames.flatten(0, 1))
        return found.reshape(*frames.shape[:2], *found.shape[1:])

    def standardised(self, frames: torch.Tensor) -> torch.Tensor:
        """`standardise` of clips ``[B, T, 3, H, W]``."""
        found: torch.Tensor = self.standardise(frames.flatten(0, 1))
        return found.reshape(frames.shape)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor | None = None) -> ClipOutput:
        """Run the network on normalised frames ``[B, T, 3, H, W]``; `mask` ``[B, T]`` is False for padding."""
        out, own_loss = self._run(frames, mask)
        output = out.embedding if out.before_neck is None else out.before_neck
        triplet = out.pooled if self.triplet_vector == "pooled" else output
        classified = out.embedding if out.after_neck is None else out.after_neck
        losses = [loss for loss in (out.auxiliary_loss, own_loss) if loss is not None]
        auxiliary = sum(losses[1:], losses[0]) if losses else None
        return ClipOutput(out.embedding, triplet, self.classifier(classified), auxiliary, out.parts)

    def embed(self, frames: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Embeddings ``[B, D]`` alone; arguments as in `forward`."""
        return self._run(frames, mask)[0].embedding

    def _run(self, frames: torch.Tensor, mask: torch.Tensor | None) -> tuple[HeadOutput, torch.Tensor | None]:
        """What the head makes of clips, and the backbone's own loss."""
        if not self.by_frame:
            from intraclip.models.other_passes import run

            return run(self, frames, mask)
        return self.head(self.maps(frames), whole_mask(frames, mask)), None


def build_backbone(config: ModelConfig, input_config: InputConfig) -> StagedNetwork:
    """Build a backbone with random weights.

    Raises:
        ConfigError: the name or a setting is unknown, or the input is too small for it.
    """
    settings = settings_of(BACKBONES, config.backbone, config.backbone_settings)
    kind = BACKBONES.load(config.backbone)
    network: StagedNetwork = kind.build(config.backbone, input_config, settings)
    if min(input_config.height, input_config.width) < network.min_size:
        raise ConfigError(
            f"input: {input_config.height} x {input_config.width} is too small for {config.backbone}, which needs "
            f"at least {network.min_size} pixels each way"
        )
    return network


def build_head(num_features: int, config: ModelConfig) -> Head:
    """Build the head that `config.head` names, with the neck that `config.neck` asks for.

    Raises:
        ConfigError: unknown name, or settings that the head does not have.
    """
    settings = settings_of(HEADS, config.head, config.head_settings)
    head: Head = HEADS.load(config.head)(num_features, **asdict(settings))
    if not head.weights_tell:
        head.told = differing(settings)
    if config.pooling == "gem":
        if not isinstance(head, FrameHead):
            raise ConfigError(
                f"model.pooling: the head {config.head} does not read one vector a frame alone; leave it at mean"
            )
        from intraclip.models.heads.gem import SpaceGeM

        head.pool_space_with(SpaceGeM())
    if config.neck == "none":
        return head
    from intraclip.models.heads.neck import FrameNeck, Neck

    search_before = config.neck_test == "before"
    if isinstance(head, FrameHead):
        return FrameNeck(head, search_before=search_before)
    return Neck(head, search_before=search_before)


def triplet_vector(config: ModelConfig) -> Literal["embedding", "pooled"]:
    """`triplet_reads` with `auto` decided, as the head says."""
    if config.triplet_reads == "auto":
        return "pooled" if HEADS.load(config.head).triplet_reads == "pooled" else "embedding"
    return config.triplet_reads


def build_embedder(
    config: ModelConfig, input_config: InputConfig, *, num_classes: int, seed: int
) -> ClipEmbedder:
    """Build a network with seeded random weights; `intraclip.models.start` fills it with others."""
    # A network that is opened inside somebody's inference mode can be trained all the same.
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ClipEmbedder(config, input_config, num_classes=num_classes)
