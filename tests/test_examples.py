"""The examples run as they stand, say in three lines what a user wishes, and are what docs/library.md shows."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
WISHES = {"aggregate", "alike", "augment", "embed_arrays", "score_arrays", "search_gallery", "triplet"}


def page() -> str:
    return (ROOT / "docs/library.md").read_text(encoding="utf-8")


def wish(text: str) -> list[str]:
    """The lines after "# All of it", up to the next empty one."""
    found = re.search(r"# All of it.*?:\n(.*?)\n\s*\n", text, flags=re.S)
    return [] if found is None else [line.strip() for line in found[1].splitlines()]


def test_every_wish_has_an_example():
    assert {path.stem for path in EXAMPLES} == WISHES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_the_page_shows_it(path: Path, capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(path), run_name="__main__")
    out = capsys.readouterr().out.strip()
    assert out
    text = path.read_text(encoding="utf-8")
    lines = wish(text) or [
        line.strip() for line in text.splitlines() if "ic.ICA" in line or "self.head(" in line
    ]
    assert 1 <= len(lines) <= 3
    for line in lines:
        assert line in page()
    # What was pasted is what comes out, up to the digits.
    shown = re.sub(r"\d+", "0", page())
    for line in out.splitlines():
        assert re.sub(r"\d+", "0", line) in shown, line
