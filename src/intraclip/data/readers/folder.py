"""Tracklets of one's own: a tree of folders, or a manifest.

A tree says everything in folder names; numbers may carry a prefix (``pid0007``, ``cam_2``)::

    DIR/train/<pid>/<camid>/<tracklet>/<frames>.jpg
    DIR/query/…   DIR/gallery/…

A manifest, ``DIR/tracklets.csv`` (or ``tracklets.parquet``, read with pyarrow), has a row a tracklet and is what
`intraclip ingest` writes. Columns; others are ignored:

========  =====================================================================================
tracklet  unique name
folder    folder of its frames, relative to DIR
pid       person's number, from 1; 0 is a distractor, -1 junk, empty unknown
camid     camera's number
subset    ``train``, ``query`` or ``gallery``; empty means gallery
========  =====================================================================================

Frames are ordered by the numbers in their names: ``9.jpg`` comes before ``10.jpg``. There are no published counts.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from intraclip.core.numbers import MAX_ID
from intraclip.data.readers.common import (
    Reader,
    check_split_number,
    dataset_name,
    list_folders,
    list_images,
    raise_problems,
    shown,
)
from intraclip.errors import DataError, require_extra
from intraclip.types import DISTRACTOR_PID, JUNK_PID, UNKNOWN_PID, Split, Tracklet

SUBSETS = ("train", "query", "gallery")
COLUMNS = ("tracklet", "folder", "pid", "camid", "subset")
MANIFEST_CSV = "tracklets.csv"
MANIFEST_PARQUET = "tracklets.parquet"

_PID = re.compile(r"(?:pid|person|id|p)?_?(-?\d+)", re.IGNORECASE)
_CAMID = re.compile(r"(?:camid|camera|cam|c)?_?(\d+)", re.IGNORECASE)


def read_folder(root: Path, *, split: int = 0, manifest: Path | None = None) -> Split:
    """Read the manifest of a folder, or its tree when it has none.

    Args:
        root: the folder.
        split: 0, there is one.
        manifest: another one than the folder's own, such as `intraclip link` writes; its folders are inside `root`.

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
        _read_manifest(root, manifest, subsets, problems)
        raise_problems(f"{manifest}", problems, f"Correct these rows; `folder` is relative to {root}.")
    else:
        for subset in SUBSETS:
            _read_tree(root, subset, subsets[subset], problems)
        raise_problems(
            f"tracklets in {root}",
            problems,
            "Arrange frames as <train|query|gallery>/<pid>/<camid>/<tracklet>/<frames>.",
        )
    if not any(subsets.values()):
        raise DataError(
            f"{root} holds no tracklets; give it a {MANIFEST_CSV} with the columns {','.join(COLUMNS)}, or folders "
            "<train|query|gallery>/<pid>/<camid>/<tracklet>/<frames>"
        )
    return Split(
        dataset=dataset_name(root, "folder"),
        root=root,
        train=tuple(subsets["train"]),
        query=tuple(subsets["query"]),
        gallery=tuple(subsets["gallery"]),
        protocol="cross-camera",
    )


def find_manifest(root: Path) -> Path | None:
    """The manifest of a folder, CSV before Parquet; None when it has none."""
    return next((root / name for name in (MANIFEST_CSV, MANIFEST_PARQUET) if (root / name).is_file()), None)


def manifest_of(root: Path) -> dict[str, Mapping[str, str]]:
    """Rows of a folder's manifest by tracklet, as `intraclip ingest` wrote them down; empty when it has none."""
    path = find_manifest(root)
    return {} if path is None else {row["tracklet"]: row for _, row in manifest_rows(path)}


def manifest_rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows of a manifest with their line numbers (1 is the header); missing values are empty strings.

    Raises:
        DataError: the file is empty, damaged, or lacks a column.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    if path.suffix == ".parquet":
        parquet = require_extra("pyarrow.parquet", extra="parquet", purpose=f"reading {path.name}")
        try:
            with path.open("rb") as file:  # of a path it takes UTF-8 alone
                rows = parquet.read_table(file).to_pylist()
        except (
            OSError,
            ValueError,
            TypeError,
            OverflowError,
        ) as error:  # pyarrow's own errors derive from these
            raise DataError(f"{path} is truncated or no Parquet file: {error}") from None
        _check_columns(path, list(rows[0]) if rows else [])
        for number, row in enumerate(rows, start=2):
            # Columns of numbers with gaps hold NaN for what is missing.
            yield number, {n: "" if v is None or v != v else str(v) for n, v in row.items()}
        return
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            _check_columns(path, list(reader.fieldnames or []))
            for row in reader:
                yield reader.line_num, {name: (row[name] or "").strip() for name in row if name is not None}
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file in UTF-8: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _check_columns(path: Path, columns: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise DataError(
            f"{path}: missing columns: {', '.join(missing)}; the first line has {','.join(columns) or 'nothing'}, "
            f"expected {','.join(COLUMNS)} separated by commas"
        )


def _read_manifest(
    root: Path, manifest: Path, subsets: dict[str, list[Tracklet]], problems: list[str]
) -> None:
    names: dict[str, int] = {}
    folders: dict[str, int] = {}
    for line, row in manifest_rows(manifest):
        wrong: list[str] = []
        # As one spelling: `./a`, `a/` and `.//a` are the same folder, and have one owner.
        name, folder = row["tracklet"], str(PurePosixPath(row["folder"])) if row["folder"] else ""
        subset = row["subset"] or "gallery"
        if not name:
            wrong.append("no name under tracklet")
        elif not name.isprintable():
            wrong.append(f"tracklet {shown(name)} holds characters that cannot be printed")
        elif name in names:
            wrong.append(f"tracklet {shown(name)} is already in line {names[name]}")
        if subset not in SUBSETS:
            wrong.append(f"subset {shown(subset)}, expected train, query, gallery or nothing")
        pid = _number(row["pid"] or str(UNKNOWN_PID), "pid", wrong)
        camid = _number(row["camid"], "camid", wrong)
        wrong += _id_problems(pid, camid, subset)
        wrong += [
            f"{column} {shown(row[column])} is no number of seconds"
            for column in ("start_s", "end_s")
            if row.get(column) and not _is_seconds(row[column])
        ]
        frames = []
        if not folder or PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
            wrong.append(f"folder {shown(folder)}, expected a path inside {root}")
        elif folder in folders:
            wrong.append(f"folder {shown(folder)} already belongs to line {folders[folder]}")
        else:
            frames = list_images(root / folder)
            if not frames:
                wrong.append(
                    f"folder {shown(folder)} {'holds no frames' if (root / folder).is_dir() else 'is missing'}"
                )
        names.setdefault(name, line)
        folders.setdefault(folder, line)
        if wrong or pid is None or camid is None:
            problems.append(f"line {line}: {'; '.join(wrong)}")
            continue
        subsets[subset].append(
            Tracklet(
                name=name,
                root=root,
                frames=tuple(frames if folder == "." else (f"{folder}/{frame}" for frame in frames)),
                pid=pid,
                camid=camid,
            )
        )


def _read_tree(root: Path, subset: str, tracklets: list[Tracklet], problems: list[str]) -> None:
    for person in list_folders(root / subset):
        pid = _folder_number(f"{subset}/{person}", _PID, "a pid such as 7 or pid0007", problems)
        for camera in list_folders(root / subset / person):
            camid = _folder_number(
                f"{subset}/{person}/{camera}", _CAMID, "a camid such as 2 or cam2", problems
            )
            wrong = _id_problems(pid, camid, subset)
            folders = list_folders(root / subset / person / camera)
            if not folders and list_images(root / subset / person / camera):
                wrong.append("frames lie beside, not in a tracklet's folder")
            for tracklet in folders:
                folder = f"{subset}/{person}/{camera}/{tracklet}"
                frames = list_images(root / folder)
                if not frames:
                    problems.append(f"{folder} holds no frames")
                elif pid is not None and camid is not None and not wrong:
                    tracklets.append(
                        Tracklet(
                            name=folder,
                            root=root,
                            frames=tuple(f"{folder}/{frame}" for frame in frames),
                            pid=pid,
                            camid=camid,
                        )
                    )
            problems += [f"{subset}/{person}/{camera}: {problem}" for problem in wrong]


def number_in(text: str) -> int | None:
    """The whole number in a cell, also where a table wrote it as 7.0; None if there is none.

    >>> [number_in(text) for text in ("7", "-1", "7.0", "7.5", "1e3", "nan", "seven", "9" * 5000)]
    [7, -1, 7, None, 1000, None, None, None]
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() and abs(value) <= MAX_ID else None


def _number(text: str, column: str, wrong: list[str]) -> int | None:
    number = number_in(text)
    if number is None:
        wrong.append(f"{column} {shown(text)} is no whole number")
    return number


def _is_seconds(text: str) -> bool:
    try:
        return not math.isinf(float(text))  # NaN: unknown
    except ValueError:
        return False


def _folder_number(folder: str, pattern: re.Pattern[str], expected: str, problems: list[str]) -> int | None:
    match = pattern.fullmatch(PurePosixPath(folder).name)
    if match is None:
        problems.append(f"{folder} does not name {expected}")
        return None
    return int(match[1])


def _id_problems(pid: int | None, camid: int | None, subset: str) -> list[str]:
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
