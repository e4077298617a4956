"""What the readers share: sorted listings, MATLAB tables, problems gathered into one error, published counts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from intraclip.core.paths import is_hidden, is_utf8
from intraclip.core.registry import NoSettings
from intraclip.data.readers.matlab import read_mat5
from intraclip.errors import DataError, require_extra
from intraclip.types import DISTRACTOR_PID, JUNK_PID, Split, Tracklet, count_pids

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
BENCHMARK_FILE = "benchmark.json"
"""Marks a rendered copy of a layout: it has its own counts, the published ones do not apply."""

_DIGITS = re.compile(r"(\d+)")
_SHOWN = 10


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sort key that counts: ``f9`` comes before ``f10``.

    >>> sorted(["f10.png", "f9.png", "f09.png"], key=natural_key)
    ['f09.png', 'f9.png', 'f10.png']
    """
    # re.split alternates text and digits, so the parts of two names always compare like with like.
    parts = _DIGITS.split(name)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def is_image_name(name: str) -> bool:
    """Whether a file name is that of a frame; hidden files and thumbnails' databases are not.

    >>> [is_image_name(name) for name in ("1.jpg", "1.PNG", ".1.jpg", "Thumbs.db")]
    [True, True, False, False]
    """
    return not is_hidden(name) and name.lower().endswith(IMAGE_SUFFIXES)


def list_images(folder: Path) -> list[str]:
    """Names of the frames in a folder, in natural order; empty when the folder is missing.

    Raises:
        DataError: the folder cannot be listed, or a name is not UTF-8.
    """
    return _names_in(folder, lambda entry: is_image_name(entry.name))


def list_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, in natural order, hidden ones left out; empty when it is missing.

    Raises:
        DataError: the folder cannot be listed, or a name is not UTF-8.
    """
    return _names_in(folder, lambda entry: not is_hidden(entry.name) and entry.is_dir())


def _names_in(folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if wanted(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{folder} cannot be listed: {getattr(error, 'strerror', None) or error}") from None
    # Names of tracklets and frames go into packs, embeddings and galleries, whose text is UTF-8.
    if not is_utf8(Path(*names)):
        strange = next(name for name in names if not is_utf8(Path(name)))
        raise DataError(f"{folder} holds {os.fsencode(strange)!r}, whose name is not UTF-8; rename it")
    return sorted(names, key=natural_key)


def shorten(items: Sequence[object], shown: int = 5) -> str:
    """The first few items in words.

    >>> shorten([3, 1, 2], shown=2)
    '3, 1 and 1 more'
    """
    text = ", ".join(str(item) for item in items[:shown])
    return text if len(items) <= shown else f"{text} and {len(items) - shown:,} more"


def shown(text: str) -> str:
    """A cell of a table, for an error: quoted, and shortened where somebody put a novel into it."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def raise_problems(title: str, problems: Sequence[str], remedy: str) -> None:
    """Raise all problems as one error; do nothing when there are none.

    Raises:
        DataError: there are problems; the first ten are listed.
    """
    if not problems:
        return
    lines = [f"  - {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  - and {len(problems) - _SHOWN:,} more")
    count = f"{len(problems):,} problem" + ("s" if len(problems) > 1 else "")
    raise DataError("\n".join([f"{title}: {count}", *lines, remedy]))


def load_mat(path: Path, *, extra: str) -> dict[str, npt.NDArray[Any]]:
    """Number arrays of a MATLAB file of version 5 or later.

    Version 7.3 files are HDF5, which stores arrays transposed; they come back the right way round.

    Args:
        path: the file.
        extra: the extra that brings h5py, named when it is needed and missing.

    Raises:
        DataError: the file is missing, truncated or no MATLAB file.
        MissingExtraError: a version 7.3 file, and h5py is not installed.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing")
    with path.open("rb") as file:
        start = file.read(128)
    if b"MATLAB 7.3" in start or start.startswith(b"\x89HDF"):
        h5py = require_extra("h5py", extra=extra, purpose=f"{path.name} is a MATLAB 7.3 file")
        try:
            with h5py.File(path, "r") as store:
                # Names with # are MATLAB's own groups; nothing but plain arrays is wanted.
                return {
                    name: np.asarray(node[()]).T
                    for name, node in store.items()
                    if isinstance(node, h5py.Dataset)
                }
        except Exception as error:  # h5py raises whatever HDF5 stumbles on in a damaged file
            raise DataError(f"{path} cannot be read, it is truncated or damaged ({error})") from None
    try:
        return read_mat5(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read, it is truncated or no MATLAB file ({error})") from None


def mat_table(path: Path, variable: str, *, extra: str = "lsvid") -> npt.NDArray[np.int64]:
    """One integer array of a MATLAB file, widened to int64 (the files hold uint16 and int32).

    Raises:
        DataError: as `load_mat`; the variable is not there; it does not hold whole numbers.
    """
    arrays = load_mat(path, extra=extra)
    if variable not in arrays:
        raise DataError(f"{path} holds {sorted(arrays) or 'no arrays'}, expected the variable {variable!r}")
    array = arrays[variable]
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise DataError(f"{path}: {variable} holds {array.dtype}, expected whole numbers")
    with np.errstate(invalid="ignore"):  # NaN and numbers without a place become others, which is seen below
        wide = array.astype(np.int64)
    if not np.array_equal(wide, array):
        raise DataError(f"{path}: {variable} holds fractions or NaN, expected whole numbers")
    return wide


def benchmark_info(root: Path) -> dict[str, Any] | None:
    """Content of `benchmark.json`, or None when the folder has none.

    Raises:
        DataError: the file is there and is no JSON object.
    """
    path = root / BENCHMARK_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is no JSON file: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds {type(content).__name__}, expected a JSON object")
    return content


def dataset_name(root: Path, layout: str) -> str:
    """Name a report carries: the layout's, or the benchmark's own so that nobody takes it for the real data."""
    benchmark = benchmark_info(root)
    if benchmark is None:
        return layout
    name = benchmark.get("name")
    return name if isinstance(name, str) and name else f"benchmark-{layout}"


@dataclass(frozen=True, kw_only=True)
class PublishedCounts:
    """What a complete copy of a data set holds.

    Attributes:
        source: where the numbers come from.
        counts: what is counted, in `count_split`'s words, and how many there are.
    """

    source: str
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One count that is not the published one."""

    what: str
    published: int
    here: int

    def __str__(self) -> str:
        gap = abs(self.published - self.here)
        if self.what.startswith("frames in the"):
            return f"published: {self.published:,} {self.what}; here {self.here:,}"
        word = "fewer" if self.here < self.published else "more"
        return f"published: {self.published:,} {self.what}; here {self.here:,}: {gap:,} {word}"


def count_split(split: Split) -> dict[str, int]:
    """Everything that published descriptions count, of one split."""
    counts: dict[str, int] = {}
    groups: dict[str, tuple[Tracklet, ...]] = {
        "training": split.train,
        "query": split.query,
        "gallery": split.gallery,
        "test": split.test,
    }
    for name, tracklets in groups.items():
        lengths = [len(t) for t in tracklets]
        counts[f"{name} tracklets"] = len(tracklets)
        counts[f"{name} pids"] = count_pids(tracklets)
        counts[f"{name} frames"] = sum(lengths)
        counts[f"frames in the shortest {name} tracklet"] = min(lengths, default=0)
        counts[f"frames in the longest {name} tracklet"] = max(lengths, default=0)
    counts["junk tracklets (pid -1)"] = sum(t.pid == JUNK_PID for t in split.test)
    counts["distractor tracklets (pid 0)"] = sum(t.pid == DISTRACTOR_PID for t in split.test)
    return counts


def differences(split: Split, published: PublishedCounts) -> list[Difference]:
    """Where a split's counts are not the published ones."""
    counts = count_split(split)
    return [
        Difference(what=what, published=expected, here=counts[what])
        for what, expected in published.counts.items()
        if counts[what] != expected
    ]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One layout.

    Attributes:
        name: the layout's name, as in `DataConfig.layout`.
        markers: what its folder looks like, in words, for the error when nothing is recognised.
        inner_folders: names of folders inside it that users point at by mistake.
        is_root: whether a folder is the root of a data set of this layout.
        read: the split with a number; called with the root, the number and iLIDS-VID's direction.
        count_splits: how many splits there are.
        published: counts of the published data set; None for layouts of one's own.
    """

    Settings: ClassVar[type] = NoSettings
    name: str
    markers: str
    inner_folders: tuple[str, ...]
    is_root: Callable[[Path], bool]
    read: Callable[[Path, int, str], Split]
    count_splits: Callable[[Path], int]
    published: PublishedCounts | None


def any_of(*paths: str) -> Callable[[Path], bool]:
    """Whether a folder holds one of these files or folders."""
    return lambda root: any((root / path).exists() for path in paths)


def check_split_number(split: int, count: int, root: Path) -> None:
    """Refuse a split that does not exist.

    Raises:
        DataError: `split` is not in ``0 .. count - 1``.
    """
    if not 0 <= split < count:
        there = "there is only split 0" if count == 1 else f"there are {count}, 0 to {count - 1}"
        raise DataError(f"{root}: no split {split}; {there}")
