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
from intraclip.lab.demo import BASE, demo_recipe, run_demo
from intraclip.lab.view import View
from intraclip.models import packaged
from intraclip.recipe_files import load_recipe
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
    view = View(say=said.append, training=silent, progress=no_bar)  # type: ignore[arg-type]
    result = run_demo(tmp_path / "demo", view, recipe=recipe)
    assert list(result.scores) == [
        BASE, "Colour histograms", "Network before training", "Model 1: TAP, asynchronous",
        "Model 4: ICA, synchronous (SDA)",
    ]  # fmt: skip
    assert result.report == tmp_path / "demo/report.html"
    page = result.report.read_text(encoding="utf-8")
    header, numbers, pictures = (part.split("</section>")[0] for part in page.split("<section id=")[:3])
    assert "and cannot show" in header.split("</h1>")[1].split(". ")[0]
    assert (
        f'<th scope="row">{BASE}</th>' in numbers.split("<p")[0]
    )  # the table is the first thing in its section
    assert BASE in pictures
    assert "<img" in pictures
    trained = page.split('<section id="making">')[1]
    assert BASE not in trained
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


def test_without_imagenet_weights_it_says_what_is_missing_and_starts_from_random_ones(
    monkeypatch: pytest.MonkeyPatch,
):
    said: list[str] = []
    assert demo_recipe(said.append).model.weights == "imagenet"
    assert said == []
    gone = {name: replace(package, distribution=f"no-{name}") for name, package in packaged.PACKAGES.items()}
    monkeypatch.setattr(packaged, "PACKAGES", gone)
    assert demo_recipe(said.append) == load_recipe("demo")
    assert len(said) == 1
    assert "pip install 'intraclip[weights]'" in said[0]


def test_a_demo_that_was_begun_goes_on_with_its_own_recipe(
    tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(demo, "BENCHMARK", SMALL)
    recipe = replace(tiny_recipe, batch=replace(tiny_recipe.batch, clips=2))
    view = View(say=lambda text: None, training=silent, progress=no_bar)  # type: ignore[arg-type]
    first = run_demo(tmp_path / "demo", view, recipe=recipe)
    (tmp_path / "demo/model-4/model.safetensors").unlink()
    again = run_demo(tmp_path / "demo", view, resume=True)
    assert again.scores == first.scores


@pytest.mark.slow
def test_the_shipped_demo_beats_its_baselines(tmp_path: Path):
    view = View(say=print, training=silent, progress=no_bar)  # type: ignore[arg-type]
    scores = run_demo(tmp_path / "demo", view).scores
    baselines = max(scores[name]["rank1"] for name in ("Colour histograms", "Network before training"))
    assert scores["Model 1: TAP, asynchronous"]["rank1"] > 2 * baselines
    assert scores["Model 4: ICA, synchronous (SDA)"]["rank1"] > baselines
    assert scores[BASE]["rank1"] > 0.5
