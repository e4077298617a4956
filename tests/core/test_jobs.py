"""The same work goes on, other work is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from intraclip.core.jobs import Job, alone
from intraclip.errors import OutputError


def job(folder: Path, **settings: object) -> Job:
    return Job(folder / "job.json", settings, out=folder, anew="remove it")


def test_the_same_settings_go_on_and_others_are_named(tmp_path: Path):
    job(tmp_path, clip=(4, 2), seed=1).begin()
    again = job(tmp_path, clip=(4, 2), seed=1)
    assert again.begun
    again.require_same(again.read())
    other = job(tmp_path, clip=(4, 3), seed=1, size=8)
    with pytest.raises(
        OutputError, match=r"begun with something else: clip 2: 2 -> 3; size: null -> 8; .* remove"
    ):
        other.require_same(other.read())


def test_only_one_process_begins(tmp_path: Path):
    job(tmp_path).begin()
    with pytest.raises(OutputError, match="another process is at work"):
        job(tmp_path).begin()


def test_a_process_that_died_in_its_first_moment_is_no_obstacle(tmp_path: Path):
    (tmp_path / "job.json.4711-42.partial").write_text("{")
    one = job(tmp_path, seed=1)
    one.begin()
    assert one.read() == {"seed": 1}


def test_work_that_is_held_is_left_alone_until_it_is_closed(tmp_path: Path):
    one, other = job(tmp_path), job(tmp_path)
    one.hold()
    with pytest.raises(OutputError, match="another process is at work"):
        other.hold()
    one.close()
    other.hold()
    other.close()


def test_damage_says_how_to_begin_anew(tmp_path: Path):
    (tmp_path / "job.json").write_text("[1]")
    with pytest.raises(OutputError, match=r"job\.json is damaged: .*; remove it"):
        job(tmp_path).read()
    with pytest.raises(OutputError, match="older version"):
        job(tmp_path).require_same(None)


def test_one_process_at_a_time_is_in_a_folder(tmp_path: Path):
    with (
        alone(tmp_path / "out", remove=True),
        pytest.raises(OutputError, match="another process is at work"),
        alone(tmp_path / "out"),
    ):
        pass
    assert not list((tmp_path / "out").iterdir())
