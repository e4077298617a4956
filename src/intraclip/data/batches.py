"""Whole batches of tracklets, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar, cast

from intraclip.errors import IntraclipError
from intraclip.types import Tracklet

BatchT = TypeVar("BatchT", covariant=True)


class Batches(Protocol[BatchT]):
    """Whole batches of tracklets by number; an error is returned in place of the batch that it spoils."""

    tracklets: Sequence[Tracklet]

    def __len__(self) -> int: ...

    def __getitem__(self, item: int, /) -> BatchT | IntraclipError: ...


def iterate(
    dataset: Batches[BatchT],
    *,
    workers: int,
    prefetch: int = 2,
    pin_memory: bool = False,
) -> Iterator[BatchT]:
    """Yield the batches of a data set in order, read by `workers` processes (0: in this one).

    Where all frames are pixels of raw packs, a thread of this process reads them, `prefetch` batches ahead, however
    many workers there are.

    Raises:
        IntraclipError: what a worker met, such as a `FrameError`; or a worker was killed.
    """
    if workers and len(dataset):
        from intraclip.data.workers import read_meanwhile

        yield from read_meanwhile(dataset, workers=workers, prefetch=prefetch, pin_memory=pin_memory)
        return
    for number in range(len(dataset)):
        yield read(dataset, number, pin_memory=pin_memory)


def read(dataset: Batches[BatchT], number: int, *, pin_memory: bool) -> BatchT:
    """Read one batch in this process; raises the error that spoils it."""
    loaded = dataset[number]
    if isinstance(loaded, IntraclipError):
        raise loaded
    return cast(BatchT, cast(Any, loaded).pin_memory()) if pin_memory else loaded
