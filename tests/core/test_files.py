"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from intraclip.core.files import make_folder, replacing, write_json, write_text
from intraclip.errors import OutputError


def failing(path: Path, error: BaseException) -> None:
    with replacing(path, kept="parts are kept", also=(ValueError,)) as partial:
        partial.write_text("half")
        raise error


def test_what_fails_leaves_the_older_file_and_nothing_else(tmp_path: Path):
    write_text(tmp_path / "a", "older")
    for error, raised in (
        (OSError(errno.EIO, "broken"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):
        with pytest.raises(raised):
            failing(tmp_path / "a", error)
    assert (tmp_path / "a").read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_called_so(tmp_path: Path):
    told = r"a cannot be written: the disk is full \(.* MiB are free, the file needs more\); parts are kept"
    for error in (OSError(errno.ENOSPC, "No space"), ValueError("I/O error: (os error 28)")):
        with pytest.raises(OutputError, match=told):
            failing(tmp_path / "a", error)


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    rename, sync = Path.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (calls.append("sync"), sync(number))[1])
    monkeypatch.setattr(Path, "replace", lambda a, b: (calls.append("name"), rename(a, b))[1])
    write_json(tmp_path / "new" / "a.json", {"b": 1})
    assert calls == ["sync", "name"]
    assert (tmp_path / "new" / "a.json").read_text() == '{\n  "b": 1\n}\n'


def test_a_file_is_for_those_whom_the_umask_lets_in(tmp_path: Path):
    with replacing(tmp_path / "a") as partial:
        partial.touch(mode=0o600)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_a_name_that_is_no_utf8_is_written_escaped(tmp_path: Path):
    write_text(tmp_path / "a", "entr\udce9e\r\n")
    assert (tmp_path / "a").read_bytes() == b"entr\\udce9e\r\n"


def test_a_folder_that_cannot_be_made_is_named():
    with pytest.raises(OutputError, match=r"cannot make the folder /dev/null/out"):
        make_folder(Path("/dev/null/out"))
