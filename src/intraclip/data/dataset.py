"""Training batches of clips from tracklets, for torch's data loader."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from intraclip.config import Recipe
from intraclip.data.clip_batch import ClipBatch
from intraclip.data.clips import Clip, training_clip
from intraclip.data.frame_loader import FrameLoader
from intraclip.data.sampler import PKSampler
from intraclip.errors import IntraclipError
from intraclip.types import Tracklet


class TrainingBatches(Dataset["ClipBatch | IntraclipError"]):
    """The batches of a whole run, one after the other: item i is the whole batch of step `start` + i.

    What it holds depends on seed and step alone, so any number of workers gives the same run. One data set for all
    epochs lets workers read ahead across the border of an epoch.

    Args:
        stop: step to end before; by default the run's last one is the last one here.
        rank: number of this process, from 0. All draw the same batch of P x K clips; each loads those of its own
            identities, P / `world_size` of them.
        world_size: number of processes that share a batch; P is a multiple of it.

    Attributes:
        start: first step; a resumed run sets it.
        labels: training class of each pid.
        steps: batches in an epoch.

    Raises:
        DataError: fewer than P identities.
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        recipe: Recipe,
        *,
        stop: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.tracklets = tracklets
        self.labels = labels_of(tracklets)
        self.recipe = recipe
        batch = recipe.batch
        self._sampler = PKSampler(
            tracklets,
            identities=batch.identities,
            clips=batch.clips,
            seed=recipe.seed,
            balanced=batch.cameras == "balanced",
        )
        self.steps = len(self._sampler)
        self.start = 0
        self.stop = self.steps * recipe.optimizer.epochs if stop is None else stop
        share = batch.identities // world_size * batch.clips
        self.own = slice(rank * share, (rank + 1) * share)
        self.loader = FrameLoader(recipe.input, skip_unreadable=recipe.data.on_unreadable == "skip")
        self.loader.warn_if_enlarged(tracklets)
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def __len__(self) -> int:
        return self.stop - self.start

    def choose(self, item: int) -> list[tuple[int, Clip]]:
        """The whole batch of a step: P x K tracklet numbers and the frames of each clip; no I/O."""
        epoch, number = divmod(self.start + item, self.steps)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._sampler.epoch(epoch))
        rng = np.random.default_rng([self.recipe.seed, 2, epoch, number])
        return [
            (i, training_clip(len(self.tracklets[i]), self.recipe.clip, rng)) for i in self._epoch[1][number]
        ]

    def __getitem__(self, item: int) -> ClipBatch | IntraclipError:
        chosen = self.choose(item)[self.own]
        labels = [self.labels[self.tracklets[owner].pid] for owner, _ in chosen]
        return self.loader.batch(self.tracklets, chosen, labels)


def labels_of(tracklets: Sequence[Tracklet]) -> dict[int, int]:
    """Contiguous training classes: pids in ascending order -> 0, 1, 2, ...

    >>> from pathlib import Path
    >>> make = lambda pid: Tracklet(name=str(pid), root=Path("d"), frames=("f.jpg",), pid=pid, camid=1)
    >>> labels_of([make(7), make(3), make(7)])
    {3: 0, 7: 1}
    """
    return {pid: label for label, pid in enumerate(sorted({t.pid for t in tracklets}))}
