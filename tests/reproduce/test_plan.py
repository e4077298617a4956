"""Which runs there are, which of them are done, and what is refused before anything starts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from data.miniature import write_mars
from intraclip.cli.main import main
from intraclip.config_io import dump_recipe
from intraclip.data.readers import read_split
from intraclip.engine.evaluate import evaluate_run
from intraclip.engine.train import train
from intraclip.errors import ConfigError, DataError, OutputError
from intraclip.reproduce.estimate import duration, estimates
from intraclip.reproduce.plan import command_lines
from intraclip.reproduce.run import Settings, plan
from intraclip.reproduce.work import Slot
from reproduce.tiny import ilids, make, mars, planned, prid, write_recipe


def test_experiments_share_runs(tmp_path: Path):
    data = mars(tmp_path)
    table1 = {run.folder for run in planned(tmp_path, "table1", data, seeds=2).runs}
    assert len(table1) == 4 * 2
    assert {run.folder for run in planned(tmp_path, "fig1", data, seeds=2).runs} < table1
    together = planned(tmp_path, "ablations", data, seeds=2).runs
    assert len({run.folder for run in together}) == len(together)


def test_seeds_come_before_splits_of_later_seeds(tmp_path: Path):
    runs = planned(tmp_path, "table1", mars(tmp_path), ilids(tmp_path), seeds=2, splits=()).runs
    order = [(run.recipe.seed, run.split) for run in runs]
    assert order == sorted(order)
    assert {run.split for run in runs if run.source.layout == "ilids-vid"} == {0, 1}
    assert {run.split for run in runs if run.source.layout == "mars"} == {0}


def test_commands_make_the_planned_recipe(tmp_path: Path, capsys):
    run = planned(tmp_path, "ablation-sda", mars(tmp_path)).runs[-1]
    assert main(run.train_arguments()) == 0
    again = next(
        r for r in planned(tmp_path, "ablation-sda", tmp_path / "mars").runs if r.folder == run.folder
    )
    assert again.state == "trained"  # its config.toml equals the plan's, or this would have been refused
    assert main(again.evaluate_arguments()) == 0
    assert "mars-full" in capsys.readouterr().out
    done = planned(tmp_path, "ablation-sda", tmp_path / "mars")
    assert [r.state for r in done.runs if r.folder == run.folder] == ["done"]
    assert done.estimated[run.folder] == 0


def test_an_interrupted_run_is_resumed_with_its_own_recipe(tmp_path: Path):
    data = mars(tmp_path)
    run = planned(tmp_path, "table1", data).runs[0]
    make(run)
    (run.folder / "model.safetensors").unlink()
    again = planned(tmp_path, "table1", data).runs[0]
    assert again.state == "interrupted"
    assert "--resume" in again.train_arguments()
    assert command_lines(again)[0].startswith("intraclip train --recipe")


def test_runs_of_another_recipe_are_refused(tmp_path: Path):
    data = mars(tmp_path)
    run = planned(tmp_path, "table1", data).runs[0]
    run.folder.mkdir(parents=True)
    other = replace(run.recipe, optimizer=replace(run.recipe.optimizer, learning_rate=0.5))
    (run.folder / "config.toml").write_text(dump_recipe(other))
    with pytest.raises(ConfigError, match=r"another recipe(?s:.*)learning_rate: 0.5 -> 0.001"):
        planned(tmp_path, "table1", data)


def test_runs_on_other_people_are_refused(tmp_path: Path):
    data = mars(tmp_path)
    run = planned(tmp_path, "table1", data).runs[0]
    make(run)
    other = write_mars(tmp_path / "other", train_pids=(1, 3, 5, 7, 9, 13), test_pids=(2, 4))
    with pytest.raises(DataError, match="trained on other data"):
        planned(tmp_path, "table1", other)


def test_runs_on_the_same_people_in_other_tracklets_are_refused(tmp_path: Path):
    data = mars(tmp_path)
    make(planned(tmp_path, "table1", data).runs[0])
    other = write_mars(tmp_path / "other", train_pids=(1, 3, 5, 7, 9, 11), test_pids=(2, 4, 6, 8), frames=5)
    with pytest.raises(DataError, match="trained on other data"):
        planned(tmp_path, "table1", other)


def test_embeddings_of_another_model_or_sampling_are_made_again(tmp_path: Path):
    data = mars(tmp_path)
    run = planned(tmp_path, "table1", data).runs[0]
    make(run)
    assert planned(tmp_path, "table1", data).runs[0].state == "done"
    evaluate_run(run.folder, read_split(data), sampling="all")
    assert planned(tmp_path, "table1", data).runs[0].state == "trained"
    evaluate_run(run.folder, read_split(data))
    assert planned(tmp_path, "table1", data).runs[0].state == "done"
    (run.folder / "model.safetensors").unlink()
    train(read_split(data), run.recipe, run.folder, resume=True)
    path = run.folder / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": {"sha256": "0"}}))
    assert planned(tmp_path, "table1", data).runs[0].state == "trained"


def test_a_run_that_died_in_its_first_moment_is_started_again(tmp_path: Path):
    data = mars(tmp_path)
    run = planned(tmp_path, "table1", data).runs[0]
    run.folder.mkdir(parents=True)
    (run.folder / "config.toml.partial").write_text("")
    again = planned(tmp_path, "table1", data).runs[0]
    assert again.state == "interrupted"
    assert main(again.train_arguments()) == 0


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    data = mars(tmp_path)
    run = planned(tmp_path, "table1", data).runs[0]
    run.folder.mkdir(parents=True)
    (run.folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is no run folder"):
        planned(tmp_path, "table1", data)


def test_everything_wrong_with_the_data_is_said_at_once(tmp_path: Path):
    first, second = mars(tmp_path), prid(tmp_path)
    shutil.rmtree(first / "bbox_test")
    shutil.rmtree(second / "prid_2011" / "multi_shot" / "cam_b")
    with pytest.raises(DataError) as caught:
        planned(tmp_path, "table1", first, tmp_path / "nowhere")
    assert "nowhere" in str(caught.value)
    with pytest.raises(DataError, match="bbox_test"):
        planned(tmp_path, "table1", first)
    with pytest.raises(DataError, match="cam_b"):
        planned(tmp_path, "table4", ilids(tmp_path), second)
    assert not (tmp_path / "out").exists()


def test_a_split_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="has splits 0 to 1, not 7"):
        planned(tmp_path, "table1", ilids(tmp_path), splits=(0, 7))


def test_table_4_wants_both_data_sets(tmp_path: Path):
    with pytest.raises(
        DataError, match="table4 needs ilids-vid and prid2011 data, and --data names no prid2011"
    ):
        planned(tmp_path, "table4", ilids(tmp_path))


def test_a_group_leaves_out_what_the_data_do_not_allow(tmp_path: Path):
    found = planned(tmp_path, "all", mars(tmp_path))
    assert found.left_out == ("table4",)
    assert [p.experiment.name for p in found.plans] == ["table1", "table2", "table3", "fig1", "fig3"]


def test_data_that_nothing_uses_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="is prid2011, which is not used here; used are mars, ilids-vid"):
        planned(tmp_path, "table1", mars(tmp_path), prid(tmp_path))


def test_a_figure_of_one_row_is_refused(tmp_path: Path):
    data, recipe = mars(tmp_path), write_recipe(tmp_path)
    settings = Settings(
        experiment="fig1", scale="smoke", out=tmp_path / "out", data=(data,), recipe=str(recipe)
    )
    with pytest.raises(ConfigError, match="nothing of fig1 can be made of model-2 alone"):
        plan(replace(settings, only=("model-2",)))
    with pytest.raises(ConfigError, match="nothing of table3 can be made of stsrn alone"):
        plan(replace(settings, experiment="table3", only=("stsrn",)))
    with pytest.raises(ConfigError, match="has no row 'model-9'"):
        plan(replace(settings, only=("model-9",)))


def test_two_folders_of_one_layout_are_refused(tmp_path: Path):
    first = mars(tmp_path)
    shutil.copytree(first, tmp_path / "again")
    with pytest.raises(DataError, match="both mars"):
        planned(tmp_path, "table1", first, tmp_path / "again")


def test_without_data_people_are_to_be_rendered(tmp_path: Path):
    found = plan(Settings(experiment="table4", scale="smoke", out=tmp_path / "out", seeds=1))
    assert [source.layout for source in found.rendered] == ["ilids-vid", "prid2011"]
    assert found.frames > 0
    assert not (tmp_path / "out").exists()
    seeds = {source.benchmark.seed for source in found.rendered}
    assert len(seeds) == 2, "people who are trained on must not be tested on"


def test_rendered_people_in_one_layout_do_for_the_tables_over_two(tmp_path: Path):
    found = plan(Settings(experiment="all", scale="smoke", out=tmp_path / "out", seeds=1, splits=(0,)))
    layouts = {p.experiment.name: [source.layout for source in p.sources] for p in found.plans}
    assert layouts["table1"] == layouts["fig3"] == ["mars"]
    assert layouts["table4"] == ["ilids-vid", "prid2011"]


def test_data_rendered_for_another_scale_are_refused(tmp_path: Path):
    folder = tmp_path / "out" / "data" / "mars"
    folder.mkdir(parents=True)
    (folder / "benchmark.json").write_text(json.dumps({"config": {"identities": 7}}))
    with pytest.raises(OutputError, match="identities: 7 -> 24"):
        plan(Settings(experiment="table1", scale="smoke", out=tmp_path / "out"))


@pytest.mark.parametrize("name", ["seeds", "jobs", "processes"])
def test_counts_are_at_least_one(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match=f"--{name} is 0"):
        plan(Settings(experiment="table1", scale="smoke", out=tmp_path, **{name: 0}))


def test_estimates_learn_from_finished_runs(tmp_path: Path):
    data = mars(tmp_path)
    first = planned(tmp_path, "table1", data, seeds=2)
    make(first.runs[0])
    lines = (first.runs[0].folder / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) | {"seconds": 500.0} for line in lines]
    (first.runs[0].folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
    again = planned(tmp_path, "table1", data, seeds=2)
    same = [r for r in again.runs if r.folder.parent == first.runs[0].folder.parent and r.state == "missing"]
    found = estimates(again.runs, Slot(environment={"OMP_NUM_THREADS": "1"}))
    assert all(found[run.folder] > 1000 for run in same)  # two epochs of 500 s
    others = [r for r in again.runs if r.folder.parent != first.runs[0].folder.parent]
    assert all(found[run.folder] < 100 for run in others)


def test_the_plan_is_printed(tmp_path: Path, capsys):
    data, recipe = mars(tmp_path), write_recipe(tmp_path)
    flags = ["--scale", "smoke", "--data", str(data), "--recipe", str(recipe), "--out", str(tmp_path / "out")]
    assert main(["reproduce", "table1", "--plan", *flags, "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("intraclip train") == printed.count("intraclip evaluate") == 4
    assert "runs at a time" in printed
    assert main(["reproduce", "table1", "--plan", "--json", *flags]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 8
    assert not (tmp_path / "out").exists()


def test_durations_grow():
    assert [duration(s) for s in (0, 99, 101, 7200, 200000)] == ["0 s", "99 s", "2 min", "2.0 h", "2.3 days"]
