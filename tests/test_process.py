"""Settings of the process itself."""

import ctypes
import os
import sys
from types import SimpleNamespace

import pytest

from intraclip import process
from intraclip.cli import main as command_line


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the C library is asked to keep, by number of mallopt(3)."""
    asked: list[int] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setattr(
        ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=lambda number, _: asked.append(number))
    )
    return asked


def test_a_process_keeps_freed_memory_unless_it_runs_for_days(kept: list[int]):
    process.tune(lasting=True)
    assert kept == []
    process.tune()
    assert len(kept) == 3
    assert os.environ["OMP_WAIT_POLICY"] == "active"  # what is set already wins


@pytest.mark.parametrize("command", [*command_line.LASTING, "score"])
def test_commands_that_run_until_they_are_stopped_give_memory_back(
    monkeypatch: pytest.MonkeyPatch, command: str
):
    lasting: list[bool] = []
    monkeypatch.setattr(command_line, "tune", lambda **said: lasting.append(said["lasting"]))
    assert command in command_line.COMMANDS
    with pytest.raises(SystemExit):
        command_line.main([command, "--no-such-flag"])
    assert lasting == [command in command_line.LASTING]
