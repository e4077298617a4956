"""From a folder to a `Split`: which tracklets there are, who is on them, and what they are for. No pixels.

::

    split = read_split(Path("data/mars"))                                # the layout is recognised
    split = read_split(Path("data/ilids"), layout="ilids-vid", split=3)
    split = read_split(Path("data/ilids-packed"), split=3)               # written by `intraclip data pack`
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from intraclip.core.paths import is_hidden
from intraclip.data.pack.format import INDEX, TABLES, is_pack
from intraclip.data.readers.common import (
    Difference,
    PublishedCounts,
    Reader,
    benchmark_info,
    count_split,
    differences,
)
from intraclip.data.readers.folder import MANIFEST_CSV, MANIFEST_PARQUET, read_folder
from intraclip.data.readers.ilids_vid import (
    ILIDS_VID_PUBLISHED,
    SPLIT_FOLDER,
    count_ilids_vid_splits,
    read_ilids_vid,
)
from intraclip.data.readers.lsvid import LSVID_PUBLISHED, read_lsvid
from intraclip.data.readers.mars import MARS_PUBLISHED, MarsInfo, MarsTable, read_mars, read_mars_info
from intraclip.data.readers.pack import count_pack_splits, read_pack
from intraclip.data.readers.prid2011 import PRID2011_PUBLISHED, count_prid2011_splits, read_prid2011
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


def _is_prid2011_root(root: Path) -> bool:
    # Inside prid_2011 the split file beside it would be out of sight, so its parent is the root.
    return (root / "prid_2011" / "multi_shot").exists() or (
        (root / "multi_shot" / "cam_a").exists() and root.absolute().name != "prid_2011"
    )


def _any_of(*paths: str) -> Callable[[Path], bool]:
    return lambda root: any((root / path).exists() for path in paths)


READERS: dict[str, Reader] = {
    "mars": Reader(
        name="mars",
        markers="bbox_train/, bbox_test/ and info/",
        inner_folders=("bbox_train", "bbox_test", "info"),
        is_root=_any_of("bbox_train", "bbox_test", "info/tracks_train_info.mat", "info/tracks_test_info.mat"),
        read=lambda root, split, direction: read_mars(root, split=split),
        count_splits=lambda root: 1,
        published=MARS_PUBLISHED,
    ),
    "ilids-vid": Reader(
        name="ilids-vid",
        markers=f"i-LIDS-VID/sequences/ and '{SPLIT_FOLDER}'/",
        inner_folders=("i-LIDS-VID", SPLIT_FOLDER),
        is_root=_any_of("i-LIDS-VID/sequences", SPLIT_FOLDER),
        read=lambda root, split, direction: read_ilids_vid(root, split=split, direction=direction),
        count_splits=count_ilids_vid_splits,
        published=ILIDS_VID_PUBLISHED,
    ),
    "prid2011": Reader(
        name="prid2011",
        markers="prid_2011/multi_shot/cam_a/ and cam_b/",
        inner_folders=("prid_2011", "multi_shot"),
        is_root=_is_prid2011_root,
        read=lambda root, split, direction: read_prid2011(root, split=split),
        count_splits=count_prid2011_splits,
        published=PRID2011_PUBLISHED,
    ),
    "lsvid": Reader(
        name="lsvid",
        markers="list_sequence/list_seq_test.txt and tracklet_test/",
        inner_folders=("list_sequence", "tracklet_train", "tracklet_test", "test"),
        is_root=_any_of(
            "list_sequence/list_seq_train.txt",
            "list_sequence/list_seq_test.txt",
            "info/list_sequence",
            "tracklet_train",
            "tracklet_test",
        ),
        read=lambda root, split, direction: read_lsvid(root, split=split),
        count_splits=lambda root: 1,
        published=LSVID_PUBLISHED,
    ),
    "folder": Reader(
        name="folder",
        markers=f"{MANIFEST_CSV}, {MANIFEST_PARQUET}, or train/, query/, gallery/",
        inner_folders=("train", "query", "gallery", "tracklets"),
        is_root=_any_of(MANIFEST_CSV, MANIFEST_PARQUET, "train", "query", "gallery"),
        read=lambda root, split, direction: read_folder(root, split=split),
        count_splits=lambda root: 1,
        published=None,
    ),
    "pack": Reader(
        name="pack",
        markers=f"{INDEX} and {TABLES}, as `intraclip data pack` writes them",
        inner_folders=(),
        is_root=is_pack,
        read=lambda root, split, direction: read_pack(root, split=split, direction=direction),
        count_splits=count_pack_splits,
        published=None,
    ),
}
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
