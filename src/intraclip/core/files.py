"""Files that appear whole or not at all, their digests, and files as locks."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from intraclip.errors import OutputError, give_name, half_written, is_half_written
from intraclip.process import hold, release


@contextmanager
def whole_file(
    path: Path, *, replace: bool = True, kept: str = "", also: tuple[type[Exception], ...] = ()
) -> Iterator[Path]:
    """Write a file whole or not at all, even if the machine loses its power: under another name, then renamed.

    What fails leaves neither name behind, and an older file as it was. Several may write the same file at a time.

    Args:
        path: the file; folders above it are made.
        replace: take the place of one that is there.
        kept: what the reader of an error may rely on or do, as the end of "...; {kept}".
        also: errors of the library that writes which mean the same as an OSError.

    Yields:
        The name to write to, beside it; it ends in `.partial`.

    Raises:
        OutputError: it cannot be written, or is there and not to be replaced.
    """
    partial = half_written(path)
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
            return
        try:
            give_name(partial, path)
        except FileExistsError:
            raise OutputError(f"{path} exists, it was made just now; choose another name") from None
    except BaseException as error:
        if not isinstance(error, (OSError, *also)):
            raise
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


def write_text(path: Path, text: str, *, replace: bool = True, kept: str = "") -> None:
    r"""Write a file in UTF-8 as `whole_file` does.

    Bytes of a file's name that are no UTF-8 are written as JSON escapes them: ``entr\udce9e.avi``.
    """
    with whole_file(path, replace=replace, kept=kept) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def make_folder(path: Path) -> None:
    """Make a folder and those above it; it may be there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror}") from error


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder that no other process writes to now."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_half_written(path):
            with suppress(OSError):
                path.unlink()


@contextmanager
def locked(file: Path, *, taken: str, patience: float = 0.0) -> Iterator[bool]:
    """Keep other processes away from what a file stands for, as long as the context lasts.

    Args:
        file: the lock; its folder must exist.
        taken: what to say where another process has it.
        patience: seconds to wait for that process.

    Yields:
        Whether there are such locks here.

    Raises:
        OutputError: another process has it, or the file cannot be written.
    """
    try:
        lock = hold(file, patience=patience)
    except BlockingIOError:
        raise OutputError(taken) from None
    except OSError as error:
        raise OutputError(f"{file.parent} cannot be written: {error}") from None
    try:
        yield lock is not None
    finally:
        with suppress(OSError):
            release(lock)


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


STAGED, READY, _OLD = "next.partial", "next", "old.json"
"""New files of a folder while they are made, and once they are whole; and which of the old ones go."""


def settle(folder: Path) -> None:
    """Finish what `replaced_together` began before the process was killed; no other process may be at it.

    Raises:
        OutputError: it cannot be written.
    """
    ready = folder / READY
    try:
        if (folder / STAGED).is_dir():
            shutil.rmtree(folder / STAGED)
        if not ready.is_dir():
            return
        old = ready / _OLD
        for name in json.loads(old.read_text(encoding="utf-8")) if old.exists() else []:
            (folder / name).unlink(missing_ok=True)
        for path in sorted(ready.rglob("*")):
            if path.is_file() and path != old:
                target = folder / path.relative_to(ready)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
        shutil.rmtree(ready)
    except OSError as error:
        raise OutputError(f"the output folder {folder} cannot be written: {error.strerror}") from None


@contextmanager
def replaced_together(folder: Path, old: Iterable[str] = ()) -> Iterator[Path]:
    """Replace files of a folder all at once: a process that is killed leaves the old ones or the new ones.

    Where it is killed while the new ones take their places, `settle` or the next call goes on with that.

    Args:
        folder: is there; no other process may be at it (`intraclip.core.jobs.alone`).
        old: paths in it of files that go, unless there are new ones in their places.

    Yields:
        A folder for the new files, which are made one by one, whole; the old ones stay if the block fails.

    Raises:
        OutputError: it cannot be written.
    """
    settle(folder)
    staged = folder / STAGED
    make_folder(staged)
    try:
        yield staged
        write_json(staged / _OLD, sorted(name for name in old if not (staged / name).exists()))
        try:
            staged.rename(folder / READY)
        except OSError as error:
            raise OutputError(f"the output folder {folder} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    settle(folder)
