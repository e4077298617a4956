"""What CI=true makes of skipped tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.skip(reason="chromium is not installed")
def test_page(): pass

@pytest.mark.skip(reason="needs CUDA")
def test_device(): pass

def test_ray(): pytest.importorskip("ray_that_nobody_has", reason="could not import 'ray': No module named 'ray'")

def test_right(): pass
"""


@pytest.mark.parametrize(
    ("ci", "left_out", "code"),
    [("true", "", 1), ("", "", 0), ("true", "not page", 0)],
    ids=["CI", "elsewhere", "only what it cannot have"],
)
def test_a_skip_on_a_ci_machine_is_a_failure(tmp_path: Path, ci: str, left_out: str, code: int):
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "ci_skips", "-p", "no:cacheprovider", "-k", left_out, "."],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    named = "test_some.py::test_page: chromium is not installed" in done.stdout
    assert named == (code == 1)
    assert "test_device:" not in done.stdout
