"""The data set that is meant by a path to the folder around it, or to one of its own folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from intraclip.core.paths import is_hidden
from intraclip.data.layouts import LAYOUTS
from intraclip.data.readers.common import Reader
from intraclip.errors import DataError


def find_around(root: Path, names: Sequence[str]) -> tuple[str, Path]:
    """Layout, of those with `names`, and root of the one data set above or below a folder that is none itself.

    Raises:
        DataError: there is none, or there are several.
    """
    readers: list[Reader] = [LAYOUTS.load(name) for name in names]
    # Absolute, so that "." and a trailing ".." have a name and a parent; symbolic links stay as they are.
    full = root.absolute()
    for reader in readers:
        if full.name in reader.inner_folders and LAYOUTS.knows(reader.name, full.parent):
            return reader.name, full.parent
    inside = [
        (name, child)
        for child in sorted(root.iterdir())
        if not is_hidden(child.name) and child.is_dir()
        for name in names
        if LAYOUTS.knows(name, child)
    ]
    # A folder counts once, for the first layout that matches it.
    found = {child: name for name, child in reversed(inside)}
    if len(found) == 1:
        ((child, name),) = found.items()
        return name, child
    if found:
        several = ", ".join(f"{child.name} ({found[child]})" for child in sorted(found))
        raise DataError(f"{root} holds several data sets: {several}; name one of these folders")
    looked = "\n".join(f"  - {reader.name}: {reader.markers}" for reader in readers)
    raise DataError(
        f"{root} is no data set of a known layout; looked there, one folder below and one above for\n{looked}"
    )
