"""`intraclip cross` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.miniature import write_ilids_vid, write_prid2011
from intraclip.cli.main import main
from tiny_recipe import RECIPE


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Miniatures of both data sets, a recipe, and a finished evaluation in `out`."""
    root = tmp_path_factory.mktemp("cross")
    (root / "recipe.toml").write_text(RECIPE)
    write_ilids_vid(root / "ilids", pids=range(1, 7), splits=([3, 1, 4, 2, 5, 6], [6, 5, 4, 3, 2, 1]))
    names = [f"person_{pid:04d}" for pid in range(1, 7)]
    write_prid2011(
        root / "prid",
        pids=range(1, 7),
        frames=3,
        only_in_a=(),
        splits=[{"train": names[:3], "test": names[3:]}, {"train": names[::2], "test": names[1::2]}],
    )
    assert main([*command(root), "--out", str(root / "out"), "--seed", "4"]) == 0
    return root


def command(root: Path) -> list[str]:
    data = ["--train", str(root / "ilids"), "--test", str(root / "prid")]
    return ["cross", *data, "--recipe", str(root / "recipe.toml")]


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "Traceback" not in err
    return err[err.index("error: ") :]


def test_one_command_trains_and_tests_on_all_splits(workspace: Path):
    result = json.loads((workspace / "out/cross.json").read_text())
    assert len(result["pairs"]) == 4
    assert result["model"]["seed"] == 4  # a flag wins over the recipe
    assert (workspace / "out/cross.md").read_text().startswith("# Trained on ilids-vid, tested on prid2011")
    assert "split = 1" in (workspace / "out/split-01/config.toml").read_text()


def test_a_finished_evaluation_is_printed_again_without_training(
    workspace: Path, capsys: pytest.CaptureFixture[str]
):
    before = (workspace / "out/split-00/model.safetensors").stat().st_mtime_ns
    argv = [*command(workspace), "--out", str(workspace / "out"), "--seed", "4", "--resume"]
    capsys.readouterr()
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert captured.err.count("is trained already and is used as it is") == 2
    assert "all 4 pairs" in captured.out
    assert "sample standard deviation (n - 1)" in captured.out
    assert main([*argv, "--json", "--splits", "1", "--test-splits", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"][0]["train_split"] == 1
    assert (workspace / "out/split-00/model.safetensors").stat().st_mtime_ns == before


def test_existing_runs_are_tested(workspace: Path, capsys: pytest.CaptureFixture[str]):
    runs = [str(workspace / "out/split-00"), str(workspace / "out/split-01")]
    argv = ["cross", "--runs", *runs, "--test", str(workspace / "prid")]
    capsys.readouterr()
    assert main([*argv, "--device", "cpu", "--distance", "cosine", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["distance"], len(result["pairs"])) == ("cosine", 4)
    assert "nothing is trained" in refused(capsys, *argv, "--optimizer.epochs", "3")
    assert "leave out: --train, --resume" in refused(capsys, *argv, "--train", "x", "--resume")
    assert "holds no trained model" in refused(
        capsys, "cross", "--runs", workspace, "--test", workspace / "prid"
    )


def test_bad_input_gets_one_clear_error(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    argv = [*command(workspace), "--out", str(tmp_path / "new")]
    assert "--train and --out missing" in refused(capsys, "cross", "--test", workspace / "prid")
    assert "no split 5; there are 2, 0 to 1" in refused(capsys, *argv, "--splits", "0,5")
    assert "give `all`, or numbers" in refused(capsys, *argv, "--splits", "first")
    assert "use --splits" in refused(capsys, *argv, "--data.split", "1")
    assert "batch.identities: 1 is too small" in refused(capsys, *argv, "--batch.identities", "1")
    assert "does not exist" in refused(
        capsys, "cross", "--train", workspace / "ilids", "--test", tmp_path / "no", "--out", tmp_path / "new"
    )
    assert "unknown recipe 'papper' (did you mean 'paper'?)" in refused(
        capsys, *command(workspace)[:-1], "papper", "--out", tmp_path / "new"
    )
    assert "not empty; choose another --out, or continue that one with --resume" in refused(
        capsys, *command(workspace), "--out", workspace / "out"
    )
    assert not (tmp_path / "new").exists()
