"""Fingerprints: which network, with which settings, made an embedding.

Two embeddings may be compared when their fingerprints agree. A fingerprint covers what changes an embedding and
nothing else: not the classifier, which only training reads, nor how the weights began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from intraclip.config import ClipConfig
from intraclip.core.settings import differing, settings_of
from intraclip.core.tensor_digest import digest
from intraclip.models.backbones import BACKBONES
from intraclip.models.backbones.settings import BackboneSettings
from intraclip.models.embedder import ClipEmbedder
from intraclip.models.heads.base import FrameHead, Head


def encoder_fingerprint(model: ClipEmbedder) -> str:
    """Fingerprint of a network's backbone with its preprocessing: of what turns a frame into a vector."""
    settings = settings_of(BACKBONES, model.config.backbone, model.config.backbone_settings)
    size = model.input_config
    told: dict[str, Any] = {
        "backbone": model.config.backbone,
        "last_stride": getattr(settings, "last_stride", 2),
        "input": [size.height, size.width, *size.mean, *size.std],
    }
    # What later versions added is told where it is used only, so that earlier fingerprints stay as they are.
    if not isinstance(settings, BackboneSettings) and (given := differing(settings)):
        told["backbone_settings"] = given
    told |= {name: True for name in ("standardise", "ibn") if getattr(model.config, name)}
    if isinstance(model.head, FrameHead):
        told |= model.head.frame_settings()
    tensors = dict(model.backbone.state_dict())
    if isinstance(model.head, FrameHead) and model.config.pooling == "gem":
        told["pooling"] = "gem"
        tensors |= {n: v for n, v in model.head.state_dict().items() if n.endswith("space.exponent")}
    return digest(told, tensors)


def embedding_fingerprint(
    encoder: str, head: Head, clip: ClipConfig, *, settings: Mapping[str, Any] | None = None
) -> str:
    """Fingerprint of tracklet embeddings.

    Args:
        encoder: fingerprint of the frame encoder.
        head: its kind and weights count.
        clip: the test sampling counts; padding is masked out of every clip, so `short` does not.
        settings: of the network, where its weights alone do not tell what it does; the head's own stand in `Head.told`.
    """
    sampling: list[Any] = [clip.test_sampling]
    if clip.test_sampling != "all":
        sampling.append(clip.num_frames)
    told = {"encoder": encoder, "head": type(head).__name__, "clip": sampling}
    settings = {**(settings or {}), **({"head_settings": dict(head.told)} if head.told else {})}
    return digest({**told, "settings": settings} if settings else told, head.state_dict())


UNREAD = (
    *("weights", "triplet_reads", "mix_style"),
    # Told by the names of its weights, and where search reads before it, below.
    *("neck", "neck_test"),
    # Told by the encoder.
    *("standardise", "pooling", "ibn"),
    *("backbone_settings", "head_settings"),  # the latter as `Head.told`
)
"""Model settings that are not told as settings of a head that reads more than frame vectors."""


EARLIER: dict[str, Any] = {
    **{"last_stride": 2, "width": 1.0},
    **{"ica_reduction": 4, "ica_expansion": 2, "ica_order": "fc-relu-bn"},
}
"""What the first version told of every network whose head reads more than frame vectors, where it says nothing else."""


def fingerprint_of(model: ClipEmbedder, clip: ClipConfig) -> str:
    """Fingerprint of the embeddings that a network makes of tracklets sampled as `clip` says."""
    backbone = asdict(settings_of(BACKBONES, model.config.backbone, model.config.backbone_settings))
    settings = {**asdict(model.config), **{key: backbone.get(key, usual) for key, usual in EARLIER.items()}}
    for unread in UNREAD:
        del settings[unread]
    # The frame heads can be told apart by names and shapes of their weights, and go with encoders of any kind.
    told: dict[str, Any] | None = None if isinstance(model.head, FrameHead) else settings
    if model.config.neck_test == "before":
        told = {**(told or {}), "neck_test": "before"}
    return embedding_fingerprint(encoder_fingerprint(model), model.head, clip, settings=told)
