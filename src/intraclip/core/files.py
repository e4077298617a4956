"""Files that appear whole or not at all, and their digests."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from intraclip.errors import OutputError


@contextmanager
def whole_file(
    path: Path,
    *,
    replace: bool = True,
    kept: str = "",
    taken: str = "",
    also: tuple[type[Exception], ...] = (),
) -> Iterator[Path]:
    """Write a file whole or not at all, even if the machine loses its power: under another name, then renamed.

    What fails leaves neither name behind, and an older file as it was. Several may write the same file at a time.

    Args:
        path: the file; folders above it are made.
        replace: take the place of one that is there.
        kept: what the reader of an error may rely on or do, as the end of "...; {kept}".
        taken: what to say where it is there and not to be replaced; of several that write it, one gets the name.
        also: errors of the library that writes which mean the same as an OSError.

    Yields:
        The name to write to, beside it; it ends in `.partial`.

    Raises:
        OutputError: it cannot be written, or is there and not to be replaced.
    """
    partial = half_written(path)
    failures: tuple[type[Exception], ...] = (OSError, *also)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        # Some libraries (safetensors) write files that only their owner may read.
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        if replace:
            partial.replace(path)
        else:
            name_new(partial, path, taken=taken)
    except failures as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        # A library may hide the number in its own words: "os error 28".
        if f"os error {errno.ENOSPC}" in str(error) or getattr(error, "errno", None) == errno.ENOSPC:
            free = shutil.disk_usage(path.parent).free / 2**20
            reason = f"the disk is full ({free:,.0f} MiB are free, the file needs more)"
        raise OutputError(f"{path} cannot be written: {reason}" + (f"; {kept}" if kept else "")) from error
    finally:
        with suppress(OSError):  # a failed clean-up must not hide the error
            partial.unlink()


def write_json(
    path: Path, value: Any, *, indent: int | None = 2, replace: bool = True, kept: str = ""
) -> None:
    """Write JSON as `write_text` writes text."""
    write_text(path, json.dumps(value, indent=indent) + "\n", replace=replace, kept=kept)


def write_text(path: Path, text: str, *, replace: bool = True, kept: str = "", taken: str = "") -> None:
    r"""Write a file in UTF-8 as `whole_file` does.

    Bytes of a file's name that are no UTF-8 are written as JSON escapes them: ``entr\udce9e.avi``.
    """
    with whole_file(path, replace=replace, kept=kept, taken=taken) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def write_private(path: Path, data: bytes) -> None:
    """Write a new file for its owner alone: pictures of people, or what was said of them.

    Raises:
        OutputError: it is there already, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise OutputError(f"{path} exists; choose another --out") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None


def half_written(path: Path) -> Path:
    """Where this thread writes a file before the file gets its name; no pattern for finished files finds it."""
    return path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")


def is_half_written(path: Path) -> bool:
    """Whether a file is one that was not finished: a killed process leaves it behind."""
    return path.suffix == ".partial" and not path.is_dir()


CLAIMED: set[Path] = set()
"""Folders in which this process was the first to make something; what is in others is not its own to take away."""


def name_new(partial: Path, path: Path, *, taken: str = "") -> None:
    """Give a finished file its name, or an OutputError if something has it; its own name may stay beside it."""
    there = OutputError(taken or f"{path} exists, it was made just now; choose another name")
    try:
        os.link(partial, path)
    except FileExistsError:
        raise there from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if path.exists():  # a file system without links: the moment between this and the next line stays
            raise there from None
        partial.rename(path)
    CLAIMED.add(path.parent.resolve())


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
