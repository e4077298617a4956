"""Work that is divided among processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from intraclip.core.processes import process_count, processes
from intraclip.errors import ConfigError, IntraclipError

_given: list[int] = []


def remember(number: int) -> None:
    _given.append(number)


def given() -> list[int]:
    return _given


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> str:
    os.kill(os.getpid(), signal.SIGINT)
    return os.environ["OMP_NUM_THREADS"]


def test_they_begin_with_what_is_given_have_one_thread_and_leave_ctrl_c_to_others(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with processes(1, doing="counts", begin=remember, given=(3,)) as pool:
        assert pool.submit(given).result() == [3]
        assert pool.submit(interrupt).result() == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_one_that_is_killed_is_one_clear_error():
    with (
        pytest.raises(
            IntraclipError,
            match=r"a process that counts was killed, perhaps for want of memory; .*fewer workers",
        ),
        processes(1, doing="counts") as pool,
    ):
        pool.submit(die).result()


PROGRAM = """
import sys, time
from intraclip.core.processes import processes
if __name__ == "__main__":
    with processes(1, doing="sleeps") as pool:
        pool.submit(time.sleep, 0).result()
        print("ready", flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_they_do_not_outlive_a_program_that_is_killed(tmp_path: Path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    program = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    program.kill()
    program.communicate(timeout=60)  # returns when nobody holds its output any more


def test_there_are_no_more_than_there_is_work_and_at_least_one():
    assert process_count(8, 3) == 3
    assert process_count(1, 3) == 1
    assert process_count(None, 1) == 1
    with pytest.raises(ConfigError, match="workers is 0; at least 1"):
        process_count(0, 3)
