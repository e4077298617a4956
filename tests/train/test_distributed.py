"""Real processes, started by torchrun on this machine, talking over gloo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from data.miniature import write_mars
from intraclip.cli.main import main
from intraclip.core.batch_norm import GlobalBatchNorm, synchronise_batch_norm
from intraclip.core.distributed import World, open_world
from intraclip.errors import ConfigError
from intraclip.models.saving import training_checkpoints
from tiny_recipe import RECIPE

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
TIMING = ("seconds", "data_wait", "clips_per_second", "memory_gib")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("distributed")
    write_mars(root / "data", train_pids=(1, 3, 5, 7), test_pids=(2, 4))
    (root / "recipe.toml").write_text(RECIPE.replace("identities = 3", "identities = 4"))
    return root


def command(root: Path, out: str, *flags: str, processes: int) -> list[str]:
    return [*TORCHRUN, str(processes), "-m", "intraclip", *arguments(root, out, *flags)]


def arguments(root: Path, out: str, *flags: str) -> list[str]:
    known = ["--recipe", str(root / "recipe.toml"), "--data", str(root / "data"), "--out", str(root / out)]
    return ["train", *known, *flags]


def train(root: Path, out: str, *flags: str, processes: int) -> list[dict[str, float]]:
    """Train here or in several processes; the lines of metrics.jsonl without what a clock measured."""
    if processes == 1:
        assert main(arguments(root, out, *flags)) == 0
    else:
        done = subprocess.run(
            command(root, out, *flags, processes=processes), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
    lines = map(json.loads, (root / out / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMING} for line in lines]


def assert_close(mine: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    assert len(mine) == len(theirs) > 0
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-5)


def test_two_processes_train_as_one_does_on_the_same_batch(workspace: Path):
    # A batch normalisation right behind a ReLU blows up rounding where a feature is silent: this order has none.
    flags = (
        "--optimizer.epochs",
        "3",
        "--augment.erase-probability",
        "1.0",
        "--model.ica-order",
        "fc-bn-relu",
    )
    alone = train(workspace, "alone", *flags, "--step.sync-batch-norm", processes=1)
    both = train(workspace, "both", *flags, "--step.sync-batch-norm", processes=2)
    assert_close(both, alone)
    environment = json.loads((workspace / "both/environment.json").read_text())
    assert environment["processes"] == 2


@pytest.mark.parametrize("flags", [(), ("--model.head", "tap", "--model.neck", "bn")])
def test_the_first_epoch_of_two_processes_is_that_of_one(workspace: Path, flags: tuple[str, ...]):
    size = ("--optimizer.epochs", "1", "--step.sync-batch-norm")
    name = "-".join(("first", *flags[1::2]))
    alone = train(workspace, f"{name}-alone", *flags, *size, processes=1)
    both = train(workspace, f"{name}-both", *flags, *size, processes=2)
    for a, b in zip(both, alone, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-3)


def test_two_processes_fine_tune_as_one_does_when_the_body_begins_to_learn_later(workspace: Path):
    flags = ("--optimizer.epochs", "3", "--finetune.head-epochs", "1", "--finetune.freeze-blocks", "1")
    more = ("--finetune.freeze-batch-norm", "--model.ica-order", "fc-bn-relu", "--step.sync-batch-norm")
    alone = train(workspace, "fine-alone", *flags, *more, processes=1)
    both = train(workspace, "fine-both", *flags, *more, processes=2)
    assert_close(both, alone)


def test_two_processes_score_as_one_does(workspace: Path, capsys: pytest.CaptureFixture[str]):
    if not (workspace / "alone").exists():
        train(workspace, "alone", processes=1)
    evaluate = ["evaluate", str(workspace / "alone"), "--data", str(workspace / "data"), "--json"]
    capsys.readouterr()
    assert main(evaluate) == 0
    alone = json.loads(capsys.readouterr().out)["scores"]
    both = [*TORCHRUN, "2", "-m", "intraclip", *evaluate]
    done = subprocess.run(both, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout)["scores"] == alone  # one process speaks, or this is no JSON


def test_two_processes_with_two_pieces_each_train_as_one_does(workspace: Path):
    """Without batch normalisation, which sees pieces by themselves."""
    flags = ("--model.backbone", "alexnet", "--model.head", "tap", "--model.width", "1.0")
    size = ("--input.height", "64", "--input.width", "64", "--batch.clips", "4")
    alone = train(workspace, "whole", *flags, *size, processes=1)
    pieces = train(workspace, "pieces", *flags, *size, "--step.pieces", "2", processes=2)
    assert_close(pieces, alone)


def test_identities_that_cannot_be_divided_are_refused_before_anything_is_written(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from intraclip.recipe_files import load_recipe
    from intraclip.train.together import check_division

    recipe = load_recipe(str(workspace / "recipe.toml"))
    world = World(rank=0, size=3, device=torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"batch\.identities: 4 cannot be divided among 3 processes"):
        check_division(recipe, world)


def test_alone_the_world_is_one_process():
    with open_world("cpu") as world:
        assert (world.rank, world.size, world.leads) == (0, 1, True)


def test_global_batch_norm_is_batch_norm_for_one_process(tmp_path: Path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        for layer, shape in ((nn.BatchNorm2d(4), (6, 4, 3, 2)), (nn.BatchNorm1d(4), (6, 4))):
            torch.nn.init.uniform_(layer.weight)
            plain, mine = nn.Sequential(layer), nn.Sequential(type(layer)(4))
            mine.load_state_dict(plain.state_dict())
            mine = synchronise_batch_norm(mine, World(rank=0, size=1, device=torch.device("cpu")))  # type: ignore[assignment]
            assert isinstance(mine[0], GlobalBatchNorm)
            x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
            one, other = plain(a), mine(b)
            torch.testing.assert_close(other, one)
            one.square().sum().backward()
            other.square().sum().backward()
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-4, atol=1e-5)
            for key, value in plain.state_dict().items():
                torch.testing.assert_close(mine.state_dict()[key], value)
            torch.testing.assert_close(mine.eval()(x), plain.eval()(x))
    finally:
        dist.destroy_process_group()


def test_global_batch_norm_still_activates_where_a_layer_of_timm_did(tmp_path: Path):
    layers = pytest.importorskip("timm.layers")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        plain, mine = (nn.Sequential(layers.BatchNormAct2d(4)) for _ in range(2))
        synchronise_batch_norm(mine, World(rank=0, size=1, device=torch.device("cpu")))
        assert isinstance(mine[0], GlobalBatchNorm)
        assert mine.state_dict().keys() == plain.state_dict().keys()
        x = torch.randn((6, 4, 3, 2), generator=torch.Generator().manual_seed(0))
        found = mine(x.clone())
        torch.testing.assert_close(found, plain(x.clone()))
        assert float(found.detach().min()) == 0
        torch.testing.assert_close(mine.eval()(x.clone()), plain.eval()(x.clone()))
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_the_run_ends_as_if_nothing_had_happened(workspace: Path):
    flags = ("--optimizer.epochs", "150", "--run.checkpoint-every", "1", "--step.sync-batch-norm")
    train(workspace, "calm", *flags, processes=2)
    start = command(workspace, "rough", *flags, processes=2)
    position = start.index("--nproc-per-node")
    start[position:position] = ["--max-restarts", "2"]
    with subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as launcher:
        run = workspace / "rough"
        while len(training_checkpoints(run)) < 2 and launcher.poll() is None:
            time.sleep(0.01)
        children = subprocess.run(
            ["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        os.kill(int(children[-1]), signal.SIGKILL)
        assert launcher.stderr is not None
        errors = launcher.stderr.read()
        assert launcher.wait(timeout=240) == 0, errors[-4000:]
    assert "resuming after step" in errors

    def numbers(name: str) -> list[dict[str, float]]:
        lines = map(json.loads, (workspace / name / "metrics.jsonl").read_text().splitlines())
        return [{k: v for k, v in line.items() if k not in TIMING} for line in lines]

    assert numbers("rough") == numbers("calm")


def test_the_leaders_error_stops_every_process(workspace: Path):
    """Nobody waits for a process that has gone, and nobody shows a traceback."""
    (workspace / "occupied").mkdir(exist_ok=True)
    (workspace / "occupied/notes.txt").write_text("mine")
    done = subprocess.run(
        command(workspace, "occupied", processes=2), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode != 0
    assert "occupied is not empty" in done.stderr
    assert "the first process of the run could not go on" in done.stderr
    assert 'File "' not in done.stderr.split("ChildFailedError")[0].split("elastic")[0]
    assert [p.name for p in (workspace / "occupied").iterdir()] == ["notes.txt"]
