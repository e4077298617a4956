"""The manifest of a folder of tracklets, as a reader and others read it.

It is ``DIR/tracklets.csv`` (or ``tracklets.parquet``, read with pyarrow), has a row a tracklet and is what
`intraclip ingest` writes. Columns; others are ignored:

========  =====================================================================================
tracklet  unique name
folder    folder of its frames, relative to DIR
pid       person's number, from 1; 0 is a distractor, -1 junk, empty unknown
camid     camera's number
subset    ``train``, ``query`` or ``gallery``; empty means gallery
========  =====================================================================================
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from intraclip.core.extras import require_extra
from intraclip.core.numbers import MAX_ID
from intraclip.core.settings import shown
from intraclip.data.readers.common import list_images
from intraclip.data.readers.folder import COLUMNS, SUBSETS, find_manifest, id_problems
from intraclip.errors import DataError
from intraclip.types import UNKNOWN_PID, Tracklet


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
        except (OSError, ValueError, TypeError, OverflowError) as error:  # pyarrow's own derive from these
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


def read_manifest(
    root: Path, manifest: Path, subsets: dict[str, list[Tracklet]], problems: list[str]
) -> None:
    """Add the tracklets of a manifest to their subsets, and what is wrong with its rows to `problems`."""
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
        wrong += id_problems(pid, camid, subset)
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
