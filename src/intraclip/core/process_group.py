"""Several processes that torchrun started: joined, and what they tell each other.

A run of N processes computes what one process computes for the same global batch, of which each takes P / N
identities; embeddings are gathered, so that triplets are mined over all of it. Batch normalisation is the one thing
that differs, unless it is synchronised as well (`step.sync_batch_norm`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from intraclip.core.devices import choose_device
from intraclip.core.distributed import ALONE, Ranks, ResultT, World, started
from intraclip.errors import DeviceError, IntraclipError


@contextmanager
def open_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun started; alone, one process.

    They only wait for each other, so gloo does on every device. Shares take different times: nobody gives up before
    a month has passed, as torchrun ends all when one fails.
    """
    if started() == 1:
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


class JoinedWorld(World):
    """A world of several processes."""

    def leader_does(self, work: Callable[[], None]) -> None:
        """See `World.leader_does`."""
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

    def leader_first(self, work: Callable[[], ResultT]) -> ResultT:
        """See `World.leader_first`."""
        found: list[ResultT] = []
        self.leader_does(lambda: found.append(work()))
        return found[0] if self.leads else work()


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """`open_world`, for several processes; the devices ``auto`` and ``cuda`` mean one GPU a process.

    Raises:
        DeviceError: there are fewer GPUs than processes on this machine.
    """
    size = started()
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
                "--nproc-per-node, or choose the device cpu"
            )
        chosen = torch.device("cuda", number)
        torch.cuda.set_device(chosen)
    if chosen.type == "cuda":
        # Told its GPU, NCCL need not guess it from the rank when processes wait for each other.
        dist.init_process_group("nccl", device_id=chosen)
    else:
        dist.init_process_group("gloo")
    try:
        world = JoinedWorld(
            rank=dist.get_rank(), size=size, device=chosen, restarted=_restarted_anywhere(chosen)
        )
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


def gather(world: World, rows: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows ``[B, D]`` and labels ``[B]`` of all processes, in the order of ranks; see `_GatherRows`."""
    everyone: torch.Tensor = _GatherRows.apply(rows, world)
    with torch.no_grad():
        return everyone, _gathered(labels, world.size)


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
