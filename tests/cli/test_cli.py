"""The commands as a person types them, on a benchmark of a few small people."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from intraclip.cli.main import COMMANDS, main
from intraclip.models.checkpoint import read_checkpoint
from tiny_recipe import RECIPE


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered benchmark in `data`, and a trained and scored run in `run`."""
    root = tmp_path_factory.mktemp("cli")
    (root / "recipe.toml").write_text(RECIPE)
    size = ["--height", "64", "--width", "32", "--frames", "3", "5", "--tracklets-per-camera", "1", "1"]
    made = main(
        ["data", "make", str(root / "data"), "--identities", "8", "--cameras", "2", "--workers", "1", *size]
    )
    assert made == 0
    train = ["train", "--recipe", str(root / "recipe.toml"), "--data", str(root / "data")]
    assert main([*train, "--out", str(root / "run"), "--seed", "5"]) == 0
    assert main(["evaluate", str(root / "run"), "--data", str(root / "data")]) == 0
    return root


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The message of a command that must fail with exit code 2."""
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 2
    out, err = capsys.readouterr()
    assert not out
    # Before it, a command may have said what data it read.
    message = err[err.index("error: ") :]
    assert "Traceback" not in err
    return message


def test_flags_win_over_the_recipe(workspace: Path):
    config = (workspace / "run/config.toml").read_text()
    assert "seed = 5" in config
    assert "epochs = 2" in config


def test_a_training_that_starts_from_a_run_takes_its_recipe_unless_another_is_named(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, data = str(workspace / "run"), str(workspace / "data")
    more = ["--optimizer.epochs", "1", "--finetune.body-rate", "0.1", "--finetune.freeze-batch-norm"]
    assert main(["train", "--model.weights", run, "--data", data, "--out", str(tmp_path / "own"), *more]) == 0
    said = capsys.readouterr().err
    assert f"backbone and head (ica) start from {run}/model.safetensors; new: classifier" in said
    recipe = read_checkpoint(tmp_path / "own/model.safetensors").recipe
    assert (recipe.model.backbone, recipe.model.weights, recipe.seed) == ("small", run, 5)
    assert (recipe.optimizer.epochs, recipe.finetune.body_rate) == (1, 0.1)
    other = [
        "train",
        "--recipe",
        str(workspace / "recipe.toml"),
        "--model.width",
        "1",
        "--model.weights",
        run,
    ]
    other += ["--data", data, "--out", str(tmp_path / "x")]
    assert "is another kind of network" in refused(capsys, *other)
    assert not (tmp_path / "x").exists()


def test_evaluate_prints_json_with_everything_that_makes_a_number(
    workspace: Path, capsys: pytest.CaptureFixture[str]
):
    capsys.readouterr()
    assert main(["evaluate", str(workspace / "run"), "--data", str(workspace / "data"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    scores = result["scores"]["mars-full"]
    assert {"rank1", "rank5", "rank10", "rank20", "mAP", "mINP", "queries", "queries_without_match"} <= set(
        scores
    )
    assert 0 <= scores["rank1"] <= scores["rank20"] <= 1
    assert result["sampling"] == {"test_sampling": "dense", "num_frames": 2}
    assert result["data"]["dataset"] == "benchmark-mars"
    assert result["model"]["seed"] == 5


def test_evaluate_prints_a_table_for_people(workspace: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    argv = [
        "evaluate",
        str(workspace / "run"),
        "--data",
        str(workspace / "data"),
        "--protocol",
        "mars-official",
    ]
    assert main([*argv, "--distance", "cosine"]) == 0
    out = capsys.readouterr().out
    assert "mars-official" in out
    assert "distance cosine; test clips dense of 2 frames" in out
    # With one tracklet a person and camera, taking the queries out leaves nobody to find.
    argv[-1] = "all"
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "mars-full" in out
    assert (
        "not scored under mars-no-query, ilids-vid, prid2011, lsvid, cross-camera: none of the 8 queries has a right"
        in out
    )
    argv[-1] = "mars-no-query"
    assert "none of the 8 queries" in refused(capsys, *argv)
    assert main(["evaluate", str(workspace / "run"), "--data", str(workspace / "data")]) == 0


def test_extract_writes_the_documented_arrays(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "features.npz"
    argv = ["extract", str(workspace / "run"), "--data", str(workspace / "data"), "--out", str(out)]
    assert main(argv) == 0
    arrays = np.load(out)
    n = len(arrays["pids"])
    assert arrays["features"].shape == (n, 32)
    assert arrays["features"].dtype == np.float32
    assert len(arrays["camids"]) == len(arrays["is_query"]) == len(arrays["names"]) == n
    assert "exists; choose another --out, or add --force" in refused(capsys, *argv)
    assert main([*argv, "--force"]) == 0


def test_resume_continues_a_finished_run_without_harm(workspace: Path, tmp_path: Path):
    shutil.copytree(workspace / "run", tmp_path / "run")
    before = load_file(tmp_path / "run/model.safetensors")
    argv = ["train", "--recipe", str(workspace / "recipe.toml"), "--data", str(workspace / "data")]
    assert main([*argv, "--out", str(tmp_path / "run"), "--seed", "5", "--resume"]) == 0
    after = load_file(tmp_path / "run/model.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_report_is_one_offline_page(workspace: Path):
    assert main(["report", str(workspace / "run")]) == 0
    page = (workspace / "run/report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    for outside in ('src="http', "src='http", 'href="http', "url(http", "@import"):
        assert outside not in page


def test_data_check_says_what_is_there_and_what_is_missing(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    capsys.readouterr()
    assert main(["data", "check", str(workspace / "data")]) == 0
    assert "mars" in capsys.readouterr().out
    shutil.copytree(workspace / "data", tmp_path / "data")
    (tmp_path / "data/info/query_IDX.mat").unlink()
    assert main(["data", "check", str(tmp_path / "data"), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert any("query_IDX.mat" in finding["what"] for finding in report["findings"])


def test_rank_draws_the_most_similar_tracklets_of_other_cameras(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    names = np.load(workspace / "run/embeddings.npz")["names"]
    query = next(str(name) for name in names if "C1" in str(name))
    out = tmp_path / "ranked.jpg"
    argv = ["rank", str(workspace / "run"), "--data", str(workspace / "data"), "--out", str(out)]
    capsys.readouterr()
    assert main([*argv, "--query", query, "--k", "3", "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert len(answers) == 3
    assert {a["camid"] for a in answers} == {2}
    distances = [a["distance"] for a in answers]
    assert distances == sorted(distances)
    with Image.open(out) as picture:
        assert picture.width > 300
    out.unlink()
    assert "there is no tracklet 'nobody'" in refused(capsys, *argv, "--query", "nobody")


def test_bad_input_gets_one_clear_error(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    train = ["train", "--recipe", workspace / "recipe.toml", "--out", tmp_path / "new", "--data"]
    assert "does not exist" in refused(capsys, *train, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "bbox_train" in refused(capsys, *train, tmp_path / "empty")
    assert "not empty; choose another --out" in refused(
        capsys,
        "train",
        "--recipe",
        workspace / "recipe.toml",
        "--data",
        workspace / "data",
        "--out",
        workspace / "run",
    )
    assert "2 problems in the recipe and flags" in refused(
        capsys, *train, workspace / "data", "--clip.num-frames", "0", "--augment.flip-probability", "3"
    )
    assert "holds no trained model" in refused(
        capsys, "evaluate", tmp_path / "empty", "--data", workspace / "data"
    )
    assert "protocol 'mars' is not one of" in refused(
        capsys, "evaluate", workspace / "run", "--data", workspace / "data", "--protocol", "mars"
    )
    assert "not empty" in refused(capsys, "data", "make", workspace / "data")
    assert "identities is 1" in refused(capsys, "data", "make", tmp_path / "new", "--identities", "1")
    assert "unknown command 'data mak'" in refused(capsys, "data", "mak")
    assert not (tmp_path / "new").exists()


def test_wrong_flags_exit_with_2_and_suggest(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["train", "--data", "d", "--out", "o", "--optimizer.epohs", "3"])
    assert caught.value.code == 2
    assert "--optimizer.epochs" in capsys.readouterr().err


def test_front_door(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    listing = capsys.readouterr().out
    assert all(name in listing for name in COMMANDS)
    assert main(["--version"]) == 0
    assert "did you mean 'train'?" in refused(capsys, "trian")


@pytest.mark.parametrize(
    "command",
    [[name] for name in COMMANDS if name not in ("alerts", "data", "gallery", "models")]
    + [
        ["alerts", "list"],
        ["alerts", "watch"],
        ["data", "make"],
        ["data", "make-videos"],
        ["data", "check"],
        ["gallery", "add"],
        ["gallery", "search"],
        ["models", "list"],
        ["models", "get"],
        ["models", "check"],
    ],
)
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert f"usage: intraclip {' '.join(command)}" in capsys.readouterr().out


def test_extract_tests_on_the_split_that_the_run_was_trained_on(tmp_path: Path):
    """Another split, or the other direction, would test on people that were trained on."""
    assert main(
        ["data", "make", str(tmp_path / "data"), "--layout", "ilids-vid", "--identities", "8", "--frames", "3", "4",
         "--height", "64", "--width", "32", "--workers", "1"]
    ) == 0  # fmt: skip
    (tmp_path / "recipe.toml").write_text(RECIPE)
    train = ["train", "--recipe", str(tmp_path / "recipe.toml"), "--data", str(tmp_path / "data")]
    run = str(tmp_path / "run")
    assert main([*train, "--out", run, "--data.split", "1", "--data.direction", "last-half-tests"]) == 0
    assert main(["extract", run, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "f.npz")]) == 0
    assert main(["evaluate", run, "--data", str(tmp_path / "data")]) == 0
    tested = set(np.load(tmp_path / "f.npz")["pids"].tolist())
    assert tested == set(np.load(tmp_path / "run/embeddings.npz")["pids"].tolist())
    assert not tested & set(read_checkpoint(tmp_path / "run/model.safetensors").pids)


def test_report_keeps_runs_of_one_name_apart(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for parent in ("a", "b"):
        shutil.copytree(workspace / "run", tmp_path / parent / "run")
    runs = [str(tmp_path / parent / "run") for parent in ("a", "b")]
    assert main(["report", *runs, "--out", str(tmp_path / "both.html")]) == 0
    page = (tmp_path / "both.html").read_text()
    assert all(run in page for run in runs)
    assert "named twice" in refused(capsys, "report", runs[0], runs[0])
    (tmp_path / "a/run/evaluation.json").write_text("{")
    assert "evaluation.json" in refused(capsys, "report", runs[0])


def test_numbers_out_of_range_are_refused(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, data = workspace / "run", workspace / "data"
    assert "--seed -1" in refused(capsys, "score", run / "embeddings.npz", "--seed", "-1")
    assert "--seed -1" in refused(capsys, "report", run, "--seed", "-1")
    assert "too large" in refused(
        capsys,
        "train",
        "--recipe",
        workspace / "recipe.toml",
        "--data",
        data,
        "--out",
        tmp_path / "r",
        "--seed",
        2**64,
    )
    assert "--k 0" in refused(
        capsys, "rank", run, "--data", data, "--query", "x", "--k", "0", "--out", tmp_path / "p.png"
    )
    assert not (tmp_path / "r").exists()


def test_a_run_is_resumed_by_its_name_alone(
    workspace: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "my run"
    shutil.copytree(workspace / "run", run)
    final = load_file(run / "model.safetensors")
    (run / "model.safetensors").unlink()
    last = sorted((run / "checkpoints").glob("*.safetensors"))[-1]
    if len(list((run / "checkpoints").iterdir())) > 1:
        last.unlink()
    assert main(["train", "--resume", str(run)]) == 0
    found = load_file(run / "model.safetensors")
    assert all(torch.equal(found[key], final[key]) for key in final)
    assert f"score it with: intraclip evaluate '{run}' --data" in capsys.readouterr().err
    assert main(["train", f"--resume={run}"]) == 0
    assert main(["train", "--out", str(run), "--resume"]) == 0
    assert "holds no config.toml" in refused(capsys, "train", "--resume", tmp_path / "none")
    assert "name the run" in refused(capsys, "train", "--resume")
    assert "with another recipe" in refused(capsys, "train", "--resume", run, "--seed", "6")
    shutil.copytree(run, tmp_path / "moved")
    (tmp_path / "moved/environment.json").write_text('{"data": {"root": "/no/such/folder"}}')
    assert "are not at /no/such/folder any more" in refused(capsys, "train", "--resume", tmp_path / "moved")


def test_evaluate_merges_protocols_that_calculate_the_same(
    workspace: Path, capsys: pytest.CaptureFixture[str]
):
    capsys.readouterr()
    argv = ["evaluate", str(workspace / "run"), "--data", str(workspace / "data"), "--protocol"]
    assert main([*argv, "all"]) == 0
    out = capsys.readouterr().out
    assert out.count("│ mars-") == 2
    # Two people of two tracklets: with the queries taken out, nothing is left to find.
    assert "not scored under mars-no-query, ilids-vid, prid2011, lsvid, cross-camera: none of the" in out
    # `score` takes the default of the data set from the file that `evaluate` wrote.
    assert main([*argv, "mars-full"]) == 0
    assert main(["score", str(workspace / "run/embeddings.npz")]) == 0
    assert "│ mars-full" in capsys.readouterr().out


def test_a_comparison_does_not_replace_a_report(workspace: Path, tmp_path: Path):
    runs = []
    for name in ("a", "b"):
        shutil.copytree(workspace / "run", tmp_path / name)
        (tmp_path / name / "report.html").unlink(missing_ok=True)
        runs.append(str(tmp_path / name))
    assert main(["report", *runs]) == 0
    assert main(["report", runs[0]]) == 0
    assert sorted(p.name for p in (tmp_path / "a").glob("*.html")) == ["report-with-b.html", "report.html"]
