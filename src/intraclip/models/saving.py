"""Writing checkpoints; what is in one, and how it is read: `intraclip.models.checkpoint`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from intraclip.config import Recipe
from intraclip.core.files import whole_file
from intraclip.core.settings import table_of
from intraclip.core.tensor_digest import digest
from intraclip.errors import CheckpointError
from intraclip.models.checkpoint import FORMAT, FORMAT_VERSION, HEADER_DIGEST
from intraclip.models.embedder import ClipEmbedder


def save_checkpoint(
    path: Path,
    model: ClipEmbedder,
    *,
    recipe: Recipe,
    pids: Sequence[int],
    epoch: int,
    step: int,
    optimizer: torch.optim.Optimizer | None = None,
    progress: Mapping[str, Any] | None = None,
    more: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
) -> None:
    """Write a checkpoint. The file appears whole or not at all.

    Args:
        path: the file.
        model: its weights and statistics.
        recipe: of the run.
        pids: training identities by class.
        epoch: those that are finished.
        step: batches that are finished.
        optimizer: to be able to go on training, as are:
        progress: the state of the training loop, as JSON can hold it.
        more: tensors by part (`MORE`) and name.

    Raises:
        CheckpointError: a weight is not finite; nothing is written, older checkpoints stay.
    """
    parts: dict[str, dict[str, torch.Tensor]] = {"model": model.state_dict(), "optimizer": {}}
    weights = parts["model"]
    broken = [k for k, v in weights.items() if not bool(torch.isfinite(v).all())]
    if broken:
        raise CheckpointError(
            f"{len(broken)} of {len(weights)} weights are not finite after step {step}, such as {broken[0]}; {path} is "
            "not written. Resume from an older checkpoint with a lower optimizer.learning_rate"
        )
    meta = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "recipe": json.dumps(table_of(recipe)),
        "pids": json.dumps([int(p) for p in pids]),
        "epoch": str(epoch),
        "step": str(step),
        "progress": json.dumps(dict(progress or {})),
    }
    if optimizer is not None:
        state = optimizer.state_dict()
        meta["optimizer_groups"] = json.dumps(state["param_groups"])
        parts["optimizer"] = {f"{i}.{k}": v for i, entry in state["state"].items() for k, v in entry.items()}
    parts |= {part: dict(found) for part, found in (more or {}).items() if found}
    tensors: dict[str, torch.Tensor] = {}
    for part, found in parts.items():
        own = {f"{part}.{k}": v.detach().cpu().contiguous() for k, v in found.items()}
        tensors |= own
        meta[f"{part}_sha256"] = digest({}, own)
    meta[HEADER_DIGEST] = digest(meta, {})
    with whole_file(path, kept="nothing older was changed", also=(safetensors.SafetensorError,)) as partial:
        safetensors.torch.save_file(tensors, partial, metadata=meta)


def training_checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run folder, oldest first."""
    return sorted((run / "checkpoints").glob("step-*.safetensors"))


def training_checkpoint(run: Path, step: int) -> Path:
    """Where the checkpoint after a step belongs.

    >>> training_checkpoint(Path("run"), 960).name
    'step-00000960.safetensors'
    """
    return run / "checkpoints" / f"step-{step:08d}.safetensors"
