"""Several processes, one run: what torchrun starts, and what the processes tell each other.

A run of N processes computes what one process computes for the same global batch. Each process takes P / N
identities of the batch; embeddings are gathered, so that triplets are mined over all of it. Batch normalisation is
the one thing that differs, unless it is synchronised as well (`step.sync_batch_norm`). Extraction and evaluation only
share work and wait for each other (`Ranks`); a training also exchanges tensors (`World`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from intraclip.core.devices import choose_device
from intraclip.errors import DeviceError, IntraclipError


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The processes that work together, seen from one of them. What they compute, they compute apart.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        restarted: whether torchrun has started the processes again after a failure (elastic restart).
    """

    rank: int = 0
    size: int = 1
    restarted: bool = False

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to people."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()

    def device_name(self, wanted: str) -> str:
        """The device of this process: with several, ``auto`` and ``cuda`` mean one GPU a process."""
        if self.size > 1 and wanted in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        return wanted


ALONE = Ranks()
"""One process."""


@dataclass(frozen=True, kw_only=True)
class World(Ranks):
    """The processes of a training, which exchange tensors."""

    device: torch.device

    def leader_does(self, work: Callable[[], None]) -> None:
        """The leader does something that may fail while the others wait; if it fails, all stop.

        Raises:
            IntraclipError: the leader's own error; with the others one that points to it.
        """
        if self.size == 1:
            work()
            return
        error: IntraclipError | None = None
        if self.leads:
            try:
                work()
            except IntraclipError as found:
                error = found
        failed = [error is not None]
        dist.broadcast_object_list(failed, src=0)
        if error is not None:
            raise error
        if failed[0]:
            raise IntraclipError("stopped, because the first process of the run could not go on; it says why")

    def gather(self, rows: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows ``[B, D]`` and labels ``[B]`` of all processes, in the order of ranks; see `_GatherRows`."""
        if self.size == 1:
            return rows, labels
        everyone: torch.Tensor = _GatherRows.apply(rows, self)
        with torch.no_grad():
            return everyone, _gathered(labels, self.size)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over processes of a tensor without gradient."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size


class _GatherRows(torch.autograd.Function):
    """Concatenate the rows of all processes; gradients flow to the process's own rows.

    Every process computes the same loss over all rows, so the gradient of its own rows is complete without any
    further exchange. DDP divides the gradients of the weights by the number of processes; the factor undoes that.
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, world: World) -> torch.Tensor:
        ctx.world, ctx.count = world, len(rows)
        return _gathered(rows, world.size)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        start = ctx.world.rank * ctx.count
        return gradients[0][start : start + ctx.count] * ctx.world.size, None


def _gathered(rows: torch.Tensor, size: int) -> torch.Tensor:
    parts = [torch.empty_like(rows) for _ in range(size)]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


@contextmanager
def open_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun started; alone, one process.

    They only wait for each other, so gloo does on every device. Shares take different times: nobody gives up before
    a month has passed, as torchrun ends all when one fails.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    dist.init_process_group("gloo", timeout=timedelta(days=30))
    try:
        restarted = _restarted_anywhere(torch.device("cpu"))
        ranks = Ranks(rank=dist.get_rank(), size=dist.get_world_size(), restarted=restarted)
        yield ranks
        ranks.wait()  # a process that leaves early aborts those still talking to it
    finally:
        dist.destroy_process_group()


@contextmanager
def open_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started; alone, a world of one.

    Args:
        device: as in a recipe. With several processes ``auto`` and ``cuda`` mean one GPU a process.

    Raises:
        DeviceError: there are fewer GPUs than processes on this machine.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(rank=0, size=1, device=choose_device(device))
        return
    chosen = choose_device(device)
    missing = [
        name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ
    ]
    if missing:
        raise DeviceError(
            f"WORLD_SIZE is {size}, but {', '.join(missing)} are not set; start several processes with torchrun"
        )
    if chosen.type == "cuda":
        number = int(os.environ["LOCAL_RANK"])
        if number >= torch.cuda.device_count():
            raise DeviceError(
                f"process {number} of this machine has no GPU of its own: {torch.cuda.device_count()} found; lower "
                "--nproc-per-node, or use --device cpu"
            )
        chosen = torch.device("cuda", number)
        torch.cuda.set_device(chosen)
    if chosen.type == "cuda":
        # Told its GPU, NCCL need not guess it from the rank when processes wait for each other.
        dist.init_process_group("nccl", device_id=chosen)
    else:
        dist.init_process_group("gloo")
    try:
        world = World(rank=dist.get_rank(), size=size, device=chosen, restarted=_restarted_anywhere(chosen))
        yield world
        world.wait()  # a process that leaves early aborts those still talking to it
    except RuntimeError as error:
        if "Connection closed by peer" in str(error) or "Connection reset by peer" in str(error):
            raise IntraclipError("another process of this run has ended; its message says why") from None
        raise
    finally:
        dist.destroy_process_group()


def _restarted_anywhere(device: torch.device) -> bool:
    """The same answer for every process: torchrun counts restarts machine by machine."""
    count = torch.tensor([int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))], device=device)
    dist.all_reduce(count, op=dist.ReduceOp.MAX)
    return int(count) > 0


def average(world: World, named: dict[str, torch.Tensor], extra: Sequence[float] = ()) -> torch.Tensor:
    """Means over processes of named scalars, with some numbers more, as one tensor in one exchange."""
    values = torch.stack([value.detach().float().reshape(()) for value in named.values()])
    # Filled in place: a tensor made on the processor would have to wait for the GPU to be sent there.
    values = torch.cat([values, *(values.new_full((1,), number) for number in extra)])
    return world.mean(values)
