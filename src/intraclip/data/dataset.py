"""Batches of clips from tracklets, for torch's data loader.

Data sets yield *whole batches*: item i is batch i. What a batch holds depends on seed, epoch and i
alone, never on the worker that makes it, so any number of workers gives the same run.

Frames are decoded straight to their place in the batch, which lies in shared memory where a worker makes it: on its
way to the network a frame is not copied. Pixels of a raw pack need no decoding: a thread copies them in a tenth of the
processor time that another process and fresh shared memory cost.
"""

from __future__ import annotations

import atexit
import signal
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from intraclip.config import InputConfig, Recipe
from intraclip.data.clips import Clip, training_clip
from intraclip.data.frames import read_tracklet_frame_into
from intraclip.data.loaded_batch import Loaded, empty_frames
from intraclip.data.pack.opened import is_raw, pack_of
from intraclip.data.sampler import PKSampler
from intraclip.errors import ConfigError, DataError, FrameError, IntraclipError
from intraclip.types import ArrayTracklet, ClipBatch, Tracklet

Frames = npt.NDArray[np.uint8]
BatchT = TypeVar("BatchT", covariant=True)


class FrameLoader:
    """Reads the frames of a clip, strict or forgiving.

    Args:
        config: height and width to resize to.
        skip_unreadable: replace an unreadable frame by the nearest readable one of the clip (else of the
            tracklet) and mask it out, instead of raising.
    """

    def __init__(self, config: InputConfig, *, skip_unreadable: bool = False) -> None:
        self.config = config
        self.skip_unreadable = skip_unreadable

    def load(self, tracklet: Tracklet, clip: Clip) -> tuple[Frames, npt.NDArray[np.bool_], list[str]]:
        """Read one clip.

        Returns:
            uint8 frames ``[T, H, W, 3]``, mask ``[T]``, and a message for each frame that was replaced.
        """
        frames = np.empty((len(clip.indices), self.config.height, self.config.width, 3), dtype=np.uint8)
        mask, messages = self.load_into(tracklet, clip, frames)
        return frames, mask, messages

    def load_into(
        self, tracklet: Tracklet, clip: Clip, out: Frames
    ) -> tuple[npt.NDArray[np.bool_], list[str]]:
        """As `load`, to a given place.

        Args:
            tracklet: where from.
            clip: T frame numbers and their mask.
            out: contiguous uint8 ``[T, H, W, 3]``.
        """
        indices = clip.indices.tolist()
        row_of: dict[int, int] = {}
        failed: dict[int, str] = {}
        for row, index in enumerate(indices):
            if index in row_of:
                out[row] = out[row_of[index]]
            elif index not in failed:
                try:
                    read_tracklet_frame_into(tracklet, index, out[row])
                    row_of[index] = row
                except FrameError as error:
                    if not self.skip_unreadable:
                        raise
                    failed[index] = str(error)
        if not failed:
            return clip.mask, []
        mask = clip.mask & ~np.isin(clip.indices, list(failed))
        if not row_of:
            out[:] = self._any_frame(tracklet)
        else:
            for row, index in enumerate(indices):
                if index in failed:
                    out[row] = out[row_of[min(row_of, key=lambda other: (abs(other - index), other))]]
        if not mask.any():
            mask = np.arange(len(mask)) == 0  # a clip needs one frame that counts: the replacement does
        return mask, list(failed.values())

    def read(self, tracklet: Tracklet, indices: Sequence[int]) -> tuple[dict[int, Frames], dict[int, str]]:
        """Read some frames of a tracklet, each once.

        Args:
            tracklet: where from.
            indices: frame numbers, counted from 0, in any order and with repetitions.

        Returns:
            uint8 ``[H, W, 3]`` by frame number; and, if unreadable frames are to be skipped, the messages of those
            that cannot be read.
        """
        read: dict[int, Frames] = {}
        failed: dict[int, str] = {}
        for index in dict.fromkeys(indices):
            try:
                read[index] = self._read(tracklet, index)
            except FrameError as error:
                if not self.skip_unreadable:
                    raise
                failed[index] = str(error)
        return read, failed

    def _read(self, tracklet: Tracklet, index: int) -> Frames:
        frame = np.empty((self.config.height, self.config.width, 3), dtype=np.uint8)
        read_tracklet_frame_into(tracklet, index, frame)
        return frame

    def _any_frame(self, tracklet: Tracklet) -> Frames:
        for index in range(len(tracklet)):
            try:
                return self._read(tracklet, index)
            except FrameError:
                continue
        raise DataError(
            f"no frame of tracklet {tracklet.name} (pid {tracklet.pid}, camid {tracklet.camid}) in "
            f"{tracklet.root} can be read; remove the tracklet or restore its files"
        )

    def warn_if_enlarged(self, tracklets: Sequence[Tracklet]) -> None:
        """Warn about packs whose frames are smaller than what is wanted of them: detail is lost for good."""
        for root in dict.fromkeys(tracklet.root for tracklet in tracklets):
            pack = pack_of(root)
            if pack is not None and pack.size is not None:
                height, width = pack.size
                if height < self.config.height or width < self.config.width:
                    warnings.warn(
                        f"frames of the pack {root} are {height} x {width}, and are enlarged to "
                        f"{self.config.height} x {self.config.width}; pack the data set again at that size",
                        stacklevel=3,
                    )

    def batch(
        self, tracklets: Sequence[Tracklet], chosen: Sequence[tuple[int, Clip]], labels: Sequence[int]
    ) -> Loaded | IntraclipError:
        """Read several clips of equal length into one batch.

        An error is returned, not raised: torch rebuilds an exception of a worker from its text alone, which would
        lose the path. `iterate` raises it.

        Returns:
            Frames ``[B, T, 3, H, W]`` are a view of ``[B, T, H, W, 3]`` in memory: networks want them channels last.
        """
        clips = [(tracklets[owner], clip) for owner, clip in chosen]
        shape = (len(clips), len(chosen[0][1].indices), self.config.height, self.config.width, 3)
        frames = empty_frames(shape)
        array = frames.numpy()
        mask = np.stack([clip.mask for _, clip in clips])
        messages: list[str] = []
        try:
            for row, (tracklet, clip) in enumerate(clips):
                mask[row], replaced = self.load_into(tracklet, clip, array[row])
                messages += replaced
        except IntraclipError as error:
            return error
        return Loaded(
            clips=ClipBatch(
                frames=frames.permute(0, 1, 4, 2, 3),
                mask=torch.from_numpy(mask),
                pids=torch.tensor([tracklet.pid for tracklet, _ in clips]),
                camids=torch.tensor([tracklet.camid for tracklet, _ in clips]),
                labels=torch.tensor(list(labels)),
            ),
            owners=torch.tensor([owner for owner, _ in chosen]),
            unreadable=tuple(messages),
        )


class TrainingBatches(Dataset["Loaded | IntraclipError"]):
    """The batches of a whole run, one after the other: item i is step `start` + i.

    One data set for all epochs lets workers read ahead across the border of an epoch.

    Args:
        tracklets: training tracklets.
        labels: training class of each pid.
        recipe: clip, input and batch settings, and the seed.
        sampler: chooses tracklets.
        start: first step, for a resumed run.
        stop: step to end before.
        rank: number of this process, counted from 0. All processes draw the same batch of P x K clips; each loads
            those of its own identities, P / `world_size` of them. Put together in order of rank they are that batch.
        world_size: number of processes that share a batch.

    Raises:
        ConfigError: P cannot be divided among the processes.
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        labels: dict[int, int],
        recipe: Recipe,
        sampler: PKSampler,
        *,
        start: int,
        stop: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if sampler.identities % world_size:
            raise ConfigError(
                f"batch.identities: {sampler.identities} identities cannot be divided among {world_size} processes; "
                f"use a multiple of {world_size}"
            )
        self.tracklets = tracklets
        self.labels = labels
        self.recipe = recipe
        self.sampler = sampler
        self.start = start
        self.stop = stop
        share = sampler.identities // world_size * sampler.clips
        self.own = slice(rank * share, (rank + 1) * share)
        self.loader = FrameLoader(recipe.input, skip_unreadable=recipe.data.on_unreadable == "skip")
        self.loader.warn_if_enlarged(tracklets)
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def __len__(self) -> int:
        return self.stop - self.start

    def choose(self, item: int) -> list[tuple[int, Clip]]:
        """The whole batch of a step: P x K tracklet numbers and the frames of each clip; no I/O."""
        epoch, number = divmod(self.start + item, len(self.sampler))
        drawn = self._epoch
        if drawn[0] != epoch:
            drawn = self._epoch = (epoch, self.sampler.epoch(epoch))
        owners = drawn[1][number]
        rng = np.random.default_rng([self.recipe.seed, 2, epoch, number])
        return [(i, training_clip(len(self.tracklets[i]), self.recipe.clip, rng)) for i in owners]

    def __getitem__(self, item: int) -> Loaded | IntraclipError:
        chosen = self.choose(item)[self.own]
        labels = [self.labels[self.tracklets[owner].pid] for owner, _ in chosen]
        return self.loader.batch(self.tracklets, chosen, labels)


class Batches(Protocol[BatchT]):
    """Whole batches by number; an error is returned in place of the batch that it spoils.

    Attributes:
        tracklets: where frames come from.
    """

    @property
    def tracklets(self) -> Sequence[Tracklet]:
        """See above."""
        ...

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
    # The only reference: when the process ends in the middle, dropping it tells the workers to leave, who do not
    # listen to signals.
    with _signals_wait():
        running = [iter(loader)]
    atexit.register(running.clear)
    try:
        while True:
            try:
                loaded = next(running[0])
            except StopIteration:
                return
            except (RuntimeError, EOFError, OSError) as error:
                if not (processes and _is_death_of_worker(error)):
                    raise
                _forget_frames(error)
                raise IntraclipError(
                    "a process that reads frames died; is memory or /dev/shm full? Lower data.workers or data.prefetch "
                    f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'connection lost'})"
                ) from error
            if isinstance(loaded, IntraclipError):
                raise loaded
            yield loaded
    finally:
        running.clear()
        atexit.unregister(running.clear)


def _nothing_to_decode(tracklets: Sequence[Tracklet]) -> bool:
    return not any(isinstance(t, ArrayTracklet) for t in tracklets) and all(
        map(is_raw, {tracklet.root for tracklet in tracklets})
    )


def _read_ahead(dataset: Batches[BatchT], *, prefetch: int, pin_memory: bool) -> Iterator[BatchT]:
    """Batches in order, those that come next read by a thread meanwhile."""

    def read(item: int) -> BatchT | IntraclipError:
        loaded = dataset[item]
        return (
            cast(Any, loaded).pin_memory()
            if pin_memory and not isinstance(loaded, IntraclipError)
            else loaded
        )

    # Page-locked memory belongs to a GPU: without this, to the first one.
    gpu = torch.cuda.current_device() if pin_memory else None
    begin = (lambda: None) if gpu is None else partial(torch.cuda.set_device, gpu)
    with ThreadPoolExecutor(1, thread_name_prefix="frames", initializer=begin) as pool:
        waiting: deque[Future[BatchT | IntraclipError]] = deque()
        items = iter(range(len(dataset)))
        waiting.extend(pool.submit(read, item) for item in islice(items, prefetch))
        try:
            while waiting:
                loaded = waiting.popleft().result()
                if isinstance(loaded, IntraclipError):
                    raise loaded
                waiting.extend(pool.submit(read, item) for item in islice(items, 1))
                yield loaded
        finally:
            for batch in waiting:
                batch.cancel()


def _forget_frames(error: BaseException | None) -> None:
    """Let go of the frames that errors were raised in.

    They hold the loader, whose other processes then never hear that they are to leave: a program that ends with the
    error would wait for them for ever.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


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


def labels_of(tracklets: Sequence[Tracklet]) -> dict[int, int]:
    """Contiguous training classes: pids in ascending order -> 0, 1, 2, ...

    >>> from pathlib import Path
    >>> make = lambda pid: Tracklet(name=str(pid), root=Path("d"), frames=("f.jpg",), pid=pid, camid=1)
    >>> labels_of([make(7), make(3), make(7)])
    {3: 0, 7: 1}
    """
    return {pid: label for label, pid in enumerate(sorted({t.pid for t in tracklets}))}
