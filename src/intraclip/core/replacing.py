"""Files of an output folder, replaced all at once: a process that is killed leaves the old ones or the new ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from intraclip.core.files import write_json
from intraclip.core.folders import make_folder
from intraclip.errors import OutputError

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
