"""Output folders: begun empty, by one process, and replaced at once or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from intraclip.core.files import CLAIMED, is_half_written, write_json
from intraclip.errors import OutputError


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
    if existed and (not folder.is_dir() or _holds_something(folder)):
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
        CLAIMED.add(folder.resolve())
    except FileExistsError:
        raise OutputError(f"another process began to write to {folder} just now; {remedy}") from None
    except OSError as error:
        raise OutputError(f"the output folder {folder} cannot be made: {error.strerror}") from None


STAGED, READY, _OLD = "next.partial", "next", "old.json"
"""New files of a folder while they are made, and once they are whole; and which of the old ones go."""


def settle(folder: Path) -> None:
    """Finish what `replaced_together` began before the process was killed; no other process may be at it.

    Raises:
        OutputError: it cannot be written, or what is left of the process names files of others.
    """
    ready = folder / READY
    try:
        if (folder / STAGED).is_dir():
            shutil.rmtree(folder / STAGED)
        if not ready.is_dir():
            return
        old = ready / _OLD
        try:
            names = json.loads(old.read_text(encoding="utf-8")) if old.exists() else []
            gone = [_inside(folder, name) for name in names]
        except (ValueError, TypeError, RecursionError) as error:
            raise OutputError(f"{old} is damaged: {error}; remove {ready}, and begin again") from None
        for path in gone:
            path.unlink(missing_ok=True)
        for path in sorted(ready.rglob("*")):
            if path.is_file() and path != old:
                target = folder / path.relative_to(ready)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
        shutil.rmtree(ready)
    except OSError as error:
        raise OutputError(f"the output folder {folder} cannot be written: {error.strerror}") from None


def _inside(folder: Path, name: str) -> Path:
    """A file of a folder by its name there.

    Raises:
        OutputError: it leads out of the folder, which may be somebody else's work.
    """
    path = folder / name
    elsewhere = Path(name).is_absolute() or ".." in Path(name).parts
    if elsewhere or not path.parent.resolve().is_relative_to(folder.resolve()):  # over a link
        raise OutputError(
            f"{folder} names {name!r} as a file of its own, and it is elsewhere; nothing was removed"
        )
    return path


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
        OutputError: it cannot be written, or an old path leads out of it.
    """
    settle(folder)
    old = list(old)
    for name in old:
        _inside(folder, name)
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
