"""From a folder to a `Split`: which tracklets there are, who is on them, and what they are for. No pixels.

::

    split = read_split(Path("data/mars"))                                # the layout is recognised
    split = read_split(Path("data/ilids"), layout="ilids-vid", split=3)
    split = read_split(Path("data/ilids-packed"), split=3)               # written by `intraclip data pack`
"""

from __future__ import annotations

from pathlib import Path

from intraclip.data.layouts import LAYOUTS
from intraclip.errors import DataError
from intraclip.types import Split


def find_dataset(root: Path, *, layout: str = "auto") -> tuple[str, Path]:
    """Layout and root of the data set that a path means.

    The path may also be the folder that holds the data set's, or one of the data set's own folders, as long as only
    one data set can be meant.

    Raises:
        DataError: no such layout, no such folder, nothing recognised, or several data sets.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise DataError(f"there is no layout {layout!r}; there are auto, {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise DataError(f"the data folder {root} {'is a file' if root.exists() else 'does not exist'}")
    names = list(LAYOUTS) if layout == "auto" else [layout]
    for name in names:
        if LAYOUTS.knows(name, root):
            return name, root
    from intraclip.data.readers.around import find_around

    return find_around(root, names)


def read_split(
    root: str | Path,
    *,
    layout: str = "auto",
    split: int = 0,
    check_counts: bool = False,
    direction: str = "first-half-tests",
    labels: str | Path | None = None,
) -> Split:
    """Read the tracklets of a data set.

    Args:
        root: the data set's folder, the one around it, or one of its own folders.
        layout: a name in `LAYOUTS`, or ``auto``.
        split: number of the split, from 0; see `num_splits`.
        check_counts: refuse a copy whose counts are not the published ones. A rendered copy (`benchmark.json`) and a
            folder of one's own have no published counts, so nothing is checked there.
        direction: which half of an iLIDS-VID split is the test half, ``first-half-tests`` or ``last-half-tests``; other
            layouts ignore it.
        labels: manifest of who is who in a folder without identities, as `intraclip link` writes it.

    Raises:
        DataError: nothing is recognised, files are missing or contradict each other, or counts are wrong.
        MissingExtraError: a file needs a package that is not installed (LS-VID: h5py).

    >>> read_split("no-such-folder")
    Traceback (most recent call last):
    ...
    intraclip.errors.DataError: the data folder no-such-folder does not exist
    """
    if labels is not None:
        from intraclip.data.readers.folder import read_folder

        return read_folder(Path(root), split=split, manifest=Path(labels))
    name, folder = find_dataset(Path(root), layout=layout)
    result: Split = LAYOUTS.load(name).read(folder, split, direction)
    if check_counts:
        from intraclip.data.readers.counts import require_published

        require_published(name, result)
    return result


def num_splits(root: Path, layout: str = "auto") -> int:
    """Number of splits of a data set; 1 for those with a fixed one."""
    name, folder = find_dataset(root, layout=layout)
    count: int = LAYOUTS.load(name).count_splits(folder)
    return count
