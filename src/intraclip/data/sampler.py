"""PK sampling: P identities with K clips each, across cameras where there are any."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from intraclip.errors import DataError
from intraclip.types import Tracklet


class PKSampler:
    """Which tracklets make the batches of an epoch.

    An epoch visits every identity once, in random order, P at a time; identities that do not fill a last batch
    wait for another epoch. The K clips of an identity take its cameras in turn, so that there are positives across
    cameras wherever it has several; within a camera its tracklets come in random order, and again from the start when
    there are fewer than needed (every clip draws its own frames). Balanced, an identity begins with the cameras that
    the epoch has shown least so far.

    The order depends on seed and epoch alone: a resumed run continues with the same batches.

    Raises:
        DataError: fewer than P identities.
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        *,
        identities: int,
        clips: int,
        seed: int,
        balanced: bool = False,
    ) -> None:
        by_pid: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for i, tracklet in enumerate(tracklets):
            by_pid[tracklet.pid][tracklet.camid].append(i)
        if len(by_pid) < identities:
            raise DataError(
                f"a batch needs {identities} identities, the training set has {len(by_pid)}; "
                "lower batch.identities or use a larger data set"
            )
        # Sorted, so that the order does not depend on how a reader listed its folders.
        self.by_pid = {pid: dict(sorted(by_pid[pid].items())) for pid in sorted(by_pid)}
        self.identities = identities
        self.clips = clips
        self.seed = seed
        self.balanced = balanced

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.by_pid) // self.identities

    def epoch(self, epoch: int) -> list[list[int]]:
        """Batches of one epoch: lists of P x K tracklet numbers, the K of an identity together."""
        rng = np.random.default_rng([self.seed, 1, epoch])
        pids = rng.permutation(list(self.by_pid))
        batches = pids[: len(self) * self.identities].reshape(-1, self.identities)
        shown: Counter[int] = Counter()
        return [[i for pid in batch for i in self._clips_of(int(pid), rng, shown)] for batch in batches]

    def _clips_of(self, pid: int, rng: np.random.Generator, shown: Counter[int]) -> list[int]:
        cameras = self.by_pid[pid]
        order = rng.permutation(list(cameras)).tolist()
        if self.balanced:
            order.sort(key=lambda camid: shown[camid])
        queues = {int(camid): rng.permutation(cameras[int(camid)]).tolist() for camid in order}
        chosen: list[int] = []
        for turn in range(self.clips):
            camid = int(order[turn % len(order)])
            queue = queues[camid]
            shown[camid] += 1
            chosen.append(int(queue[(turn // len(order)) % len(queue)]))
        return chosen
