"""Extractors: tracklets in, one embedding after the other out.

A `FrameExtractor` embeds every frame once, in full batches across tracklets, on any engine, and adds the vectors up to
clips and tracklets; `intraclip.embed.clip_extractor` runs heads that read maps or the order of frames. Both yield
tracklets one by one, so that memory does not grow with their number, nor (frames) with their length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from intraclip.config import ClipConfig, InputConfig, Recipe
from intraclip.core.ahead import one_ahead
from intraclip.core.devices import Arriving
from intraclip.core.progress import Progress
from intraclip.core.settings import require_bounds
from intraclip.data.batches import Batches, iterate
from intraclip.data.frame_batches import FrameBatch, FrameBatches
from intraclip.data.frame_loader import FrameLoader
from intraclip.data.test_clips import tracklet_clips
from intraclip.embed.encoders.base import FrameEncoder, aside
from intraclip.errors import ConfigError, DataError
from intraclip.models.fingerprint import embedding_fingerprint
from intraclip.models.heads.base import FrameHead
from intraclip.types import Tracklet

BatchT = TypeVar("BatchT")


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """How tracklets are sampled, read and batched.

    Attributes:
        clip: T and how a tracklet is sampled.
        max_frames: frames in a batch; bounds memory, changes no embedding.
        workers: processes that decode; 0 decodes in this one.
        skip: go on past unreadable frames, and past tracklets of which no frame can be read.

    Raises:
        ConfigError: a setting of `clip` is out of its bounds, such as a sampling that does not exist.
    """

    clip: ClipConfig
    max_frames: int = 256
    workers: int = 2
    skip: bool = False

    def __post_init__(self) -> None:
        require_bounds(self)

    @classmethod
    def of(cls, recipe: Recipe, *, clip: ClipConfig | None = None) -> ExtractSettings:
        """The settings of a recipe, with other clip settings if given."""
        return cls(
            clip=clip or recipe.clip,
            max_frames=recipe.run.test_batch_frames,
            workers=recipe.data.workers,
            skip=recipe.data.on_unreadable == "skip",
        )


class Finished(NamedTuple):
    """What became of a tracklet.

    Attributes:
        row: its number among the tracklets.
        embedding: float32 ``[D]``, not finite where the network gave such numbers; None if no frame can be read.
        failure: why there is no usable embedding; empty if there is one.
        unreadable: messages about frames that were left out.
    """

    row: int
    embedding: npt.NDArray[np.float32] | None
    failure: str
    unreadable: tuple[str, ...]


class Extractor(Protocol):
    """Embeds tracklets one after the other.

    Attributes:
        name: of network and engine, for people.
        embedding_size: D.
    """

    name: str

    @property
    def embedding_size(self) -> int:
        """D."""
        ...

    def fingerprint(self, clip: ClipConfig) -> str:
        """Fingerprint of the embeddings, see `intraclip.models.fingerprint`."""
        ...

    def embed(
        self,
        tracklets: Sequence[Tracklet],
        settings: ExtractSettings,
        *,
        parts: Sequence[range] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Finished]:
        """Embed tracklets.

        Args:
            tracklets: N of them.
            settings: how they are sampled and batched.
            parts: ranges of their numbers that share no batch, so that a part's embeddings are the same bit for bit
                whichever others are computed; by default one part of all.
            progress: called after every batch.

        Yields:
            Every tracklet of the parts, in order.

        Raises:
            FrameError: a frame cannot be read, and `settings.skip` is False.
            DataError: a tracklet is shorter than T and the policy is ``error``.
        """
        ...


class FrameExtractor:
    """A frame encoder of any engine, and a head that reads the mean of its vectors.

    Raises:
        ConfigError: the head was made for vectors of another size.
    """

    def __init__(self, encoder: FrameEncoder, head: FrameHead) -> None:
        if encoder.num_features != head.num_features:
            raise ConfigError(
                f"the encoder {encoder.name} gives {encoder.num_features} features a frame, the head "
                f"reads {head.num_features}; take an encoder of that size, or no head (TAP)"
            )
        self.encoder = encoder
        self.head = head
        self.name = encoder.name

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.head.embedding_size

    def fingerprint(self, clip: ClipConfig) -> str:
        """See `Extractor`."""
        return embedding_fingerprint(self.encoder.fingerprint, self.head, clip)

    @torch.inference_mode()
    def from_means(self, means: torch.Tensor) -> torch.Tensor:
        """Embeddings, double ``[B, D]`` on the CPU, of the frame-vector means ``[B, F]`` of clips."""
        z = means.to(self._device, torch.float32)
        return self.head.from_mean(z).embedding.double().cpu()

    def embed(
        self,
        tracklets: Sequence[Tracklet],
        settings: ExtractSettings,
        *,
        parts: Sequence[range] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Finished]:
        """See `Extractor.embed`."""
        size = InputConfig(height=self.encoder.height, width=self.encoder.width)
        batches = FrameBatches(
            tracklets,
            settings.clip,
            size,
            max_frames=settings.max_frames,
            skip_unreadable=settings.skip,
            parts=parts,
        )
        clips, whole = RunningMean(self.encoder.num_features), RunningMean(self.embedding_size)
        notes = Notes(tracklets)
        done = 0

        def start(batch: FrameBatch) -> Arriving:
            return self.encoder.start(batch.frames)

        for batch, vectors in results_of(batches, settings.workers, start, ahead=self.encoder.on_gpu):
            for owner, message in batch.unreadable:
                notes.unreadable[owner].append(message)
            read, ends_clip = torch.from_numpy(batch.read), torch.from_numpy(batch.ends_clip)
            means = clips.add(vectors, counted=read, ends=ends_clip)
            owners, numbers = batch.owners[batch.ends_clip].tolist(), batch.clips[batch.ends_clip].tolist()
            for row in (clips.empty.nonzero()[:, 0]).tolist():
                try:
                    means[row] = self._replacement(tracklets[owners[row]], numbers[row], settings, size)
                except DataError as error:
                    notes.failures[owners[row]] = str(error)
            ends = torch.from_numpy(batch.ends_tracklet[batch.ends_clip])
            with aside(self._device):  # not behind the next batch
                of_clips = self.from_means(means)
            embeddings = whole.add(of_clips, counted=torch.ones_like(ends), ends=ends).float()
            rows = batch.owners[batch.ends_tracklet].tolist()
            for row, embedding in zip(rows, embeddings.numpy(), strict=True):
                yield notes.finished(row, embedding)
            done += len(batch.owners)
            if progress:
                progress(done, batches.num_frames)

    @property
    def _device(self) -> torch.device:
        """Where the head is."""
        weight = next(self.head.parameters(), None)
        return torch.device("cpu") if weight is None else weight.device

    def _replacement(
        self, tracklet: Tracklet, number: int, settings: ExtractSettings, size: InputConfig
    ) -> torch.Tensor:
        """Mean vector of a clip of which no frame can be read: that of the frame that `FrameLoader` puts there."""
        clip = tracklet_clips(len(tracklet), settings.clip)[number]
        frames, mask, _ = FrameLoader(size, skip_unreadable=True).load(tracklet, clip)
        return self.encoder.encode(torch.from_numpy(frames[mask]).permute(0, 3, 1, 2)).double().mean(dim=0)


def results_of(
    batches: Batches[BatchT], workers: int, start: Callable[[BatchT], Arriving], *, ahead: bool
) -> Iterator[tuple[BatchT, torch.Tensor]]:
    """Batches and what becomes of them; a GPU has the next batch before this one's results are read."""
    found = iterate(batches, workers=workers, pin_memory=ahead and torch.cuda.is_available())
    yield from one_ahead(found, start) if ahead else ((batch, start(batch).read()) for batch in found)


class RunningMean:
    """Means of runs of rows that arrive in batches; only the sum of the open run is held."""

    def __init__(self, size: int) -> None:
        self._sum = torch.zeros(size, dtype=torch.float64)
        self._count = torch.zeros((), dtype=torch.float64)
        self.empty = torch.zeros(0, dtype=torch.bool)
        """Of the means returned last: True where no row of the run counted, so that the mean is NaN."""

    def add(self, rows: torch.Tensor, *, counted: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """Take the next places of the runs.

        Args:
            rows: ``[R, size]``, one for each place that counts.
            counted: bool ``[M]``, R of them True: whether a place has a row.
            ends: bool ``[M]``, whether a place is the last of its run.

        Returns:
            double ``[runs that ended, size]``.
        """
        run = torch.cumsum(ends, dim=0) - ends.long()  # of each place; the first may have begun before
        closed = int(ends.sum())
        sums = torch.zeros(closed + 1, len(self._sum), dtype=torch.float64)
        sums.index_add_(0, run[counted], rows.double())
        counts = torch.bincount(run[counted], minlength=closed + 1).double()
        sums[0] += self._sum
        counts[0] += self._count
        self._sum, self._count = sums[closed].clone(), counts[closed].clone()
        self.empty = counts[:closed] == 0
        return sums[:closed] / counts[:closed, None]


class Notes:
    """What is to be said about tracklets that are not finished yet."""

    def __init__(self, tracklets: Sequence[Tracklet]) -> None:
        self._tracklets = tracklets
        self.unreadable: defaultdict[int, list[str]] = defaultdict(list)
        """Messages about frames that were left out, by row."""
        self.failures: dict[int, str] = {}
        """Why tracklets have no embedding, by row."""

    def finished(self, row: int, embedding: npt.NDArray[np.float32]) -> Finished:
        """All of a tracklet, whose notes are forgotten."""
        messages = tuple(self.unreadable.pop(row, ()))
        failure = self.failures.pop(row, "")
        if failure:
            return Finished(row, None, failure, messages)
        if not np.isfinite(embedding).all():
            t = self._tracklets[row]
            failure = (
                f"the embedding of tracklet {t.name} (pid {t.pid}, camid {t.camid}) is not finite (NaN or "
                "infinite); look at the network's input range and weights"
            )
        return Finished(row, embedding, failure, messages)
