"""What is to be packed: every tracklet of every split once, and a digest that notices any change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from intraclip.data.layouts import LAYOUTS
from intraclip.data.pack.format import Pack
from intraclip.data.pack.opened import pack_of
from intraclip.data.readers import find_dataset
from intraclip.data.readers.common import BENCHMARK_FILE
from intraclip.data.readers.ilids_vid import DIRECTIONS
from intraclip.errors import DataError
from intraclip.types import Tracklet


@dataclass(frozen=True, kw_only=True)
class SourceSplit:
    """One split: numbers of tracklets by subset, ``train``, ``query`` and ``gallery``."""

    index: int
    direction: str | None
    protocol: str
    members: Mapping[str, Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set as it is to be packed.

    Attributes:
        layout: of that folder; of the original one where a pack is packed again.
        sizes: bytes of each tracklet's files.
        splits: all of them; one entry a direction for iLIDS-VID.
        digest: of splits, ids, names, and each frame's size and time of change.
        benchmark: content of ``benchmark.json``, where there is one.
    """

    root: Path
    layout: str
    dataset: str
    tracklets: tuple[Tracklet, ...]
    sizes: tuple[int, ...]
    splits: tuple[SourceSplit, ...]
    digest: str
    benchmark: bytes | None


def read_source(root: Path, *, layout: str = "auto") -> Source:
    """Read every split of a data set and look at every file, without opening one.

    Raises:
        DataError: the data set cannot be read, or two different tracklets have one name.
    """
    name, folder = find_dataset(root, layout=layout)
    reader = LAYOUTS.load(name)
    found: dict[str, tuple[int, Tracklet]] = {}
    splits: list[SourceSplit] = []
    dataset = name
    pack = pack_of(folder) if name == "pack" else None
    original = str(pack.index["source"]["layout"]) if pack else name
    directions: Sequence[str | None] = DIRECTIONS if original == "ilids-vid" else (None,)
    for index in range(reader.count_splits(folder)):
        for direction in directions:
            split = reader.read(folder, index, direction or DIRECTIONS[0])
            dataset = split.dataset
            members = {
                subset: [_number(found, tracklet, folder) for tracklet in tracklets]
                for subset, tracklets in split.subsets.items()
            }
            splits.append(
                SourceSplit(index=index, direction=direction, protocol=split.protocol, members=members)
            )
    tracklets = tuple(tracklet for _, tracklet in found.values())
    if not tracklets:
        raise DataError(f"{folder} holds no tracklets, there is nothing to pack")
    benchmark = folder / BENCHMARK_FILE
    sizes, digest = _look_at_files(tracklets, splits, pack, dataset)
    return Source(
        root=folder,
        layout=original,
        dataset=dataset,
        tracklets=tracklets,
        sizes=sizes,
        splits=tuple(splits),
        digest=digest,
        benchmark=benchmark.read_bytes() if benchmark.is_file() else None,
    )


def _number(found: dict[str, tuple[int, Tracklet]], tracklet: Tracklet, root: Path) -> int:
    number, known = found.setdefault(tracklet.name, (len(found), tracklet))
    if known is not tracklet and known != tracklet:
        raise DataError(
            f"{root}: two splits call different tracklets {tracklet.name}; they cannot be packed together"
        )
    return number


def _look_at_files(
    tracklets: Sequence[Tracklet], splits: Sequence[SourceSplit], pack: Pack | None, dataset: str
) -> tuple[tuple[int, ...], str]:
    digest = hashlib.sha256(
        repr((dataset, [(s.index, s.direction, s.protocol, s.members) for s in splits])).encode()
    )
    if pack is not None:
        digest.update(repr(pack.index["shards"]).encode())
    sizes = []
    for tracklet in tracklets:
        states = [
            (pack.stored_bytes(tracklet, index), 0) if pack else _state(os.path.join(tracklet.root, frame))  # noqa: PTH118
            for index, frame in enumerate(tracklet.frames)
        ]
        digest.update(repr((tracklet.name, tracklet.pid, tracklet.camid, tracklet.frames, states)).encode())
        sizes.append(sum(max(size, 0) for size, _ in states))
    return tuple(sizes), digest.hexdigest()


def _state(path: str) -> tuple[int, int]:
    """Size and time of change of a file; (-1, 0) where it is missing. A million of them are asked, so no `Path`."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns
