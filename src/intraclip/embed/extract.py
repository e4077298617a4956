"""Tracklets -> embeddings: of a network, a run, or somebody else's network; see `intraclip.embed.extractors`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.config import Recipe
from intraclip.core.devices import choose_device
from intraclip.core.progress import Progress
from intraclip.embed.clip_extractor import ClipExtractor
from intraclip.embed.encoders import open_encoder
from intraclip.embed.encoders.torch_encoder import TorchEncoder
from intraclip.embed.extractors import Extractor, ExtractSettings, FrameExtractor
from intraclip.errors import ConfigError, DataError
from intraclip.metrics.embeddings import Embeddings
from intraclip.models.checkpoint import load_model, model_file, read_checkpoint
from intraclip.models.embedder import ClipEmbedder
from intraclip.models.heads.tap import TAP
from intraclip.models.other_passes import needs_clips
from intraclip.models.zoo import find, resolve, shipped_name
from intraclip.types import Split, Tracklet


def extractor_of(model: ClipEmbedder) -> Extractor:
    """The extractor of a network that is in evaluation mode, on the network's device."""
    if model.frame_head is not None:
        return FrameExtractor(TorchEncoder(model), model.frame_head)
    return ClipExtractor(model)


def open_extractor(
    run: Path | None, *, encoder: Path | None = None, engine: str | None = None, device: str | None = None
) -> tuple[Extractor, Recipe]:
    """The extractor of a run on an engine, of somebody else's network, or of both.

    Args:
        run: run folder, checkpoint file, or a name of the zoo; its head aggregates. None: TAP aggregates.
        encoder: TOML description or zoo name of another network, which replaces the run's backbone. A name may stand
            in either place: a network of intraclip's own is a run, any other an encoder.
        engine: what runs the frame encoder, see `open_encoder`; by default torch for a run, and for another network
            what its file asks for.
        device: other device than the recipe's, for engines that have several.

    Returns:
        The extractor and the run's recipe, or the default one where there is no run.

    Raises:
        ConfigError: neither run nor encoder; sizes that do not fit; or a head that reads more than frame vectors
            on another engine than torch.
    """
    run, encoder = _in_place(run, encoder)
    source = encoder or run
    if source is None:
        raise ConfigError("name the network with --model")
    engine = engine or ("torch" if encoder is None else "auto")
    recipe, head = Recipe(), None
    if run is not None:
        ours = encoder is None and engine == "torch"
        model, recipe = load_run(run, device=device if ours else "cpu")
        # Only torch runs heads that read maps.
        if ours or (encoder is None and engine == "auto" and model.frame_head is None):
            return _called(extractor_of(model), run), recipe
        head = model.frame_head
        if head is None:
            raise ConfigError(
                f"{run}: {needs_clips(model)}; other engines and networks give one vector a frame. Use --engine torch "
                "and no other network"
            )
    frames = open_encoder(source, engine=engine, device=device)
    if encoder is not None:
        recipe = replace(recipe, input=replace(recipe.input, height=frames.height, width=frames.width))
    return _called(FrameExtractor(frames, head or TAP(frames.num_features)), encoder or run), recipe


def _in_place(run: Path | None, encoder: Path | None) -> tuple[Path | None, Path | None]:
    """Run and encoder, each where it belongs when the only one is a name of the zoo."""
    only = run or encoder
    if only is None or (run is not None and encoder is not None):
        return run, encoder
    entry = None if only.exists() else find(str(only))
    if entry is None:
        return run, encoder
    return (resolve(only, kinds=(entry.kind,)), None) if entry.kind == "checkpoint" else (None, only)


def _called(extractor: Extractor, source: Path | None) -> Extractor:
    """With the name of the shipped network, where it is one: a gallery shows it to people."""
    name = shipped_name(source) if source is not None else ""
    if name:
        extractor.name = f"{name} ({extractor.name.rpartition('(')[2]}"
    return extractor


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
