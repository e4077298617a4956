"""Output folders: begun empty, by one process, and replaced at once or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from intraclip.core.files import CLAIMED, is_half_written
from intraclip.errors import OutputError


def make_folder(path: Path) -> None:
    """Make a folder and those above it, or raise an OutputError; it may be there."""
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


def require_empty_folder(folder: Path, *, remedy: str) -> None:
    """Refuse an output folder that already holds something.

    `remedy` is what the user can do, as the end of the sentence "...; {remedy}".

    Raises:
        OutputError: `folder` is a file, or is not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, a folder is needed; {remedy}")
    if _holds_something(folder):
        raise OutputError(f"the output folder {folder} is not empty; {remedy}")


def _holds_something(folder: Path) -> bool:
    return folder.exists() and not (folder.is_dir() and all(map(is_half_written, folder.iterdir())))


@contextmanager
def leaving_nothing(folder: Path, *, unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """If the block fails, take away what it wrote into a folder that was empty or absent before.

    A folder that holds something would be refused when the corrected command is given. The block begins its output
    with `claim_folder` or a file that `name_new` names; where another process was quicker, its files stay.

    Args:
        folder: the output folder; one that held something already is left alone.
        unless: asked after a failure; true keeps what is there, such as work that can be resumed.
    """
    existed = folder.exists()
    if _holds_something(folder):
        yield
        return
    CLAIMED.discard(folder.resolve())
    try:
        yield
    except BaseException:
        if folder.resolve() in CLAIMED and not unless():
            with suppress(OSError):  # a failed clean-up must not hide the error
                for inside in list(folder.iterdir()):
                    if inside.is_dir() and not inside.is_symlink():
                        shutil.rmtree(inside)
                    else:
                        inside.unlink()
                if not existed:
                    folder.rmdir()
        raise


def claim_folder(folder: Path, first: str, *, remedy: str) -> None:
    """Make an output folder with a first folder in it, so that only one of several processes gets it.

    `first` is the same name for all who write such output, and stays; `remedy` is as for `require_empty_folder`.

    Raises:
        OutputError: `folder` is not empty, another process was quicker, or it cannot be made.
    """
    require_empty_folder(folder, remedy=remedy)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / first).mkdir()
        CLAIMED.add(folder.resolve())
    except FileExistsError:
        raise OutputError(f"another process began to write to {folder} just now; {remedy}") from None
    except OSError as error:
        raise OutputError(f"the output folder {folder} cannot be made: {error.strerror}") from None
