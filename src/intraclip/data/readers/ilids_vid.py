"""iLIDS-VID: two cameras, ten random halves.

Wang et al., "Person Re-Identification by Video Ranking", ECCV 2014. Layout::

    i-LIDS-VID/sequences/cam1/person001/cam1_person001_00317.png
    i-LIDS-VID/sequences/cam2/person001/…
    train-test people splits/train_test_splits_ilidsvid.mat    ls_set, 10 x 300: a permutation of people a row

A row counts people from 1 in the sorted list of folders. Public code disagrees on which half of it is the test half;
`direction` says so. Published counts: 300 pids in both cameras, 600 tracklets of 23 to 192 frames, ten splits
of 150 to train and 150 to test.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.data.readers.common import (
    Reader,
    check_split_number,
    first_file,
    list_folders,
    natural_key,
    raise_problems,
    shorten,
)
from intraclip.data.readers.counts import PublishedCounts
from intraclip.data.readers.matlab import mat_table
from intraclip.data.readers.two_cameras import NUMBER, two_camera_split
from intraclip.errors import DataError
from intraclip.types import Split

SPLIT_FILE = "train_test_splits_ilidsvid.mat"
SPLIT_FOLDER = "train-test people splits"
DIRECTIONS = ("first-half-tests", "last-half-tests")

ILIDS_VID_PUBLISHED = PublishedCounts(
    source="Wang et al., ECCV 2014",
    counts={
        "training pids": 150,
        "training tracklets": 300,
        "query pids": 150,
        "query tracklets": 150,
        "gallery tracklets": 150,
    },
)


def read_ilids_vid(root: Path, *, split: int = 0, direction: str = "first-half-tests") -> Split:
    """Read one of the splits; queries are camera 1, the gallery is camera 2.

    `split` is a row of ``ls_set``, from 0; `direction` is ``first-half-tests`` (torchreid, AP3D) or ``last-half-tests``
    (TF-CLIP, GRL).

    Raises:
        DataError: folders or the split file are missing, contradict each other, or name no such split.
    """
    if direction not in DIRECTIONS:
        raise DataError(f"iLIDS-VID has no direction {direction!r}; there are {', '.join(DIRECTIONS)}")
    splits = _read_splits(root)
    check_split_number(split, len(splits), root)
    sequences = _sequences(root)
    people = _people(sequences, splits.shape[1])

    row = splits[split] - 1
    half = len(row) // 2
    tests = row[:half] if direction == "first-half-tests" else row[half:]
    is_test = np.zeros(len(people), dtype=np.bool_)
    is_test[tests] = True

    return two_camera_split(
        root,
        sequences,
        {"cam1": 1, "cam2": 2},
        train=[person for person, tested in zip(people, is_test, strict=True) if not tested],
        test=[person for person, tested in zip(people, is_test, strict=True) if tested],
        layout="ilids-vid",
        index=split,
        title=f"iLIDS-VID in {sequences}",
        remedy="Unpack i-LIDS-VID.tar again.",
    )


def _sequences(root: Path) -> Path:
    for folder in (root / "i-LIDS-VID" / "sequences", root / "sequences"):
        if folder.is_dir():
            return folder
    raise DataError(
        f"iLIDS-VID in {root}: {root / 'i-LIDS-VID' / 'sequences'} is missing; unpack i-LIDS-VID.tar there"
    )


def _read_splits(root: Path) -> npt.NDArray[np.int64]:
    """``ls_set``, int64 ``[splits, people]``, every row a permutation of 1 .. people."""
    places = f"{SPLIT_FOLDER}/{SPLIT_FILE}", SPLIT_FILE
    path = first_file(root, *places)
    if path is None:
        raise DataError(
            f"iLIDS-VID in {root}: the split file is missing, looked for {root / places[0]} and {root / places[1]}; "
            f"it comes in i-LIDS-VID.tar, put the folder {SPLIT_FOLDER!r} beside i-LIDS-VID"
        )
    table = mat_table(path, "ls_set")
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise DataError(
            f"{path}: ls_set has shape {table.shape}, expected [splits, people], published [10, 300]"
        )
    wanted = np.arange(1, table.shape[1] + 1)
    wrong = [i for i, row in enumerate(table) if not np.array_equal(np.sort(row), wanted)]
    if wrong:
        raise DataError(
            f"{path}: rows {shorten(wrong)} (counted from 0) do not name each of the people 1 to {len(wanted)} once; "
            "get the file again"
        )
    return table


def _people(sequences: Path, expected: int) -> list[str]:
    """Folder names of the people, in natural order."""
    cams = [list_folders(sequences / cam) for cam in ("cam1", "cam2")]
    problems = [
        f"{name} is only in {there}, not in {other}"
        for there, other, names in (
            ("cam1", "cam2", set(cams[0]) - set(cams[1])),
            ("cam2", "cam1", set(cams[1]) - set(cams[0])),
        )
        for name in sorted(names, key=natural_key)
    ]
    problems += [
        f"{name} does not end in a person's number" for name in cams[0] if NUMBER.search(name) is None
    ]
    if len(cams[0]) != expected:
        problems.append(f"cam1 has {len(cams[0]):,} people, the split file has {expected:,}")
    raise_problems(
        f"iLIDS-VID in {sequences}",
        problems,
        "The split file counts the sorted folders, so all have to be there: unpack i-LIDS-VID.tar again.",
    )
    return cams[0]


ILIDS_VID = Reader(
    name="ilids-vid",
    markers=f"i-LIDS-VID/sequences/ and '{SPLIT_FOLDER}'/",
    inner_folders=("i-LIDS-VID", SPLIT_FOLDER),
    read=lambda root, split, direction: read_ilids_vid(root, split=split, direction=direction),
    count_splits=lambda root: len(_read_splits(root)),
    published=ILIDS_VID_PUBLISHED,
)
