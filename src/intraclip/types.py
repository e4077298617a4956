"""Tracklets and splits: what travels between the parts.

Shapes, everywhere: ``B`` clips of ``T`` frames, ``C`` channels, ``H`` and ``W`` pixels, ``N`` tracklets, ``D`` numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from intraclip.core.numbers import MAX_ID
from intraclip.errors import DataError

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Tracklets of one data set, divided into training and test.

    Attributes:
        dataset: its name, such as ``mars`` or ``ilids-vid``.
        root: its folder.
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


def count_pids(tracklets: Iterable[Tracklet]) -> int:
    """Number of real identities: junk, distractors and unknown are left out."""
    return len({t.pid for t in tracklets if t.pid > 0})
