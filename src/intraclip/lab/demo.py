"""The whole method at a small size: render, train two models, evaluate, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from intraclip.config import Augmentation, Head, Recipe
from intraclip.config_io import load_recipe
from intraclip.core.devices import choose_device
from intraclip.core.files import write_json
from intraclip.data.readers import read_split
from intraclip.embed.evaluate import evaluate_run, protocols_for, score_all
from intraclip.embed.extract import embed_split, with_ids
from intraclip.errors import OutputError, leaving_nothing, require_empty_folder
from intraclip.lab.baselines import colour_histograms
from intraclip.metrics.ranking import Scores
from intraclip.models.embedder import build_embedder
from intraclip.report.page import write_report
from intraclip.studio import BenchmarkConfig, make_benchmark
from intraclip.train.loop import Watcher, train
from intraclip.types import Split, count_pids

BENCHMARK = BenchmarkConfig(identities=96, cameras=3, tracklets_per_camera=(1, 2), frames=(8, 16))
"""Small enough for a minute of rendering; the recipe `demo` fits it."""


class Model(NamedTuple):
    """One row of the paper's Table 1: its name in the report, its head, its augmentation."""

    name: str
    head: Head
    augmentation: Augmentation


MODELS = {
    "model-1": Model("Model 1: TAP, asynchronous", "tap", "asynchronous"),
    "model-4": Model("Model 4: ICA, synchronous (SDA)", "ica", "synchronous"),
}
"""Run folder -> model."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo reached.

    Attributes:
        report: the page.
        scores: name -> scores as of `Scores.to_json_dict`, baselines first.
        identities: training people.
        tracklets: test tracklets.
    """

    report: Path
    scores: dict[str, dict[str, Any]]
    identities: int
    tracklets: int


@dataclass(frozen=True, kw_only=True)
class DemoView:
    """How the demo shows its progress.

    Attributes:
        say: takes a line of text.
        training: makes a watcher for a training run of that name.
        progress: makes a function of (done, total) for a task of that name.
    """

    say: Callable[[str], None]
    training: Callable[[str], AbstractContextManager[Watcher]]
    progress: Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def run_demo(
    out: Path, view: DemoView, *, seed: int = 0, resume: bool = False, recipe: Recipe | None = None
) -> DemoResult:
    """Render a small benchmark, train model 1 and model 4, score both and two baselines, write the report.

    Args:
        out: folder for data, runs and report.html; must be empty or absent unless resuming.
        view: shows the progress.
        seed: of benchmark, weights and training.
        resume: keep what an interrupted demo in `out` finished.
        recipe: instead of the shipped recipe `demo`; its head and augmentation are replaced.

    Raises:
        OutputError: `out` is not empty.
    """
    if not resume:
        require_empty_folder(out, remedy="choose another --out, or continue that demo with --resume")
    split = _data(out / "data", view, seed=seed)
    base = replace(recipe or load_recipe("demo"), seed=seed)
    recipes = {
        folder: replace(
            base,
            model=replace(base.model, head=model.head),
            augment=replace(base.augment, mode=model.augmentation),
        )
        for folder, model in MODELS.items()
    }
    view.say("scoring the baselines: colour histograms, and the network before training")
    baselines = {name: s.to_json_dict() for name, s in _baselines(split, recipes["model-1"], view).items()}
    write_json(out / "baselines.json", baselines)
    scores = dict(baselines)
    for folder, model in MODELS.items():
        run = out / folder
        if not (run / "model.safetensors").is_file():
            view.say(f"training {model.name}")
            with view.training(folder) as watcher:
                train(split, recipes[folder], run, resume=(run / "config.toml").is_file(), watcher=watcher)
        with view.progress(f"embedding with {folder}") as update:
            result = evaluate_run(run, split, progress=update)
        scores[model.name] = result["scores"][split.protocol]
    view.say("drawing the report")
    report = write_report(
        out / "report.html",
        runs={model.name: out / folder for folder, model in MODELS.items()},
        split=split,
        title="Intra-Clip Aggregation and Synchronous Data Augmentation: the demo",
        baselines=baselines,
        note="Rendered people, minutes of training on a CPU: this shows how the method works, not how well. "
        "One seed: another one, or other people, would move these numbers.",
        seed=seed,
    )
    return DemoResult(
        report=report, scores=scores, identities=count_pids(split.train), tracklets=len(split.test)
    )


def _data(folder: Path, view: DemoView, *, seed: int) -> Split:
    made = folder / "benchmark.json"
    if made.is_file():
        found = json.loads(made.read_text(encoding="utf-8"))["config"]["seed"]
        if found != seed:
            raise OutputError(f"{folder} was rendered with seed {found}, not {seed}; choose another --out")
    else:
        if folder.is_dir() and any(folder.iterdir()):
            raise OutputError(
                f"{folder} holds a benchmark that was interrupted; delete it, or choose another --out"
            )
        view.say(f"rendering {BENCHMARK.identities} people in {BENCHMARK.cameras} cameras")
        with leaving_nothing(folder), view.progress("rendering frames") as update:
            make_benchmark(folder, replace(BENCHMARK, seed=seed), progress=update)
    return read_split(folder)


def _baselines(split: Split, recipe: Recipe, view: DemoView) -> dict[str, Scores]:
    untrained = build_embedder(
        recipe.model, recipe.input, num_classes=count_pids(split.train), seed=recipe.seed
    ).to(choose_device(recipe.device))
    with view.progress("embedding, untrained") as update:
        embeddings = {
            "Colour histograms": with_ids(colour_histograms(split.test), split),
            "Untrained network": embed_split(untrained, split, recipe, progress=update),
        }
    protocols = protocols_for(split, None)
    return {
        name: score_all(found, protocols, distance="euclidean")[split.protocol]
        for name, found in embeddings.items()
    }
