"""Tracklets -> embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from intraclip.config import ClipConfig, Recipe
from intraclip.data.augment import normalise
from intraclip.data.dataset import TestBatches, iterate
from intraclip.engine.run import choose_device
from intraclip.errors import DataError
from intraclip.models.checkpoint import load_model, model_file, read_checkpoint
from intraclip.models.embedder import ClipEmbedder
from intraclip.types import Embeddings, Split, Tracklet

Progress = Callable[[int, int], None]
"""Called with batches done and batches in all."""


@torch.inference_mode()
def embed_tracklets(
    model: ClipEmbedder,
    tracklets: Sequence[Tracklet],
    recipe: Recipe,
    *,
    clip: ClipConfig | None = None,
    progress: Progress | None = None,
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Embed tracklets: the mean of the embeddings of their test clips.

    Args:
        model: on its device; used in evaluation mode, its mode is restored.
        tracklets: N of them.
        recipe: input, clip, data and run settings.
        clip: other clip settings than the recipe's, such as another test sampling.
        progress: called after every batch.

    Returns:
        float32 ``[N, D]``, in the order of the tracklets.

    Raises:
        FrameError: a frame cannot be read, and the recipe does not say to skip it.
    """
    device = next(model.parameters()).device
    dataset = TestBatches(
        tracklets,
        clip or recipe.clip,
        recipe.input,
        max_frames=recipe.run.test_batch_frames,
        skip_unreadable=recipe.data.on_unreadable == "skip",
    )
    sums = torch.zeros(len(tracklets), model.embedding_size, dtype=torch.float64)
    counts = torch.zeros(len(tracklets), 1, dtype=torch.float64)
    was_training = model.training
    model.eval()
    try:
        for done, loaded in enumerate(iterate(dataset, workers=recipe.data.workers), start=1):
            batch = loaded.clips.to(device, non_blocking=True)
            frames = normalise(batch.frames, mean=recipe.input.mean, std=recipe.input.std)
            embeddings = model.embed(frames, batch.mask).cpu().double()
            sums.index_add_(0, loaded.owners, embeddings)
            counts.index_add_(0, loaded.owners, torch.ones(len(loaded.owners), 1, dtype=torch.float64))
            if progress:
                progress(done, len(dataset))
    finally:
        model.train(was_training)
    return (sums / counts).float().numpy()


def embed_split(
    model: ClipEmbedder,
    split: Split,
    recipe: Recipe,
    *,
    clip: ClipConfig | None = None,
    progress: Progress | None = None,
) -> Embeddings:
    """Embed the test tracklets of a split: queries first, then the gallery.

    Raises:
        DataError: the split has no test tracklets, or the network gave numbers that are not finite.
    """
    require_test_tracklets(split)
    features = embed_tracklets(model, split.test, recipe, clip=clip, progress=progress)
    return with_ids(features, split)


def require_test_tracklets(split: Split) -> None:
    """Refuse a split that has nothing to test on.

    Raises:
        DataError: neither queries nor gallery.
    """
    if not split.test:
        raise DataError(f"{split.root} holds no test tracklets (layout {split.dataset}, split {split.index})")


def with_ids(features: np.ndarray[tuple[int, int], np.dtype[np.float32]], split: Split) -> Embeddings:
    """Join features ``[N, D]`` of `split.test` with pids, camids, names and query flags."""
    test = split.test
    return Embeddings(
        features=features,
        pids=np.array([t.pid for t in test], dtype=np.int64),
        camids=np.array([t.camid for t in test], dtype=np.int64),
        is_query=np.arange(len(test)) < len(split.query),
        names=tuple(t.name for t in test),
    )


def load_run(run: Path, *, device: str | None = None) -> tuple[ClipEmbedder, Recipe]:
    """The trained network of a run folder or checkpoint file, ready to embed, and its recipe.

    Args:
        run: run folder or checkpoint file.
        device: other device than the recipe's.

    Raises:
        CheckpointError: no trained model there.
        DeviceError: the device is not there.
    """
    checkpoint = read_checkpoint(model_file(run))
    target = choose_device(device or checkpoint.recipe.device)
    return load_model(checkpoint, device=target), checkpoint.recipe
