"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from intraclip.errors import OutputError


@contextmanager
def writing(out: Path, partial: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong while writing into one clear error, and leave no half-written file behind.

    Args:
        out: the pack.
        partial: file to remove at the end, if it is still there.

    Raises:
        OutputError: something cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if f"os error {errno.ENOSPC}" in str(error) or getattr(error, "errno", None) == errno.ENOSPC:
            free = shutil.disk_usage(out).free if out.is_dir() else 0
            reason = f"the disk is full ({free / 2**20:,.0f} MiB are free, the next file needs more)"
        raise OutputError(
            f"the pack {out} cannot be written: {reason}; finished shards are kept, make room and run the same "
            "command again"
        ) from None
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file; it is whole as soon as it has its name."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    replace_file(partial, path)


def replace_file(partial: Path, path: Path) -> None:
    """Rename a file that is safely on the disk, so that a name always means whole content."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    # safetensors writes files that only their owner may read; a pack is for everybody whom the umask lets in.
    umask = os.umask(0)
    os.umask(umask)
    partial.chmod(0o666 & ~umask)
    partial.replace(path)
