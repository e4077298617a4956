"""Dividing an extraction: tracklets into parts, parts among processes."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from intraclip.engine.distributed import restarts

PART_FRAMES = 8192
"""Frames of a part: what a killed process loses at most. Minutes for ResNet50 on two cores, seconds on a GPU."""


def divide(sizes: Sequence[int], part_size: int) -> list[range]:
    """Divide items in their order into runs of about the same size.

    Args:
        sizes: of each item, such as frames of a tracklet.
        part_size: a run ends with the item that reaches it.

    >>> divide([3, 3, 3, 9, 1], 6)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    parts, start, filled = [], 0, 0
    for number, size in enumerate(sizes, start=1):
        filled += size
        if filled >= part_size:
            parts.append(range(start, number))
            start, filled = number, 0
    if start < len(sizes):
        parts.append(range(start, len(sizes)))
    return parts


def balance(sizes: Sequence[int], processes: int) -> list[list[int]]:
    """Share items among processes so that the largest share is small: the largest item first, to who has least.

    Every item is in exactly one share; the same sizes always give the same shares. The largest share is at most 4/3
    of the best possible one (Graham 1969).

    Returns:
        Item numbers in ascending order, one list a process.

    >>> balance([5, 3, 3, 1], 2)
    [[0, 3], [1, 2]]
    """
    shares: list[list[int]] = [[] for _ in range(processes)]
    load = [(0, rank) for rank in range(processes)]
    for item in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        filled, rank = heapq.heappop(load)
        shares[rank].append(item)
        heapq.heappush(load, (filled + sizes[item], rank))
    return [sorted(share) for share in shares]


@dataclass(frozen=True)
class Ranks:
    """The processes of an extraction, seen from one of them.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        restarted: whether torchrun has started the processes again after a failure.
    """

    rank: int = 0
    size: int = 1
    restarted: bool = False

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()

    def device(self, name: str) -> str:
        """The device of this process: with several, ``auto`` and ``cuda`` mean one GPU a process."""
        if self.size > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        return name


ALONE = Ranks()
"""One process."""


@contextmanager
def open_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun started; alone, one process.

    They only wait for each other, so gloo does on every device. Shares take different times: nobody gives up before
    a month has passed, as torchrun ends all when one fails.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    dist.init_process_group("gloo", timeout=timedelta(days=30))
    try:
        count = torch.tensor([restarts()])  # torchrun counts machine by machine
        dist.all_reduce(count, op=dist.ReduceOp.MAX)
        ranks = Ranks(dist.get_rank(), size, restarted=int(count) > 0)
        yield ranks
        ranks.wait()  # a process that leaves early aborts those still talking to it
    finally:
        dist.destroy_process_group()
