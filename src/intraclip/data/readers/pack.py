"""Packed tracklets (`intraclip data pack`): the original data set's splits, read from the pack's tables."""

from __future__ import annotations

from pathlib import Path

from intraclip.data.pack.format import TABLES, Pack
from intraclip.data.pack.opened import INDEX, open_pack
from intraclip.data.readers.common import Reader, check_split_number
from intraclip.errors import DataError
from intraclip.types import Split


def read_pack(root: Path, *, split: int = 0, direction: str = "first-half-tests") -> Split:
    """Read one split of a packed data set.

    Tracklets have the names, pids, camids and frame names of the original; their root is the pack.
    `direction` says which half of an iLIDS-VID split tests; packs of other data sets ignore it.

    Raises:
        DataError: the pack is not finished or damaged, or there is no such split or direction.
    """
    pack = open_pack(root)
    check_split_number(split, _count_splits(pack), root)
    entries = enumerate(pack.index["splits"])
    by_direction = {
        entry["direction"]: (number, entry) for number, entry in entries if entry["index"] == split
    }
    wanted = None if list(by_direction) == [None] else direction
    if wanted not in by_direction:
        raise DataError(f"{root}: no direction {direction!r}; there are {', '.join(map(str, by_direction))}")
    number, entry = by_direction[wanted]
    train, query, gallery = (
        tuple(pack.tracklet(i) for i in pack.tables[f"split/{number}/{subset}"].tolist())
        for subset in ("train", "query", "gallery")
    )
    return Split(
        dataset=str(pack.index["dataset"]),
        root=root,
        train=train,
        query=query,
        gallery=gallery,
        index=split,
        protocol=str(entry["protocol"]),
    )


def _count_splits(pack: Pack) -> int:
    return len({entry["index"] for entry in pack.index["splits"]})


PACK = Reader(
    name="pack",
    markers=f"{INDEX} and {TABLES}, as `intraclip data pack` writes them",
    inner_folders=(),
    read=lambda root, split, direction: read_pack(root, split=split, direction=direction),
    count_splits=lambda root: _count_splits(open_pack(root)),
)
