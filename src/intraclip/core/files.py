"""Files that appear whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from intraclip.errors import OutputError, give_name


@contextmanager
def whole_file(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Where to write a file that appears whole or not at all: a path beside it, with its ending.

    Args:
        path: the file; folders above it are made.
        replace: take the place of one that is there.

    Raises:
        OutputError: it cannot be written, or is there and not to be replaced.
    """
    partial = path.with_name(f"{path.stem}.{os.getpid()}-{threading.get_ident()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if replace:
            partial.replace(path)
            return
        try:
            give_name(partial, path)
        except FileExistsError:
            raise OutputError(f"{path} exists, it was made just now; choose another name") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from None
    finally:
        with suppress(OSError):  # a failed clean-up must not hide the error
            partial.unlink()


def write_json(path: Path, value: Any, *, replace: bool = True) -> None:
    """Write JSON as `write_text`."""
    write_text(path, json.dumps(value, indent=2) + "\n", replace=replace)


def write_text(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a text file so that it appears whole or not at all.

    Args:
        path: the file.
        text: its content.
        replace: take the place of one that is there.

    Raises:
        OutputError: it cannot be written, or is there and not to be replaced.
    """
    with whole_file(path, replace=replace) as partial:
        # A path with bytes that are no UTF-8 may stand in it.
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
