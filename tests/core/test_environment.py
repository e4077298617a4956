"""What is written beside every result."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from intraclip.core import environment


def commit() -> str:
    found = environment.environment(torch.device("cpu"))["commit"]
    assert isinstance(found, str)
    return found


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch) -> Path:
    """A repository with the package's sources in it, and this module taken to lie there."""
    module = tmp_path / "src" / "intraclip" / "core" / "environment.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for arguments in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(environment, "__file__", str(module))
    return tmp_path


def test_a_clean_tree_is_its_commit(checkout: Path):
    (checkout / "notes.txt").write_text("beside the sources")
    assert len(commit()) == 12


def test_new_source_files_are_told(checkout: Path):
    (checkout / "src" / "intraclip" / "new.py").write_text("")
    assert commit().endswith("+untracked")
    assert "-dirty" not in commit()


def test_changed_source_files_are_told(checkout: Path):
    (checkout / "src" / "intraclip" / "core" / "environment.py").write_text("changed")
    assert commit().endswith("-dirty")


def test_a_tree_without_a_repository_has_no_commit(tmp_path: Path, monkeypatch):
    module = tmp_path / "src" / "intraclip" / "core" / "environment.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(module))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == ""
