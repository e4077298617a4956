"""Tracklets of one's own: a tree of folders, or a manifest (`intraclip.data.readers.manifest`).

A tree says everything in folder names; numbers may carry a prefix (``pid0007``, ``cam_2``)::

    DIR/train/<pid>/<camid>/<tracklet>/<frames>.jpg
    DIR/query/…   DIR/gallery/…

Frames are ordered by the numbers in their names: ``9.jpg`` comes before ``10.jpg``. There are no published counts.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from intraclip.core.numbers import MAX_ID
from intraclip.core.settings import shown
from intraclip.data.readers.common import (
    Reader,
    check_split_number,
    dataset_name,
    first_file,
    list_folders,
    list_images,
    raise_problems,
)
from intraclip.errors import DataError
from intraclip.types import DISTRACTOR_PID, JUNK_PID, UNKNOWN_PID, Split, Tracklet

SUBSETS = ("train", "query", "gallery")
COLUMNS = ("tracklet", "folder", "pid", "camid", "subset")
MANIFEST_CSV = "tracklets.csv"
MANIFEST_PARQUET = "tracklets.parquet"

_TREE = "<train|query|gallery>/<pid>/<camid>/<tracklet>/<frames>"
_PID = re.compile(r"(?:pid|person|id|p)?_?(-?\d+)", re.IGNORECASE)
_CAMID = re.compile(r"(?:camid|camera|cam|c)?_?(\d+)", re.IGNORECASE)


def read_folder(root: Path, *, split: int = 0, manifest: Path | None = None) -> Split:
    """Read the manifest of a folder, or its tree when it has none.

    Another `manifest` than the folder's own, such as `intraclip link` writes, tells of folders inside `root` too.

    Raises:
        DataError: there is neither, or rows or folders are wrong; the first ten are listed.
        MissingExtraError: the manifest is a Parquet file, and pyarrow is not installed.
    """
    check_split_number(split, 1, root)
    subsets: dict[str, list[Tracklet]] = {name: [] for name in SUBSETS}
    problems: list[str] = []
    if manifest is not None and not manifest.is_file():
        raise DataError(f"there is no manifest {manifest}")
    manifest = manifest or find_manifest(root)
    if manifest is not None:
        from intraclip.data.readers.manifest import read_manifest

        read_manifest(root, manifest, subsets, problems)
        raise_problems(f"{manifest}", problems, f"Correct these rows; `folder` is relative to {root}.")
    else:
        for subset in SUBSETS:
            _read_tree(root, subset, subsets[subset], problems)
        raise_problems(f"tracklets in {root}", problems, f"Arrange frames as {_TREE}.")
    if not any(subsets.values()):
        raise DataError(
            f"{root} holds no tracklets; give it a {MANIFEST_CSV} with the columns {','.join(COLUMNS)}, or folders "
            f"{_TREE}"
        )
    found: dict[str, Any] = {name: tuple(tracklets) for name, tracklets in subsets.items()}
    return Split(dataset=dataset_name(root, "folder"), root=root, protocol="cross-camera", **found)


def find_manifest(root: Path) -> Path | None:
    """The manifest of a folder, CSV before Parquet; None when it has none."""
    return first_file(root, MANIFEST_CSV, MANIFEST_PARQUET)


def _read_tree(root: Path, subset: str, tracklets: list[Tracklet], problems: list[str]) -> None:
    for person in list_folders(root / subset):
        pid = _folder_number(f"{subset}/{person}", _PID, "a pid such as 7 or pid0007", problems)
        for camera in list_folders(root / subset / person):
            place = f"{subset}/{person}/{camera}"
            camid = _folder_number(place, _CAMID, "a camid such as 2 or cam2", problems)
            wrong = id_problems(pid, camid, subset)
            folders = list_folders(root / place)
            if not folders and list_images(root / place):
                wrong.append("frames lie beside, not in a tracklet's folder")
            for tracklet in folders:
                folder = f"{place}/{tracklet}"
                frames = list_images(root / folder)
                if not frames:
                    problems.append(f"{folder} holds no frames")
                elif pid is not None and camid is not None and not wrong:
                    paths = tuple(f"{folder}/{frame}" for frame in frames)
                    tracklets.append(Tracklet(name=folder, root=root, frames=paths, pid=pid, camid=camid))
            problems += [f"{place}: {problem}" for problem in wrong]


def _folder_number(folder: str, pattern: re.Pattern[str], expected: str, problems: list[str]) -> int | None:
    match = pattern.fullmatch(PurePosixPath(folder).name)
    if match is None:
        problems.append(f"{folder} does not name {expected}")
        return None
    return int(match[1])


def id_problems(pid: int | None, camid: int | None, subset: str) -> list[str]:
    """What the numbers of a tracklet must not be, given what it is used for."""
    wrong = []
    if pid is not None and pid < UNKNOWN_PID:
        wrong.append(f"pid {pid}, expected 1 or more, 0 (distractor), -1 (junk) or nothing (unknown)")
    if camid is not None and camid < 0:
        wrong.append(f"camid {camid}, expected 0 or more")
    wrong += [
        f"{name} {shown(str(number))} is too large, expected at most {MAX_ID:,}"
        for name, number in (("pid", pid), ("camid", camid))
        if number is not None and number > MAX_ID
    ]
    if subset == "train" and pid is not None and UNKNOWN_PID <= pid <= DISTRACTOR_PID:
        wrong.append(f"pid {'is unknown' if pid == UNKNOWN_PID else pid} in training; number people from 1")
    if subset == "query" and pid in (DISTRACTOR_PID, JUNK_PID):
        wrong.append(f"pid {pid} as a query, but 0 is for distractors and -1 for junk; number people from 1")
    return wrong


FOLDER = Reader(
    name="folder",
    markers=f"{MANIFEST_CSV}, {MANIFEST_PARQUET}, or train/, query/, gallery/",
    inner_folders=("train", "query", "gallery", "tracklets"),
    read=lambda root, split, direction: read_folder(root, split=split),
)
