"""Files that appear whole or not at all, and take nobody's place unless they may."""

from __future__ import annotations

import json
from multiprocessing.pool import ThreadPool
from threading import Barrier

import pytest

from intraclip.core.files import whole_file, write_json
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
            assert partial.suffix == ".png"
            partial.write_text("half")
            raise OSError("no room")

    with pytest.raises(OutputError, match="no room"):
        write()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
