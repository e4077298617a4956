"""Batches of clips from tracklets, for torch's data loader.

Both data sets here yield *whole batches*: item i is batch i. What a batch holds depends on seed, epoch and i
alone, never on the worker that makes it, so any number of workers gives the same run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from intraclip.config import ClipConfig, InputConfig, Recipe
from intraclip.data.clips import Clip, tracklet_clips, training_clip
from intraclip.data.frames import read_frame, resize_frame
from intraclip.data.sampler import PKSampler
from intraclip.errors import DataError, FrameError, IntraclipError
from intraclip.types import ClipBatch, Tracklet


@dataclass(frozen=True)
class Loaded:
    """A batch as a worker hands it over.

    Attributes:
        clips: uint8 frames.
        owners: int64 ``[B]``, number of the tracklet that each clip comes from.
        unreadable: messages about frames that were replaced by a neighbour.
    """

    clips: ClipBatch
    owners: torch.Tensor
    unreadable: tuple[str, ...] = ()


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

    def load(
        self, tracklet: Tracklet, clip: Clip
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], list[str]]:
        """Read one clip.

        Returns:
            uint8 frames ``[T, H, W, 3]``, mask ``[T]``, and a message for each frame that was replaced.

        Raises:
            FrameError: a frame cannot be read, and that is not to be skipped.
            DataError: no frame of the tracklet can be read.
        """
        read, failed = self.read(tracklet, clip.indices.tolist())
        if not read:
            read = self._any_frame(tracklet)
        mask = clip.mask & ~np.isin(clip.indices, list(failed))
        if not mask.any():
            mask = np.arange(len(mask)) == 0  # a clip needs one frame that counts: the replacement does
        nearest = [
            i if i in read else min(read, key=lambda j: (abs(j - i), j)) for i in clip.indices.tolist()
        ]
        return np.stack([read[i] for i in nearest]), mask, list(failed.values())

    def read(
        self, tracklet: Tracklet, indices: Sequence[int]
    ) -> tuple[dict[int, npt.NDArray[np.uint8]], dict[int, str]]:
        """Read some frames of a tracklet, each once.

        Args:
            tracklet: where from.
            indices: frame numbers, counted from 0, in any order and with repetitions.

        Returns:
            uint8 ``[H, W, 3]`` by frame number; and, if unreadable frames are to be skipped, the messages of those
            that cannot be read.

        Raises:
            FrameError: a frame cannot be read, and that is not to be skipped.
        """
        read: dict[int, npt.NDArray[np.uint8]] = {}
        failed: dict[int, str] = {}
        for index in dict.fromkeys(indices):
            try:
                read[index] = self._read(tracklet, index)
            except FrameError as error:
                if not self.skip_unreadable:
                    raise
                failed[index] = str(error)
        return read, failed

    def _read(self, tracklet: Tracklet, index: int) -> npt.NDArray[np.uint8]:
        return resize_frame(read_frame(tracklet.frame_path(index)), self.config.height, self.config.width)

    def _any_frame(self, tracklet: Tracklet) -> dict[int, npt.NDArray[np.uint8]]:
        for index in range(len(tracklet)):
            try:
                return {index: self._read(tracklet, index)}
            except FrameError:
                continue
        raise DataError(
            f"no frame of tracklet {tracklet.name} (pid {tracklet.pid}, camid {tracklet.camid}) in "
            f"{tracklet.root} can be read; remove the tracklet or restore its files"
        )

    def batch(
        self, tracklets: Sequence[Tracklet], chosen: Sequence[tuple[int, Clip]], labels: Sequence[int]
    ) -> Loaded | IntraclipError:
        """Read several clips of equal length into one batch.

        An error is returned, not raised: torch rebuilds an exception of a worker from its text alone, which would
        lose the path. `iterate` raises it.
        """
        try:
            loaded = [self.load(tracklets[owner], clip) for owner, clip in chosen]
        except IntraclipError as error:
            return error
        owners = torch.tensor([owner for owner, _ in chosen])
        frames = torch.from_numpy(np.stack([frames for frames, _, _ in loaded]))
        return Loaded(
            ClipBatch(
                frames=frames.permute(0, 1, 4, 2, 3).contiguous(),
                mask=torch.from_numpy(np.stack([mask for _, mask, _ in loaded])),
                pids=torch.tensor([tracklets[owner].pid for owner, _ in chosen]),
                camids=torch.tensor([tracklets[owner].camid for owner, _ in chosen]),
                labels=torch.tensor(list(labels)),
            ),
            owners,
            tuple(message for _, _, messages in loaded for message in messages),
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
    ) -> None:
        self.tracklets = tracklets
        self.labels = labels
        self.recipe = recipe
        self.sampler = sampler
        self.start = start
        self.stop = stop
        self.loader = FrameLoader(recipe.input, skip_unreadable=recipe.data.on_unreadable == "skip")
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, item: int) -> Loaded | IntraclipError:
        epoch, number = divmod(self.start + item, len(self.sampler))
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self.sampler.epoch(epoch))
        owners = self._epoch[1][number]
        rng = np.random.default_rng([self.recipe.seed, 2, epoch, number])
        chosen = [(i, training_clip(len(self.tracklets[i]), self.recipe.clip, rng)) for i in owners]
        return self.loader.batch(self.tracklets, chosen, [self.labels[self.tracklets[i].pid] for i in owners])


class TestBatches(Dataset["Loaded | IntraclipError"]):
    """Every test clip of every tracklet, in batches of clips of equal length.

    Args:
        tracklets: tracklets to embed.
        clip: T and how a tracklet is sampled.
        input_config: frame size.
        max_frames: frames in a batch at most; a single longer clip still makes a batch.
        skip_unreadable: see `FrameLoader`.
    """

    __test__ = False  # not a test of pytest

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        clip: ClipConfig,
        input_config: InputConfig,
        *,
        max_frames: int,
        skip_unreadable: bool = False,
    ) -> None:
        self.tracklets = tracklets
        self.loader = FrameLoader(input_config, skip_unreadable=skip_unreadable)
        self.batches: list[list[tuple[int, Clip]]] = []
        for owner, tracklet in enumerate(tracklets):
            for clip_frames in tracklet_clips(len(tracklet), clip):
                length = len(clip_frames.indices)
                last = self.batches[-1] if self.batches else None
                if last and len(last[0][1].indices) == length and (len(last) + 1) * length <= max_frames:
                    last.append((owner, clip_frames))
                else:
                    self.batches.append([(owner, clip_frames)])

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, item: int) -> Loaded | IntraclipError:
        chosen = self.batches[item]
        return self.loader.batch(self.tracklets, chosen, [-1] * len(chosen))


def iterate(
    dataset: TrainingBatches | TestBatches, *, workers: int, pin_memory: bool = False
) -> Iterator[Loaded]:
    """Yield the batches of a data set in order, decoded by `workers` processes (0: in this one).

    Raises:
        IntraclipError: what a worker met, such as a `FrameError`.
    """
    loader: DataLoader[Loaded | IntraclipError] = DataLoader(
        dataset,
        batch_size=None,
        num_workers=min(workers, len(dataset)),
        pin_memory=pin_memory,
        worker_init_fn=_one_thread,
    )
    for loaded in loader:
        if isinstance(loaded, IntraclipError):
            raise loaded
        yield loaded


def _one_thread(_worker: int) -> None:
    # Workers are the parallelism; OpenCV's own threads would fight with them and with the model.
    cv2.setNumThreads(0)


def labels_of(tracklets: Sequence[Tracklet]) -> dict[int, int]:
    """Contiguous training classes: pids in ascending order -> 0, 1, 2, ...

    >>> from pathlib import Path
    >>> make = lambda pid: Tracklet(name=str(pid), root=Path("d"), frames=("f.jpg",), pid=pid, camid=1)
    >>> labels_of([make(7), make(3), make(7)])
    {3: 0, 7: 1}
    """
    return {pid: label for label, pid in enumerate(sorted({t.pid for t in tracklets}))}
