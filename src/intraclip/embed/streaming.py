"""Embeddings of tracklets that are still being followed: for use behind a tracker.

::

    live = LiveEmbedder(extractor)
    for crops, ids in tracker:              # RGB crops of this moment, and whose they are
        embeddings = live.update(ids, crops)
    final = live.finish(7)                  # person 7 has left

After every update an embedding equals, up to rounding, what extraction makes of a tracklet of the same frames. That
is exact because the heads read the mean of frame vectors, and a mean can be carried on. What is held for a tracklet
does not grow with its length:

- test sampling ``all``: the sum of its frame vectors (F numbers), and their count;
- ``dense``: the sum of the embeddings of its finished clips of T frames (D numbers) and their count; the sum of the
  frame vectors of the open clip (F numbers) and their count. The open clip counts as extraction counts the last,
  partial one: with the mean of the frames that it has.

``even`` takes frames from the whole length, which nobody knows yet: it is refused.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from intraclip.arrays import as_item, as_picture
from intraclip.config import ClipConfig
from intraclip.data.frames import resize_frame
from intraclip.embed.extractors import Extractor, FrameExtractor
from intraclip.errors import ConfigError, DataError

Vector = npt.NDArray[np.float64]


@dataclass(kw_only=True)
class _Live:
    """What is held of one tracklet: sums of embeddings of closed clips, and of frame vectors of the open one.

    Attributes:
        places: frames that the open clip has seen, usable or not.
    """

    closed_sum: Vector
    open_sum: Vector
    closed: int = 0
    open: int = 0
    places: int = 0


class LiveEmbedder:
    """Keeps the embeddings of live tracklets up to date; several threads may use it.

    Args:
        extractor: frame encoder and head.
        clip: its test sampling, ``dense`` or ``all``, and T.
        max_frames: frames that the encoder gets at once; bounds the memory of one update.
        max_tracklets: live tracklets at once; bounds the memory in all.

    Attributes:
        failures: the last thousand messages about frames whose vectors were not finite; such frames are left out.

    Raises:
        ConfigError: test sampling ``even``, or a head that reads more than the mean of frame vectors.
    """

    def __init__(
        self,
        extractor: Extractor,
        clip: ClipConfig | None = None,
        *,
        max_frames: int = 256,
        max_tracklets: int = 10_000,
    ) -> None:
        if not isinstance(extractor, FrameExtractor):
            raise ConfigError(
                f"{extractor.name}: its head reads maps or the order of frames, so an embedding cannot be carried on "
                "from frame to frame; live tracklets want a head that reads the mean, such as tap or ica"
            )
        clip = clip or ClipConfig(test_sampling="all")
        if clip.test_sampling == "even":
            raise ConfigError(
                "clip.test_sampling: 'even' picks frames from the whole tracklet, whose length is not known while it "
                "is live; choose 'dense' or 'all'"
            )
        self.extractor = extractor
        self.fingerprint = extractor.fingerprint(clip)
        self.max_frames = max_frames
        self.max_tracklets = max_tracklets
        self.failures: deque[str] = deque(maxlen=1000)
        self._clip_length = clip.num_frames if clip.test_sampling == "dense" else 0
        self._live: dict[Hashable, _Live] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, tracklet: Hashable) -> bool:
        return _id(tracklet) in self._live

    def update(
        self, tracklets: Sequence[Hashable], frames: Sequence[npt.NDArray[np.uint8]]
    ) -> npt.NDArray[np.float32]:
        """Take the next frames of some tracklets; an unknown id begins a tracklet.

        All frames go through the network together. If something is wrong with the arguments, or the network fails,
        nothing is changed.

        Args:
            tracklets: N ids: numbers or text in any sequence, also an array or a tensor; 7, ``np.int64(7)`` and
                ``torch.tensor(7)`` are one tracklet. An id that occurs several times has several frames, in order of
                time.
            frames: N crops, uint8 ``[h, w, 3]`` RGB of any size.

        Returns:
            float32 ``[N, D]``: the embedding, after this update, of the tracklet of each frame; NaN if it has no usable
            frame yet.

        Raises:
            DataError: lengths differ, an id is none, a frame is no such crop, or too many tracklets are live.
        """
        ids = [_id(tracklet) for tracklet in tracklets]
        crops = [
            as_picture(frame, name=f"a frame of tracklet {tracklet!r}")
            for tracklet, frame in zip(ids, frames, strict=False)
        ]
        if len(ids) != len(frames):
            raise DataError(f"{len(ids)} tracklet ids for {len(frames)} frames; give one id a frame")
        with self._lock:
            return self._update(ids, crops)

    def _update(
        self, ids: Sequence[Hashable], crops: Sequence[npt.NDArray[np.uint8]]
    ) -> npt.NDArray[np.float32]:
        new = len(set(ids) - self._live.keys())
        if len(self._live) + new > self.max_tracklets:
            raise DataError(
                f"{len(self._live):,} tracklets are live and {new:,} would begin, at most {self.max_tracklets:,} may; "
                "call finish() for those that ended, or raise max_tracklets"
            )
        failures = self.failures.copy()
        before = {tracklet: replace(self._live[tracklet]) for tracklet in set(ids) if tracklet in self._live}
        try:
            for start in range(0, len(ids), self.max_frames):
                piece = slice(start, start + self.max_frames)
                self._add(ids[piece], self._encode(crops[piece]))
            return self._embeddings([self._live[t] for t in ids])
        except BaseException:
            for tracklet in ids:
                self._live.pop(tracklet, None)
            self._live.update(before)
            self.failures = failures
            raise

    def embedding(self, tracklet: Hashable) -> npt.NDArray[np.float32]:
        """The embedding of a live tracklet so far, float32 ``[D]``.

        Raises:
            DataError: no such tracklet is live, or none of its frames was usable.
        """
        tracklet = _id(tracklet)
        with self._lock:
            if tracklet not in self._live:
                raise DataError(f"tracklet {tracklet!r} is not live; {len(self._live)} are")
            found: npt.NDArray[np.float32] = self._embeddings([self._live[tracklet]])[0]
        if not np.isfinite(found).all():
            raise DataError(f"tracklet {tracklet!r} has no finite embedding: {self._reason(tracklet)}")
        return found

    def finish(self, tracklet: Hashable) -> npt.NDArray[np.float32]:
        """The embedding of a tracklet that has ended, float32 ``[D]``; it is forgotten, even if this fails.

        Raises:
            DataError: as `embedding`.
        """
        tracklet = _id(tracklet)
        with self._lock:
            try:
                return self.embedding(tracklet)
            finally:
                self._live.pop(tracklet, None)

    def _reason(self, tracklet: Hashable) -> str:
        mine = [m for m in self.failures if m.startswith(f"tracklet {tracklet!r}:")]
        return mine[-1] if mine else "the head's output is not finite"

    def _encode(self, frames: Sequence[npt.NDArray[np.uint8]]) -> Vector:
        encoder = self.extractor.encoder
        resized = np.stack([resize_frame(f, encoder.height, encoder.width) for f in frames])
        vectors: Vector = encoder.encode(torch.from_numpy(resized).permute(0, 3, 1, 2)).double().numpy()
        return vectors

    def _add(self, tracklets: Sequence[Hashable], vectors: Vector) -> None:
        closing: list[tuple[_Live, Vector]] = []
        for tracklet, vector in zip(tracklets, vectors, strict=True):
            live = self._live.get(tracklet)
            if live is None:
                live = self._live[tracklet] = _Live(
                    closed_sum=np.zeros(self.extractor.embedding_size), open_sum=np.zeros(len(vector))
                )
            live.places += 1
            if np.isfinite(vector).all():
                # a new array: what was kept to go back to stays as it was
                live.open_sum = live.open_sum + vector
                live.open += 1
            else:
                self.failures.append(
                    f"tracklet {tracklet!r}: the vector of a frame is not finite (NaN or infinite), it is left out"
                )
            if live.places == self._clip_length:
                if live.open:
                    closing.append((live, live.open_sum / live.open))
                live.open_sum, live.open, live.places = np.zeros(len(vector)), 0, 0
        if closing:
            embeddings = self._head(np.stack([mean for _, mean in closing]))
            for (live, _), embedding in zip(closing, embeddings, strict=True):
                live.closed_sum = live.closed_sum + embedding
                live.closed += 1

    def _embeddings(self, tracklets: Sequence[_Live]) -> npt.NDArray[np.float32]:
        sums = np.array([live.closed_sum for live in tracklets]).reshape(-1, self.extractor.embedding_size)
        clips = np.array([live.closed for live in tracklets], dtype=np.float64)
        open_ones = [i for i, live in enumerate(tracklets) if live.open]
        if open_ones:
            means = np.stack([tracklets[i].open_sum / tracklets[i].open for i in open_ones])
            sums[open_ones] += self._head(means)
            clips[open_ones] += 1
        clips[clips == 0] = np.nan  # no usable frame yet
        return (sums / clips[:, None]).astype(np.float32)

    def _head(self, means: Vector) -> Vector:
        found: Vector = self.extractor.from_means(torch.from_numpy(means)).numpy()
        return found


def _id(tracklet: Any) -> Hashable:
    """One id as a key: a number of an array or a tensor is the number."""
    tracklet = as_item(tracklet)
    if not isinstance(tracklet, Hashable) or hasattr(tracklet, "shape"):
        # a tensor hashes by its place in memory
        raise DataError(
            f"a tracklet id is a {type(tracklet).__name__}, no single value: use numbers or text, one a frame"
        )
    if tracklet is None or isinstance(tracklet, bool) or tracklet != tracklet:
        raise DataError(
            f"the tracklet id {tracklet!r} is none: use numbers or text, one of its own for each tracklet"
        )
    return tracklet
