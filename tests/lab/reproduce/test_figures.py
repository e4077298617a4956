"""Figures 1 and 3: known maps, known groups, and real drawings of tiny networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from intraclip.config import InputConfig, ModelConfig
from intraclip.data.readers.mars import read_mars
from intraclip.errors import ConfigError, DataError
from intraclip.lab.reproduce import fig1, fig1_scenes, fig3
from intraclip.lab.reproduce.figures import FigureResult
from intraclip.models.checkpoint import load_model, model_file, read_checkpoint
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint
from intraclip.report.gradcam import activation_maps, area_of_half, evenness, grid, share_inside
from intraclip.studio import BenchmarkConfig, make_benchmark
from intraclip.train.loop import train
from intraclip.types import Split
from report.report_world import make_recipe

PEOPLE = BenchmarkConfig(
    identities=12, cameras=2, seed=2, tracklets_per_camera=(1, 1), frames=(5, 8), distractors=1, junk=1,
    height=64, width=32,
)  # fmt: skip


class Made(NamedTuple):
    split: Split
    tap: list[Path]
    ica: list[Path]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from a second thread, and threads that wait for each other burn time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two seeds of TAP and of ICA, trained for a moment on rendered people; read only."""
    folder = tmp_path_factory.mktemp("figures")
    make_benchmark(folder / "bench", PEOPLE, workers=1)
    split = read_mars(folder / "bench")
    runs: dict[str, list[Path]] = {"tap": [], "ica": []}
    for head, found in runs.items():
        for seed in (0, 1):
            run = folder / f"{head}-{seed}"
            train(replace(make_recipe(head=head), seed=seed), data=split, out=run)
            found.append(run)
    return Made(split, runs["tap"], runs["ica"])


@pytest.fixture(scope="module")
def drawn1(made: Made, tmp_path_factory: pytest.TempPathFactory) -> FigureResult:
    return fig1.draw(
        {"TAP": made.tap, "ICA": made.ica},
        made.split,
        tmp_path_factory.mktemp("fig1"),
        measured=9,
    )


@pytest.fixture(scope="module")
def drawn3(made: Made, tmp_path_factory: pytest.TempPathFactory) -> FigureResult:
    runs = {"asynchronous": made.tap, "synchronous": made.ica}
    return fig3.draw(runs, made.split, tmp_path_factory.mktemp("fig3"), identities=3, frames=4, draws=3)


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of few pixels: drawn and written as ever, in a tenth of the time."""
    monkeypatch.setattr(fig1, "DPI", 40)
    monkeypatch.setattr(fig3, "DPI", 40)


def numbers(found: FigureResult) -> dict[str, dict[str, float]]:
    return {m.key: {name: series.mean for name, series in m.runs.items()} for m in found.measures}


# -- maps of known shape -----------------------------------------------------------------------------------


def test_concentration_of_known_maps() -> None:
    even = np.ones((2, 16, 8), np.float32)
    assert (area_of_half(even), evenness(even)) == (0.5, pytest.approx(1))
    quarter = np.zeros((1, 16, 8), np.float32)
    quarter[:, :4] = 1
    assert area_of_half(quarter) == pytest.approx(1 / 8)
    assert evenness(quarter) == pytest.approx(np.log(32) / np.log(128))
    point = np.zeros((1, 16, 8), np.float32)
    point[0, 3, 3] = 1
    assert (area_of_half(point), evenness(point)) == (1 / 128, 0)


def test_concentration_does_not_depend_on_scale_or_place() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((3, 16, 8)).astype(np.float32) ** 4
    moved = np.stack([rng.permutation(frame.ravel()).reshape(16, 8) for frame in maps]) * np.float32(0.01)
    assert area_of_half(moved) == pytest.approx(area_of_half(maps), abs=1 / 128)
    assert evenness(moved) == pytest.approx(evenness(maps), abs=1e-6)


def test_no_activation_is_no_number_and_does_not_dilute_other_frames() -> None:
    empty, even = np.zeros((1, 4, 4), np.float32), np.ones((1, 4, 4), np.float32)
    assert np.isnan([area_of_half(empty), evenness(empty)]).all()
    assert area_of_half(np.concatenate([empty, even])) == 0.5


def test_direction_of_a_class_weight_gives_the_map_of_its_logit() -> None:
    size = InputConfig(height=64, width=32)
    for head in ("tap", "ica"):
        config = ModelConfig(backbone="small", weights="", head=head, backbone_settings={"width": 0.5})  # type: ignore[arg-type]
        model = build_embedder(config, size, num_classes=5, seed=1).eval()
        frames = torch.randn(3, 2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
        mask, classes = torch.ones(3, 2, dtype=torch.bool), torch.tensor([4, 0, 2])
        directions = model.classifier.weight.detach()[classes]
        np.testing.assert_allclose(
            activation_maps(model, frames, mask, directions),
            activation_maps(model, frames, mask, classes),
            atol=1e-5,
        )


def test_an_earlier_layer_gives_finer_maps_and_an_unknown_one_is_named() -> None:
    config = ModelConfig(backbone="resnet18", weights="", head="tap", backbone_settings={"width": 0.125})
    model = build_embedder(config, InputConfig(height=128, width=64), num_classes=2, seed=1).eval()
    assert grid(model, 128, 64) == (4, 2)
    assert grid(model, 128, 64, layer="layer3") == (8, 4)
    frames, mask = torch.randn(1, 2, 3, 128, 64), torch.ones(1, 2, dtype=torch.bool)
    maps = activation_maps(model, frames, mask, torch.tensor([0]), layer="layer3")
    assert maps.shape == (1, 2, 128, 64)
    with pytest.raises(ConfigError, match=r"layer 'layer9'.*resnet18.*layer4"):
        grid(model, 128, 64, layer="layer9")


# -- Fig. 1 ------------------------------------------------------------------------------------------------


def test_fig1_draws_a_picture_and_its_numbers(drawn1: FigureResult) -> None:
    with Image.open(drawn1.pictures[0]) as picture:
        assert picture.width > 800
        assert len(picture.getcolors(1 << 24) or []) > 1000
    # "small" has maps at 1/16, here 4 x 2; the third convolution gives the 8 x 4 of the paper's network.
    assert drawn1.settings["layers"] == ["blocks.2", "last maps"]
    assert drawn1.settings["grids"] == {"blocks.2": [8, 4], "last maps": [4, 2]}
    assert drawn1.measures[0].key == "test.blocks.2.inside"
    assert {m.key.split(".")[0] for m in drawn1.measures} == {"test", "train"}
    for found in drawn1.measures:
        for series in found.runs.values():
            assert 0 < series.mean <= 1
            assert list(series.per_seed) == [0, 1]
            assert series.deviation is not None
        assert found.seeds.count == 2


def test_fig1_stands_beside_maps_that_know_nothing_and_everything(drawn1: FigureResult) -> None:
    even, middle, best = drawn1.measures[0].references.values()
    assert 0.1 < even < middle < best < 1


def test_results_go_to_json_and_markdown(drawn1: FigureResult, drawn3: FigureResult) -> None:
    for found in (drawn1, drawn3):
        table = json.loads(json.dumps(found.to_json_dict(), allow_nan=False))
        assert table["measures"][0]["runs"].keys() == found.measures[0].runs.keys()
        page = found.page("").markdown()
        assert f"]({found.name}.png)" in page
        rows = [line for line in page.splitlines() if line.startswith("|")]
        assert len(rows) == 2 + len(found.measures)
        assert len({row.count("|") for row in rows}) == 1
        assert "±" in rows[2]


@pytest.mark.usefixtures("small_pictures")
def test_fig1_measures_known_maps(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_the_person(model: object, run: object, scene: fig1_scenes.Scene, *_: object) -> list[np.ndarray]:
        outlines = [scene.outline(i, 64, 32) for i in range(len(scene.clips))]
        return [o.astype(np.float32) for o in outlines if o is not None]

    def everywhere(*given: object) -> list[np.ndarray]:
        return [np.ones_like(m) for m in on_the_person(*given)]  # type: ignore[arg-type]

    runs = {"TAP": made.tap[:1], "ICA": made.ica[:1]}
    for maps, share in ((on_the_person, 1.0), (everywhere, None)):
        monkeypatch.setattr(fig1, "maps_of", maps)
        found = fig1.draw(runs, made.split, tmp_path, measured=6)
        judged = found.measures[0]
        even = judged.references["even map"]
        assert judged.runs["TAP"].mean == pytest.approx(share or even)
        half = numbers(found)["test.blocks.2.half"]["ICA"]
        assert half == pytest.approx(even / 2, abs=0.01) if share else half == 0.5


@pytest.mark.usefixtures("small_pictures")
def test_the_same_run_twice_shows_no_difference(made: Made, tmp_path: Path) -> None:
    runs = {"one": made.tap[:1], "the same": made.tap[:1]}
    for found in (
        fig1.draw(runs, made.split, tmp_path, measured=5),
        fig3.draw(runs, made.split, tmp_path, identities=3, frames=3, draws=2),
    ):
        for m in found.measures:
            assert m.units.value == 0
            assert m.units.p_value == 1
        assert "The claim is not shown" in " ".join(found.caption)
        assert "± " not in found.page("").markdown().split("Where there is one seed")[0]


def test_figures_do_not_depend_on_the_order_of_seeds(
    made: Made, drawn1: FigureResult, tmp_path: Path
) -> None:
    again = fig1.draw({"TAP": made.tap, "ICA": made.ica[::-1]}, made.split, tmp_path, measured=9)
    assert again.to_json_dict() == drawn1.to_json_dict()
    assert again.pictures[0].read_bytes() == drawn1.pictures[0].read_bytes()


@pytest.mark.usefixtures("small_pictures")
def test_fig1_without_silhouettes_says_so(made: Made, tmp_path: Path) -> None:
    real = replace(made.split, root=tmp_path / "elsewhere")  # where no ground truth lies
    found = fig1.draw({"TAP": made.tap[:1], "ICA": made.ica[:1]}, real, tmp_path, measured=4)
    assert not any("inside" in m.key for m in found.measures)
    assert "no silhouettes" in " ".join(found.caption)
    assert found.pictures[0].is_file()


@pytest.mark.usefixtures("small_pictures")
def test_a_network_without_activation_gives_no_numbers_and_no_crash(made: Made, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(model_file(made.tap[0]))
    model = load_model(checkpoint, device=torch.device("cpu"))
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.zero_()
    path = tmp_path / "dead" / "model.safetensors"
    save_checkpoint(path, model, recipe=checkpoint.recipe, pids=checkpoint.pids, epoch=1, step=1)
    runs = {"alive": made.tap[:1], "dead": [path.parent]}
    looked = fig1.draw(runs, made.split, tmp_path, measured=4)
    assert np.isnan(looked.measures[0].runs["dead"].mean)
    assert "hold no activation" in " ".join(looked.caption)
    grouped = fig3.draw(runs, made.split, tmp_path, identities=3, frames=3, draws=1)
    assert numbers(grouped)["clip.silhouette"]["dead"] == 0
    for found in (looked, grouped):
        json.dumps(found.to_json_dict(), allow_nan=False)
        assert "nan" not in found.page("").markdown()


def test_test_people_are_compared_with_their_other_tracklets(made: Made) -> None:
    kinds = fig1.open_runs({"TAP": made.tap, "ICA": made.ica}, made.split)
    test, training = fig1_scenes.make_scenes(kinds, made.split, measured=100)
    pids = {t.name: t.pid for t in made.split.test}
    for tracklet in test.tracklets:
        others = test.others[tracklet.name]
        assert others
        assert tracklet not in others
        assert {pids[o.name] for o in others} == {tracklet.pid}
    first = [t.pid for t in test.tracklets[: len(set(pids.values()) - {0, -1})]]
    assert len(set(first)) == len(first)  # everybody once before anybody twice
    assert {t.name for t in training.tracklets} == {t.name for t in made.split.train}


# -- Fig. 3 ------------------------------------------------------------------------------------------------


def groups(people: float, clips: float, frames: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ten people, two clips of twelve frames: spread of people, of a person's clips, of a clip's frames."""
    rng = np.random.default_rng(0)
    person, clip = np.repeat(np.arange(10), 24), np.tile(np.repeat([0, 1], 12), 10)
    features = people * rng.normal(size=(10, 32))[person]
    features += clips * rng.normal(size=(20, 32))[2 * person + clip]
    features += frames * rng.normal(size=(240, 32))
    return features.astype(np.float32), person + 100, clip


def test_clustering_tells_people_clips_and_scatter_apart() -> None:
    by_person = fig3.clustering(*groups(1, 0, 0.1))
    by_clip = fig3.clustering(*groups(0, 1, 0.1))
    scattered = fig3.clustering(*groups(0.1, 0.1, 1))
    assert by_person["person.silhouette"] > 0.8 > 0.1 > by_person["clip.silhouette"]
    assert by_person["person.nmi"] > 0.95
    assert by_clip["clip.silhouette"] > 0.8 > 0.4 > by_clip["person.silhouette"]
    assert by_clip["clip.nmi"] > 0.95 > by_clip["person.nmi"]
    assert by_clip["clip.scatter"] < 0.02 < 0.8 < scattered["clip.scatter"] < 1
    assert scattered["clip.silhouette"] < 0.05


def test_scatter_of_known_features() -> None:
    pids, clips = np.repeat([1, 2, 3], 4), np.tile([0, 0, 1, 1], 3)
    centres = np.array([-30.0, -30, -30, -30, 0, 0, 0, 0, 30, 30, 30, 30])
    features = (centres + np.tile([1, -1], 6))[:, None].astype(np.float32)
    # Between people 2/3 * 30^2 = 600, inside clips 1.
    assert fig3.clustering(features, pids, clips)["clip.scatter"] == pytest.approx(1 / 601)


def test_clustering_does_not_change_when_features_are_moved_turned_or_scaled() -> None:
    features, pids, clips = groups(0.5, 0.3, 0.4)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(32, 32)))[0]
    moved = (7 * features @ turn + 3).astype(np.float32)
    found, other = (fig3.clustering(f, pids, clips) for f in (features, moved))
    assert found == pytest.approx(other, abs=1e-3)


def test_collapsed_features_are_no_groups() -> None:
    _, pids, clips = groups(1, 1, 1)
    found = fig3.clustering(np.full((240, 8), 0.3, np.float32), pids, clips)
    assert np.isnan(found.pop("clip.scatter"))
    assert set(found.values()) == {0}
    few = np.repeat(np.eye(2, dtype=np.float32), 120, axis=0)  # two vectors for ten people
    assert 0 < fig3.clustering(few, pids, clips)["person.nmi"] < 0.6


def test_draws_of_the_first_shuffle_share_nobody(made: Made) -> None:
    people = len({t.pid for t in made.split.test if t.pid > 0})
    assert people >= 6
    draws = fig3.draw_people(made.split, identities=3, frames=4, draws=5)
    assert len(draws) == 5
    apart = [set(d.pids.tolist()) for d in draws if d.apart]
    assert len(apart) == people // 3
    assert sum(map(len, apart)) == len(set.union(*apart))
    assert all(len(set(d.pids.tolist())) == 3 for d in draws)
    assert len({frozenset(d.pids.tolist()) for d in draws}) > len(apart)  # a new shuffle, not the same again


def test_fig3_draws_a_picture_and_its_numbers(drawn3: FigureResult) -> None:
    with Image.open(drawn3.pictures[0]) as picture:
        assert picture.width > picture.height > 500
    assert [m.key for m in drawn3.measures] == list(fig3.NUMBERS)
    assert drawn3.settings["identities"] == 3
    assert drawn3.settings["draws_that_share_nobody"] == 2
    for found in drawn3.measures:
        for series in found.runs.values():
            assert -1 <= series.mean <= 1
            assert list(series.per_seed) == [0, 1]
        assert found.units.count == 2
        assert found.seeds.count == 2


@pytest.mark.usefixtures("small_pictures")
def test_fewer_people_than_wanted_are_said(made: Made, tmp_path: Path) -> None:
    runs = {"asynchronous": made.tap[:1], "synchronous": made.ica[:1]}
    found = fig3.draw(runs, made.split, tmp_path, identities=50, frames=4, draws=2)
    people = len({t.pid for t in made.split.test if t.pid > 0})
    assert found.settings["identities"] == people
    assert f"of {people} people of test" in found.caption[0]
    assert "no test over draws" in " ".join(found.caption)


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [fig1.draw, fig3.draw])
def test_too_few_people_are_refused(made: Made, tmp_path: Path, draw: object) -> None:
    one = made.split.query[0]
    alone = replace(made.split, query=(one,), gallery=())
    with pytest.raises(DataError, match=r"(people|person) of test"):
        draw({"a": made.tap, "b": made.ica}, alone, tmp_path)  # type: ignore[operator]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("draw", [fig1.draw, fig3.draw])
def test_runs_that_cannot_be_compared_are_refused(made: Made, tmp_path: Path, draw: object) -> None:
    swapped = replace(made.split, train=(), query=made.split.train, gallery=())
    for runs, split, words in (
        ({"a": made.tap}, made.split, "two kinds of run"),
        ({"a": made.tap, "b": []}, made.split, "no run of b"),
        ({"a": made.tap, "b": [made.ica[0]] * 2}, made.split, "each seed may occur once"),
        ({"a": made.tap, "b": made.ica}, swapped, "was trained on"),
    ):
        with pytest.raises(DataError, match=words):
            draw(runs, split, tmp_path)  # type: ignore[operator]
    assert not list(tmp_path.iterdir())


def test_share_inside_of_a_known_map() -> None:
    maps, people = np.zeros((2, 4, 4), np.float32), np.zeros((2, 4, 4), bool)
    maps[0, 0], maps[1, 3] = 3, 1
    people[0, 0] = True
    assert share_inside(maps, people) == 0.75
    assert share_inside(10 * maps, people) == 0.75
