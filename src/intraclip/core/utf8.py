"""Links to files for libraries that take names in UTF-8 alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from intraclip.core.paths import is_utf8


@contextmanager
def utf8_path(path: Path, *, beside: tuple[str, ...] = ()) -> Iterator[str]:
    """The path as text in UTF-8: itself, or for as long as the context lasts one that leads to it over a link.

    The file need not exist if it is to be written; endings of others that belong to it, such as ``.bin``, are `beside`.
    """
    if is_utf8(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="intraclip-") as folder:
        full, link = path.absolute(), Path(folder) / "link"
        if is_utf8(Path(full.name)):  # all that lies beside it is found too
            link.symlink_to(full.parent, target_is_directory=True)
            yield str(link / full.name)
            return
        suffix = full.suffix if is_utf8(Path(full.suffix)) else ""
        link.with_suffix(suffix).symlink_to(full)
        for ending in beside:
            link.with_suffix(ending).symlink_to(full.with_suffix(ending))
        yield str(link.with_suffix(suffix))
