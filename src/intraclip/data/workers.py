"""Batches read by processes that leave when this one does, or by a thread where nothing has to be decoded."""

from __future__ import annotations

import atexit
import ctypes
import math
import mmap
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import Any, cast

import cv2
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from intraclip.core.ahead import made_ahead
from intraclip.data.batches import Batches, BatchT, read
from intraclip.data.clip_batch import ClipBatch
from intraclip.data.in_memory import ArrayTracklet
from intraclip.data.pack.opened import is_raw
from intraclip.errors import IntraclipError
from intraclip.types import Tracklet


def read_meanwhile(
    dataset: Batches[BatchT], *, workers: int, prefetch: int, pin_memory: bool
) -> Iterator[BatchT]:
    """`iterate`, with batches that are read before they are asked for."""
    if _nothing_to_decode(dataset.tracklets):
        yield from _read_ahead(dataset, prefetch=prefetch, pin_memory=pin_memory)
        return
    loader: DataLoader[BatchT | IntraclipError] = DataLoader(
        cast(Dataset[BatchT | IntraclipError], dataset),
        batch_size=None,
        num_workers=min(workers, len(dataset)),
        prefetch_factor=prefetch,
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
                if not _is_death_of_worker(error):
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
    # Page-locked memory belongs to a GPU: without this, to the first one.
    begin = partial(torch.cuda.set_device, torch.cuda.current_device()) if pin_memory else None
    reading = partial(read, dataset, pin_memory=pin_memory)
    return made_ahead(reading, len(dataset), ahead=prefetch, begin=begin)


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
    ForkingPickler.register(ClipBatch, _reduced)


def _reduced(batch: ClipBatch) -> tuple[Any, ...]:
    """What a batch of clips is sent as.

    Every tensor that leaves a worker costs a file descriptor and a socket message. Only the large ones are worth it;
    the others travel as plain bytes.
    """
    small = {name: tensor.numpy() for name, tensor in batch.tensors().items() if name != "frames"}
    return _rebuilt, (batch.frames, small, batch.unreadable)


def _rebuilt(
    frames: torch.Tensor, small: Mapping[str, npt.NDArray[Any]], unreadable: tuple[str, ...]
) -> ClipBatch:
    others = {name: torch.from_numpy(array) for name, array in small.items()}
    return ClipBatch(frames=frames, **others, unreadable=unreadable)


def shared_frames(shape: Sequence[int]) -> torch.Tensor:
    """An uninitialised uint8 tensor in shared memory, where the parent of a worker finds it without a copy."""
    # As torch's own collate function does it; torch offers no public way that does not write the memory first.
    storage = torch.UntypedStorage._new_shared(max(math.prod(shape), 1))  # type: ignore[no-untyped-call]
    _populate(storage)
    return torch.empty(0, dtype=torch.uint8).set_(storage)[: math.prod(shape)].view(tuple(shape))


_MADV_POPULATE_WRITE = 23
"""Of madvise(2), from Linux 5.14 on."""


def _populate(storage: torch.UntypedStorage) -> None:
    """Let the kernel make all pages of a mapping at once, for less than a fault each.

    Where it does not know how, it refuses, and they are made one by one.
    """
    if sys.platform.startswith("linux"):
        before = storage.data_ptr() % mmap.PAGESIZE
        start, size = storage.data_ptr() - before, storage.nbytes() + before
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_POPULATE_WRITE)
