"""The values that travel between the parts: tracklets, splits, batches of clips, embeddings.

Shapes use these letters: ``B`` clips in a batch, ``T`` frames in a clip, ``C`` channels, ``H`` and ``W``
pixels, ``N`` tracklets, ``D`` embedding size.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_array, as_flags, as_picture, as_reals, as_whole
from intraclip.core.numbers import MAX_ID
from intraclip.errors import DataError

if TYPE_CHECKING:
    import torch

JUNK_PID = -1
"""Pid of detections that are no usable person (MARS); never counted, neither right nor wrong."""

DISTRACTOR_PID = 0
"""Pid of people that belong to no query (MARS); in the gallery they can only be wrong answers."""

UNKNOWN_PID = -2
"""Pid of tracklets without identity labels, as `intraclip ingest` makes them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracklet:
    """One person followed by one camera: an ordered run of cropped frames.

    Attributes:
        name: unique within the data set; stable across machines.
        root: folder that the frame paths are relative to.
        frames: frame files in order of time, as POSIX paths relative to `root`.
        pid: the data set's identity; `JUNK_PID`, `DISTRACTOR_PID` and `UNKNOWN_PID` are special.
        camid: the data set's camera number.

    Raises:
        DataError: there are no frames, or a number is beyond `MAX_ID`.

    >>> Tracklet(name="0001C1T0001", root=Path("train"), frames=("0001/a.jpg", "0001/b.jpg"), pid=1, camid=1)
    Tracklet(name='0001C1T0001', pid=1, camid=1, 2 frames in train)
    """

    name: str
    root: Path
    frames: tuple[str, ...]
    pid: int
    camid: int

    def __post_init__(self) -> None:
        if not self.frames:
            raise DataError(
                f"tracklet {self.name} (pid {self.pid}, camid {self.camid}) has no frames in {self.root}"
            )
        if max(abs(self.pid), abs(self.camid)) > MAX_ID:
            raise DataError(
                f"tracklet {self.name} has pid {self.pid} and camid {self.camid}; the largest number is {MAX_ID:,}"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def frame_path(self, index: int) -> Path:
        """Path of frame `index`, counted from 0."""
        return self.root / self.frames[index]

    def __repr__(self) -> str:
        return (
            f"Tracklet(name={self.name!r}, pid={self.pid}, camid={self.camid}, "
            f"{len(self.frames)} frames in {self.root})"
        )


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ArrayTracklet(Tracklet):
    """A tracklet whose frames are in memory: those of a tracker, a request, or somebody's own reader.

    `root` and `frames` stand in messages only.

    Attributes:
        pictures: uint8 ``[h, w, 3]`` RGB, one a frame, of any sizes.

    >>> ArrayTracklet.of(np.zeros((3, 128, 64, 3), np.uint8), name="clip 0")
    Tracklet(name='clip 0', pid=-2, camid=0, 3 frames in memory)
    """

    pictures: Sequence[npt.NDArray[np.uint8]] = field(compare=False)

    @classmethod
    def of(cls, pictures: Any, *, name: str) -> ArrayTracklet:
        """The frames of one person, in order of time.

        Args:
            pictures: uint8 ``[T, H, W, 3]`` RGB as array or tensor, or T pictures ``[h, w, 3]``.
            name: of the tracklet, for messages and the names of embeddings.

        Raises:
            DataError: no frame, or something else than such pictures.
        """
        if not isinstance(pictures, list | tuple):
            pictures = as_array(pictures, name=name)
            if pictures.ndim != 4:
                raise DataError(
                    f"{name} is {pictures.dtype} {list(pictures.shape)}; a clip is uint8 [T, H, W, 3] in RGB"
                    + (", one picture is a clip of one: picture[None]" if pictures.ndim == 3 else "")
                )
        frames = tuple(as_picture(p, name=f"frame {number} of {name}") for number, p in enumerate(pictures))
        if not frames:
            raise DataError(f"{name} has no frames; give at least one")
        numbers = tuple(f"frame {number}" for number in range(len(frames)))
        return cls(name=name, root=Path("memory"), frames=numbers, pid=UNKNOWN_PID, camid=0, pictures=frames)


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Tracklets of one data set, divided into training and test.

    Attributes:
        dataset: name of the data set, such as ``mars`` or ``ilids-vid``.
        root: the data set's folder.
        train: training tracklets.
        query: test tracklets that are searched for.
        gallery: every other test tracklet. Whether the queries themselves are searched too (MARS) is the
            protocol's decision, so they are not repeated here.
        index: number of the split, for data sets with several; 0 otherwise.
        protocol: name of the protocol the data set is usually scored with.

    Raises:
        DataError: a name occurs twice, or a pid is trained on and queried.

    >>> seen = [Tracklet(name=f"c{c}", root=Path("d"), frames=("1.jpg",), pid=7, camid=c) for c in (1, 2)]
    >>> Split(dataset="mine", root=Path("d"), train=(), query=(seen[0],), gallery=(seen[1],), protocol="cross-camera")
    Split(mine #0: 0 train, 1 query, 1 gallery tracklets in d)
    """

    dataset: str
    root: Path
    train: tuple[Tracklet, ...]
    query: tuple[Tracklet, ...]
    gallery: tuple[Tracklet, ...]
    index: int = 0
    protocol: str

    def __post_init__(self) -> None:
        names = Counter(t.name for t in (*self.train, *self.query, *self.gallery))
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise DataError(f"{self.dataset} in {self.root}: tracklet names occur twice: {twice[:5]}")
        shared = {t.pid for t in self.train} & {t.pid for t in self.query}
        if shared:
            raise DataError(
                f"{self.dataset} in {self.root}: pids {sorted(shared)[:5]} are both trained on and queried; "
                "identities of training and test must not overlap"
            )

    @property
    def test(self) -> tuple[Tracklet, ...]:
        """Query tracklets, then gallery tracklets: the order of every embeddings file."""
        return (*self.query, *self.gallery)

    @property
    def subsets(self) -> dict[str, tuple[Tracklet, ...]]:
        """The tracklets by what they are for: ``train``, ``query`` and ``gallery``."""
        return {"train": self.train, "query": self.query, "gallery": self.gallery}

    def __repr__(self) -> str:
        return (
            f"Split({self.dataset} #{self.index}: {len(self.train)} train, {len(self.query)} query, "
            f"{len(self.gallery)} gallery tracklets in {self.root})"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipBatch:
    """Clips ready for a network.

    Attributes:
        frames: uint8 ``[B, T, 3, H, W]`` RGB in 0..255, or float after augmentation and normalisation.
        mask: bool ``[B, T]``, False where a frame only pads a tracklet that is shorter than T.
        pids: int64 ``[B]``.
        camids: int64 ``[B]``.
        labels: int64 ``[B]``, contiguous training class; -1 outside training.

    Raises:
        ValueError: the leading dimensions disagree.
    """

    frames: torch.Tensor
    mask: torch.Tensor
    pids: torch.Tensor
    camids: torch.Tensor
    labels: torch.Tensor

    def __post_init__(self) -> None:
        shapes = {
            name: tuple(getattr(self, name).shape) for name in ("frames", "mask", "pids", "camids", "labels")
        }
        b, t = shapes["frames"][0], shapes["frames"][1] if len(shapes["frames"]) == 5 else -1
        expected = {"mask": (b, t), "pids": (b,), "camids": (b,), "labels": (b,)}
        if len(shapes["frames"]) != 5 or any(shapes[name] != shape for name, shape in expected.items()):
            raise ValueError(
                f"ClipBatch wants frames [B, T, C, H, W] and matching leading dimensions: {shapes}"
            )

    def __len__(self) -> int:
        return int(self.frames.shape[0])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> ClipBatch:
        """The same batch on another device."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return ClipBatch(**{k: v.to(device, non_blocking=non_blocking) for k, v in own.items()})

    def __repr__(self) -> str:
        return (
            f"ClipBatch(frames={tuple(self.frames.shape)} {self.frames.dtype}, "
            f"{len(set(self.pids.tolist()))} pids, {int((~self.mask).sum())} padding frames)"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddings:
    """One vector a tracklet, with what scoring needs to know about it.

    It can be made of NumPy arrays, torch tensors on any device, or lists; it holds arrays.

    Attributes:
        features: float32 ``[N, D]``.
        pids: int64 ``[N]``.
        camids: int64 ``[N]``.
        is_query: bool ``[N]``.
        names: tracklet names ``[N]``; empty when unknown.
        fingerprint: of the network and sampling that made them (`intraclip.models.fingerprint`); empty when unknown.

    Raises:
        DataError: shapes differ, values are of another kind, or a feature is not finite.

    >>> e = Embeddings(features=[[3, 4], [0, 1]], pids=[1, 2], camids=[1, 1], is_query=[True, False])
    >>> e, e[0].tolist()
    (Embeddings(2 x 2, 1 queries, 2 pids), [3.0, 4.0])
    """

    features: npt.NDArray[np.float32]
    pids: npt.NDArray[np.int64]
    camids: npt.NDArray[np.int64]
    is_query: npt.NDArray[np.bool_]
    names: tuple[str, ...] = field(default=())
    fingerprint: str = ""

    def __post_init__(self) -> None:
        arrays: dict[str, npt.NDArray[Any]] = {
            "features": as_reals(self.features, name="features"),
            "pids": as_whole(self.pids, name="pids"),
            "camids": as_whole(self.camids, name="camids"),
            "is_query": as_flags(self.is_query, name="is_query"),
        }
        for name, array in arrays.items():
            object.__setattr__(self, name, array)
        object.__setattr__(self, "names", tuple(map(str, self.names)))
        rows = self.features.shape[:1]
        wrong = self.features.ndim != 2 or any(
            array.shape != rows for name, array in arrays.items() if name != "features"
        )
        if wrong or (self.names and (len(self.names),) != rows):
            shapes = {name: list(array.shape) for name, array in arrays.items()} | {
                "names": [len(self.names)]
            }
            raise DataError(
                "embeddings want features [N, D] and one entry a tracklet everywhere else; got "
                + ", ".join(
                    f"{name} {shape}" for name, shape in shapes.items() if name != "names" or self.names
                )
            )
        bad = np.flatnonzero(~np.isfinite(self.features).all(axis=1))
        if len(bad):
            which = ", ".join(self.names[i] if self.names else f"row {i}" for i in bad[:5])
            raise DataError(
                f"{len(bad)} of {len(self.features)} embeddings are not finite (NaN or infinite): {which}; "
                "such a network cannot be scored, look at its input range and its weights"
            )

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, row: int) -> npt.NDArray[np.float32]:
        """The vector ``[D]`` of a row, counted from 0."""
        found: npt.NDArray[np.float32] = self.features[operator.index(row)]
        return found

    def __repr__(self) -> str:
        n, d = self.features.shape
        known = len(np.unique(self.pids[self.pids > 0]))
        return f"Embeddings({n} x {d}, {int(self.is_query.sum())} queries, {known} pids)"


def take(embeddings: Embeddings, rows: npt.NDArray[np.int64]) -> Embeddings:
    """Some rows of embeddings, in the order given."""
    return Embeddings(
        features=embeddings.features[rows],
        pids=embeddings.pids[rows],
        camids=embeddings.camids[rows],
        is_query=embeddings.is_query[rows],
        names=tuple(embeddings.names[i] for i in rows) if embeddings.names else (),
    )


def count_pids(tracklets: Iterable[Tracklet]) -> int:
    """Number of real identities: junk, distractors and unknown are left out."""
    return len({t.pid for t in tracklets if t.pid > 0})
