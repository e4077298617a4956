"""What int8 costs: rank-1 and mAP of a file beside those of the network it came from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from intraclip.config import Recipe
from intraclip.core.devices import Arriving
from intraclip.core.environment import environment
from intraclip.embed.clip_extractor import ClipExtractor
from intraclip.embed.extract import collect, require_test_tracklets, with_ids
from intraclip.embed.extractors import ExtractSettings
from intraclip.errors import ConfigError
from intraclip.export.compare import agreement
from intraclip.export.graph import build_graph
from intraclip.export.networks import open_network
from intraclip.export.write import Written
from intraclip.metrics.protocols import protocol_named
from intraclip.metrics.ranking import score
from intraclip.models.embedder import ClipEmbedder
from intraclip.models.other_passes import needs_clips
from intraclip.types import Split

Embed = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Uint8 clips ``[B, T, 3, H, W]`` and their mask ``[B, T]`` -> embeddings ``[B, D]``."""

FRAMES_AT_A_TIME = 64


def measure_loss(
    model: ClipEmbedder,
    recipe: Recipe,
    split: Split,
    written: Written,
    *,
    engine: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Embed the test tracklets with a network and with a file of it, from the same decoded frames, and score both.

    Returns:
        ``original`` and ``exported`` (rank1 and mAP, in 0..1), ``loss`` (the first minus the second), ``cosine`` of the
        tracklet embeddings, and what makes them what they are. JSON can hold it.
    """
    require_test_tracklets(split)
    network = open_network(written.path, engine=engine)
    graph = copy.deepcopy(build_graph(model, recipe.input, written.description.part))
    graph.to(memory_format=torch.channels_last)

    def run_file(*inputs: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(network.run([np.ascontiguousarray(tensor.numpy()) for tensor in inputs]))

    sides: dict[str, Callable[..., torch.Tensor]] = {"original": graph, "exported": run_file}
    if written.description.part == "frame":
        sides = {side: _through_head(run, model) for side, run in sides.items()}

    settings = replace(ExtractSettings.of(recipe), max_frames=FRAMES_AT_A_TIME)
    beside = collect(_SideBySide(model, list(sides.values())), split.test, settings, progress=progress)
    features = dict(zip(sides, np.split(beside, len(sides), axis=1), strict=True))
    protocol = protocol_named(split.protocol)
    scores = {side: score(with_ids(array, split), protocol) for side, array in features.items()}
    shares = {side: {"rank1": float(s.cmc[0]), "mAP": float(s.mAP)} for side, s in scores.items()}
    alike = agreement(features["original"], features["exported"])
    return {
        **shares,
        "loss": {key: shares["original"][key] - shares["exported"][key] for key in ("rank1", "mAP")},
        "cosine": {"lowest": alike.cosine, "mean": alike.mean},
        "engine": network.engine,
        "protocol": protocol.name,
        "distance": "euclidean",
        "data": {"root": str(split.root), "dataset": split.dataset, "split": split.index},
        "sampling": {"test_sampling": recipe.clip.test_sampling, "num_frames": recipe.clip.num_frames},
        "environment": environment(torch.device("cpu")),
    }


class _SideBySide(ClipExtractor):
    """Embeddings of several networks that take the same clips, one beside the other."""

    def __init__(self, model: ClipEmbedder, sides: Sequence[Embed]) -> None:
        super().__init__(model)
        self.sides = sides

    @property
    def embedding_size(self) -> int:
        return len(self.sides) * super().embedding_size

    @torch.inference_mode()
    def _start(self, frames: torch.Tensor, mask: torch.Tensor, max_frames: int) -> Arriving:
        return Arriving(torch.cat([embed(frames, mask).double() for embed in self.sides], dim=1))


def _through_head(run: Callable[..., torch.Tensor], model: ClipEmbedder) -> Embed:
    """A frame network, followed by the head of its origin."""
    head = model.frame_head
    if head is None:
        raise ConfigError(f"{needs_clips(model)}; there is no frame part to measure")

    def embed(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        vectors = run(frames.flatten(0, 1))
        return head.aggregate(vectors.reshape(*mask.shape, -1), mask).embedding

    return embed
