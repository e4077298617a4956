"""Train on one miniature data set, test on another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from data.miniature import write_ilids_vid, write_manifest, write_prid2011
from intraclip.config import (
    BatchConfig,
    ClipConfig,
    DataConfig,
    InputConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    RunConfig,
)
from intraclip.data.readers import num_splits, read_split
from intraclip.embed.evaluate import evaluate, evaluate_splits
from intraclip.errors import ConfigError, DataError, DeviceError, IntraclipError, OutputError
from intraclip.lab.cross import (
    PRINTED_SOURCE,
    CrossRun,
    EvaluationSettings,
    cross_dataset,
    cross_runs,
    page,
    printed_row,
)
from intraclip.lab.reproduce.statistics import student
from intraclip.lab.splits import parse_splits
from intraclip.lab.view import View as LabView
from intraclip.train.loop import Silent, Watcher
from intraclip.types import Split, Tracklet

PEOPLE = range(1, 9)
RECIPE = Recipe(
    seed=3,
    device="cpu",
    input=InputConfig(height=32, width=16),
    clip=ClipConfig(num_frames=2),
    batch=BatchConfig(identities=3, clips=2),
    model=ModelConfig(backbone="small", weights="", backbone_settings={"width": 0.5}),
    optimizer=OptimizerConfig(epochs=2, learning_rate=2e-3),
    data=DataConfig(workers=0),
    run=RunConfig(checkpoint_every=1, tensorboard=False),
)


class Stop(Exception):
    """A power cut."""


class Recorder(Silent):
    """Counts steps; cuts the power at one of them."""

    def __init__(self, view: View, name: str) -> None:
        self.view, self.name = view, name

    def step(self, *, step: int, **_: object) -> None:
        self.view.steps.append((self.name, step))
        if (self.name, step) == self.view.stop_at:
            raise Stop


class View:
    def __init__(self, stop_at: tuple[str, int] | None = None) -> None:
        self.steps: list[tuple[str, int]] = []
        self.said: list[str] = []
        self.stop_at = stop_at

    def watcher(self, name: str) -> AbstractContextManager[Watcher]:
        return nullcontext(Recorder(self, name))

    def view(self) -> LabView:
        return LabView(say=self.said.append, training=self.watcher)


def halves(test: Sequence[int]) -> dict[str, list[str]]:
    return {
        "train": [f"person_{pid:04d}" for pid in PEOPLE if pid not in test],
        "test": [f"person_{pid:04d}" for pid in test],
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ilids` with three splits, `prid` with two, eight people in each."""
    root = tmp_path_factory.mktemp("cross")
    rows = ([3, 1, 4, 2, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1])
    write_ilids_vid(root / "ilids", pids=PEOPLE, splits=rows)
    write_prid2011(
        root / "prid",
        pids=PEOPLE,
        frames=3,
        only_in_a=(),
        splits=[halves([1, 2, 3, 4]), halves([2, 4, 6, 8])],
    )
    return root


@pytest.fixture
def recipe() -> Recipe:
    return RECIPE


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation: three training splits, two test splits."""
    out = tmp_path_factory.mktemp("finished") / "out"
    cross_dataset(data / "ilids", data / "prid", RECIPE, out)
    return out


def test_every_pair_of_splits_is_scored(data: Path, finished: Path):
    result = json.loads((finished / "cross.json").read_text())
    assert [(p["train_split"], p["test_split"]) for p in result["pairs"]] == [
        (a, b) for a in range(3) for b in range(2)
    ]
    # The same as testing run by run and split by split.
    for pair in result["pairs"][1::4]:
        alone = evaluate(
            Path(pair["run"]) / "model.safetensors",
            data=read_split(data / "prid", split=pair["test_split"]),
        )
        for name in ("rank1", "mAP", "mINP"):
            assert pair[name] == pytest.approx(alone["scores"]["prid2011"][name])
        assert pair["queries"] == 4
        assert pair["queries_without_match"] == 0
    assert (result["protocol"], result["distance"]) == ("prid2011", "euclidean")
    assert result["train"]["splits"] == [0, 1, 2]
    assert not (finished / "split-00" / "evaluation.json").exists()


def test_means_and_deviations_are_those_of_the_pairs(finished: Path):
    result = json.loads((finished / "cross.json").read_text())
    values = [pair["mAP"] for pair in result["pairs"]]
    found = result["summary"]["mAP"]
    assert found["mean"] == pytest.approx(fmean(values))
    assert found["deviation"] == pytest.approx(stdev(values))
    rows = [values[0:2], values[2:4], values[4:6]]
    assert found["between_train_splits"] == pytest.approx(stdev([fmean(row) for row in rows]))
    assert found["between_test_splits"] == pytest.approx(stdev([fmean(c) for c in zip(*rows, strict=True)]))
    assert result["by_run"][1]["mAP"]["mean"] == pytest.approx(fmean(rows[1]))
    sure = student([fmean(row) for row in rows], overlap=1.0)  # as in the tables of `reproduce`
    assert (found["low"], found["high"], found["trainings"]) == (sure.low, sure.high, 3)
    text = (finished / "cross.md").read_text()
    assert "deviation between 3 training splits" in (finished / "cross.html").read_text()
    assert text == page(result).markdown()
    assert f"| all 6 pairs | {100 * result['summary']['rank1']['mean']:.1f} ± " in text
    assert "deviation between 3 training splits" in text
    assert "sample standard deviation (n - 1) over all pairs" in text
    assert "protocol prid2011, distance euclidean, test clips dense of 2 frames" in text
    scattered = {m: {**summed, "low": 0.25, "high": 1.25} for m, summed in result["summary"].items()}
    text = page({**result, "summary": scattered}).markdown()
    assert "| 95 % interval over 3 trainings | 25.0 to 100.0 |" in text


def test_the_papers_row_stands_beside_the_published_data_sets_alone(finished: Path):
    result = json.loads((finished / "cross.json").read_text())
    assert result["printed"] is None
    assert "not the published data sets, so the paper's row is left out" in result["notes"][0]
    assert "iLIDS-VID, published: 150 training pids; split-00 has 4" in result["notes"][0]

    def tracklets(pids: range, camid: int) -> tuple[Tracklet, ...]:
        return tuple(
            Tracklet(name=f"{camid}-{pid}", root=finished, frames=("a.png",), pid=pid, camid=camid)
            for pid in pids
        )

    prid = Split(
        dataset="prid2011",
        root=finished,
        train=tracklets(range(1, 90), 1) + tracklets(range(1, 90), 2),
        query=tracklets(range(100, 189), 1),
        gallery=tracklets(range(100, 189), 2),
        protocol="prid2011",
    )
    run = CrossRun(folder=finished, dataset="ilids-vid", root="", split=0, identities=150)
    printed, notes = printed_row([run], [prid])
    assert printed == {"source": PRINTED_SOURCE, "rank1": 0.416, "rank5": 0.719, "rank20": 0.921}
    assert "the paper does not say which splits" in notes[0]
    text = page({**result, "printed": printed, "notes": notes}).markdown()
    assert f"| {PRINTED_SOURCE} | 41.6 | 71.9 | 92.1 | not printed |" in text
    assert printed_row([replace(run, dataset="mars")], [prid]) == (None, [])


def test_rendered_people_are_said_to_be_rendered(data: Path, tmp_path: Path):
    for name in ("ilids", "prid"):
        shutil.copytree(data / name, tmp_path / name)
        (tmp_path / name / "benchmark.json").write_text('{"config": {"seed": 4}}')
    test = read_split(tmp_path / "prid")
    train = read_split(tmp_path / "ilids")
    run = CrossRun(folder=tmp_path, dataset=train.dataset, root=str(train.root), split=0, identities=150)
    printed, notes = printed_row([run], [test])
    assert printed is None
    assert "rendered people (benchmark-ilids-vid and benchmark-prid2011)" in notes[0]
    assert "rendered with the same seed" in notes[1]
    (tmp_path / "ilids/benchmark.json").write_text('{"config": {"seed": 5}}')
    assert len(printed_row([run], [test])[1]) == 1


def test_resuming_trains_only_what_is_missing(data: Path, finished: Path, recipe: Recipe, tmp_path: Path):
    out = tmp_path / "out"
    cut = View(stop_at=("split-01", 2))
    with pytest.raises(Stop):
        cross_dataset(data / "ilids", data / "prid", recipe, out, view=cut.view())
    assert not (out / "cross.json").exists()
    with pytest.raises(
        OutputError, match="not empty; choose another --out, or continue that one with --resume"
    ):
        cross_dataset(data / "ilids", data / "prid", recipe, out)
    again = View()
    result = cross_dataset(data / "ilids", data / "prid", recipe, out, resume=True, view=again.view())
    assert again.steps == [("split-01", 2), ("split-02", 1), ("split-02", 2)]
    assert "is trained already and is used as it is" in again.said[0]
    whole = json.loads((finished / "cross.json").read_text())
    assert result["summary"] == whole["summary"]
    # With other settings, or on other people, nothing goes on.
    other = replace(recipe, seed=9)
    with pytest.raises(
        ConfigError, match=r"(?s)3 run folders hold something else.*another recipe \(seed: 3 -> 9\).*split-00"
    ):
        cross_dataset(data / "ilids", data / "prid", other, out, resume=True)
    write_ilids_vid(tmp_path / "others", pids=range(11, 19), splits=[[3, 1, 4, 2, 5, 6, 7, 8]] * 3)
    with pytest.raises(DataError, match=r"(?s)trained on other data than .*others.*split-00"):
        cross_dataset(tmp_path / "others", data / "prid", recipe, out, resume=True)
    (out / "split-02" / "config.toml").unlink()
    with pytest.raises(OutputError, match=r"(?s)not empty, and not a run folder.*split-02"):
        cross_dataset(data / "ilids", data / "prid", recipe, out, resume=True)


@pytest.mark.parametrize(
    ("remove", "options", "message"),
    [
        ("ilids/train-test people splits", {}, "training data: iLIDS-VID in .*the split file is missing"),
        ("ilids/i-LIDS-VID/sequences/cam2", {}, "training data, split 0, 1, 2: .*person001 is only in cam1"),
        ("prid/prid_2011/multi_shot/cam_b", {}, "test data, split 0, 1: PRID-2011: cam_b missing"),
        (
            "prid/prid_2011/multi_shot/cam_a/person_0006",
            {},
            "test data, split 0: .*cam_a/person_0006 is missing",
        ),
        ("prid", {}, "the data folder .* does not exist"),
        (None, {"splits": (0, 7)}, r"training data, split 7: .*no split 7; there are 3, 0 to 2"),
        (None, {"test_splits": (2,)}, r"test data, split 2: .*no split 2; there are 2, 0 to 1"),
    ],
)
def test_missing_data_is_named_before_anything_is_trained(
    data: Path, recipe: Recipe, tmp_path: Path, remove: str | None, options: dict[str, Any], message: str
):
    shutil.copytree(data, tmp_path / "data")
    if remove is not None:
        shutil.rmtree(tmp_path / "data" / remove)
    with pytest.raises(DataError, match=rf"(?s)nothing was trained.*{message}"):
        cross_dataset(tmp_path / "data/ilids", tmp_path / "data/prid", recipe, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_with_both_folders_comes_at_once(data: Path, recipe: Recipe, tmp_path: Path):
    shutil.copytree(data, tmp_path / "data")
    shutil.rmtree(tmp_path / "data/prid/prid_2011/multi_shot/cam_b")
    many = replace(recipe, batch=replace(recipe.batch, identities=5))
    with pytest.raises(DataError) as caught:
        cross_dataset(tmp_path / "data/ilids", tmp_path / "data/prid", many, tmp_path / "out")
    text = str(caught.value)
    assert text.count("a batch needs 5 identities, the training set has 4") == 3
    assert "cam_b missing" in text


def test_what_cannot_work_is_refused_before_anything_is_trained(data: Path, recipe: Recipe, tmp_path: Path):
    def refused(error: type[IntraclipError], message: str, train: str, test: str, **options: Any) -> None:
        settings = EvaluationSettings(protocol=options.pop("protocol", None))
        own = options.pop("recipe", recipe)
        with pytest.raises(error, match=message):
            cross_dataset(data / train, data / test, own, tmp_path / "out", settings=settings, **options)
        assert not (tmp_path / "out").exists()

    refused(ConfigError, "are one data set", "ilids", "ilids/i-LIDS-VID")
    refused(ConfigError, "protocol 'all' is not one of", "ilids", "prid", protocol="all")
    refused(DeviceError, "'tpu' is", "ilids", "prid", recipe=replace(recipe, device="tpu"))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file, a folder is needed"):
        cross_dataset(data / "ilids", data / "prid", recipe, tmp_path / "file", resume=True)
    one_camera = (
        {"tracklet": f"{subset}1", "pid": 1, "camid": 1, "subset": subset} for subset in ("query", "gallery")
    )
    write_manifest(tmp_path / "one", tuple(one_camera))
    with pytest.raises(
        DataError, match=r"test data .* none of the 1 queries has a right answer in another camera"
    ):
        cross_dataset(data / "ilids", tmp_path / "one", recipe, tmp_path / "out")


def test_two_processes_do_not_train_into_one_folder(data: Path, tmp_path: Path):
    """The second would take the runs of the first for its own, interrupted ones."""
    out, refused = tmp_path / "out", []

    class Second(Silent):
        def step(self, **_: Any) -> None:
            with pytest.raises(OutputError, match="another process is at work on"):
                cross_dataset(data / "ilids", data / "prid", RECIPE, out, resume=True)
            refused.append(True)
            raise Stop

    view = LabView(training=lambda _: nullcontext(Second()))
    with pytest.raises(Stop):
        cross_dataset(data / "ilids", data / "prid", RECIPE, out, view=view)
    assert refused == [True]
    assert not (out / "lock").exists()


def test_existing_runs_are_tested_without_training(data: Path, finished: Path, tmp_path: Path):
    runs = [finished / "split-00", finished / "split-01", finished / "split-02"]
    view = View()
    result = cross_runs(runs, data / "prid", out=tmp_path / "out", view=view.view())
    assert view.steps == []
    whole = json.loads((finished / "cross.json").read_text())
    assert result["summary"] == whole["summary"]
    assert result["train"] == whole["train"]
    assert json.loads((tmp_path / "out/cross.json").read_text()) == json.loads(json.dumps(result))
    before = sorted(p.name for p in finished.iterdir())
    alone = cross_runs([runs[0] / "model.safetensors"], data / "prid", test_splits=[1])
    assert sorted(p.name for p in finished.iterdir()) == before
    assert alone["train"]["dataset"] == "unknown"
    assert alone["summary"]["rank1"]["deviation"] is None
    assert "±" not in page(alone).markdown().split("Trained on unknown, tested on prid2011;")[0]
    # Another run of the same split, such as another seed, is told apart by its name.
    shutil.copytree(runs[0], tmp_path / "seed-2")
    twins = cross_runs([runs[0], tmp_path / "seed-2"], data / "prid")
    assert "seed-2, training split 0 (2 test splits)" in page(twins).markdown()
    with pytest.raises(ConfigError, match="named twice"):
        cross_runs([runs[0], runs[0]], data / "prid")
    with pytest.raises(ConfigError, match="at least one run"):
        cross_runs([], data / "prid")
    with pytest.raises(ConfigError, match="which is the test data set"):
        cross_runs(runs, data / "ilids")
    with pytest.raises(ConfigError, match=r"several data sets \(ilids-vid, unknown\)"):
        cross_runs([runs[0], runs[1] / "model.safetensors"], data / "prid")


def test_runs_that_differ_or_stopped_early_are_noted(
    data: Path, finished: Path, recipe: Recipe, tmp_path: Path
):
    other = replace(recipe, seed=9, run=replace(recipe.run, checkpoint_every=1))
    with pytest.raises(Stop):
        cross_dataset(
            data / "ilids", data / "prid", other, tmp_path / "b", view=View(stop_at=("split-00", 2)).view()
        )
    result = cross_runs([finished / "split-00", tmp_path / "b/split-00"], data / "prid")
    text = " ".join(result["notes"])
    assert "is not trained to its end: epoch 1 of 2" in text
    assert "the runs differ in seed" in text


def test_shared_tracklets_are_embedded_once(data: Path, finished: Path):
    splits = [read_split(data / "prid", split=i) for i in range(num_splits(data / "prid"))]
    seen: list[tuple[int, int]] = []
    found = evaluate_splits(
        finished / "split-00",
        splits,
        distance="cosine",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(found.scores) == 2
    assert {s.distance for s in found.scores} == {"cosine"}
    frames = sum({t.name: len(t) for split in splits for t in split.test}.values())
    assert seen[-1] == (frames, frames)
    empty = replace(splits[0], query=(), gallery=())
    with pytest.raises(DataError, match="holds no test tracklets"):
        evaluate_splits(finished / "split-00", [splits[0], empty])


def test_numbers_of_splits():
    assert parse_splits("all") is None
    assert parse_splits(" 2, 0") == (2, 0)
    for text in ("", "1,,2", "-1", "one"):
        with pytest.raises(ConfigError, match="give `all`, or numbers from 0"):
            parse_splits(text)
    with pytest.raises(ConfigError, match="a number stands there twice"):
        parse_splits("1,1")
