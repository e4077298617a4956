"""One process, or several that torchrun starts, which work on one run; how these are joined: `process_group`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

from intraclip.core.devices import choose_device

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The processes that work together, seen from one of them: they share work, and wait for each other.

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
    """The processes of a training, which exchange tensors; this is a world of one."""

    device: torch.device

    def leader_does(self, work: Callable[[], None]) -> None:
        """The leader does something that may fail while the others wait; if it fails, all stop.

        Raises:
            IntraclipError: the leader's own error; with the others one that points to it.
        """
        work()

    def leader_first(self, work: Callable[[], ResultT]) -> ResultT:
        """Every process does something, the others when the leader has done it; errors as of `leader_does`."""
        return work()


def started() -> int:
    """How many processes torchrun has started together; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def open_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started; alone, a world of one."""
    if started() == 1:
        yield World(device=choose_device(device))
        return
    from intraclip.core.process_group import joined_world

    with joined_world(device) as world:
        yield world
