"""Going on with a run from its latest checkpoint that is whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from intraclip.core.distributed import World
from intraclip.errors import CheckpointError, OutputError
from intraclip.models.checkpoint import (
    Checkpoint,
    load_more,
    load_optimizer,
    load_weights,
    read_checkpoint,
    training_checkpoints,
    verify,
)
from intraclip.train.loop import Watcher
from intraclip.train.step import TrainingStep


def restore(
    step: TrainingStep, run: Path, labels: Mapping[int, int], world: World, watcher: Watcher
) -> Checkpoint | None:
    """Load the latest checkpoint that is whole into network, optimizer and losses.

    Returns:
        What it says; None where a run has none yet.

    Raises:
        CheckpointError: none can be read, or it is of other people.
    """
    world.leader_does(lambda: _set_damaged_aside(run, watcher))
    found = training_checkpoints(run)
    if not found:
        if world.leads:
            watcher.message(f"{run} has no checkpoint yet: starting from the beginning")
        return None
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
    step.load_state(load_more(checkpoint))
    step.scaler.load_state_dict(dict(checkpoint.progress["scaler"]))
    if world.leads:
        watcher.message(f"resuming after step {checkpoint.step} from {checkpoint.path.name}")
    return checkpoint


def _set_damaged_aside(run: Path, watcher: Watcher) -> None:
    """Set damaged checkpoints aside, newest first, until one is whole.

    Raises:
        CheckpointError: there are some, and none is whole.
        OutputError: one cannot be set aside.
    """
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
