"""The training loop; it is read from `train` down.

`data/dataset.py` makes the batches, and `step.py` learns from one. What only some runs need stands beside: `begun.py`
and `resuming.py`, `together.py` for several processes, `pieces.py` for batches beyond memory, `averaging.py`,
`failing.py`, `gpu.py`; `models/finetune.py` for what does not learn, or learns more slowly.
"""

from __future__ import annotations

import math
import shlex
from collections import defaultdict, deque
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from intraclip.config import OptimizerConfig, Recipe
from intraclip.config_io import check_recipe
from intraclip.core.distributed import World, open_world
from intraclip.core.environment import environment
from intraclip.core.files import write_json
from intraclip.core.folders import leaving_nothing
from intraclip.data.batches import iterate
from intraclip.data.dataset import TrainingBatches
from intraclip.data.readers import read_split
from intraclip.data.readers.common import tracklets_digest
from intraclip.errors import DataError
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.saving import save_checkpoint, training_checkpoint, training_checkpoints
from intraclip.recipe_files import load_recipe
from intraclip.train.run_folder import began, open_log, prepare, require_free
from intraclip.train.step import Done, TrainingStep
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
    recipe: str | Path | Recipe = "paper",
    *,
    data: str | Path | Split,
    out: str | Path,
    labels: str | Path | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
) -> Path:
    """Train a network and write a run folder; what is in it says `intraclip.train`.

    Every random draw depends on the seed and the step alone: the same recipe, data and machine give the same
    weights, resumed or not; on a GPU up to rounding, as cuDNN's gradients are not the same twice. Started by torchrun,
    the processes train one network on one batch together.

    Args:
        recipe: name of a shipped one (paper, cpu, demo, ...), a TOML file, or a `Recipe`, such as
            ``dataclasses.replace(recipe, seed=1)``.
        data: folder in one of the known layouts, or what `read` gave.
        out: the run folder; new or empty, unless resuming.
        labels: manifest of who is who in a data folder without identities, as `intraclip link` writes it.
        resume: go on from the latest checkpoint in `out`.
        watcher: told about every step.

    Returns:
        The run folder, which `load` and `evaluate` take; the network is its `model.safetensors`.

    Raises:
        ConfigError: no such recipe, or a value out of range; all of them are listed.
        DataError: the data cannot be read, or hold nothing to train on, or too few identities.
        OutputError: `out` is not empty, or cannot be written.
        IntraclipError: the loss is not finite; the batch is saved as `failed-batch.safetensors`.
        RunStopped: SIGTERM or Ctrl-C; the step was finished and a checkpoint saved.

    >>> train("papr", data="MARS", out="run")
    Traceback (most recent call last):
    ...
    intraclip.errors.ConfigError: unknown recipe 'papr' (did you mean 'paper'?): it is no file, and the ...
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(str(recipe))
    check_recipe(recipe, source="the recipe")
    if not isinstance(data, Split):
        chosen = recipe.data
        data = read_split(
            data, layout=chosen.layout, split=chosen.split, direction=chosen.direction, labels=labels
        )
    run = Path(out)
    with StopRequest() as stop, open_world(recipe.device) as world, ExitStack() as held:
        if world.device.type == "cuda":
            from intraclip.train.gpu import backend_settings

            held.enter_context(backend_settings(recipe.step, world.device))
        if world.leads:
            # What fails before the first step is over leaves the folder as it was, for the corrected command.
            held.enter_context(leaving_nothing(run, unless=lambda: began(run)))
        _Training(data, recipe, run, world, stop, watcher or Silent(), held, resume=resume).run()
    return run


@dataclass
class Progress:
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
        if world.size > 1:
            from intraclip.train.together import check_division

            check_division(recipe, world)
        goes_on = resume or world.restarted
        if not goes_on:
            # The leader alone: it may have begun the folder before a slower process looks.
            world.leader_does(lambda: require_free(folder))
        # Before the folder is begun: what is wrong with the network must not stand in the way of the next attempt.
        self.step = TrainingStep(self._network(resume=goes_on), recipe, world)
        world.leader_does(lambda: prepare(folder, recipe, held, resume=resume, restarted=world.restarted))
        self.progress = Progress()
        if goes_on:
            from intraclip.train.resuming import restore

            self.progress = restore(self.step, folder, self.labels, world, self.watcher)
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

            # The leader may download the file that the others read.
            said = world.leader_first(lambda: begin(model, recipe.model, recipe.input))
            if world.leads:
                self.watcher.message(said)
        return model.to(world.device)

    def run(self) -> None:
        """Train what is left, and write the final weights."""
        device = self.world.device
        pending: deque[Done] = deque()
        ahead = 0 if device.type == "cpu" else 1  # a GPU computes one step while the next one is prepared
        meter = Meter(device)
        since_epoch = steady = meter.now()
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
                    since_epoch = meter.now()
                    self.step.begin_epoch(epoch, learning_rate(self.recipe.optimizer, epoch))
                with meter.waiting_for("data"):
                    batch = next(batches)
                for text in batch.unreadable:
                    self.watcher.message(f"replaced by a neighbour: {text}")
                batch = batch.to(device, non_blocking=True)
                with meter.waiting_for("step") if device.type == "cpu" else nullcontext():
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
                    done = pending.popleft()
                    with meter.waiting_for("step"):
                        metrics = done.read()
                    stopping = metrics.pop("stop") > 0 or stopping
                    self._finish(done, metrics, meter.summary(since_epoch))
                if number == first:
                    steady = meter.now()  # the first step starts workers and compiles
                if end_of_epoch:
                    log(self._epoch_entry(epoch, meter.summary(since_epoch)))
                    self.progress = Progress(self.progress.step)
                if (end_of_epoch and (epoch + 1) % self.recipe.run.checkpoint_every == 0) or stopping:
                    self.world.leader_does(self._write_checkpoint)
                if stopping and self.progress.step < self.total:
                    raise RunStopped(
                        f"stopped after step {self.progress.step} of {self.total}, as asked; the run {self.folder} is "
                        "saved up to there; continue it with: intraclip train --resume "
                        f"{shlex.quote(str(self.folder))}",
                        self.stop.exit_code,
                    )
        self.world.leader_does(self._write_checkpoint)
        self.step.take_average()
        self.world.leader_does(lambda: self._write(self.folder / "model.safetensors"))
        if self.world.leads and self.total > first + 1:
            throughput = meter.summary(steady)
            write_json(self.folder / "throughput.json", throughput.to_json_dict())
            self.watcher.message(str(throughput))

    def _finish(self, done: Done, metrics: dict[str, float], throughput: Throughput) -> None:
        """Book a step whose metrics are there."""
        self.progress.unreadable += round(metrics.pop("unreadable") * self.world.size)
        if not all(map(math.isfinite, metrics.values())):
            from intraclip.train.failing import fail

            fail(done, metrics, self.folder, rank=self.world.rank, seed=self.recipe.seed)
        for key, value in metrics.items():
            self.progress.sums[key] += value
        self.progress.step = done.step + 1
        if self.world.leads:
            self.watcher.step(
                epoch=done.step // self.steps,
                step=done.step + 1,
                total_steps=self.total,
                metrics=metrics,
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
