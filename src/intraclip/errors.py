"""Every error that intraclip raises on purpose.

::

    IntraclipError                 something the user can mend; the command line prints it and exits with 2
    ├── ConfigError                a recipe or a flag: unknown key, wrong type, value out of range
    ├── DataError                  a data set, a tracklet, a frame or an embeddings file
    │   ├── FrameError             one frame that cannot be read; carries its path
    │   └── DamagedError           a gallery whose files are not what was written
    ├── CheckpointError            a file that is no checkpoint, or one of another format or model
    ├── OutputError                an output folder or file that would be overwritten, or cannot be written
    ├── DeviceError                a device that is not there
    └── MissingExtraError          an optional dependency that is not installed; names the install command

A message says what is wrong, where, which value was found, and what to do about it.
"""

from __future__ import annotations

import difflib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType


class IntraclipError(Exception):
    """Base class: something the user can mend.

    >>> try:
    ...     require_empty_folder(Path(__file__), remedy="choose another")
    ... except IntraclipError as error:
    ...     print(error)
    /.../errors.py is a file, a folder is needed; choose another
    """


class ConfigError(IntraclipError):
    """A recipe or a flag is wrong. The message lists all problems at once."""


class DataError(IntraclipError):
    """A data set, a tracklet or an embeddings file is missing, inconsistent or corrupt."""


class FrameError(DataError):
    """One frame cannot be read.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"cannot read the frame {path}: {reason}")

    def __reduce__(self) -> tuple[type[FrameError], tuple[Path, str]]:
        # Errors cross process borders in data loader workers; the default would pass only the message.
        return type(self), (self.path, self.reason)


class DamagedError(DataError):
    """What was written cannot be read as it was: a disk failed, or somebody changed the files."""


class CheckpointError(IntraclipError):
    """A file is no checkpoint, is damaged, or belongs to another format version or model."""


class OutputError(IntraclipError):
    """An output would overwrite something, or cannot be written."""


class DeviceError(IntraclipError):
    """The requested device is not available."""


class MissingExtraError(IntraclipError):
    """A part needs an optional dependency that is not installed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a word that is not known: the one it is most like, or nothing.

    >>> did_you_mean("galery", ["gallery", "link"]), did_you_mean("x", ["gallery", "link"])
    (" (did you mean 'gallery'?)", '')
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def require_extra(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency or say how to install it.

    Args:
        module: dotted module name.
        extra: the extra of intraclip that brings it.
        purpose: what it is needed for, as in "plots need ...".

    Raises:
        MissingExtraError: it is not installed.

    >>> require_extra("no_such_module_here", extra="report", purpose="plots")
    Traceback (most recent call last):
    ...
    intraclip.errors.MissingExtraError: plots: no_such_module_here is not installed; \
run: pip install 'intraclip[report]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name):
            raise
        raise MissingExtraError(
            f"{purpose}: {module} is not installed; run: pip install 'intraclip[{extra}]'"
        ) from None


def require_empty_folder(folder: Path, *, remedy: str) -> None:
    """Refuse an output folder that already holds something.

    Args:
        folder: the output folder; it need not exist.
        remedy: what the user can do, as the end of the sentence "...; {remedy}".

    Raises:
        OutputError: `folder` is a file, or is not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, a folder is needed; {remedy}")
    if folder.is_dir() and _holds_something(folder):
        raise OutputError(f"the output folder {folder} is not empty; {remedy}")


def _holds_something(folder: Path) -> bool:
    return any(not is_half_written(path) for path in folder.iterdir())


def half_written(path: Path) -> Path:
    """Where this thread writes a file before the file gets its name; no pattern for finished files finds it."""
    return path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")


def is_half_written(path: Path) -> bool:
    """Whether a file is one that was not finished: a killed process leaves it behind."""
    return path.suffix == ".partial" and not path.is_dir()


_CLAIMED: set[Path] = set()
"""Folders in which this process was the first to make something; what is in others is not its own to take away."""


@contextmanager
def leaving_nothing(folder: Path, *, unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """If the block fails, take away what it wrote into a folder that was empty or absent before.

    A folder that holds something would be refused when the corrected command is given. The block begins its output
    with `claim_folder` or a file that `give_name` names; where another process was quicker, its files stay.

    Args:
        folder: the output folder; one that held something already is left alone.
        unless: asked after a failure; true keeps what is there, such as work that can be resumed.
    """
    existed = folder.exists()
    if existed and (not folder.is_dir() or _holds_something(folder)):
        yield
        return
    _CLAIMED.discard(folder.resolve())
    try:
        yield
    except BaseException:
        if folder.resolve() in _CLAIMED and not unless():
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

    Args:
        folder: must be new or empty.
        first: the same name for all who write such output; it stays.
        remedy: as for `require_empty_folder`.

    Raises:
        OutputError: `folder` is not empty, another process was quicker, or it cannot be made.
    """
    require_empty_folder(folder, remedy=remedy)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / first).mkdir()
        _CLAIMED.add(folder.resolve())
    except FileExistsError:
        raise OutputError(f"another process began to write to {folder} just now; {remedy}") from None
    except OSError as error:
        raise OutputError(f"the output folder {folder} cannot be made: {error.strerror}") from None


def write_new(path: Path, text: str) -> None:
    """Write a file whole, in one step, and only if it is not there: `Path.replace` would take another one's place.

    Raises:
        FileExistsError: it is there; it stays as it is.
        OSError: it cannot be written.
    """
    partial = half_written(path)
    with partial.open("w", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            give_name(partial, path)
        finally:
            with suppress(OSError):
                partial.unlink()


def give_name(partial: Path, path: Path) -> None:
    """Give a finished file its name if nothing has it yet; its own name may stay beside it.

    Raises:
        FileExistsError: something has it.
        OSError: as `os.link`.
    """
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if path.exists():  # a file system without links: the moment between this and the next line stays
            raise FileExistsError(errno.EEXIST, "it is there", str(path)) from None
        partial.rename(path)
    _CLAIMED.add(path.parent.resolve())
