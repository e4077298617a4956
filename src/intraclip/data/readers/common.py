"""What the readers share: sorted listings, and problems gathered into one error."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from intraclip.core.paths import is_hidden, is_utf8
from intraclip.core.registry import NoSettings
from intraclip.errors import DataError
from intraclip.types import Split, Tracklet

if TYPE_CHECKING:
    from intraclip.data.readers.counts import PublishedCounts

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
    """Names of the frames in a folder, in natural order; empty when the folder is missing."""
    return _names_in(folder, lambda entry: is_image_name(entry.name))


def list_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, in natural order, hidden ones left out; empty when it is missing."""
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


def first_file(root: Path, *places: str) -> Path | None:
    """The first of some places in a folder that is a file; None when none is."""
    return next((root / place for place in places if (root / place).is_file()), None)


def shorten(items: Sequence[object], shown: int = 5) -> str:
    """The first few items in words.

    >>> shorten([3, 1, 2], shown=2)
    '3, 1 and 1 more'
    """
    text = ", ".join(str(item) for item in items[:shown])
    return text if len(items) <= shown else f"{text} and {len(items) - shown:,} more"


def raise_problems(title: str, problems: Sequence[str], remedy: str) -> None:
    """Raise all problems as one error; do nothing when there are none.

    Raises:
        DataError: there are problems; the first ten are listed.
    """
    if not problems:
        return
    more = [f"and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
    lines = [f"  - {problem}" for problem in (*problems[:_SHOWN], *more)]
    count = f"{len(problems):,} problem" + ("s" if len(problems) > 1 else "")
    raise DataError("\n".join([f"{title}: {count}", *lines, remedy]))


def benchmark_info(root: Path) -> dict[str, Any] | None:
    """Content of `benchmark.json`, a JSON object or DataError; None when the folder has none."""
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


def tracklets_digest(split: Split, tracklets: Sequence[Tracklet], *, checksum: str | None = None) -> str:
    """Which tracklets something was made of: SHA-256 of their names, people, cameras and lengths.

    Rendered data bring the checksum of all their frames, which is counted in, or `checksum` in its place. Pixels of
    real data are not read.
    """
    rendered = benchmark_info(split.root) or {}
    told = [split.dataset, str(rendered.get("sha256", "")) if checksum is None else checksum]
    told += [f"{t.name} {t.pid} {t.camid} {len(t)}" for t in tracklets]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def dataset_name(root: Path, layout: str) -> str:
    """Name a report carries: the layout's, or the benchmark's own so that nobody takes it for the real data."""
    benchmark = benchmark_info(root)
    if benchmark is None:
        return layout
    name = benchmark.get("name")
    return name if isinstance(name, str) and name else f"benchmark-{layout}"


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One layout; how its folder is known is in `intraclip.data.layouts`.

    Attributes:
        name: the layout's name, as in `DataConfig.layout`.
        markers: what its folder looks like, in words, for the error when nothing is recognised.
        inner_folders: names of folders inside it that users point at by mistake.
        read: the split with a number; called with the root, the number and iLIDS-VID's direction.
        count_splits: how many splits there are.
        published: counts of the published data set; None for layouts of one's own.
    """

    Settings: ClassVar[type] = NoSettings
    name: str
    markers: str
    inner_folders: tuple[str, ...]
    read: Callable[[Path, int, str], Split]
    count_splits: Callable[[Path], int] = lambda root: 1
    published: PublishedCounts | None = None


def check_split_number(split: int, count: int, root: Path) -> None:
    """Refuse a split that does not exist."""
    if not 0 <= split < count:
        there = "there is only split 0" if count == 1 else f"there are {count}, 0 to {count - 1}"
        raise DataError(f"{root}: no split {split}; {there}")
