"""Writing files so that a crash leaves them whole, or not there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from intraclip.errors import OutputError


def write_text(path: Path, text: str) -> None:
    r"""Write a file in UTF-8 in one step: it is there complete, or not at all, even if the machine loses its power.

    Bytes of a file's name that are no UTF-8 are written as JSON escapes them: ``entr\udce9e.avi``.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):  # a failed clean-up must not hide the error
            partial.unlink()
        raise OutputError(f"cannot write {path}: {error.strerror}; what was finished is kept") from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it; it may be there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror}") from error
