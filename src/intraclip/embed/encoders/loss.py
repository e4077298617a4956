"""What int8 costs: rank-1 and mAP of a file beside those of the network it came from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from intraclip.config import Recipe
from intraclip.core.devices import environment
from intraclip.data.dataset import TestBatches, iterate
from intraclip.embed.extract import require_test_tracklets, with_ids
from intraclip.errors import ConfigError
from intraclip.export.compare import agreement
from intraclip.export.graph import build_graph
from intraclip.export.networks import open_network
from intraclip.export.write import Written
from intraclip.metrics.protocols import protocol_named
from intraclip.metrics.ranking import score
from intraclip.models.embedder import ClipEmbedder, needs_clips
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

    Args:
        model: the network, on the CPU, in evaluation mode.
        recipe: test clips, and decoding workers.
        split: its queries and gallery, under its usual protocol and Euclidean distance.
        written: the file.
        engine: that runs it.
        progress: called after every batch, with batches done and in all.

    Returns:
        ``original`` and ``exported`` (rank1 and mAP, in 0..1), ``loss`` (the first minus the second), ``cosine`` of the
        tracklet embeddings, and what makes them what they are. JSON can hold it.

    Raises:
        DataError: nothing to test on, or features that are not finite.
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

    batches = TestBatches(
        split.test,
        recipe.clip,
        recipe.input,
        max_frames=FRAMES_AT_A_TIME,
        skip_unreadable=recipe.data.on_unreadable == "skip",
    )
    sums = {side: torch.zeros(len(split.test), model.embedding_size, dtype=torch.float64) for side in sides}
    counts = torch.bincount(torch.tensor([owner for batch in batches.batches for owner, _ in batch]))
    for done, loaded in enumerate(iterate(batches, workers=recipe.data.workers), start=1):
        with torch.inference_mode():
            for side, embed in sides.items():
                found = embed(loaded.clips.frames, loaded.clips.mask)
                sums[side].index_add_(0, loaded.owners, found.double())
        if progress:
            progress(done, len(batches))

    features = {side: (total / counts[:, None]).float().numpy() for side, total in sums.items()}
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


def _through_head(run: Callable[..., torch.Tensor], model: ClipEmbedder) -> Embed:
    """A frame network, followed by the head of its origin."""
    head = model.frame_head
    if head is None:
        raise ConfigError(f"{needs_clips(model)}; there is no frame part to measure")

    def embed(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        vectors = run(frames.flatten(0, 1))
        return head.aggregate(vectors.reshape(*mask.shape, -1), mask).embedding

    return embed
