"""The whole network: backbone, head, identity classifier."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from intraclip.config import InputConfig, ModelConfig
from intraclip.errors import ConfigError
from intraclip.models.build import build_backbone, build_head, triplet_vector
from intraclip.models.heads.base import FrameHead, HeadOutput, whole_mask


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
        self.standardise = StandardiseFrames() if config.standardise else nn.Identity()
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


def needs_clips(model: ClipEmbedder) -> str:
    """Why a network needs whole clips, as the beginning of a sentence; for one without `frame_head`."""
    if model.backbone.reads_clips:
        return f"the backbone {model.config.backbone} reads whole clips"
    return f"the head {model.config.head} reads whole feature maps"


def build_embedder(
    config: ModelConfig, input_config: InputConfig, *, num_classes: int, seed: int
) -> ClipEmbedder:
    """Build a network with seeded random weights; `intraclip.models.start` fills it with others."""
    # A network that is opened inside somebody's inference mode can be trained all the same.
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ClipEmbedder(config, input_config, num_classes=num_classes)
