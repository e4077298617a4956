"""The small files beside a gallery's database: a count of its changes, and room for deletions on a full disk."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from intraclip.core.locks import hold
from intraclip.errors import OutputError
from intraclip.gallery.digests import Damage

FILE = "gallery.sqlite"
COMMITS = "gallery.commits"
"""Has the number of the last committed change. A damaged write-ahead log loses changes and says nothing of it."""

RESERVE = "gallery.reserve"
"""Holds disk space that deletions may use when there is none left."""

LINKING = "gallery.linking"
"""Is locked by who links the gallery; empty."""

RESERVE_BYTES = 2**21
OPENING_BYTES = 2**17
"""Of the reserve, for the shared memory file that SQLite makes when a gallery is opened."""

PARTIAL = f"{FILE}.partial"
_UNFINISHED = re.compile(rf"{re.escape(FILE)}(\.\d+)?\.partial(-journal|-wal|-shm)?")
_LINE = re.compile(rb"(\d{20}) (\d{10})\n")


def is_unfinished(folder: Path) -> bool:
    """Whether a folder is not there, or holds nothing but what a creation leaves that goes on or was cut short.

    It looks once: between two looks another process may begin.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False
    return all(name in (COMMITS, RESERVE, LINKING) or _UNFINISHED.fullmatch(name) for name in names)


def sweep(folder: Path) -> None:
    """Remove what a creation that was cut short left behind; nobody else may be creating."""
    for path in folder.iterdir():
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def creating(folder: Path, patience: float) -> Iterator[None]:
    """Keep other processes from creating or removing a gallery in a folder, which is made if it is not there.

    Raises:
        OutputError: the folder cannot be made, or another process is at it for too long.
    """
    path = folder / COMMITS
    lock = None
    try:
        while lock is None:
            # Pictures of people: for the owner alone, unless somebody opens the folder to others.
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            lock = hold(path, patience=patience)
            if lock is None:  # there are no such locks here
                break
            if not path.exists() or not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                lock.close()  # who held it before removed the file
                lock = None
    except BlockingIOError:
        raise OutputError(
            f"another process is making the gallery {folder}; try again when it is done"
        ) from None
    except OSError as error:
        raise OutputError(f"the gallery {folder} cannot be created: {error.strerror}") from None
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def read_commits(folder: Path) -> int:
    """The number of the last committed change; 0 without its file, as beside a restored copy of the database.

    Raises:
        Damage: it cannot be read.
    """
    try:
        found = (folder / COMMITS).read_bytes()
    except FileNotFoundError:
        return 0
    if not found:
        return 0
    match = _LINE.fullmatch(found)
    if match is None or zlib.crc32(match[1]) != int(match[2]):
        raise Damage(
            f"the file {COMMITS}, which only counts changes (if `intraclip gallery check` finds no other damage, "
            "remove that file)"
        )
    return int(match[1])


def write_commits(folder: Path, number: int) -> None:
    """Keep the number of a change that was committed; a higher one that another process wrote meanwhile stays.

    It is not synced: it may lag behind after a loss of power, which hides nothing.
    """
    path = folder / COMMITS
    with suppress(OSError), os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        match = _LINE.fullmatch(file.read())
        if match is None or int(match[1]) < number:
            text = b"%020d" % number
            file.seek(0)
            file.write(b"%s %010d\n" % (text, zlib.crc32(text)))


def keep_reserve(folder: Path) -> None:
    """Set disk space aside, as much of `RESERVE_BYTES` as there is."""
    path = folder / RESERVE
    with suppress(OSError):
        if path.exists() and path.stat().st_size == RESERVE_BYTES:
            return
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            for size in range(RESERVE_BYTES, 0, -RESERVE_BYTES // 16):
                try:
                    if hasattr(os, "posix_fallocate"):
                        os.posix_fallocate(file.fileno(), 0, size)
                    else:
                        os.write(file.fileno(), bytes(size))
                except OSError:
                    file.truncate(0)
                else:
                    return


def release_reserve(folder: Path, *, keep: int = 0) -> bool:
    """Give space back to the disk, all but so many bytes; False if there was none."""
    path = folder / RESERVE
    try:
        there = path.stat().st_size
        os.truncate(path, min(keep, there))
    except OSError:
        return False
    return there > keep
