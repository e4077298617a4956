from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from intraclip.config import Recipe
from intraclip.errors import OutputError
from intraclip.lab import demo
from intraclip.lab.demo import DemoView, run_demo
from intraclip.studio import BenchmarkConfig
from intraclip.train.loop import Silent

SMALL = BenchmarkConfig(
    identities=8,
    cameras=2,
    tracklets_per_camera=(1, 1),
    frames=(3, 4),
    height=64,
    width=32,
    distractors=0,
    junk=0,
)


@contextmanager
def no_bar(name: str) -> Iterator[object]:
    yield lambda done, total: None


@contextmanager
def silent(name: str) -> Iterator[Silent]:
    yield Silent()


def test_the_demo_ends_with_numbers_and_a_page_and_resumes(
    tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(demo, "BENCHMARK", SMALL)
    recipe = replace(tiny_recipe, batch=replace(tiny_recipe.batch, clips=2))
    said: list[str] = []
    view = DemoView(say=said.append, training=silent, progress=no_bar)  # type: ignore[arg-type]
    result = run_demo(tmp_path / "demo", view, recipe=recipe)
    assert list(result.scores) == [
        "Colour histograms", "Untrained network", "Model 1: TAP, asynchronous", "Model 4: ICA, synchronous (SDA)",
    ]  # fmt: skip
    assert result.report == tmp_path / "demo/report.html"
    assert result.report.stat().st_size > 100_000
    for folder, head, mode in (("model-1", "tap", "asynchronous"), ("model-4", "ica", "synchronous")):
        evaluation = json.loads((tmp_path / "demo" / folder / "evaluation.json").read_text())
        assert (evaluation["model"]["head"], evaluation["model"]["augmentation"]) == (head, mode)

    with pytest.raises(OutputError, match="continue that demo with --resume"):
        run_demo(tmp_path / "demo", view, recipe=recipe)
    said.clear()
    (tmp_path / "demo/model-4/model.safetensors").unlink()
    again = run_demo(tmp_path / "demo", view, recipe=recipe, resume=True)
    assert again.scores == result.scores
    assert not any("rendering" in line or "Model 1" in line for line in said)


@pytest.mark.slow
def test_the_shipped_demo_beats_its_baselines(tmp_path: Path):
    view = DemoView(say=print, training=silent, progress=no_bar)  # type: ignore[arg-type]
    scores = run_demo(tmp_path / "demo", view).scores
    baselines = max(scores[name]["rank1"] for name in ("Colour histograms", "Untrained network"))
    assert scores["Model 1: TAP, asynchronous"]["rank1"] > 2 * baselines
    assert scores["Model 4: ICA, synchronous (SDA)"]["rank1"] > baselines
