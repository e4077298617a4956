"""A training process that is killed at random moments ends as if nothing had happened.

INTRACLIP_KILLS sets the number of kills: `INTRACLIP_KILLS=20 make test-slow` is the full trial.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data.miniature import write_mars
from tiny_recipe import RECIPE

KILLS = int(os.environ.get("INTRACLIP_KILLS", "3"))
EPOCHS, STEPS = 200, 400
TIMING = ("seconds", "data_wait", "clips_per_second", "memory_gib")


def start(root: Path, run: str, *flags: str) -> subprocess.Popen[bytes]:
    train = ["train", "--recipe", str(root / "recipe.toml"), "--data", str(root / "data")]
    settings = ("--optimizer.epochs", str(EPOCHS), "--run.checkpoint-every", "1", "--data.workers", "1")
    with (root / f"{run}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "intraclip", *train, "--out", str(root / run), *settings, *flags],
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )


def steps_saved(run: Path) -> int:
    files = sorted(run.glob("checkpoints/*.safetensors"))
    return int(files[-1].stem.removeprefix("step-")) if files else 0


def outcome(run: Path) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    metrics = [{k: v for k, v in line.items() if k not in TIMING} for line in lines]
    return metrics, load_file(run / "model.safetensors")


@pytest.mark.slow
def test_a_run_killed_at_random_moments_equals_the_one_left_alone(tmp_path: Path):
    write_mars(tmp_path / "data", train_pids=(1, 3, 5, 7, 9, 11), test_pids=(2, 4))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    calm = start(tmp_path, "calm")
    assert calm.wait(timeout=900) == 0, (tmp_path / "calm.log").read_text()

    rng = random.Random(0)
    for kill, step in enumerate(sorted(rng.sample(range(STEPS - 20), KILLS))):
        process = start(tmp_path, "rough", *(["--resume"] if kill else []))
        while steps_saved(tmp_path / "rough") < step:
            assert process.poll() is None, (tmp_path / "rough.log").read_text()
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.05))  # anywhere in a step, in writing a checkpoint, in the log
        process.kill()
        process.wait()
    last = start(tmp_path, "rough", "--resume")
    said = (tmp_path / "rough.log").read_text
    assert last.wait(timeout=600) == 0, said()
    resumed = re.findall(r"resuming after step (\d+)", said())
    print(f"{KILLS} kills, resumed after steps {', '.join(resumed)} of {STEPS}")
    assert len(resumed) >= KILLS - 1
    assert "set aside" not in said()  # half-written checkpoints are no damaged ones
    assert not [
        path for path in (tmp_path / "rough").rglob("*") if {".partial", ".damaged"} & set(path.suffixes)
    ]
    metrics, weights = outcome(tmp_path / "rough")
    expected_metrics, expected_weights = outcome(tmp_path / "calm")
    assert metrics == expected_metrics
    assert all(torch.equal(weights[k], expected_weights[k]) for k in expected_weights)


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["the process", "its whole group"])
def test_sigterm_saves_and_leaves_cleanly(tmp_path: Path, whom: str):
    """A cluster may signal the decoding processes too."""
    write_mars(tmp_path / "data", train_pids=(1, 3, 5, 7, 9, 11), test_pids=(2, 4))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    process = start(tmp_path, "run")
    while steps_saved(tmp_path / "run") < 4:
        assert process.poll() is None, (tmp_path / "run.log").read_text()
        time.sleep(0.001)
    if whom == "the process":
        process.terminate()
    else:
        os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    said = (tmp_path / "run.log").read_text()
    assert "Traceback" not in said
    stopped = re.search(r"stopped after step (\d+) of 400, as asked", said)
    assert stopped is not None
    assert steps_saved(tmp_path / "run") == int(stopped[1])
