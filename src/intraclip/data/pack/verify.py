"""Check every byte of a pack against the checksums that were taken when it was written."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from intraclip.core.files import file_digest
from intraclip.core.progress import Progress
from intraclip.data.pack.format import REMEDY, Pack
from intraclip.data.pack.opened import open_pack
from intraclip.data.readers.common import shorten


def verify_pack(root: Path, *, progress: Progress | None = None) -> list[str]:
    """Read a pack through once.

    Returns:
        What is wrong, a sentence a file; damaged tracklets are named. Empty when all is as it was written.
    """
    pack = open_pack(root)
    problems = []
    shards = pack.index["shards"]
    total, done = sum(shard["bytes"] for shard in shards), 0
    for number, shard in enumerate(shards):
        path = root / shard["file"]
        if not path.is_file():
            problems.append(f"{path} is missing; {REMEDY}")
        elif path.stat().st_size != shard["bytes"]:
            problems.append(
                f"{path} has {path.stat().st_size:,} bytes, the index says {shard['bytes']:,}; {REMEDY}"
            )
        elif file_digest(path) != shard["sha256"]:
            damaged = [
                pack.names[i]
                for i in np.flatnonzero(pack.tables["shard"] == number)
                if not _whole(pack, path, int(i))
            ]
            where = f"tracklets {shorten(damaged)}" if damaged else "its header"
            problems.append(f"{path} is damaged: {where}; {REMEDY}")
        done += shard["bytes"]
        if progress is not None:
            progress(done, total)
    return problems


def _whole(pack: Pack, path: Path, number: int) -> bool:
    last = int(pack.tables["first_frame"][number + 1]) - 1
    with path.open("rb") as file:
        file.seek(int(pack.tables["offset"][number]))
        return zlib.crc32(file.read(int(pack.tables["ends"][last]))) == int(pack.tables["crc32"][number])
