"""Files as locks, which keep other processes out for as long as this one lives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from intraclip.errors import OutputError


@contextmanager
def locked(file: Path, *, taken: str, patience: float = 0.0) -> Iterator[bool]:
    """`hold` a file for as long as the context lasts; yields whether there are such locks here.

    Raises:
        OutputError: another process has it, as `taken` says, or the file cannot be written.
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
        if lock is not None:
            import fcntl

            with suppress(OSError), lock:
                # Closing alone would leave the lock with forked processes, which have a copy of the file.
                fcntl.flock(lock, fcntl.LOCK_UN)


def hold(path: Path, *, patience: float = 0.0) -> IO[str] | None:
    """Lock a file until the process ends, however it ends, or until the file returned is closed.

    Args:
        path: the lock; its folder must exist. It is left behind, empty.
        patience: seconds to wait for another process that holds it.

    Returns:
        The open file, to be kept. None where there are no such locks (Windows, some network file systems).

    Raises:
        BlockingIOError: another process holds it.
        OSError: the file cannot be written.
    """
    try:
        import fcntl
    except ImportError:
        return None
    file = path.open("a")
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                file.close()
                raise
            time.sleep(0.2)
        except OSError:
            file.close()
            return None
        else:
            return file
