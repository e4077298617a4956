"""Tracklets -> embeddings, with what the tracklets say; see `intraclip.embed.extractors`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.config import Recipe
from intraclip.core.devices import choose_device
from intraclip.core.progress import Progress
from intraclip.embed.clip_extractor import ClipExtractor
from intraclip.embed.encoders.torch_encoder import TorchEncoder
from intraclip.embed.extractors import Extractor, ExtractSettings, FrameExtractor
from intraclip.errors import DataError
from intraclip.metrics.embeddings import Embeddings
from intraclip.models.checkpoint import load_model, model_file, read_checkpoint
from intraclip.models.embedder import ClipEmbedder
from intraclip.types import Split, Tracklet


def extractor_of(model: ClipEmbedder) -> Extractor:
    """The extractor of a network that is in evaluation mode, on the network's device."""
    if model.frame_head is not None:
        return FrameExtractor(TorchEncoder(model), model.frame_head)
    return ClipExtractor(model)


def collect(
    extractor: Extractor,
    tracklets: Sequence[Tracklet],
    settings: ExtractSettings,
    *,
    progress: Progress | None = None,
    unreadable: list[str] | None = None,
) -> npt.NDArray[np.float32]:
    """The embeddings that an extractor makes.

    `unreadable` gets the messages about frames that were left out.

    Returns:
        float32 ``[N, D]``, in the order of the tracklets; not finite where the network gave such numbers.
    """
    features = np.empty((len(tracklets), extractor.embedding_size), dtype=np.float32)
    for finished in extractor.embed(tracklets, settings, progress=progress):
        if finished.embedding is None:
            raise DataError(finished.failure)
        features[finished.row] = finished.embedding
        if unreadable is not None:
            unreadable += finished.unreadable
    return features


def require_test_tracklets(split: Split) -> None:
    """Refuse a split that has nothing to test on."""
    if not split.test:
        raise DataError(f"{split.root} holds no test tracklets (layout {split.dataset}, split {split.index})")


def with_ids(features: npt.NDArray[np.float32], split: Split, *, fingerprint: str = "") -> Embeddings:
    """Join features ``[N, D]`` of `split.test` with pids, camids, names and query flags."""
    return of_tracklets(features, split.test, queries=len(split.query), fingerprint=fingerprint)


def of_tracklets(
    features: npt.NDArray[np.float32],
    tracklets: Sequence[Tracklet],
    *,
    queries: int = 0,
    fingerprint: str = "",
) -> Embeddings:
    """Join features ``[N, D]`` with what N tracklets say; the first `queries` of them are searched for."""
    return Embeddings(
        features=features,
        pids=np.array([t.pid for t in tracklets], dtype=np.int64),
        camids=np.array([t.camid for t in tracklets], dtype=np.int64),
        is_query=np.arange(len(tracklets)) < queries,
        names=tuple(t.name for t in tracklets),
        fingerprint=fingerprint,
    )


def load_run(run: Path, *, device: str | None = None) -> tuple[ClipEmbedder, Recipe]:
    """The trained network of a run folder or checkpoint file, ready to embed, and its recipe."""
    checkpoint = read_checkpoint(model_file(run))
    target = choose_device(device or checkpoint.recipe.device)
    return load_model(checkpoint, device=target), checkpoint.recipe
