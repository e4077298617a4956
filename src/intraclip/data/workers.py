"""Batches read by processes that leave when this one does, or by a thread where nothing has to be decoded."""

from __future__ import annotations

import atexit
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from intraclip.core.ahead import made_ahead
from intraclip.data.pack.opened import is_raw
from intraclip.errors import IntraclipError
from intraclip.types import ArrayTracklet, Tracklet

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
    if workers and _nothing_to_decode(dataset.tracklets):
        yield from _read_ahead(dataset, prefetch=prefetch, pin_memory=pin_memory)
        return
    processes = min(workers, len(dataset))
    loader: DataLoader[BatchT | IntraclipError] = DataLoader(
        cast(Dataset[BatchT | IntraclipError], dataset),
        batch_size=None,
        num_workers=processes,
        prefetch_factor=prefetch if processes else None,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        generator=torch.Generator().manual_seed(0),  # seeds workers, leaves torch's global state alone
    )
    with _signals_wait():
        batches = iter(loader)
    dismiss = partial(_dismiss, batches)
    atexit.register(dismiss)
    try:
        while True:
            try:
                loaded = _next(batches)
            except (RuntimeError, EOFError, OSError) as error:
                if not (processes and _is_death_of_worker(error)):
                    raise
                raise IntraclipError(
                    "a process that reads frames died; is memory or /dev/shm full? Lower data.workers or data.prefetch "
                    f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'connection lost'})"
                ) from error
            if loaded is None:
                return
            if isinstance(loaded, IntraclipError):
                raise loaded
            yield loaded
    finally:
        dismiss()
        atexit.unregister(dismiss)


def _next(batches: Iterator[BatchT]) -> BatchT | None:
    """The next batch, None after the last one."""
    try:
        return next(batches, None)
    except (EOFError, OSError):
        # When a worker dies, torch raises an error wherever this process happens to be: better here than in what
        # handles this one.
        time.sleep(0.05)
        raise


def _dismiss(batches: Any) -> None:
    """Tell the workers to leave, who listen to no signal, and end those who cannot hear it.

    A killed one may hold a lock that others wait for. Left alone, they would be waited for at the end of the program.
    """
    if hasattr(batches, "_shutdown_workers"):  # otherwise this process reads by itself
        # Torch does so when the iterator is dropped, which whoever holds an error's frames puts off.
        batches._shutdown_workers()
        for worker in batches._workers:
            if worker.is_alive():
                worker.kill()


def _nothing_to_decode(tracklets: Sequence[Tracklet]) -> bool:
    return not any(isinstance(t, ArrayTracklet) for t in tracklets) and all(
        map(is_raw, {tracklet.root for tracklet in tracklets})
    )


def _read_ahead(dataset: Batches[BatchT], *, prefetch: int, pin_memory: bool) -> Iterator[BatchT]:
    """Batches in order, those that come next read by a thread meanwhile."""

    def read(item: int) -> BatchT:
        loaded = dataset[item]
        if isinstance(loaded, IntraclipError):
            raise loaded
        return cast(BatchT, cast(Any, loaded).pin_memory()) if pin_memory else loaded

    # Page-locked memory belongs to a GPU: without this, to the first one.
    begin = partial(torch.cuda.set_device, torch.cuda.current_device()) if pin_memory else None
    return made_ahead(read, len(dataset), ahead=prefetch, begin=begin)


def _is_death_of_worker(error: Exception) -> bool:
    """Whether an error of the data loader means that a worker is gone, and not that our own code has failed in it."""
    if isinstance(error, RuntimeError):
        return "DataLoader worker" in str(error) and "Caught" not in str(error)
    # A batch was announced, and whoever holds its memory is not there any more.
    return isinstance(error, EOFError | ConnectionError | FileNotFoundError) and "Caught" not in str(error)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Hold signals back, also in processes that are begun meanwhile: they would die of one before they ignore it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(_worker: int) -> None:
    # Workers are the parallelism; OpenCV's own threads would fight with them and with the model.
    cv2.setNumThreads(0)
    # Ctrl-C and SIGTERM often reach a whole group of processes. What to do is the parent's decision: it may want
    # to end its step, and it tells the workers when to leave. They also leave when the parent is gone.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
