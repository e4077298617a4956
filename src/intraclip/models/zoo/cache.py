"""The cache of the zoo: where files lie, which digest they had, and whether they still have it.

::

    CACHE/models/NAME/
      FILE            as it was downloaded, whole
      FILE.partial    as far as a download came that was cut; the next one goes on from there
      pins.json       digest of each file when it came, and where from
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intraclip.core.files import file_digest, whole_file, write_json
from intraclip.errors import CheckpointError
from intraclip.models.zoo.entry import Entry, File

PINS = "pins.json"


def cache_folder() -> Path:
    """``INTRACLIP_CACHE``, else the user's cache folder."""
    own = os.environ.get("INTRACLIP_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "intraclip"


def folder_of(entry: Entry) -> Path:
    """Where the files of an entry belong."""
    return cache_folder() / "models" / entry.name


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is known of a file in the cache.

    Attributes:
        known_by: what that digest agrees with, for people.
    """

    file: Path
    sha256: str
    known_by: str


def read_pins(entry: Entry) -> dict[str, dict[str, str]]:
    """Digest and origin of each file of an entry, by its name; empty where nothing was noted."""
    try:
        found = json.loads((folder_of(entry) / PINS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def pin(entry: Entry, file: File, *, sha256: str, source: str) -> None:
    """Note the digest that a file had when it came."""
    pins = {**read_pins(entry), file.name: {"sha256": sha256, "from": source}}
    write_json(folder_of(entry) / PINS, pins)


def verify(entry: Entry, file: File, path: Path, *, pinned: str | None = None) -> Checked:
    """Compare a file's digest with what is known.

    Raises:
        CheckpointError: it is another file than is known, or cannot be read.
    """
    try:
        found = file_digest(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if file.sha256 and not found.startswith(file.sha256):
        raise CheckpointError(
            f"{path.name} of {entry.name} has SHA-256 {found}, but it should be "
            f"{file.sha256}{'...' if len(file.sha256) < 64 else ''}: it was damaged or exchanged on its way"
        )
    if pinned and found != pinned:
        raise CheckpointError(
            f"{path} has SHA-256 {found}, but had {pinned} when it came: it was changed; delete it and get it again"
        )
    if file.sha256:
        known = "the digest in the catalogue" if len(file.sha256) == 64 else "the digest in its name"
    elif found in file.copies:
        known = file.copies[found]
    else:
        known = "the digest it had when it came" if pinned else ""
    return Checked(file=path, sha256=found, known_by=known)


def check(entry: Entry, paths: Sequence[Path]) -> list[Checked]:
    """Compare all files of an entry, which lie at `paths`, with their digests.

    Raises:
        CheckpointError: one is missing, damaged or exchanged.
    """
    pins, found = read_pins(entry), []
    for file, path in zip(entry.files, paths, strict=True):
        if not path.is_file():
            raise CheckpointError(f"{entry.name}: {path} is missing")
        found.append(verify(entry, file, path, pinned=pins.get(file.name, {}).get("sha256")))
    return found


def take(entry: Entry, sources: list[Path]) -> list[Checked]:
    """Copy files of an entry into the cache that came another way.

    Raises:
        CheckpointError: a file is missing, or another one than is known: by its digest, or else by kind and size.
    """
    by_name = {source.name: source for source in sources}
    chosen = []
    for file in entry.files:
        source = by_name.get(file.name)
        if source is None and len(entry.files) == len(sources) == 1:
            source = sources[0]
        if source is None and sources and (sources[0].parent / file.name).is_file():
            source = sources[0].parent / file.name  # such as the .bin beside an .xml
        if source is None or not source.is_file():
            raise CheckpointError(
                f"{entry.name} needs {' and '.join(f.name for f in entry.files)}; {source or file.name} is not there"
            )
        if source.suffix.lower() != Path(file.name).suffix.lower():
            raise CheckpointError(f"{entry.name} needs {file.name}; {source} is a file of another kind")
        chosen.append((file, source, verify(entry, file, source)))
    size = sum(source.stat().st_size for _, source, _ in chosen) / 1e6
    unknown = not all(checked.known_by for _, _, checked in chosen)
    if unknown and entry.megabytes is not None and not 0.8 < size / entry.megabytes < 1.25:
        raise CheckpointError(
            f"{' and '.join(str(source) for _, source, _ in chosen)}: {size:.1f} MB, {entry.name} has "
            f"{entry.megabytes:.1f} MB; it was cut off on its way, or is another network"
        )
    found = []
    for file, source, checked in chosen:
        target = folder_of(entry) / file.name
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)
        pin(entry, file, sha256=checked.sha256, source=str(source))
        found.append(Checked(file=target, sha256=checked.sha256, known_by=checked.known_by))
    return found
