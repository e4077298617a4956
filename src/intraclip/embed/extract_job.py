"""The embeddings of a split, written to a file: resumable, on one process or many.

Tracklets are divided into parts that share no batch. A finished part is kept beside the output (`part_store.py`), so a
killed extraction goes on where it was and gives the same file; processes share the parts; the first of them joins
the parts to the file.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intraclip.core.distributed import ALONE, Ranks
from intraclip.core.progress import Progress
from intraclip.data.frame_batches import frames_needed
from intraclip.data.readers.common import shorten
from intraclip.embed.embeddings_writer import Times, check_embeddings_name, save_chunks
from intraclip.embed.extract import of_tracklets, require_test_tracklets
from intraclip.embed.extractors import Extractor, ExtractSettings, Finished
from intraclip.embed.origin import data_digest, origin_of, times_of
from intraclip.embed.part_store import Part, PartStore
from intraclip.errors import DataError, OutputError
from intraclip.metrics.embeddings import Embeddings
from intraclip.types import Split

FORMAT_VERSION = 1

PART_FRAMES = 8192
"""Frames of a part: what a killed process loses at most. Minutes for ResNet50 on two cores, seconds on a GPU."""


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """What an extraction came to.

    Attributes:
        tracklets: embeddings in it.
        size: D.
        failures: why tracklets are missing from it, one message each.
        unreadable: messages about frames that were left out.
    """

    out: Path
    tracklets: int
    size: int
    fingerprint: str
    failures: tuple[str, ...]
    unreadable: tuple[str, ...]


class ExtractJob:
    """One extraction.

    Raises:
        DataError: nothing to embed, or a tracklet is too short and the policy is ``error``.
        OutputError: the output has the wrong name.
    """

    def __init__(
        self, extractor: Extractor, split: Split, settings: ExtractSettings, out: Path, *, processes: int = 1
    ) -> None:
        require_test_tracklets(split)
        check_embeddings_name(out)
        self.extractor = extractor
        self.split = split
        self.tracklets = split.test
        self.settings = settings
        self.out = out
        self.store = PartStore(out)
        self.sizes = frames_needed(self.tracklets, settings.clip)
        # Small sets are divided too, else processes stand idle; but no part is smaller than a batch.
        fair = -(-int(self.sizes.sum()) // (8 * processes))
        self.replace = False
        self.parts = divide(self.sizes.tolist(), min(PART_FRAMES, max(settings.max_frames, fair)))
        self.described: dict[str, Any] = {
            "format": FORMAT_VERSION,
            "model": extractor.fingerprint(settings.clip),
            "encoder": extractor.name,
            "data": data_digest(split),
            "clip": asdict(settings.clip),
            "frames in a batch": settings.max_frames,
        }

    def begin(self, *, resume: bool = False, force: bool = False) -> None:
        """Prepare the folder of parts; the first process does this before any calls `run_parts`.

        Raises:
            OutputError: output or parts are there already, or the parts are of another job.
        """
        if self.out.exists() and not force and not (resume and self.store.folder.is_dir()):
            raise OutputError(f"{self.out} exists; choose another --out, or add --force to replace it")
        self.parts = self.store.begin(self.described, self.parts, resume=resume, force=force)
        self.replace = force or self.out.exists()  # one that appears in the meantime is another process's

    def join(self) -> None:
        """Take over the division that the first process wrote down."""
        self.parts = self.store.begin(self.described, self.parts, resume=True)

    def share(self, ranks: Ranks) -> list[int]:
        """Numbers of the unfinished parts that a process is to make; all processes must ask before any begins."""
        left = [number for number in range(len(self.parts)) if not self.store.finished(number)]
        frames = [int(self.sizes[self.parts[n].start : self.parts[n].stop].sum()) for n in left]
        return [left[i] for i in balance(frames, ranks.size)[ranks.rank]]

    def run_parts(self, numbers: Sequence[int], *, progress: Progress | None = None) -> None:
        """Embed some parts and keep them."""
        finished = self.extractor.embed(
            self.tracklets, self.settings, parts=[self.parts[n] for n in numbers], progress=progress
        )
        for number in numbers:
            rows = [next(finished) for _ in self.parts[number]]
            self.store.write(number, self._part(rows))
        deque(finished, maxlen=0)  # nothing is left but the last call of `progress`

    def _part(self, finished: Sequence[Finished]) -> Part:
        good = [(f.row, f.embedding) for f in finished if not f.failure and f.embedding is not None]
        features = np.empty((len(good), self.extractor.embedding_size), dtype=np.float32)
        for place, (_, embedding) in enumerate(good):
            features[place] = embedding
        return Part(
            rows=np.array([row for row, _ in good], dtype=np.int64),
            features=features,
            failures={f.row: f.failure for f in finished if f.failure},
            unreadable=tuple(message for f in finished for message in f.unreadable),
        )

    def merge(self) -> Extracted:
        """Join the parts to the output file and delete them.

        Raises:
            DataError: tracklets could not be embedded, and that is not to be skipped; or none could be.
        """
        failures: list[str] = []
        unreadable: list[str] = []
        kept = 0
        for number in range(len(self.parts)):
            part = self.store.read(number)
            failures += part.failures.values()
            unreadable += part.unreadable
            kept += len(part.rows)
        wrong = failures or ([] if self.settings.skip else unreadable)
        if wrong and (not self.settings.skip or not kept):
            remedy = (
                f"; the others are kept in {self.store.folder}: --on-unreadable skip --resume writes them"
            )
            raise DataError(
                f"{len(failures):,} of {len(self.tracklets):,} tracklets cannot be embedded: "
                + shorten(wrong)
                + (remedy if kept else "")
            )
        save_chunks(
            self.out, self._chunks(), metadata=self._metadata(failures, unreadable), replace=self.replace
        )
        self.store.remove()
        return Extracted(
            out=self.out,
            tracklets=kept,
            size=self.extractor.embedding_size,
            fingerprint=self.described["model"],
            failures=tuple(failures),
            unreadable=tuple(unreadable),
        )

    def _chunks(self) -> Iterator[tuple[Embeddings, Times | None]]:
        times = times_of(self.split)
        queries = len(self.split.query)
        for number in range(len(self.parts)):
            part = self.store.read(number)
            chosen = [self.tracklets[row] for row in part.rows]
            embeddings = of_tracklets(part.features, chosen, queries=int((part.rows < queries).sum()))
            yield embeddings, None if times is None else times[part.rows]

    def _metadata(self, failures: Sequence[str], unreadable: Sequence[str]) -> dict[str, Any]:
        return {
            **origin_of(self.extractor, self.split, self.settings.clip),
            "format": FORMAT_VERSION,
            "frames in a batch": self.settings.max_frames,
            "failures": list(failures),
            "unreadable_frames": len(unreadable),
        }


def extract_split(
    extractor: Extractor,
    split: Split,
    settings: ExtractSettings,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    ranks: Ranks = ALONE,
    progress: Progress | None = None,
) -> Extracted | None:
    """Embed the test tracklets of a split into a file; returns what came out, and None in every process but the first.

    Parts are kept in ``FILE.parts`` until the file is whole, and resumed from there. All processes call this.
    """
    job = ExtractJob(extractor, split, settings, out, processes=ranks.size)
    if ranks.leads:
        job.begin(resume=resume, force=force)
    ranks.wait()
    if not ranks.leads:
        job.join()
    numbers = job.share(ranks)
    ranks.wait()  # else a part that is finished meanwhile would change the shares of those who ask later
    job.run_parts(numbers, progress=progress)
    ranks.wait()
    return job.merge() if ranks.leads else None


def divide(sizes: Sequence[int], part_size: int) -> list[range]:
    """Divide items in their order into runs, which end with the item that reaches `part_size`.

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
