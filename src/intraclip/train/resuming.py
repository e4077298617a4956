"""Going on with a run from its latest checkpoint that is whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch

from intraclip.config_io import parse_json
from intraclip.core.distributed import World
from intraclip.errors import CheckpointError, OutputError
from intraclip.models.checkpoint import MORE, Checkpoint, load_weights, read_checkpoint, tensors_of
from intraclip.models.saving import training_checkpoints
from intraclip.train.loop import Progress, Watcher
from intraclip.train.step import TrainingStep


def restore(
    step: TrainingStep, run: Path, labels: Mapping[int, int], world: World, watcher: Watcher
) -> Progress:
    """Load the latest checkpoint that is whole into network, optimizer and losses.

    Returns:
        How far it was; not at all where a run has none yet.

    Raises:
        CheckpointError: none can be read, or it is of other people.
    """
    world.leader_does(lambda: _set_damaged_aside(run, watcher))
    found = training_checkpoints(run)
    if not found:
        if world.leads:
            watcher.message(f"{run} has no checkpoint yet: starting from the beginning")
        return Progress()
    checkpoint = read_checkpoint(found[-1])
    if checkpoint.pids != tuple(labels):
        raise CheckpointError(
            f"{checkpoint.path} was trained on {len(checkpoint.pids)} identities, the data has {len(labels)} "
            "or other ones; resume on the data the run was started with"
        )
    if not checkpoint.progress:
        raise CheckpointError(
            f"{checkpoint.path} holds no state of the training loop; resume from a file that training wrote"
        )
    load_weights(step.model, checkpoint)
    load_optimizer(step.optimizer, checkpoint)
    step.load_state({part: tensors_of(checkpoint.path, part) for part in MORE})
    step.scaler.load_state_dict(dict(checkpoint.progress["scaler"]))
    if world.leads:
        watcher.message(f"resuming after step {checkpoint.step} from {checkpoint.path.name}")
    sums: dict[str, float] = defaultdict(float, checkpoint.progress["sums"])
    return Progress(checkpoint.step, sums, int(checkpoint.progress["unreadable"]))


def load_optimizer(optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Restore an optimizer to the checkpoint's moment."""
    with safetensors.safe_open(checkpoint.path, framework="pt") as file:
        groups = (file.metadata() or {}).get("optimizer_groups")
    if groups is None:
        raise CheckpointError(
            f"{checkpoint.path} holds weights only; resume from a file of the run's checkpoints/ folder"
        )
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors_of(checkpoint.path, "optimizer").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": parse_json(groups)})
    for parameter, entry in optimizer.state.items():
        for key, tensor in entry.items():
            if tensor.shape == parameter.shape:
                # Fused optimizers walk through memory: moments must lie there as their weight does (channels last).
                entry[key] = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)


def _set_damaged_aside(run: Path, watcher: Watcher) -> None:
    """Set damaged checkpoints aside, newest first, until one is whole."""
    older = sorted((run / "checkpoints").glob("epoch-*.safetensors"))
    if older:
        raise CheckpointError(
            f"{older[-1]} is of an older version of intraclip, which this one cannot continue; start a new run, or use "
            "the version that wrote it"
        )
    damaged: list[str] = []
    for file in reversed(training_checkpoints(run)):
        try:
            verify(file)
            return
        except CheckpointError as error:
            damaged.append(str(error))
            aside = file.with_name(file.name + ".damaged")
            try:
                file.replace(aside)
            except OSError as failure:
                raise OutputError(f"{error}; and it cannot be set aside: {failure}") from None
            watcher.message(f"{error}; set aside as {aside.name}, falling back to the checkpoint before it")
    if damaged:
        raise CheckpointError(
            "no checkpoint of this run can be read, so it cannot be resumed; start a new one:\n"
            + "\n".join(f"  {line}" for line in damaged)
        )


def verify(path: Path) -> Checkpoint:
    """Read a training checkpoint whole, comparing its tensors with their digest."""
    checkpoint = read_checkpoint(path)
    for part in ("model", "optimizer", *MORE):
        tensors_of(path, part)
    return checkpoint
