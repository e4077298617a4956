"""Score a trained network, or anyone's embeddings, under named protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from intraclip.engine.embeddings_io import save_embeddings
from intraclip.engine.extract import Progress, embed_split
from intraclip.engine.run import choose_device, environment, write_json
from intraclip.errors import DataError
from intraclip.metrics.distance import Distance
from intraclip.metrics.protocols import PROTOCOLS, Protocol, protocol_named
from intraclip.metrics.ranking import Scores, score
from intraclip.models.checkpoint import describe, load_model, model_file, read_checkpoint
from intraclip.types import Embeddings, Split

Sampling = Literal["dense", "even", "all"]


def protocols_for(split: Split, name: str | None) -> list[Protocol]:
    """Protocols to score a split with.

    Args:
        split: names its usual protocol.
        name: a protocol, ``all`` for every protocol, or None for the usual one.

    Raises:
        ConfigError: unknown name.
    """
    if name == "all":
        return list(PROTOCOLS.values())
    return [protocol_named(name or split.protocol)]


def score_all(
    embeddings: Embeddings, protocols: Sequence[Protocol], *, distance: Distance
) -> dict[str, Scores]:
    """Scores by protocol name."""
    return {protocol.name: score(embeddings, protocol, distance=distance) for protocol in protocols}


def evaluate_run(
    run: Path,
    split: Split,
    *,
    protocol: str | None = None,
    distance: Distance = "euclidean",
    sampling: Sampling | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Embed the test tracklets with a run's model and score them.

    For a run folder, `evaluation.json` and `embeddings.npz` are written into it; for a single checkpoint file
    nothing is written.

    Args:
        run: run folder or checkpoint file.
        split: its queries and gallery are used.
        protocol: see `protocols_for`.
        distance: ``euclidean`` or ``cosine``.
        sampling: other test sampling than the recipe's.
        device: other device than the recipe's.
        progress: called after every batch.

    Returns:
        ``scores`` by protocol, ``not_scored`` with the reason by protocol (``all`` only), and everything that makes
        them what they are: ``data``, ``sampling``, ``model`` and ``environment``.

    Raises:
        CheckpointError: no trained model there.
        DataError: nothing to evaluate, or features that are not finite.
    """
    checkpoint = read_checkpoint(model_file(run))
    recipe = checkpoint.recipe
    target = choose_device(device or recipe.device)
    model = load_model(checkpoint, device=target)
    clip = replace(recipe.clip, test_sampling=sampling) if sampling else recipe.clip
    embeddings = embed_split(model, split, recipe, clip=clip, progress=progress)
    scores: dict[str, Scores] = {}
    not_scored: dict[str, str] = {}
    for chosen in protocols_for(split, protocol):
        try:
            scores[chosen.name] = score(embeddings, chosen, distance=distance)
        except DataError as error:
            # Side by side, a protocol that leaves nobody to find is a finding; asked for alone, it is an error.
            if protocol != "all":
                raise
            not_scored[chosen.name] = str(error)
    result = {
        "scores": {name: value.to_json_dict() for name, value in scores.items()},
        "not_scored": not_scored,
        "data": {"root": str(split.root), "dataset": split.dataset, "split": split.index},
        "sampling": {"test_sampling": clip.test_sampling, "num_frames": clip.num_frames},
        "model": describe(checkpoint),
        "environment": environment(target),
    }
    if run.is_dir():
        save_embeddings(run / "embeddings.npz", embeddings)
        write_json(run / "evaluation.json", result)
    return result
