"""Runs of which only a few small files were kept count as done; and tables of what is finished so far."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from intraclip.cli.main import main
from intraclip.core.files import write_json
from intraclip.errors import ConfigError, DataError
from intraclip.lab.reproduce.plan import KEPT, SCORES_FILE
from intraclip.lab.reproduce.results import table_result
from intraclip.lab.reproduce.run import Plan, plan
from intraclip.lab.reproduce.scales import Settings
from intraclip.metrics.distance import Distance
from intraclip.studio import BenchmarkConfig, make_benchmark
from lab.reproduce.tiny import make, mars, planned, write_recipe

TWO_ROWS = ("model-1", "model-2")


def result_of(found: Plan, distance: Distance = "euclidean") -> dict:
    settings = replace(found.settings, distance=distance)
    return table_result(found.plans[0], settings, recipe="tiny", say=lambda text: None)


def settings(folder: Path, data: Path, *, finished: bool = False, seeds: int = 1) -> Settings:
    return Settings(
        experiment="table1",
        scale="smoke",
        out=folder / "out",
        data=(data,),
        seeds=seeds,
        only=TWO_ROWS,
        recipe=str(write_recipe(folder)),
        finished=finished,
    )


def keep(folder: Path) -> None:
    """Delete what a repository does not hold."""
    for path in folder.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered") / "mars"
    config = BenchmarkConfig(
        identities=16, cameras=2, tracklets_per_camera=(1, 1), frames=(2, 2), height=64, width=32
    )
    make_benchmark(out, config, workers=1)
    return out


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, rendered: Path) -> Path:
    """Two rows of Table 1 with a seed each, and their table; on rendered people."""
    folder = tmp_path_factory.mktemp("scored")
    for run in plan(settings(folder, rendered)).runs:
        make(run)
    write_json(folder / "table.json", result_of(plan(settings(folder, rendered))))
    return folder


@pytest.fixture
def kept(scored: Path, tmp_path: Path) -> Path:
    """The same, of which only the small files are there."""
    shutil.copytree(scored, tmp_path / "kept")
    for run in (tmp_path / "kept" / "out" / "runs").glob("*/*/*"):
        keep(run) if run.is_dir() else None
    return tmp_path / "kept"


def test_the_kept_files_make_the_same_table(kept: Path, rendered: Path):
    found = plan(settings(kept, rendered))
    assert [run.state for run in found.runs] == ["done", "done"]
    before = json.loads((kept / "table.json").read_text())
    after = json.loads(json.dumps(result_of(found)))
    assert after["rows"] == before["rows"]
    assert after["claims"] == before["claims"]
    # Every query is in a group of the nuisance table, which needs the data and not the networks.
    assert after["datasets"] == before["datasets"]


def test_a_run_that_misses_one_of_the_files_is_not_done(kept: Path, rendered: Path):
    runs = plan(settings(kept, rendered)).runs
    (runs[0].folder / "metrics.jsonl").unlink()
    assert [run.state for run in plan(settings(kept, rendered)).runs] == ["interrupted", "done"]


def test_what_cannot_be_scored_again_says_so(kept: Path, rendered: Path):
    with pytest.raises(DataError, match=r"holds scores by mars-full and euclidean.*were not kept.*cosine"):
        result_of(plan(settings(kept, rendered)), "cosine")


def other_machine(kept: Path, rendered: Path, **changes: object) -> Path:
    """The data as another machine renders them: bytes differ in a bit; and what else is to be different."""
    data = kept / "data"
    shutil.copytree(rendered, data)
    told = json.loads((data / "benchmark.json").read_text())
    write_json(data / "benchmark.json", {**told, "sha256": "0" * 64, **changes})
    return data


def test_frames_rendered_by_the_same_settings_elsewhere_are_the_same_data(kept: Path, rendered: Path):
    found = plan(settings(kept, other_machine(kept, rendered)))
    assert [run.state for run in found.runs] == ["done", "done"]


def test_frames_of_another_renderer_are_other_data(kept: Path, rendered: Path):
    with pytest.raises(DataError, match="trained on other data"):
        plan(settings(kept, other_machine(kept, rendered, renderer_version=99)))


def test_runs_of_two_machines_are_told(kept: Path, rendered: Path):
    runs = plan(settings(kept, rendered)).runs
    scores = json.loads((runs[0].folder / SCORES_FILE).read_text())
    write_json(
        runs[0].folder / SCORES_FILE, {**scores, "rendered": {**scores["rendered"], "sha256": "1" * 64}}
    )
    assert any("not the same checksum" in note for note in result_of(plan(settings(kept, rendered)))["notes"])


def test_a_table_of_what_is_finished_says_how_much_that_is(scored: Path, rendered: Path):
    found = plan(settings(scored, rendered, finished=True, seeds=3))
    assert [run.state for run in found.runs] == ["done", "done"]
    (also,) = [run for run in plan(settings(scored, rendered, seeds=2)).runs if run.recipe.seed == 1][:1]
    make(also)
    command = [
        "reproduce",
        "table1",
        "--scale",
        "smoke",
        "--data",
        str(rendered),
        "--seeds",
        "3",
        "--finished",
    ]
    command += ["--recipe", str(scored / "recipe.toml"), "--out", str(scored / "out")]
    assert main(command) == 0
    text = (scored / "out" / "table1.md").read_text()
    assert "trainings by row so far: model-1 2, model-2 1, model-3 0, model-4 0" in text
    assert "SDA helps the baseline" in text
    assert "ICA helps the baseline" not in text


def test_nothing_finished_is_refused(tmp_path: Path):
    data = mars(tmp_path)
    planned(tmp_path, "table1", data)
    with pytest.raises(ConfigError, match=r"no run of table1 in .* is finished"):
        plan(settings(tmp_path, data, finished=True))
