"""The training loop."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from intraclip.config import OptimizerConfig, Recipe
from intraclip.config_io import differing_keys, dump_recipe, load_recipe
from intraclip.data.augment import apply, draw
from intraclip.data.dataset import TrainingBatches, iterate, labels_of
from intraclip.data.sampler import PKSampler
from intraclip.engine.run import choose_device, environment, write_json
from intraclip.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    IntraclipError,
    OutputError,
    require_empty_folder,
)
from intraclip.losses import TotalLoss
from intraclip.models.checkpoint import (
    load_optimizer,
    load_weights,
    read_checkpoint,
    save_checkpoint,
    training_checkpoints,
)
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.types import ClipBatch, Split


class Watcher(Protocol):
    """Sees a run go by; the command line draws it as a progress bar."""

    def step(self, *, epoch: int, step: int, total_steps: int, metrics: dict[str, float]) -> None:
        """One batch is done."""

    def message(self, text: str) -> None:
        """Something worth a line: a resumed checkpoint, a frame that could not be read."""


class Silent:
    """A watcher that looks away."""

    def step(self, *, epoch: int, step: int, total_steps: int, metrics: dict[str, float]) -> None:
        """Do nothing."""

    def message(self, text: str) -> None:
        """Do nothing."""


def learning_rate(config: OptimizerConfig, epoch: int) -> float:
    """Learning rate of an epoch, counted from 0 (paper, section 3.2).

    >>> [learning_rate(OptimizerConfig(decay_factor=0.1), e) for e in (0, 199, 200)]
    [0.0004, 0.0004, 4e-05]
    """
    rate = config.learning_rate * config.decay_factor ** (epoch // config.decay_every)
    if epoch < config.warmup_epochs:
        rate *= 0.1 + 0.9 * (epoch + 1) / config.warmup_epochs
    return float(f"{rate:.12g}")  # without the last digits' noise, which would show in every log


def train(
    split: Split, recipe: Recipe, run: Path, *, resume: bool = False, watcher: Watcher | None = None
) -> Path:
    """Train a network on a split and write a run folder (see `intraclip.engine.run`).

    Every random draw depends on the seed and the step alone: the same recipe, data and machine give the same
    weights, resumed or not.

    Args:
        split: `train` is used.
        recipe: all settings.
        run: the run folder; must be empty or absent unless resuming.
        resume: continue from the latest checkpoint; starts from the beginning when there is none yet.
        watcher: told about every step.

    Returns:
        The final `model.safetensors`.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
        ConfigError: resuming with another recipe; the keys that differ are named.
        DataError: too few identities, or a frame that cannot be read.
        DeviceError: the device is not there.
    """
    watcher = watcher or Silent()
    device = choose_device(recipe.device)
    _prepare(run, recipe, resume=resume)
    if not split.train:
        raise DataError(
            f"{split.root} holds no training tracklets (layout {split.dataset}, split {split.index})"
        )
    labels = labels_of(split.train)
    sampler = PKSampler(
        split.train, identities=recipe.batch.identities, clips=recipe.batch.clips, seed=recipe.seed
    )
    model = build_embedder(recipe.model, recipe.input, num_classes=len(labels), seed=recipe.seed).to(device)
    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=recipe.optimizer.learning_rate,
        betas=recipe.optimizer.betas,
        weight_decay=recipe.optimizer.weight_decay,
    )
    first_epoch = _restore(run, model, optimizer, labels, watcher) if resume else 0
    write_json(
        run / "environment.json",
        {
            **environment(device),
            "data": {
                "root": str(split.root),
                "dataset": split.dataset,
                "split": split.index,
                "training_identities": len(labels),
                "training_tracklets": len(split.train),
            },
            "parameters": sum(p.numel() for p in model.parameters()),
        },
    )
    steps, epochs = len(sampler), recipe.optimizer.epochs
    dataset = TrainingBatches(
        split.train, labels, recipe, sampler, start=first_epoch * steps, stop=epochs * steps
    )
    loss_function = TotalLoss(recipe.loss)
    model.train()
    with _logs(run, recipe, first_epoch) as log:
        batches = iterate(dataset, workers=recipe.data.workers, pin_memory=device.type == "cuda")
        for epoch in range(first_epoch, epochs):
            rate = learning_rate(recipe.optimizer, epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(_mix(recipe.seed, 4, epoch))  # dropout, where a head has it
            sums: dict[str, float] = defaultdict(float)
            unreadable, waited, started = 0, 0.0, time.perf_counter()
            for number in range(steps):
                asked = time.perf_counter()
                loaded = next(batches)
                waited += time.perf_counter() - asked
                for text in loaded.unreadable:
                    watcher.message(f"replaced by a neighbour: {text}")
                unreadable += len(loaded.unreadable)
                batch = loaded.clips.to(device, non_blocking=True)
                step = epoch * steps + number
                metrics = training_step(model, batch, loss_function, optimizer, recipe, step=step)
                for key, value in metrics.items():
                    sums[key] += value
                watcher.step(epoch=epoch, step=step + 1, total_steps=epochs * steps, metrics=metrics)
            seconds = time.perf_counter() - started
            log(
                {
                    "epoch": epoch + 1,
                    "step": (epoch + 1) * steps,
                    "learning_rate": rate,
                    **{key: value / steps for key, value in sums.items()},
                    "unreadable_frames": unreadable,
                    "seconds": round(seconds, 3),
                    "data_wait": round(waited / seconds, 4),
                    "clips_per_second": round(
                        steps * recipe.batch.identities * recipe.batch.clips / seconds, 2
                    ),
                }
            )
            if (epoch + 1) % recipe.run.checkpoint_every == 0 or epoch + 1 == epochs:
                save_checkpoint(
                    run / "checkpoints" / f"epoch-{epoch + 1:05d}.safetensors",
                    model,
                    recipe=recipe,
                    pids=list(labels),
                    epoch=epoch + 1,
                    step=(epoch + 1) * steps,
                    optimizer=optimizer,
                )
                for old in training_checkpoints(run)[: -recipe.run.keep_checkpoints]:
                    old.unlink()
    final = run / "model.safetensors"
    save_checkpoint(final, model, recipe=recipe, pids=list(labels), epoch=epochs, step=epochs * steps)
    return final


def training_step(
    model: ClipEmbedder,
    batch: ClipBatch,
    loss_function: TotalLoss,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    *,
    step: int,
) -> dict[str, float]:
    """Augment, run forward and backward, update.

    Args:
        model: in training mode.
        batch: uint8 clips on the model's device.
        loss_function: triplet and cross-entropy.
        optimizer: of the model.
        recipe: augmentation, input and seed are read.
        step: number of the batch in the run; the augmentation is drawn from it.

    Returns:
        What `TotalLoss` logs, as floats.

    Raises:
        IntraclipError: the loss is not finite; the weights are not updated.
    """
    clips, length, _, height, width = batch.frames.shape
    generator = torch.Generator().manual_seed(_mix(recipe.seed, 3, step))
    parameters = draw(
        recipe.augment, clips=clips, frames=length, height=height, width=width, generator=generator
    )
    frames = apply(batch.frames, parameters, mean=recipe.input.mean, std=recipe.input.std)
    output = model(frames, batch.mask)
    loss, logged = loss_function(output, batch.labels)
    metrics = {key: float(value) for key, value in logged.items()}
    if not torch.isfinite(loss):
        raise IntraclipError(
            f"the loss is {metrics['loss']} at step {step} (triplet {metrics['triplet']}, identity "
            f"{metrics['identity']}); lower optimizer.learning_rate, or look at the weights it started from. "
            "Checkpoints up to here are kept"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return metrics


def _mix(*numbers: int) -> int:
    """One 63-bit seed of several numbers, well spread: neighbouring steps get unrelated draws."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 0x9E3779B97F4A7C15 + number + 0x632BE59BD9B4E019) % 2**64
        mixed ^= mixed >> 29
    return mixed % 2**63


def _prepare(run: Path, recipe: Recipe, *, resume: bool) -> None:
    config = run / "config.toml"
    if resume and config.is_file():
        different = [
            line
            for line in differing_keys(load_recipe(str(config)), recipe)
            if not line.startswith(
                ("description:", "data.workers:", "run.")
            )  # these cannot change the result
        ]
        if different:
            raise ConfigError(
                f"{run} was started with another recipe; resume with the same, or start a new run. Different:\n"
                + "\n".join(f"  {line}" for line in different)
            )
        return
    require_empty_folder(run, remedy="choose another --out, or continue that run with --resume")
    try:
        run.mkdir(parents=True, exist_ok=True)
        config.write_text(dump_recipe(recipe), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"the run folder {run} cannot be written: {error}") from None


def _restore(
    run: Path, model: ClipEmbedder, optimizer: torch.optim.Optimizer, labels: dict[int, int], watcher: Watcher
) -> int:
    """Load the latest checkpoint; returns the epochs it has behind it."""
    checkpoints = training_checkpoints(run)
    if not checkpoints:
        watcher.message(f"{run} has no checkpoint yet: starting from the beginning")
        return 0
    checkpoint = read_checkpoint(checkpoints[-1])
    if checkpoint.pids != tuple(labels):
        raise CheckpointError(
            f"{checkpoint.path} was trained on {len(checkpoint.pids)} identities, the data has {len(labels)} or other "
            "ones; resume on the data the run was started with"
        )
    load_weights(model, checkpoint)
    load_optimizer(optimizer, checkpoint)
    watcher.message(f"resuming after epoch {checkpoint.epoch} from {checkpoint.path.name}")
    return checkpoint.epoch


class _Log:
    """Appends to metrics.jsonl, and to TensorBoard when it is there."""

    def __init__(self, path: Path, events: Any) -> None:
        self.file = path.open("a", encoding="utf-8")
        self.events = events

    def __call__(self, entry: dict[str, Any]) -> None:
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()
        if self.events is not None:
            for key, value in entry.items():
                if key not in ("epoch", "step"):
                    self.events.add_scalar(f"train/{key}", value, entry["epoch"])


@contextmanager
def _logs(run: Path, recipe: Recipe, first_epoch: int) -> Iterator[_Log]:
    path = run / "metrics.jsonl"
    try:
        if path.exists():
            _keep_epochs(path, first_epoch)
        events = _tensorboard(run, first_epoch) if recipe.run.tensorboard else None
        log = _Log(path, events)
        try:
            yield log
        finally:
            log.file.close()
            if events is not None:
                events.close()
    except OSError as error:
        raise OutputError(
            f"the run folder {run} cannot be written: {error}; what was written before is kept, continue with --resume"
        ) from None


def _keep_epochs(path: Path, first_epoch: int) -> None:
    """Drop the lines of epochs that are trained again, and what a crash left half-written: it is one of those."""

    def kept(line: bytes) -> bool:
        try:
            return bool(json.loads(line)["epoch"] <= first_epoch)
        except (ValueError, TypeError, KeyError):
            return False

    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().splitlines() if kept(line)))
    partial.replace(path)


def _tensorboard(run: Path, first_epoch: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # the `report` extra brings it; metrics.jsonl holds the same numbers
        return None
    return SummaryWriter(str(run / "events"), purge_step=first_epoch + 1)
