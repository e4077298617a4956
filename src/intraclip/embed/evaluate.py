"""Score a trained network, or anyone's embeddings, under named protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch.distributed as dist

from intraclip.core.devices import choose_device
from intraclip.core.distributed import ALONE, Ranks
from intraclip.core.environment import environment
from intraclip.core.files import file_digest, write_json
from intraclip.core.progress import Progress
from intraclip.core.setting_tables import flat
from intraclip.core.settings import table_of
from intraclip.data.readers import read_split
from intraclip.data.readers.common import tracklets_digest
from intraclip.embed.embeddings_io import save_embeddings
from intraclip.embed.extract import collect, require_test_tracklets, with_ids
from intraclip.embed.extract_job import balance
from intraclip.embed.network import Network, opened
from intraclip.embed.origin import origin_of, times_of
from intraclip.errors import ConfigError, DataError
from intraclip.metrics.distance import Distance, require_distance
from intraclip.metrics.protocols import Protocol, protocol_named
from intraclip.metrics.ranking import score
from intraclip.metrics.scores import Scores
from intraclip.metrics.side_by_side import protocols_named, scored_by
from intraclip.metrics.uncertainty import intervals
from intraclip.models.checkpoint import model_file, read_checkpoint
from intraclip.types import Split, Tracklet

Sampling = Literal["dense", "even", "all"]


def evaluate(
    run: str | Path,
    *,
    data: str | Path | Split,
    protocol: str | None = None,
    distance: Distance = "euclidean",
    sampling: Sampling | None = None,
    layout: str = "auto",
    split: int | None = None,
    engine: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Embed the test tracklets of a data folder with a run's network, and score them.

    Into a run folder `evaluation.json` and `embeddings.npz` are written; for a checkpoint file nothing is.

    Args:
        run: run folder or checkpoint file.
        data: folder in one of the known layouts, or what `read` gave.
        protocol: by name, ``all`` for every one; by default the usual one of the data set.
        distance: ``euclidean`` or ``cosine``.
        sampling: other test sampling than the recipe's.
        layout: of the data folder, see `read`.
        split: its number; by default the one that the run was trained on, as another one tests on people of the
            training.
        engine: what runs the network: ``torch``, ``onnxruntime``, ``openvino`` or ``auto``; torch by default.
        workers: processes that decode frames; by default as in the recipe.
        device: other device than the recipe's.
        progress: called with frames done and frames in all.
        ranks: the processes that share the embedding.

    Returns:
        ``scores`` by protocol, each with ``intervals`` (None for too few people) and ``same_as``, protocols that
        calculate the same; ``not_scored`` with the reason by protocol (``all`` only); and everything that makes them
        what they are: ``fingerprint``, ``data``, ``sampling``, ``model`` and ``environment``.

    >>> evaluate("no-such-run", data="MARS")
    Traceback (most recent call last):
    ...
    intraclip.errors.CheckpointError: no-such-run holds no trained model: ...
    """
    run = Path(run)
    if isinstance(data, Split):
        tested = data
    else:
        recipe = read_checkpoint(model_file(run)).recipe.data
        number = recipe.split if split is None else split
        tested = read_split(data, layout=layout, split=number, direction=recipe.direction)
    # Before hours of embedding, not after.
    require_test_tracklets(tested)
    if not tested.query:
        raise DataError(
            f"{tested.root} holds {len(tested.gallery)} gallery tracklets and no query tracklets, so there is nothing "
            "to score; tracklets without labels: intraclip rank, or link"
        )
    protocols = protocols_named(protocol or tested.protocol)
    require_distance(distance)
    network, counting, described = _opened(
        run, sampling=sampling, engine=engine, workers=workers, device=device
    )
    features, unreadable = _embed_shared(network, tested.test, ranks, progress)
    embeddings = with_ids(features, tested, fingerprint=network.fingerprint)

    def scored(rules: Protocol) -> dict[str, Any]:
        found = score(embeddings, rules, distance=distance, device=counting)
        sure = intervals(found.outcomes, embeddings.pids[found.outcomes.rows])
        return {**found.to_json_dict(), "intervals": sure and sure.to_json_dict()}

    scores, not_scored = scored_by(protocols, scored)
    result = {
        "scores": scores,
        "not_scored": not_scored,
        "unreadable_frames": unreadable,
        "fingerprint": network.fingerprint,
        "data": {
            "root": str(tested.root),
            "dataset": tested.dataset,
            "split": tested.index,
            "test_digest": tracklets_digest(tested, tested.test),
        },
        **described,
    }
    if run.is_dir() and ranks.leads:
        save_embeddings(
            run / "embeddings.npz",
            embeddings,
            times=times_of(tested),
            metadata={
                **origin_of(network.extractor, tested, network.settings.clip),
                "run": str(run.resolve()),
                "unreadable_frames": len(unreadable),
            },
        )
        write_json(run / "evaluation.json", result)
    return result


def _embed_shared(
    network: Network, tracklets: Sequence[Tracklet], ranks: Ranks, progress: Progress | None
) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Embed this process's share of the tracklets, and hand all of them to every process; and what was left out."""
    shares = balance([len(t) for t in tracklets], ranks.size)
    own = shares[ranks.rank]
    unreadable: list[str] = []
    features = collect(
        network.extractor,
        [tracklets[i] for i in own],
        network.settings,
        progress=progress,
        unreadable=unreadable,
    )
    if ranks.size == 1:
        return features, unreadable
    gathered = [(features, unreadable)] * ranks.size
    dist.all_gather_object(gathered, (features, unreadable))
    everyone = np.empty((len(tracklets), network.embedding_size), dtype=np.float32)
    for share, (part, _) in zip(shares, gathered, strict=True):
        everyone[share] = part
    return everyone, [message for _, messages in gathered for message in messages]


@dataclass(frozen=True, kw_only=True)
class SplitsEvaluation:
    """One run, scored on several splits of a data set.

    Attributes:
        scores: one entry a split, in the order given.
        described: ``sampling``, ``model`` and ``environment``, as `evaluate` writes them.
    """

    scores: tuple[Scores, ...]
    described: Mapping[str, Any]


def evaluate_splits(
    run: Path,
    splits: Sequence[Split],
    *,
    protocol: str | None = None,
    distance: Distance = "euclidean",
    sampling: Sampling | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> SplitsEvaluation:
    """Score a run on several splits of one data set; writes nothing.

    Splits of one data set share most of their tracklets, so each is embedded once.
    """
    for split in splits:
        require_test_tracklets(split)
    network, counting, described = _opened(run, sampling=sampling, device=device)
    tracklets = list({(t.root, t.name): t for split in splits for t in split.test}.values())
    row = {(t.root, t.name): i for i, t in enumerate(tracklets)}
    features = collect(network.extractor, tracklets, network.settings, progress=progress)
    scores = []
    for split in splits:
        embeddings = with_ids(features[[row[t.root, t.name] for t in split.test]], split)
        scores.append(
            score(
                embeddings,
                protocol_named(protocol or split.protocol),
                distance=distance,
                device=counting,
            )
        )
    return SplitsEvaluation(scores=tuple(scores), described=described)


def _opened(
    run: Path,
    *,
    sampling: Sampling | None,
    device: str | None,
    engine: str | None = None,
    workers: int | None = None,
) -> tuple[Network, str | None, dict[str, Any]]:
    """A run's network, where its rankings are counted, and what is written beside its scores."""
    if workers is not None and workers < 0:
        raise ConfigError(f"--workers {workers}: 0 or more is needed")
    checkpoint = read_checkpoint(model_file(run))
    network = opened(run, engine=engine, device=device, sampling=sampling)
    if workers is not None:
        network.settings = replace(network.settings, workers=workers)
    recipe, clip = network.recipe, network.settings.clip
    used = choose_device((device or recipe.device) if (engine or "torch") == "torch" else "cpu")
    model = {
        "file": str(checkpoint.path),
        "epoch": checkpoint.epoch,
        "seed": recipe.seed,
        **flat(table_of(recipe.model)),
        "augmentation": recipe.augment.mode,
        "sha256": file_digest(checkpoint.path),
    }
    described = {
        "sampling": {"test_sampling": clip.test_sampling, "num_frames": clip.num_frames},
        "model": model,
        "environment": environment(used),
    }
    # On the GPU where the network runs there; None is numpy.
    return network, str(used) if used.type == "cuda" else None, described
