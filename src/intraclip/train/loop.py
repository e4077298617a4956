"""The training loop; it is read from `train` down.

`data/dataset.py` makes the batches, and `step.py` learns from one. What only some runs need stands beside:
`resuming.py`, `pieces.py` for batches beyond memory, `failing.py`.
"""

from __future__ import annotations

import math
import shlex
from collections import defaultdict, deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from intraclip.config import OptimizerConfig, Recipe
from intraclip.core.distributed import World, open_world
from intraclip.core.environment import environment
from intraclip.core.files import write_json
from intraclip.core.folders import leaving_nothing
from intraclip.data.dataset import TrainingBatches
from intraclip.data.digest import tracklets_digest
from intraclip.data.workers import iterate
from intraclip.errors import ConfigError, DataError
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.saving import save_checkpoint, training_checkpoint, training_checkpoints
from intraclip.train.logs import open_log
from intraclip.train.run_folder import began, prepare, require_free
from intraclip.train.step import Done, Metrics, TrainingStep, backend_settings
from intraclip.train.stopping import RunStopped, StopRequest
from intraclip.train.throughput import Meter, Throughput
from intraclip.types import Split


class Watcher(Protocol):
    """Sees a run go by; the command line draws it as a progress bar."""

    def step(
        self, *, epoch: int, step: int, total_steps: int, metrics: dict[str, float], throughput: Throughput
    ) -> None:
        """One batch is done; `throughput` is of the epoch so far."""
        return

    def message(self, text: str) -> None:
        """Something worth a line: a resumed checkpoint, a frame that could not be read."""
        return


class Silent(Watcher):
    """A watcher that looks away."""


def learning_rate(config: OptimizerConfig, epoch: int) -> float:
    """Learning rate of an epoch, counted from 0 (paper, section 3.2).

    >>> [learning_rate(OptimizerConfig(decay_factor=0.1), e) for e in (0, 199, 200)]
    [0.0004, 0.0004, 4e-05]
    >>> cosine = OptimizerConfig(decay="cosine", warmup_epochs=2, epochs=5, final_rate=0.0)
    >>> [learning_rate(cosine, e) for e in range(5)]
    [0.00022, 0.0004, 0.0004, 0.0002, 0.0]
    """
    if config.decay == "cosine":
        left = config.epochs - config.warmup_epochs
        done = min(max(epoch - config.warmup_epochs, 0) / max(left - 1, 1), 1.0)
        share = config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * done)) / 2
        rate = config.learning_rate * share
    else:
        rate = config.learning_rate * config.decay_factor ** (epoch // config.decay_every)
    if epoch < config.warmup_epochs:
        rate *= 0.1 + 0.9 * (epoch + 1) / config.warmup_epochs
    return float(f"{rate:.12g}")  # without the last digits' noise, which would show in every log


def train(
    split: Split, recipe: Recipe, run: Path, *, resume: bool = False, watcher: Watcher | None = None
) -> Path:
    """Train a network on a split's `train` and write a run folder, as `intraclip.train.from_python.train`.

    Every random draw depends on the seed and the step alone: the same recipe, data and machine give the same
    weights, resumed or not; on a GPU up to rounding, as cuDNN's gradients are not the same twice. Started by torchrun,
    the processes train one network on one batch together.

    Returns:
        The final `model.safetensors`.

    Raises:
        DataError: there is nothing to train on, or too few identities.
        ConfigError: P, or a process's clips, cannot be divided.
        IntraclipError: the loss is not finite; the batch is saved as `failed-batch.safetensors`.
        RunStopped: SIGTERM or Ctrl-C; the step was finished and a checkpoint saved.
    """
    with (
        StopRequest() as stop,
        open_world(recipe.device) as world,
        backend_settings(recipe.step, world.device),
        ExitStack() as held,
    ):
        if world.leads:
            # What fails before the first step is over leaves the folder as it was, for the corrected command.
            held.enter_context(leaving_nothing(run, unless=lambda: began(run)))
        training = _Training(split, recipe, run, world, stop, watcher or Silent(), held, resume=resume)
        return training.run()


@dataclass
class _Progress:
    """How far a run is: batches finished; of its epoch, sums of their metrics, and frames that could not be read."""

    step: int = 0
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    unreadable: int = 0


class _Training:
    """One run: what it is made of, and its loop."""

    def __init__(
        self,
        split: Split,
        recipe: Recipe,
        folder: Path,
        world: World,
        stop: StopRequest,
        watcher: Watcher,
        held: ExitStack,
        *,
        resume: bool,
    ) -> None:
        if not split.train:
            raise DataError(
                f"{split.root} holds no training tracklets (layout {split.dataset}, split {split.index})"
            )
        self.recipe, self.folder, self.world, self.stop, self.watcher = recipe, folder, world, stop, watcher
        self.batches = TrainingBatches(split.train, recipe, rank=world.rank, world_size=world.size)
        self.labels, self.steps, self.total = self.batches.labels, self.batches.steps, self.batches.stop
        _check_division(recipe, world)
        if not resume and not world.restarted:
            # The leader alone: it may have begun the folder before a slower process looks.
            world.leader_does(lambda: require_free(folder))
        # Before the folder is begun: what is wrong with the network must not stand in the way of the next attempt.
        goes_on = resume or world.restarted
        self.step = TrainingStep(self._network(resume=goes_on), recipe, world)
        world.leader_does(lambda: prepare(folder, recipe, held, resume=resume, restarted=world.restarted))
        self.progress = self._restored() if goes_on else _Progress()
        self.batches.start = self.progress.step
        if world.leads:
            write_json(folder / "environment.json", self._environment(split))

    def _network(self, *, resume: bool) -> ClipEmbedder:
        """A network with the weights that the recipe starts from, where no checkpoint of the run brings later ones."""
        recipe, world = self.recipe, self.world
        model = build_embedder(recipe.model, recipe.input, num_classes=len(self.labels), seed=recipe.seed)
        if recipe.step.pieces > 1:
            from intraclip.train.pieces import check_pieces

            check_pieces(model, recipe, world)
        if recipe.model.weights and not (resume and training_checkpoints(self.folder)):
            from intraclip.models.start import begin

            def start() -> None:
                said = begin(model, recipe.model, recipe.input)
                if world.leads:
                    self.watcher.message(said)

            world.leader_does(start)  # first: it may download the file that the others read
            if not world.leads:
                start()
        return model.to(world.device)

    def _restored(self) -> _Progress:
        from intraclip.train.resuming import restore

        found = restore(self.step, self.folder, self.labels, self.world, self.watcher)
        if found is None:
            return _Progress()
        sums: dict[str, float] = defaultdict(float, found.progress["sums"])
        return _Progress(found.step, sums, int(found.progress["unreadable"]))

    def run(self) -> Path:
        """Train what is left, and write the final weights."""
        device = self.world.device
        pending: deque[Done] = deque()
        ahead = 0 if device.type == "cpu" else 1  # a GPU computes one step while the next one is prepared
        meter = Meter(device)
        since_epoch = steady = meter
        with open_log(
            self.folder,
            epochs_done=self.progress.step // self.steps,
            tensorboard=self.recipe.run.tensorboard,
            leads=self.world.leads,
        ) as log:
            batches = iterate(
                self.batches,
                workers=self.recipe.data.workers,
                prefetch=self.recipe.data.prefetch,
                pin_memory=device.type == "cuda",
            )
            first = self.progress.step
            for number in range(first, self.total):
                epoch, in_epoch = divmod(number, self.steps)
                if number == first or in_epoch == 0:
                    since_epoch = meter.copy()
                    self.step.begin_epoch(epoch, learning_rate(self.recipe.optimizer, epoch))
                with meter.waiting_for("data"):
                    batch = next(batches)
                for text in batch.unreadable:
                    self.watcher.message(f"replaced by a neighbour: {text}")
                batch = batch.to(device, non_blocking=True)
                with meter.waiting_for("step" if device.type == "cpu" else "host"):
                    pending.append(
                        self.step(
                            batch,
                            step=number,
                            stop=bool(self.stop.number),
                            unreadable=len(batch.unreadable),
                        )
                    )
                meter.clips += len(batch) * self.world.size
                end_of_epoch = in_epoch + 1 == self.steps
                stopping = False
                while len(pending) > (0 if end_of_epoch or stopping else ahead):
                    with meter.waiting_for("step"):
                        metrics = pending[0].read()
                    stopping = stopping or metrics.stop
                    self._finish(pending.popleft(), metrics, meter.summary(since_epoch))
                if number == first:
                    steady = meter.copy()  # the first step starts workers and compiles
                if end_of_epoch:
                    log(self._epoch_entry(epoch, meter.summary(since_epoch)))
                    self.progress = _Progress(self.progress.step)
                if (end_of_epoch and (epoch + 1) % self.recipe.run.checkpoint_every == 0) or stopping:
                    self.world.leader_does(self._write_checkpoint)
                if stopping and self.progress.step < self.total:
                    self._say_goodbye()
        final = self.folder / "model.safetensors"
        self.world.leader_does(self._write_checkpoint)
        self.step.take_average()
        self.world.leader_does(lambda: self._write(final))
        if self.world.leads and self.total > first + 1:
            throughput = meter.summary(steady)
            write_json(self.folder / "throughput.json", throughput.to_json_dict())
            self.watcher.message(str(throughput))
        return final

    def _finish(self, done: Done, metrics: Metrics, throughput: Throughput) -> None:
        """Book a step whose metrics are there."""
        if not all(map(math.isfinite, metrics.values.values())):
            from intraclip.train.failing import fail

            # Each process leaves its own clips.
            mark = f"-{self.world.rank}" if self.world.rank else ""
            fail(done, metrics.values, self.folder / f"failed-batch{mark}.safetensors", seed=self.recipe.seed)
        for key, value in metrics.values.items():
            self.progress.sums[key] += value
        self.progress.unreadable += metrics.unreadable
        self.progress.step = done.step + 1
        if self.world.leads:
            self.watcher.step(
                epoch=done.step // self.steps,
                step=done.step + 1,
                total_steps=self.total,
                metrics=metrics.values,
                throughput=throughput,
            )

    def _epoch_entry(self, epoch: int, throughput: Throughput) -> dict[str, Any]:
        return {
            "epoch": epoch + 1,
            "step": self.progress.step,
            "learning_rate": learning_rate(self.recipe.optimizer, epoch),
            **{key: value / self.steps for key, value in self.progress.sums.items()},
            "unreadable_frames": self.progress.unreadable,
            "seconds": throughput.seconds,
            "data_wait": throughput.data_share,
            "clips_per_second": round(throughput.clips_per_second, 2),
            "memory_gib": throughput.memory_gib,
        }

    def _write_checkpoint(self) -> None:
        file = training_checkpoint(self.folder, self.progress.step)
        if file.exists():
            return
        progress = {"sums": dict(self.progress.sums), "unreadable": self.progress.unreadable}
        progress["scaler"] = self.step.scaler.state_dict()
        self._write(file, optimizer=self.step.optimizer, more=self.step.state(), progress=progress)
        for old in training_checkpoints(self.folder)[: -self.recipe.run.keep_checkpoints]:
            with suppress(OSError):  # one too many does no harm
                old.unlink()

    def _write(self, file: Path, **more: Any) -> None:
        save_checkpoint(
            file,
            self.step.model,
            recipe=self.recipe,
            pids=list(self.labels),
            epoch=self.progress.step // self.steps,
            step=self.progress.step,
            **more,
        )

    def _say_goodbye(self) -> None:
        raise RunStopped(
            f"stopped after step {self.progress.step} of {self.total}, as asked; the run {self.folder} is saved up to "
            f"there; continue it with: intraclip train --resume {shlex.quote(str(self.folder))}",
            self.stop.exit_code,
        )

    def _environment(self, split: Split) -> dict[str, Any]:
        return {
            **environment(self.world.device),
            "processes": self.world.size,
            "data": {
                "root": str(split.root),
                "dataset": split.dataset,
                "split": split.index,
                "training_identities": len(self.labels),
                "training_tracklets": len(split.train),
                "training_digest": tracklets_digest(split, split.train),
            },
            "parameters": sum(p.numel() for p in self.step.model.parameters()),
        }


def _check_division(recipe: Recipe, world: World) -> None:
    identities, clips = recipe.batch.identities, recipe.batch.clips
    if identities % world.size:
        raise ConfigError(
            f"batch.identities: {identities} cannot be divided among {world.size} processes; choose a multiple"
        )
    if identities * clips // world.size % recipe.step.pieces:
        raise ConfigError(
            f"step.pieces: {recipe.step.pieces} must divide the {identities * clips // world.size} clips of a process"
        )
