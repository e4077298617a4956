"""Which folders are packs, and those that this process has opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intraclip.data.pack.format import Pack

INDEX = "intraclip-pack.json"
"""Written last: a folder without it is not finished."""
UNFINISHED = "intraclip-pack.unfinished.json"

_OPEN: dict[Path, Pack | None] = {}


def open_pack(root: Path) -> Pack:
    """Open a finished pack; later frame reads of this process use what was opened last."""
    from intraclip.data.pack.format import Pack

    pack = _OPEN[root] = Pack(root)
    return pack


def pack_of(root: Path) -> Pack | None:
    """The pack at `root`, opened once a process; None when `root` is an ordinary folder."""
    if root not in _OPEN:
        _OPEN[root] = open_pack(root) if is_pack(root) else None
    return _OPEN[root]


def is_raw(root: Path) -> bool:
    """Whether a folder is a pack of pixels, which has no encoded frames."""
    pack = pack_of(root)
    return pack is not None and pack.kind == "raw"


def is_pack(root: Path) -> bool:
    """Whether a folder is a pack, finished or not."""
    return (root / INDEX).is_file() or (root / UNFINISHED).is_file()


def forget_pack(root: Path) -> None:
    """Look at the folder anew when it is read next; for code that has just written there."""
    _OPEN.pop(root, None)
