"""Checkpoints: weights, the recipe that made them, and a format version, in one safetensors file.

A safetensors file holds tensors and text; reading one runs no code. Training checkpoints hold the optimizer
(`optimizer.*`) and the state of the training loop too; the final `model.safetensors` of a run does not. Digests of
the tensors and of the header tell a damaged file from a whole one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from intraclip.config import Recipe
from intraclip.config_io import parse_json, recipe_from_table
from intraclip.core.tensor_digest import digest
from intraclip.errors import CheckpointError, ConfigError
from intraclip.models.embedder import ClipEmbedder, build_embedder

FORMAT = "intraclip-checkpoint"
FORMAT_VERSION = 1
HEADER_DIGEST = "header_sha256"
MORE = ("average", "loss")
"""Parts of a training checkpoint besides weights and optimizer: averaged weights, and what the losses remember."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file says, tensors excepted.

    Attributes:
        pids: training identities; class i is pid `pids[i]`.
        progress: state of the training loop inside its epoch, as it was handed to `save_checkpoint`.
    """

    path: Path
    recipe: Recipe
    pids: tuple[int, ...]
    epoch: int
    step: int
    progress: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what a checkpoint says about itself, without its tensors.

    Raises:
        CheckpointError: missing, damaged, no checkpoint of intraclip, or of another format version.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from None
    if meta.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} holds tensors, but is no intraclip checkpoint; a backbone's weights belong into model.weights"
        )
    if meta.get("format_version") != str(FORMAT_VERSION):
        raise CheckpointError(
            f"{path} has checkpoint format {meta.get('format_version')}, this version of intraclip reads "
            f"{FORMAT_VERSION}; use the version that wrote it"
        )
    written = meta.pop(HEADER_DIGEST, None)  # older files have none
    if written is not None and digest(meta, {}) != written:
        raise CheckpointError(f"{path} is damaged: its header has other content than was written")
    try:
        return Checkpoint(
            path=path,
            recipe=recipe_from_table(parse_json(meta["recipe"]), source=f"{path} (recipe inside)"),
            pids=tuple(parse_json(meta["pids"])),
            epoch=int(meta["epoch"]),
            step=int(meta["step"]),
            progress=parse_json(meta.get("progress", "{}")),
        )
    except (KeyError, ValueError, TypeError, RecursionError, ConfigError) as error:
        raise CheckpointError(f"{path} has a damaged header: {error}") from None


def load_model(checkpoint: Checkpoint, *, device: torch.device) -> ClipEmbedder:
    """Build the network of a checkpoint with its weights, in evaluation mode."""
    recipe = checkpoint.recipe
    model = build_embedder(recipe.model, recipe.input, num_classes=len(checkpoint.pids), seed=0)
    load_weights(model, checkpoint)
    return model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's weights into a network of the same structure."""
    try:
        model.load_state_dict(tensors_of(checkpoint.path, "model"))
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {checkpoint.path} do not fit its own header: {error}"
        ) from None


def model_file(run: Path) -> Path:
    """The checkpoint that a run folder, a checkpoint file or a name of the zoo stands for.

    Raises:
        CheckpointError: there is none; says what was looked for.
    """
    from intraclip.models.zoo import resolve

    run = resolve(run, kinds=("checkpoint",))
    if run.is_file():
        return run
    final = run / "model.safetensors"
    if final.is_file():
        return final
    from intraclip.models.saving import training_checkpoints

    if checkpoints := training_checkpoints(run):
        return checkpoints[-1]
    raise CheckpointError(
        f"{run} holds no trained model: neither model.safetensors nor checkpoints/*.safetensors is there"
    )


def tensors_of(path: Path, part: str) -> dict[str, torch.Tensor]:
    """The tensors of a part ("model", "optimizer", one of `MORE`) by name, compared with their digest."""
    prefix = f"{part}."
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            expected = (file.metadata() or {}).get(f"{part}_sha256")
            found = {k: file.get_tensor(k) for k in file.keys() if k.startswith(prefix)}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if expected is not None and digest({}, found) != expected:
        raise CheckpointError(f"{path} is damaged: its tensors have other bytes than were written")
    return {k.removeprefix(prefix): v for k, v in found.items()}
