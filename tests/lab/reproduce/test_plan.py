"""Which runs there are, which of them are done, and what is refused before anything starts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from data.miniature import write_folder_tree, write_lsvid, write_mars
from intraclip.cli.main import main
from intraclip.config_io import dump_recipe
from intraclip.core.files import write_text
from intraclip.core.numbers import duration
from intraclip.data.readers import read_split
from intraclip.embed.evaluate import evaluate
from intraclip.errors import ConfigError, DataError, IntraclipError, OutputError
from intraclip.lab.reproduce.estimate import START_SECONDS, estimates
from intraclip.lab.reproduce.experiments import experiments_named
from intraclip.lab.reproduce.plan import PlannedRun, look_again
from intraclip.lab.reproduce.run import plan
from intraclip.lab.reproduce.runner import Slot, command_lines
from intraclip.lab.reproduce.scales import Settings, scale_named
from intraclip.lab.reproduce.sources import layouts_for
from intraclip.train.loop import train
from lab.reproduce.tiny import ilids, make, mars, planned, prid, write_recipe


def test_experiments_share_runs(tmp_path: Path):
    data = mars(tmp_path)
    table1 = {run.folder for run in planned(tmp_path, "table1", data, seeds=2).runs}
    assert len(table1) == 4 * 2
    assert {run.folder for run in planned(tmp_path, "fig1", data, seeds=2).runs} < table1
    together = planned(tmp_path, "ablations", data, seeds=2).runs
    assert len({run.folder for run in together}) == len(together)


def test_seeds_come_before_splits_of_later_seeds(tmp_path: Path):
    runs = planned(tmp_path, "table1", mars(tmp_path), ilids(tmp_path), seeds=2, splits="all").runs
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
    place = Slot(environment={"OMP_NUM_THREADS": "1"})
    assert command_lines(again, place)[0].startswith("OMP_NUM_THREADS=1 intraclip train --recipe")


def left_there(run: PlannedRun, **model) -> None:
    """The first trace of a run, with other settings of its model."""
    run.folder.mkdir(parents=True)
    other = replace(run.recipe, model=replace(run.recipe.model, **model))
    (run.folder / "config.toml").write_text(dump_recipe(other))


def test_all_runs_of_another_recipe_are_refused_at_once(tmp_path: Path):
    data = mars(tmp_path)
    runs = planned(tmp_path, "table1", data, seeds=2).runs
    changed = [run for run in runs if run.recipe.model.head == "ica"]
    for run in changed:
        left_there(run, head_settings={"order": "fc-bn-relu"})
    with pytest.raises(ConfigError, match="4 run folders hold something else") as caught:
        planned(tmp_path, "table1", data, seeds=2)
    told = str(caught.value)
    assert told.count("model.head.order: fc-bn-relu -> fc-relu-bn") == 1
    assert all(told.count(str(run.folder)) == 1 for run in changed)


def test_refusals_of_several_kinds_come_together(tmp_path: Path):
    data = mars(tmp_path)
    runs = planned(tmp_path, "ablations", data).runs
    left_there(runs[0], backbone_settings={"last_stride": 1})
    runs[1].folder.mkdir(parents=True)
    (runs[1].folder / "notes.txt").write_text("mine")
    with pytest.raises(IntraclipError, match=r"another recipe(?s:.*)not a run folder"):
        planned(tmp_path, "ablations", data)


def test_runs_that_do_not_read_a_changed_key_are_still_theirs(tmp_path: Path):
    data = mars(tmp_path)
    run = next(r for r in planned(tmp_path, "table1", data).runs if r.recipe.model.head == "tap")
    left_there(run, triplet_reads="embedding")
    again = next(r for r in planned(tmp_path, "table1", data).runs if r.folder == run.folder)
    assert again.state == "interrupted"


def test_a_run_keeps_its_planned_recipe_when_the_file_changes(tmp_path: Path):
    data = mars(tmp_path)
    run = planned(tmp_path, "table1", data).runs[-1]
    write_text(run.recipe_file, dump_recipe(run.recipe))
    base = tmp_path / "recipe.toml"
    base.write_text(base.read_text().replace("learning_rate = 1e-3", "learning_rate = 0.5"))
    assert main(run.train_arguments(from_file=True)) == 0
    assert [again.state for again in look_again([run])] == ["trained"]


def test_a_run_that_was_made_otherwise_is_seen_afterwards(tmp_path: Path):
    run = planned(tmp_path, "table1", mars(tmp_path)).runs[-1]
    make(replace(run, recipe=replace(run.recipe, optimizer=replace(run.recipe.optimizer, learning_rate=0.5))))
    with pytest.raises(ConfigError, match=r"learning_rate: 0.5 -> 0.001"):
        look_again([run])


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
    evaluate(run.folder, data=read_split(data), sampling="all")
    assert planned(tmp_path, "table1", data).runs[0].state == "trained"
    evaluate(run.folder, data=read_split(data))
    assert planned(tmp_path, "table1", data).runs[0].state == "done"
    (run.folder / "model.safetensors").unlink()
    train(run.recipe, data=read_split(data), out=run.folder, resume=True)
    path = run.folder / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": {"sha256": "0"}}))
    assert planned(tmp_path, "table1", data).runs[0].state == "trained"


def test_a_run_that_died_in_its_first_moment_is_started_again(tmp_path: Path):
    data = mars(tmp_path)
    run = planned(tmp_path, "table1", data).runs[0]
    run.folder.mkdir(parents=True)
    (run.folder / "config.toml.4711-42.partial").write_text("")
    again = planned(tmp_path, "table1", data).runs[0]
    assert again.state == "interrupted"
    assert main(again.train_arguments()) == 0


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    data = mars(tmp_path)
    run = planned(tmp_path, "table1", data).runs[0]
    run.folder.mkdir(parents=True)
    (run.folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not a run folder"):
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
        planned(tmp_path, "table1", ilids(tmp_path), splits="0,7")


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
    with pytest.raises(DataError, match="is prid2011, which is not used here; used are mars"):
        planned(tmp_path, "fig1", mars(tmp_path), prid(tmp_path))
    with pytest.raises(DataError, match="is mars, which is not used here; used are ilids-vid, prid2011"):
        planned(tmp_path, "table4", mars(tmp_path), ilids(tmp_path), prid(tmp_path))


def test_tables_take_data_sets_that_the_paper_did_not_use(tmp_path: Path):
    people = {"train_pids": (1, 3, 5, 7, 9, 11), "test_pids": (2, 4, 6, 8)}
    lsvid = write_lsvid(tmp_path / "lsvid", **people)
    own = write_folder_tree(tmp_path / "own", **people)
    for experiment in ("table1", "ablation-schedule"):
        found = planned(tmp_path, experiment, lsvid, own, prid(tmp_path))
        assert [source.layout for source in found.plans[0].sources] == ["prid2011", "lsvid", "folder"]
    run = next(run for run in found.runs if run.source.layout == "folder")
    assert main(run.train_arguments()) == main(run.evaluate_arguments()) == 0
    again = planned(tmp_path, "ablation-schedule", own)
    assert [r.state for r in again.runs if r.folder == run.folder] == ["done"]


def test_in_a_group_the_data_set_of_table_4_is_left_to_it():
    chosen = experiments_named("all")
    layouts = {e.name: layouts_for(e, chosen, given=True) for e in chosen}
    assert layouts["table1"] == layouts["table3"] == ("mars", "ilids-vid", "lsvid", "folder")
    assert layouts["table4"] == ("ilids-vid", "prid2011")
    assert layouts["fig3"] == ("mars",)
    alone = experiments_named("table1")
    assert "prid2011" in layouts_for(alone[0], alone, given=True)


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
    found = plan(Settings(experiment="all", scale="smoke", out=tmp_path / "out", seeds=1, splits="0"))
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
def test_counts_are_at_least_one(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]):
    assert main(["reproduce", "table1", "--out", str(tmp_path / "out"), f"--{name}", "0"]) == 2
    assert f"--{name} 0 is too small, at least 1" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=f"{name}: 0 is too small, at least 1"):
        plan(Settings(experiment="table1", scale="smoke", out=tmp_path / "out", **{name: 0}))
    assert not (tmp_path / "out").exists()


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


def test_a_step_is_timed_in_a_process_of_its_own_where_a_run_has_gpus(tmp_path: Path):
    runs = planned(tmp_path, "table1", mars(tmp_path)).runs[:1]
    found = estimates(runs, Slot(environment={"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}))
    assert found[runs[0].folder] > START_SECONDS


def test_the_plan_is_printed(tmp_path: Path, capsys):
    data, recipe = mars(tmp_path), write_recipe(tmp_path)
    flags = ["--scale", "smoke", "--data", str(data), "--recipe", str(recipe), "--out", str(tmp_path / "out")]
    assert main(["reproduce", "table1", "--plan", *flags, "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("intraclip train") == printed.count("intraclip evaluate") == 4
    assert printed.count("\nOMP_NUM_THREADS=") == 8
    assert "table1 on mars: every row is trained once" in printed
    assert "runs at a time" in printed
    assert main(["reproduce", "table1", "--plan", "--json", *flags]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["runs"]) == 8
    assert told["cautions"] == []
    assert not (tmp_path / "out").exists()


def test_durations_grow():
    assert [duration(s) for s in (0, 99, 101, 7200, 200000)] == ["0 s", "99 s", "2 min", "2.0 h", "2.3 days"]


def test_every_data_set_that_is_named_is_used(tmp_path: Path, capsys):
    recipe = write_recipe(tmp_path)
    command = ["reproduce", "table1", "--plan", "--json", "--scale", "smoke", "--recipe", str(recipe)]
    command += ["--out", str(tmp_path / "out"), "--data", str(mars(tmp_path)), "--data", str(ilids(tmp_path))]
    assert main([*command, "--only", "model-1", "--only", "model-2"]) == 0
    runs = [entry["run"] for entry in json.loads(capsys.readouterr().out)["runs"]]
    assert {run.split("/")[0] for run in runs} == {"mars", "ilids-vid"}
    assert len({run.split("/")[1] for run in runs}) == 2


def test_claims_that_rest_on_one_training_are_told_before_it(tmp_path: Path):
    data = mars(tmp_path)
    (said,) = planned(tmp_path, "table1", data).cautions
    assert said.startswith("table1 on mars: every row is trained once")
    assert "any of its 5 claims" in said
    assert planned(tmp_path, "table1", data, seeds=2).cautions == []
    assert planned(tmp_path, "fig1", data).cautions == []  # a figure claims nothing
    several = planned(tmp_path, "table1", ilids(tmp_path), splits="all")
    assert several.cautions == []  # two splits are two trainings


def test_the_printed_scale_decides_its_claims():
    assert scale_named("paper").seeds >= 3


def test_commands_are_printed_as_they_are_run(tmp_path: Path):
    run = planned(tmp_path, "table1", mars(tmp_path)).runs[0]
    place = Slot(environment={"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "2,3"}, processes=2)
    for line, command in zip(command_lines(run, place), ("train", "evaluate"), strict=True):
        assert line.startswith(
            "CUDA_VISIBLE_DEVICES=2,3 OMP_NUM_THREADS=4 torchrun --standalone --nproc-per-node=2 -m intraclip "
            + command
        )
