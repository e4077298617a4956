"""The training loop."""

from __future__ import annotations

import copy
import math
import os
import platform
import shlex
from collections import defaultdict, deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import safetensors
import safetensors.torch
import torch

from intraclip.config import OptimizerConfig, Recipe
from intraclip.config_io import differing_in_effect, dump_recipe, load_recipe
from intraclip.core.devices import environment
from intraclip.core.distributed import World, open_world
from intraclip.core.files import sweep, write_json, write_text
from intraclip.data.dataset import TrainingBatches, iterate, labels_of
from intraclip.data.digest import tracklets_digest
from intraclip.data.sampler import PKSampler
from intraclip.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    IntraclipError,
    OutputError,
    is_half_written,
    leaving_nothing,
    require_empty_folder,
    write_new,
)
from intraclip.losses import LOSSES
from intraclip.models.checkpoint import (
    load_more,
    load_optimizer,
    load_weights,
    read_checkpoint,
    save_checkpoint,
    training_checkpoint,
    training_checkpoints,
    verify,
)
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.start import begin
from intraclip.process import hold, release
from intraclip.train.logs import METRICS, open_log
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

    def message(self, text: str) -> None:
        """Something worth a line: a resumed checkpoint, a frame that could not be read."""


class Silent:
    """A watcher that looks away."""

    def step(
        self, *, epoch: int, step: int, total_steps: int, metrics: dict[str, float], throughput: Throughput
    ) -> None:
        """Do nothing."""

    def message(self, text: str) -> None:
        """Do nothing."""


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
    """Train a network on a split and write a run folder (see `intraclip.train`).

    Every random draw depends on the seed and the step alone: the same recipe, data and machine give the same
    weights, resumed or not; on a GPU up to rounding, as cuDNN's gradients are not the same twice. Started by torchrun,
    the processes train one network on one batch together.

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
        ConfigError: resuming with another recipe; the keys that differ are named. Or P cannot be divided among the
            processes.
        CheckpointError: no checkpoint of the run can be read.
        DataError: too few identities, or a frame that cannot be read.
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
            held.enter_context(leaving_nothing(run, unless=lambda: _began(run)))
        training = _Training(split, recipe, run, world, stop, watcher or Silent(), held, resume=resume)
        return training.run()


def _began(run: Path) -> bool:
    """Whether a run has something that is worth keeping: a checkpoint, a finished epoch, or a batch that failed."""
    log = run / METRICS
    return any(any(run.glob(kind)) for kind in ("checkpoints/*.safetensors*", "failed-batch*")) or (
        log.is_file() and log.stat().st_size > 0
    )


@dataclass
class _Progress:
    """How far a run is.

    Attributes:
        step: batches finished.
        sums: of the metrics of the epoch's batches so far.
        unreadable: frames of the epoch that could not be read so far.
    """

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
        self.labels = labels_of(split.train)
        sampler = PKSampler(
            split.train,
            identities=recipe.batch.identities,
            clips=recipe.batch.clips,
            seed=recipe.seed,
            balanced=recipe.batch.cameras == "balanced",
        )
        self.steps, self.total = len(sampler), len(sampler) * recipe.optimizer.epochs
        _check_division(recipe, world)
        if not resume and not world.restarted:
            # The leader alone: it may have begun the folder before a slower process looks.
            world.leader_does(lambda: _require_free(folder))
        # Before the folder is begun: what is wrong with the network must not stand in the way of the next attempt.
        self.step = TrainingStep(self._network(resume=resume or world.restarted), recipe, world)
        world.leader_does(lambda: _prepare(folder, recipe, held, resume=resume, restarted=world.restarted))
        resume = resume or world.restarted
        self.progress = self._restore() if resume else _Progress()
        self.batches = TrainingBatches(
            split.train,
            self.labels,
            recipe,
            sampler,
            start=self.progress.step,
            stop=self.total,
            rank=world.rank,
            world_size=world.size,
        )
        if world.leads:
            write_json(folder / "environment.json", self._environment(split))

    def _network(self, *, resume: bool) -> ClipEmbedder:
        """A network with the weights that the recipe starts from, where no checkpoint of the run brings later ones."""
        recipe, world = self.recipe, self.world
        model = build_embedder(recipe.model, recipe.input, num_classes=len(self.labels), seed=recipe.seed)
        _check_pieces(model, recipe, world)
        if not (resume and training_checkpoints(self.folder)):
            said: list[str] = []
            # The leader first: it may download the file that the others read.
            world.leader_does(lambda: said.append(begin(model, recipe.model, recipe.input)))
            if world.leads and said[0]:
                self.watcher.message(said[0])
            elif not world.leads:
                begin(model, recipe.model, recipe.input)
        return model.to(world.device)

    def run(self) -> Path:
        """Train what is left, and write the final weights."""
        device, epochs = self.world.device, self.recipe.optimizer.epochs
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
                    loaded = next(batches)
                for text in loaded.unreadable:
                    self.watcher.message(f"replaced by a neighbour: {text}")
                batch = loaded.clips.to(device, non_blocking=True)
                with meter.waiting_for("step" if device.type == "cpu" else "host"):
                    pending.append(
                        self.step(
                            batch,
                            step=number,
                            stop=bool(self.stop.number),
                            unreadable=len(loaded.unreadable),
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
                    self._save()
                if stopping and self.progress.step < self.total:
                    self._say_goodbye()
        final = self.folder / "model.safetensors"
        self._save()
        self.step.take_average()
        self.world.leader_does(
            lambda: save_checkpoint(
                final,
                self.step.model,
                recipe=self.recipe,
                pids=list(self.labels),
                epoch=epochs,
                step=self.total,
            )
        )
        if self.world.leads and self.total > first + 1:
            throughput = meter.summary(steady)
            write_json(self.folder / "throughput.json", throughput.to_json_dict())
            self.watcher.message(str(throughput))
        return final

    def _finish(self, done: Done, metrics: Metrics, throughput: Throughput) -> None:
        """Book a step whose metrics are there."""
        if not all(map(_finite, metrics.values.values())):
            self._fail(done, metrics.values)
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

    def _fail(self, done: Done, metrics: dict[str, float]) -> None:
        """Stop, and leave behind what the loss was computed on; each process leaves its own clips."""
        file = self.folder / f"failed-batch{f'-{self.world.rank}' if self.world.rank else ''}.safetensors"
        batch = done.batch.to("cpu")
        tensors = {
            name: getattr(batch, name).contiguous() for name in ("frames", "mask", "pids", "camids", "labels")
        }
        about = {"step": str(done.step), "seed": str(self.recipe.seed)}
        try:
            safetensors.torch.save_file(
                tensors, file, metadata=about | {key: str(value) for key, value in metrics.items()}
            )
            saved = f"its batch is saved as {file}"
        except (OSError, safetensors.SafetensorError) as error:
            saved = f"its batch could not be saved as {file}: {error}"
        terms = ", ".join(f"{name} {metrics[name]}" for name in LOSSES if name in metrics)
        raise IntraclipError(
            f"the loss is {metrics['loss']} at step {done.step} ({terms}); {saved}. Lower optimizer.learning_rate, or "
            "look at the weights it started from; the checkpoints up to here are kept"
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

    def _save(self) -> None:
        """Write a checkpoint; if the leader cannot, no process goes on."""
        self.world.leader_does(self._write_checkpoint)

    def _write_checkpoint(self) -> None:
        file = training_checkpoint(self.folder, self.progress.step)
        if file.exists():
            return
        save_checkpoint(
            file,
            self.step.model,
            recipe=self.recipe,
            pids=list(self.labels),
            epoch=self.progress.step // self.steps,
            step=self.progress.step,
            optimizer=self.step.optimizer,
            more=self.step.state(),
            progress={
                "sums": dict(self.progress.sums),
                "unreadable": self.progress.unreadable,
                "scaler": self.step.scaler.state_dict(),
            },
        )
        for old in training_checkpoints(self.folder)[: -self.recipe.run.keep_checkpoints]:
            with suppress(OSError):  # one too many does no harm
                old.unlink()

    def _say_goodbye(self) -> None:
        raise RunStopped(
            f"stopped after step {self.progress.step} of {self.total}, as asked; the run {self.folder} is saved up to "
            f"there; continue it with: intraclip train --resume {shlex.quote(str(self.folder))}",
            self.stop.exit_code,
        )

    def _restore(self) -> _Progress:
        """Load the latest checkpoint that is whole."""
        self.world.leader_does(lambda: _set_damaged_aside(self.folder, self.watcher))
        found = training_checkpoints(self.folder)
        if not found:
            if self.world.leads:
                self.watcher.message(f"{self.folder} has no checkpoint yet: starting from the beginning")
            return _Progress()
        checkpoint = read_checkpoint(found[-1])
        if checkpoint.pids != tuple(self.labels):
            raise CheckpointError(
                f"{checkpoint.path} was trained on {len(checkpoint.pids)} identities, the data has {len(self.labels)} "
                "or other ones; resume on the data the run was started with"
            )
        if not checkpoint.progress:
            raise CheckpointError(
                f"{checkpoint.path} holds no state of the training loop; resume from a file that training wrote"
            )
        load_weights(self.step.model, checkpoint)
        load_optimizer(self.step.optimizer, checkpoint)
        self.step.load_state(load_more(checkpoint))
        self.step.scaler.load_state_dict(dict(checkpoint.progress["scaler"]))
        if self.world.leads:
            self.watcher.message(f"resuming after step {checkpoint.step} from {checkpoint.path.name}")
        sums: dict[str, float] = defaultdict(float, checkpoint.progress["sums"])
        return _Progress(checkpoint.step, sums, int(checkpoint.progress["unreadable"]))

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


_REMEDY = "choose another --out, or continue that run with --resume"


def _finite(value: float) -> bool:
    return value - value == 0


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


def _check_pieces(model: ClipEmbedder, recipe: Recipe, world: World) -> None:
    """Refuse pieces of one clip for a head that normalises over the clips of a piece: there is nothing to divide by."""
    clips = recipe.batch.identities * recipe.batch.clips // world.size
    if clips != recipe.step.pieces or (recipe.step.sync_batch_norm and world.size > 1):
        return
    head = copy.deepcopy(model.head).train()
    try:
        with torch.no_grad():
            head(torch.ones(1, recipe.clip.num_frames, model.num_features, 4, 2))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            f"step.pieces: {recipe.step.pieces} leaves one clip a piece of the {clips} clips of a process, and the "
            f"head {recipe.model.head} normalises over the clips of a piece; choose at most {clips // 2}"
        ) from None


_BEGINNING = frozenset({"config.toml", "environment.json", METRICS, "checkpoints", "events"})
"""What a run writes before its first checkpoint."""


_PATIENCE_S = 15.0
"""Workers that load data outlive a killed process for some seconds, and its locks with them."""


def _came_to_nothing(run: Path) -> bool:
    """Whether a folder holds the beginning of a run that was killed before its first checkpoint, and nothing else."""
    if not (run / "config.toml").is_file():
        return False
    try:
        load_recipe(str(run / "config.toml"))
    except ConfigError:
        return False
    names = {path.name for path in run.iterdir() if not is_half_written(path)}
    return names <= _BEGINNING and not any(run.glob("checkpoints/*.safetensors*"))


def _require_free(run: Path) -> None:
    if not _came_to_nothing(run):
        require_empty_folder(run, remedy=_REMEDY)


def _prepare(run: Path, recipe: Recipe, held: ExitStack, *, resume: bool, restarted: bool) -> None:
    config, launch = run / "config.toml", run / "checkpoints" / "launch"
    if restarted and not resume:
        # torchrun starts everything again after any failure, also after this folder was refused as somebody else's.
        resume = not config.exists() or (launch.is_file() and launch.read_text() == _launch())
    anew = _came_to_nothing(run)
    if anew or (resume and config.is_file()):
        locked = _hold(run, held)
        different = [] if anew else differing_in_effect(load_recipe(str(config)), recipe)
        if different:
            raise ConfigError(
                f"{run} was started with another recipe; resume with the same, or start a new run. Different:\n"
                + "\n".join(f"  {line}" for line in different)
            )
        if anew:
            if not (resume or locked):  # it may be running
                require_empty_folder(run, remedy=_REMEDY)
            write_text(config, dump_recipe(recipe))
            _hold(run, held)  # the file is another one now
        for folder in (run, run / "checkpoints"):
            sweep(folder)
        _write_launch(launch)
        return
    require_empty_folder(run, remedy=_REMEDY)
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_new(config, dump_recipe(recipe))
    except FileExistsError:
        raise OutputError(f"another process began a run in {run} just now; choose another --out") from None
    except OSError as error:
        raise OutputError(f"the run folder {run} cannot be written: {error}") from None
    _hold(run, held)
    _write_launch(launch)


def _hold(run: Path, held: ExitStack) -> bool:
    """Keep other processes from training into the folder while this one does; False where there are no locks."""
    try:
        lock = hold(run / "config.toml", patience=_PATIENCE_S)
    except BlockingIOError:
        raise OutputError(
            f"another process is training into {run}; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise OutputError(f"the run folder {run} cannot be written: {error}") from None
    held.callback(release, lock)
    return lock is not None


def _launch() -> str:
    """What stays the same when torchrun starts its processes again: machine, launcher and name of the launch."""
    return f"{platform.node()} {os.getppid()} {os.environ.get('TORCHELASTIC_RUN_ID', '')}"


def _write_launch(file: Path) -> None:
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_text(_launch())
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error}") from None


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
