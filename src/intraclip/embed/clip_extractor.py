"""The extractor of heads that read maps or the order of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from intraclip.config import ClipConfig
from intraclip.core.devices import Arriving
from intraclip.core.progress import Progress
from intraclip.data.clip_batch import ClipBatch
from intraclip.data.frame_batches import frames_needed
from intraclip.data.normalise import normalise
from intraclip.data.test_batches import TestBatches
from intraclip.data.test_clips import tracklet_clips
from intraclip.embed.encoders.torch_encoder import CPU_FRAMES, TorchEncoder
from intraclip.embed.extractors import ExtractSettings, Finished, Notes, RunningMean, results_of
from intraclip.errors import DataError
from intraclip.models.embedder import ClipEmbedder
from intraclip.models.fingerprint import fingerprint_of
from intraclip.types import Tracklet


class ClipExtractor:
    """A network whose head reads maps or the order of frames: whole clips, packed in full batches.

    The maps of a clip are held together: a batch takes at most `max_frames` frames and their maps, or one clip if that
    is longer. With test sampling ``all`` the clip is the tracklet, and memory grows with its length: by the frame's
    pixels and F x h x w floats for each frame. A backbone of frames never sees more than `max_frames` at a time; one of
    clips sees a clip whole.
    """

    def __init__(self, model: ClipEmbedder) -> None:
        self.model = model
        self.encoder = TorchEncoder(model)
        self.name = self.encoder.name

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.model.embedding_size

    def fingerprint(self, clip: ClipConfig) -> str:
        """See `Extractor`."""
        return fingerprint_of(self.model, clip)

    def embed(
        self,
        tracklets: Sequence[Tracklet],
        settings: ExtractSettings,
        *,
        parts: Sequence[range] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Finished]:
        """See `Extractor.embed`."""
        ranges = [range(len(tracklets))] if parts is None else parts
        needed = frames_needed(tracklets, settings.clip)
        total, done = sum(int(needed[p.start : p.stop].sum()) for p in ranges), 0
        for part in ranges:
            for finished in self._part(tracklets, part, settings):
                yield finished
                done += int(needed[finished.row])
                if progress:
                    progress(done, total)

    def _part(
        self, tracklets: Sequence[Tracklet], part: range, settings: ExtractSettings
    ) -> Iterator[Finished]:
        notes = Notes(tracklets)
        try:
            for finished in self._packed(tracklets, part, settings, notes):
                yield finished
                part = range(finished.row + 1, part.stop)
        except DataError as error:
            if not settings.skip:
                raise
            # A tracklet without one readable frame took its batch with it: go on one by one to find it.
            if len(part) == 1:
                yield Finished(part.start, None, str(error), ())
            else:
                for row in part:
                    yield from self._part(tracklets, range(row, row + 1), settings)

    def _packed(
        self, tracklets: Sequence[Tracklet], part: range, settings: ExtractSettings, notes: Notes
    ) -> Iterator[Finished]:
        batches = TestBatches(
            tracklets[part.start : part.stop],
            settings.clip,
            self.model.input_config,
            max_frames=settings.max_frames,
            skip_unreadable=settings.skip,
        )
        left = [len(tracklet_clips(len(tracklets[row]), settings.clip)) for row in part]
        mean = RunningMean(self.embedding_size)

        def start(batch: ClipBatch) -> Arriving:
            return self._start(batch.frames, batch.mask, settings.max_frames)

        ahead = self.encoder.on_gpu
        for batch, embeddings in results_of(batches, settings.workers, start, ahead=ahead):
            ends = torch.zeros(len(batch.owners), dtype=torch.bool)
            for i, owner in enumerate(batch.owners.tolist()):
                left[owner] -= 1
                ends[i] = left[owner] == 0
            for message in batch.unreadable:
                # The message names the frame; the batch does not say whose it is.
                notes.unreadable[part.start + int(batch.owners[0])].append(message)
            means = mean.add(embeddings, counted=torch.ones_like(ends), ends=ends).float().numpy()
            for owner, embedding in zip(batch.owners[ends].tolist(), means, strict=True):
                yield notes.finished(part.start + owner, embedding)

    @torch.inference_mode()
    def _start(self, frames: torch.Tensor, mask: torch.Tensor, max_frames: int) -> Arriving:
        if not self.model.by_frame:
            return Arriving(torch.cat(list(self._whole(frames, mask, max_frames))).double())
        maps = torch.cat(
            [m for piece in torch.split(frames.flatten(0, 1), max_frames) for m in self.encoder.maps(piece)]
        )
        on_device = mask.to(maps.device, non_blocking=True)
        output = self.model.head(maps.reshape(*mask.shape, *maps.shape[1:]), on_device)
        return Arriving(output.embedding.double())

    def _whole(self, frames: torch.Tensor, mask: torch.Tensor, max_frames: int) -> Iterator[torch.Tensor]:
        """Embeddings of clips that the backbone cannot read in pieces, as many at a time as the device likes."""
        device, length = self.encoder.device, frames.shape[1]
        at_once = max(1, (CPU_FRAMES if device.type == "cpu" else max_frames) // length)
        config = self.model.input_config
        for clips, valid in zip(torch.split(frames, at_once), torch.split(mask, at_once), strict=True):
            normalised = normalise(clips.to(device, non_blocking=True), mean=config.mean, std=config.std)
            yield self.model.embed(normalised, valid.to(device, non_blocking=True))
