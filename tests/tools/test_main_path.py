"""How much has to be read to follow a training, and an embedding with its scores."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "main_path.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("main_path", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("call", "functions", "entered", "loaded"),
    [("train", 2_700, 5_200, 6_500), ("embed", 2_500, 5_000, 7_800)],
)
def test_the_main_path_stays_short(tool, call, functions, entered, loaded):
    found = tool.count(call)
    assert "train/loop.py" in found["entered_files"] or "embed/extractors.py" in found["entered_files"]
    assert 1_000 < found["functions"] < functions
    assert found["without_blank"] < found["entered"] < entered
    assert found["loaded"] < loaded
