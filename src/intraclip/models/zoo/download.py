"""Downloads of the zoo: verified, and resumable where the server can (HTTP range requests, RFC 9110)."""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from intraclip import __version__
from intraclip.core.locks import locked
from intraclip.core.progress import Progress
from intraclip.errors import CheckpointError, ConfigError, OutputError
from intraclip.models.zoo.cache import Checked, folder_of, pin, read_pins, verify
from intraclip.models.zoo.entry import Entry, File

ATTEMPTS = 3
"""Times that a cut connection is taken up again before giving up; each that brings bytes counts as the first."""
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as cut."""
CHUNK = 1 << 16


class _Cut(Exception):
    """The connection ended early; what has come is kept."""


def download(entry: Entry, *, progress: Callable[[str], Progress] | None = None) -> list[Checked]:
    """Download the files of an entry that are not in the cache yet, and verify all of them.

    A connection that is cut is taken up again where it broke off, now or with the next call. A file appears under its
    name whole and verified, or not at all.

    Args:
        entry: of the zoo.
        progress: gives for a file's name what is told bytes here, and bytes in all (0 where the server does not say).

    Raises:
        CheckpointError: a file cannot be reached, or is another one than is known; it is not kept.
        ConfigError: the entry has no address that a program can download from.
        OutputError: the cache cannot be written, is full, or another process is downloading the same file.
    """
    if entry.by_hand or entry.shipped:
        raise ConfigError(
            f"{entry.name} cannot be downloaded: {entry.by_hand or 'it comes with the package'}; then "
            f"`intraclip models get {entry.name} --from FILE`"
        )
    pins, found, show = read_pins(entry), [], progress or (lambda name: lambda done, total: None)
    for file in entry.files:
        target = folder_of(entry) / file.name
        if target.is_file():
            found.append(verify(entry, file, target, pinned=pins.get(file.name, {}).get("sha256")))
            continue
        found.append(_download_file(entry, file, target, show(file.name)))
    return found


def _download_file(entry: Entry, file: File, target: Path, progress: Progress) -> Checked:
    partial = target.with_name(f"{file.name}.partial")
    taken = f"another process is downloading {partial}; wait for it"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(partial, taken=taken), partial.open("ab") as out:
            _fetch(file, partial, out, progress)
        checked = verify(entry, file, partial)
    except OSError as error:
        raise OutputError(
            f"{partial} cannot be written: {error.strerror or error}; make room, or set INTRACLIP_CACHE to another "
            "folder, and run it again: it goes on from there"
        ) from None
    except CheckpointError as error:
        if not partial.is_file() or "SHA-256" not in str(error):
            raise
        _forget(partial)
        raise CheckpointError(f"{error}; nothing of it was kept, from {file.url}") from None
    try:
        partial.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from None
    _validator(partial).unlink(missing_ok=True)
    pin(entry, file, sha256=checked.sha256, source=file.url)
    return Checked(file=target, sha256=checked.sha256, known_by=checked.known_by)


def _fetch(file: File, partial: Path, out: BinaryIO, progress: Progress) -> None:
    """Bring a file to its end, going on after cuts."""
    left = ATTEMPTS
    while True:
        before = out.seek(0, 2)
        try:
            _fetch_once(file, partial, out, progress)
            return
        except _Cut as cut:
            size = out.seek(0, 2)
            left = ATTEMPTS - 1 if size > before else left - 1
            if left <= 0:
                kept = f"; {size:,} bytes are kept, run it again to go on" if size else ""
                raise CheckpointError(
                    f"{file.url} cannot be reached ({cut}){kept}; or fetch it on a machine with internet access and "
                    "name it with --from"
                ) from None


def _fetch_once(file: File, partial: Path, out: BinaryIO, progress: Progress) -> None:
    size = out.seek(0, 2)
    validator = _validator(partial)
    headers = {"User-Agent": f"intraclip/{__version__}", "Accept-Encoding": "identity"}
    known = validator.read_text(encoding="utf-8").strip() if validator.is_file() else ""
    if size and known:  # without a validator it could be the rest of another file
        headers |= {"Range": f"bytes={size}-", "If-Range": known}
    else:
        size = 0
        out.truncate(0)
    try:
        with urllib.request.urlopen(
            urllib.request.Request(file.url, headers=headers), timeout=TIMEOUT
        ) as answer:
            if answer.status != 206:  # the server starts from the beginning, or the file is another one now
                size = 0
                out.truncate(0)
            elif not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {size}-"):
                out.truncate(0)
                raise _Cut("the server went on at another place than was asked for")
            tag = answer.headers.get("ETag") or ""
            strong = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified") or ""
            validator.write_text(strong, encoding="utf-8")
            length = int(answer.headers.get("Content-Length") or 0)
            _check_room(partial, length)
            total = size + length if length else 0
            out.seek(0, 2)
            progress(size, total)
            while chunk := _read(answer):
                out.write(chunk)
                size += len(chunk)
                progress(size, total)
            out.flush()
            if total and size < total:
                raise _Cut(f"the connection was cut after {size:,} of {total:,} bytes")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is here is longer than the file: start anew
            out.truncate(0)
        elif error.code < 500:
            raise CheckpointError(
                f"{file.url} cannot be downloaded: the server says {error.code} {error.reason}; fetch it another way "
                "and name it with --from"
            ) from None
        raise _Cut(f"the server says {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _Cut(str(error.reason)) from None
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Cut(str(error) or type(error).__name__) from None


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(CHUNK)
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Cut(str(error) or type(error).__name__) from None


def _check_room(partial: Path, length: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if length > free:
        raise OutputError(
            f"{partial.parent} has {free / 1e6:,.0f} MB free, {length / 1e6:,.0f} MB are needed; make room, or set "
            "INTRACLIP_CACHE to another folder"
        )


def _validator(partial: Path) -> Path:
    """Holds what the server calls this version of the file, so that a download goes on with the same one."""
    return partial.with_name(f"{partial.name}.version")


def _forget(partial: Path) -> None:
    for file in (partial, _validator(partial)):
        with suppress(OSError):
            file.unlink()
