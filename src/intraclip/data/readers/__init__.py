"""From a folder to a `Split`: which tracklets there are, who is on them, and what they are for. No pixels.

::

    split = read_split(Path("data/mars"))                                # the layout is recognised
    split = read_split(Path("data/ilids"), layout="ilids-vid", split=3)
    split = read_split(Path("data/ilids-packed"), split=3)               # written by `intraclip data pack`
"""

from __future__ import annotations

from pathlib import Path

from intraclip.core.paths import is_hidden
from intraclip.data.layouts import LAYOUTS
from intraclip.data.readers.common import (
    Difference,
    PublishedCounts,
    Reader,
    benchmark_info,
    count_split,
    differences,
)
from intraclip.data.readers.folder import read_folder
from intraclip.data.readers.ilids_vid import read_ilids_vid
from intraclip.data.readers.lsvid import read_lsvid
from intraclip.data.readers.mars import MarsInfo, MarsTable, read_mars, read_mars_info
from intraclip.data.readers.pack import read_pack
from intraclip.data.readers.prid2011 import read_prid2011
from intraclip.errors import DataError
from intraclip.types import Split

__all__ = [
    "READERS",
    "Difference",
    "MarsInfo",
    "MarsTable",
    "PublishedCounts",
    "Reader",
    "benchmark_info",
    "count_split",
    "detect_layout",
    "differences",
    "find_dataset",
    "num_splits",
    "published_counts",
    "read_folder",
    "read_ilids_vid",
    "read_lsvid",
    "read_mars",
    "read_mars_info",
    "read_pack",
    "read_prid2011",
    "read_split",
]


READERS: dict[str, Reader] = {name: LAYOUTS.load(name) for name in LAYOUTS}
"""The layouts, in the order in which they are looked for."""


def detect_layout(root: Path) -> str:
    """Name of the layout of a folder.

    Raises:
        DataError: none is recognised, or several are.
    """
    return find_dataset(root)[0]


def find_dataset(root: Path, *, layout: str = "auto") -> tuple[str, Path]:
    """Layout and root of the data set that a path means.

    The path may also be the folder that holds the data set's, or one of the data set's own folders, as long as only
    one data set can be meant.

    Args:
        root: a folder.
        layout: a name in `READERS`, or ``auto`` for any.

    Raises:
        DataError: no such layout, no such folder, nothing recognised, or several data sets.
    """
    if layout != "auto" and layout not in READERS:
        raise DataError(f"there is no layout {layout!r}; there are auto, {', '.join(READERS)}")
    if not root.is_dir():
        raise DataError(f"the data folder {root} {'is a file' if root.exists() else 'does not exist'}")
    readers = list(READERS.values()) if layout == "auto" else [READERS[layout]]

    for reader in readers:
        if reader.is_root(root):
            return reader.name, root
    # Absolute, so that "." and a trailing ".." have a name and a parent; symbolic links stay as they are.
    full = root.absolute()
    for reader in readers:
        if full.name in reader.inner_folders and reader.is_root(full.parent):
            return reader.name, full.parent
    inside = [
        (reader.name, child)
        for child in sorted(root.iterdir())
        if not is_hidden(child.name) and child.is_dir()
        for reader in readers
        if reader.is_root(child)
    ]
    # A folder counts once, for the first layout that matches it.
    found = {child: name for name, child in reversed(inside)}
    if len(found) == 1:
        ((child, name),) = found.items()
        return name, child
    if found:
        several = ", ".join(f"{child.name} ({found[child]})" for child in sorted(found))
        raise DataError(f"{root} holds several data sets: {several}; name one of these folders")
    looked = "\n".join(f"  - {reader.name}: {reader.markers}" for reader in readers)
    raise DataError(
        f"{root} is no data set of a known layout; looked there, one folder below and one above for\n{looked}"
    )


def read_split(
    root: str | Path,
    *,
    layout: str = "auto",
    split: int = 0,
    check_counts: bool = False,
    direction: str = "first-half-tests",
) -> Split:
    """Read the tracklets of a data set.

    Args:
        root: the data set's folder, the one around it, or one of its own folders.
        layout: a name in `READERS`, or ``auto``.
        split: number of the split, from 0; see `num_splits`.
        check_counts: refuse a copy whose counts are not the published ones. A rendered copy (`benchmark.json`) and a
            folder of one's own have no published counts, so nothing is checked there.
        direction: which half of an iLIDS-VID split is the test half, ``first-half-tests`` or ``last-half-tests``; other
            layouts ignore it.

    Raises:
        DataError: nothing is recognised, files are missing or contradict each other, or counts are wrong.
        MissingExtraError: a file needs a package that is not installed (LS-VID: h5py).

    >>> read_split("no-such-folder")
    Traceback (most recent call last):
    ...
    intraclip.errors.DataError: the data folder no-such-folder does not exist
    """
    name, folder = find_dataset(Path(root), layout=layout)
    result = READERS[name].read(folder, split, direction)
    published = published_counts(name, result)
    if check_counts and published is not None and benchmark_info(folder) is None:
        wrong = differences(result, published)
        if wrong:
            lines = "\n".join(f"  - {difference}" for difference in wrong)
            raise DataError(
                f"{name} in {folder} is not the published data set ({published.source}):\n{lines}\n"
                "Complete it, or read it without checking counts."
            )
    return result


def published_counts(layout: str, split: Split) -> PublishedCounts | None:
    """Published counts that a split should have; those of a pack are those of the data set in it."""
    name = split.dataset if layout == "pack" else layout
    return READERS[name].published if name in READERS else None


def num_splits(root: Path, layout: str = "auto") -> int:
    """Number of splits of a data set; 1 for those with a fixed one.

    Raises:
        DataError: nothing is recognised, or the split file is missing or damaged.
    """
    name, folder = find_dataset(root, layout=layout)
    return READERS[name].count_splits(folder)
