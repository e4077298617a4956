"""Files appear whole or not at all, and take nobody's place unless they may."""

from __future__ import annotations

import errno
import json
import os
import stat
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Barrier

import pytest

from intraclip.core.files import whole_file, write_json, write_text
from intraclip.core.folders import make_folder
from intraclip.core.replacing import replaced_together, settle
from intraclip.errors import OutputError


@pytest.mark.parametrize("replace", [False, True])
def test_of_several_at_the_same_moment_one_file_stays_whole(tmp_path, replace):
    barrier = Barrier(8)
    path = tmp_path / "new/a.json"

    def write(number: int) -> int | None:
        barrier.wait()
        try:
            write_json(path, [number] * 10_000, replace=replace)
        except OutputError:
            return None
        return number

    with ThreadPool(8) as pool:
        written = [number for number in pool.map(write, range(8)) if number is not None]
    assert len(written) == (8 if replace else 1)
    assert any(path.read_text() == content(number) for number in written)
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def content(number: int) -> str:
    return json.dumps([number] * 10_000, indent=2) + "\n"


def test_what_is_there_is_refused_or_replaced(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, 1, replace=False)
    with pytest.raises(OutputError, match="exists"):
        write_json(path, 2, replace=False)
    assert path.read_text() == "1\n"
    write_json(path, 2)
    assert path.read_text() == "2\n"


def test_what_fails_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("before")

    def write() -> None:
        with whole_file(path) as partial:
            # A file that a killed process left behind must not be taken for a finished one.
            assert not partial.match("*.png")
            partial.write_text("half")
            raise OSError("no room")

    with pytest.raises(OutputError, match="no room"):
        write()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def failing(path: Path, error: BaseException) -> None:
    with whole_file(path, kept="parts are kept", also=(ValueError,)) as partial:
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
    with whole_file(tmp_path / "a") as partial:
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


def put(folder: Path, names: dict[str, str]) -> None:
    for name, text in names.items():
        write_text(folder / name, text)


def texts(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8")
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_files_of_a_folder_are_replaced_together(tmp_path: Path):
    put(tmp_path, {"a": "old", "tracks/1": "old", "mine": "mine"})
    with replaced_together(tmp_path, ["a", "tracks/1"]) as staged:
        put(staged, {"a": "new", "tracks/2": "new"})
    assert texts(tmp_path) == {"a": "new", "tracks/2": "new", "mine": "mine"}
    with pytest.raises(RuntimeError), replaced_together(tmp_path, ["a"]) as staged:  # noqa: PT012
        put(staged, {"a": "newer"})
        raise RuntimeError
    assert texts(tmp_path) == {"a": "new", "tracks/2": "new", "mine": "mine"}


@pytest.mark.parametrize("after", range(3))
def test_a_process_killed_between_two_files_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
):
    put(tmp_path, {"a": "old", "b": "old", "gone": "old"})
    taken = Path.replace
    left = [after]

    def replace(self: Path, target: Path) -> Path:
        if self.parent.name == "next":
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        return taken(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        try:
            with replaced_together(tmp_path, ["gone"]) as staged:
                put(staged, {"a": "new", "b": "new"})
        except KeyboardInterrupt:
            assert after < 2
    settle(tmp_path)
    assert texts(tmp_path) == {"a": "new", "b": "new"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
