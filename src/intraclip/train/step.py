"""One training step: augment, forward, loss, backward, update; on any device, in any number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from intraclip.config import FinetuneConfig, Recipe, StepConfig
from intraclip.core.devices import Arriving
from intraclip.core.distributed import World
from intraclip.data.augment import apply, draw
from intraclip.data.clip_batch import ClipBatch
from intraclip.losses.base import TotalLoss
from intraclip.models.embedder import ClipEmbedder, ClipOutput

if TYPE_CHECKING:
    from intraclip.train.averaging import RunningAverage

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Done:
    """A step that was started; on a GPU it may still be running.

    Attributes:
        batch: what it saw, for inspection.
        values: means over all processes of what `names` says.
    """

    step: int
    batch: ClipBatch
    names: tuple[str, ...]
    values: Arriving

    def read(self) -> dict[str, float]:
        """The metrics; waits for a GPU to finish this step, and no later one."""
        return dict(zip(self.names, self.values.read().tolist(), strict=True))


class TrainingStep:
    """A network, its optimizer, and how one batch changes them; random draws depend on seed and step alone."""

    def __init__(self, model: ClipEmbedder, recipe: Recipe, world: World) -> None:
        self.recipe = recipe
        self.world = world
        self.model: ClipEmbedder = model.train().to(memory_format=torch.channels_last)
        size = model.num_features if model.triplet_vector == "pooled" else model.embedding_size
        gather = None
        if world.size > 1:
            from intraclip.core import process_group

            gather = partial(process_group.gather, world)
        loss = TotalLoss(recipe.loss, gather=gather, num_classes=model.num_classes, num_features=size)
        self.loss = loss.to(world.device)
        self.model.backbone.recompute = recipe.step.recompute
        if recipe.step.sync_batch_norm and world.size > 1:
            from intraclip.core.batch_norm import synchronise_batch_norm

            self.model = synchronise_batch_norm(self.model, world)  # type: ignore[assignment]
        self.average: RunningAverage | None = None
        if recipe.optimizer.average:
            from intraclip.train.averaging import RunningAverage

            self.average = RunningAverage(self.model, recipe.optimizer.average)
        if recipe.step.compile:
            self.model.backbone.compile(dynamic=False)
        groups = [(list(self.model.parameters()), 1.0)]
        if recipe.finetune != FinetuneConfig():
            from intraclip.models.finetune import parameter_groups, set_trainable

            set_trainable(self.model, recipe.finetune, epoch=0)
            groups = parameter_groups(self.model, recipe.finetune)
        self.rate_factors = [factor for _, factor in groups]
        self.optimizer = torch.optim.Adam(
            [{"params": parameters} for parameters, _ in groups],
            lr=recipe.optimizer.learning_rate,
            betas=recipe.optimizer.betas,
            weight_decay=recipe.optimizer.weight_decay,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=recipe.step.precision == "fp16")
        self.network: torch.nn.Module = self.model
        self._share()
        self._frames: torch.Tensor | None = None

    def begin_epoch(self, epoch: int, learning_rate: float) -> None:
        """Set what learns in an epoch, and how fast; before the epoch's first batch that is computed here."""
        for group, factor in zip(self.optimizer.param_groups, self.rate_factors, strict=True):
            group["lr"] = learning_rate * factor
        if self.recipe.finetune != FinetuneConfig():
            from intraclip.models.finetune import set_trainable

            if set_trainable(self.model, self.recipe.finetune, epoch=epoch):
                self._share()

    def _share(self) -> None:
        """Let several processes exchange the gradients of what learns."""
        if self.world.size > 1:
            from intraclip.train.together import sharing_gradients

            self.network = self.model  # the hooks of an earlier one go before the new ones come
            self.network = sharing_gradients(self.model, self.world.device)

    def __call__(self, batch: ClipBatch, *, step: int, stop: bool = False, unreadable: int = 0) -> Done:
        """Learn from this process's clips of batch number `step`, uint8, on the world's device; wait for no GPU.

        The metrics are what `TotalLoss` logs; with them the others learn that this process was asked to `stop`, and how
        many frames were `unreadable`.
        """
        frames = self._augment(batch.frames, step)
        self.optimizer.zero_grad(set_to_none=True)
        if self.recipe.step.pieces > 1:
            from intraclip.train.pieces import learn_in_pieces

            logged = learn_in_pieces(self, frames, batch, step)
        else:
            output = self.forward(self.network, frames, batch.mask, step)
            loss, logged = self.loss(output, batch.labels)
            self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.follow(step)
        values = torch.stack([value.detach().float().reshape(()) for value in logged.values()])
        # Filled in place: a tensor made on the processor would have to wait for the GPU to be sent there.
        values = torch.cat([values, *(values.new_full((1,), float(more)) for more in (stop, unreadable))])
        if self.world.size > 1:
            from intraclip.train.together import mean_over_processes

            values = mean_over_processes(values, self.world)
        # To the host as soon as it is there; reading it later would wait for whatever was started in between.
        return Done(step, batch, (*logged, "stop", "unreadable"), Arriving(values))

    def take_average(self) -> None:
        """Give the network the averaged weights, where there are any: training is over."""
        if self.average is not None:
            self.model.load_state_dict(self.average.values)

    def state(self) -> dict[str, dict[str, torch.Tensor]]:
        """What goes on from step to step besides weights and optimizer, by part: ``average`` and ``loss``."""
        return {
            "average": {} if self.average is None else self.average.values,
            "loss": self.loss.state_dict(),
        }

    def load_state(self, state: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Restore what `state` gave."""
        if self.average is not None:
            self.average.load(state["average"])
        self.loss.load_state_dict(dict(state["loss"]))

    def _augment(self, frames: torch.Tensor, step: int) -> torch.Tensor:
        clips, length, _, height, width = frames.shape
        generator = torch.Generator().manual_seed(mix(self.recipe.seed, 3, step))
        # Drawn for the whole batch, so that a clip's draw does not depend on the number of processes.
        whole = clips * self.world.size
        parameters = draw(
            self.recipe.augment, clips=whole, frames=length, height=height, width=width, generator=generator
        ).of_clips(self.world.rank * clips, (self.world.rank + 1) * clips)
        size, dtype = self.recipe.input, AUTOCAST.get(self.recipe.step.precision, torch.float32)
        self._frames = apply(frames, parameters, mean=size.mean, std=size.std, out=self._frames, dtype=dtype)
        return self._frames

    def forward(
        self, network: torch.nn.Module, frames: torch.Tensor, mask: torch.Tensor, step: int, piece: int = 0
    ) -> ClipOutput:
        """Run the network in the precision of the recipe, with the draws of this step and piece."""
        # Dropout, where a network has it: the second pass of a piece must draw what the first one drew.
        torch.manual_seed(mix(self.recipe.seed, 4, step, self.world.rank, piece))
        with autocast(self.recipe.step, self.world.device):
            output: ClipOutput = network(frames, mask)
        return output


def autocast(config: StepConfig, device: torch.device) -> torch.autocast:
    """The precision of convolutions and products inside a block."""
    kind = AUTOCAST.get(config.precision)
    return torch.autocast(device.type, dtype=kind, enabled=kind is not None)


def mix(*numbers: int) -> int:
    """One 63-bit seed of several numbers, well spread: neighbouring steps get unrelated draws."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 0x9E3779B97F4A7C15 + number + 0x632BE59BD9B4E019) % 2**64
        mixed ^= mixed >> 29
    return mixed % 2**63
