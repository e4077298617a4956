"""Output folders and files that two processes want at the same moment: one gets them."""

from __future__ import annotations

import errno
import json
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Barrier

import pytest

from intraclip.core import files
from intraclip.core.files import write_text
from intraclip.core.folders import claim_folder, leaving_nothing, require_empty_folder
from intraclip.core.replacing import replaced_together, settle
from intraclip.errors import OutputError


def rush(work, count: int = 8) -> list[object]:
    """What each of several that begin at the same moment gets: its number, or an error."""
    barrier = Barrier(count)

    def one(number: int) -> object:
        barrier.wait()
        try:
            work(number)
        except (OutputError, FileExistsError) as error:
            return error
        return number

    with ThreadPool(count) as pool:
        return pool.map(one, range(count))


@pytest.mark.parametrize("there", [False, True])
def test_one_of_several_gets_an_output_folder(tmp_path, there):
    for attempt in range(20):
        out = tmp_path / f"out{attempt}"
        if there:
            out.mkdir()
        found = rush(lambda _, out=out: claim_folder(out, "data", remedy="choose another"))
        assert sum(isinstance(f, int) for f in found) == 1
        assert all("choose another" in str(f) for f in found if not isinstance(f, int))
        assert [p.name for p in out.iterdir()] == ["data"]


def test_one_of_several_writes_a_file(tmp_path):
    for attempt in range(20):
        path = tmp_path / f"{attempt}.txt"
        found = rush(lambda number, path=path: write_text(path, str(number), replace=False))
        (winner,) = [f for f in found if isinstance(f, int)]
        assert path.read_text() == str(winner)
    assert not list(tmp_path.glob("*.partial"))


def test_what_a_killed_process_was_writing_blocks_nobody(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("config.toml.partial", "config.toml.4711-42.partial", "net.onnx.4711-42.partial"):
        (out / name).write_text("half")
    require_empty_folder(out, remedy="choose another")
    write_text(out / "config.toml", "whole", replace=False)
    assert (out / "config.toml").read_text() == "whole"
    with pytest.raises(OutputError, match="not empty"):
        require_empty_folder(out, remedy="choose another")


def test_a_file_system_without_links_still_gets_its_file(tmp_path, monkeypatch):
    def none(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", none)
    write_text(tmp_path / "a.txt", "first", replace=False)
    with pytest.raises(OutputError, match="somebody was quicker"):
        write_text(tmp_path / "a.txt", "second", replace=False, taken="somebody was quicker")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]
    assert (tmp_path / "a.txt").read_text() == "first"


def test_who_was_too_late_takes_nothing_away(tmp_path):
    """Both found the folder empty; the one that fails must not clear away what the other one writes."""

    def begin(out: Path, *, late: bool) -> None:
        with leaving_nothing(out):
            if late:
                (out / "data").mkdir(parents=True)  # another process
                (out / "data/its.txt").write_text("work of hours")
            claim_folder(out, "data", remedy="choose another")
            raise ValueError("ours")

    with pytest.raises(OutputError, match="not empty"):
        begin(tmp_path / "out", late=True)
    assert (tmp_path / "out/data/its.txt").read_text() == "work of hours"
    with pytest.raises(ValueError, match="ours"):
        begin(tmp_path / "new", late=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["../victim", "ABSOLUTE", "linked/victim", "a/../../victim"])
def test_files_elsewhere_are_never_removed(tmp_path: Path, name: str):
    """A folder may be somebody else's work, and so may what it says it holds."""
    (victim := tmp_path / "victim").write_text("x")
    (folder := tmp_path / "out").mkdir()
    (folder / "linked").symlink_to(tmp_path)
    name = str(victim) if name == "ABSOLUTE" else name
    refused = pytest.raises(
        OutputError, match="as a file of its own, and it is elsewhere; nothing was removed"
    )
    with refused, replaced_together(folder, [name]):
        pass
    (folder / "next").mkdir()
    (folder / "next" / "old.json").write_text(json.dumps([name]))
    with pytest.raises(OutputError, match="as a file of its own, and it is elsewhere"):
        settle(folder)
    assert victim.read_text() == "x"


@pytest.mark.parametrize("text", ["{", "7", "[7]", "[" * 100_000])
def test_what_a_killed_process_left_may_be_damaged(tmp_path: Path, text: str):
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "old.json").write_text(text)
    with pytest.raises(OutputError, match=r"old\.json is damaged: .*; remove .*next, and begin again"):
        settle(tmp_path)
