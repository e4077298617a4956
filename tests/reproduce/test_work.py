"""Runs in processes: several at a time, stopped with their parent, and done only once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from intraclip.cli.main import main
from intraclip.errors import DeviceError, IntraclipError, OutputError
from intraclip.process import hold
from intraclip.reproduce.run import View, reproduce
from intraclip.reproduce.work import Slot, do_runs, slots, visible_gpus
from reproduce.tiny import mars, planned, write_recipe


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(what, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


SLEEPER = (
    "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"
)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are looked at through /proc")
def test_commands_stop_with_the_process_that_asked_for_them(tmp_path: Path):
    note = tmp_path / "pid"
    commands = json.dumps([[sys.executable, "-c", SLEEPER, str(note)]])
    parent = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import subprocess, sys, time; subprocess.Popen([sys.executable, '-m', 'intraclip.reproduce.child', "
            "*sys.argv[1:]], stdin=subprocess.PIPE, start_new_session=True); time.sleep(600)",
            commands,
            str(tmp_path / "lock"),
        ]
    )
    try:
        wait_for(lambda: note.is_file() and note.read_text())
        sleeper = int(note.read_text())
        assert alive(sleeper)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_for(lambda: not alive(sleeper))
        with hold(tmp_path / "lock", patience=30) as lock:  # given back once the command has ended
            assert lock is not None
    finally:
        parent.kill()
        parent.wait()


def child(lock: Path, *commands: list[str]) -> subprocess.CompletedProcess[bytes]:
    read, write = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-m", "intraclip.reproduce.child", json.dumps(commands), str(lock)],
            stdin=read,
            capture_output=True,
            check=False,
        )
    finally:
        os.close(read)
        os.close(write)


def test_a_failed_command_ends_the_row(tmp_path: Path):
    ok = [sys.executable, "-c", "print('one', flush=True)"]
    bad = [sys.executable, "-c", "import sys; sys.exit(3)"]
    lock = tmp_path / "lock"
    assert child(lock, ok, ok).returncode == 0
    found = child(lock, ok, bad, ok)
    assert found.returncode == 3
    assert found.stdout.split() == [b"one"]
    assert found.stderr == b""


def test_the_machine_is_divided():
    assert len(slots(3, 1, gpus=(), cores=8)) == 3
    assert slots(3, 1, gpus=(), cores=8)[0].environment == {"OMP_NUM_THREADS": "2"}
    assert len(slots(None, 1, gpus="0123", cores=8)) == 4
    with pytest.raises(DeviceError, match="3 runs of 2 processes need 6 GPUs, 4 are there"):
        slots(3, 2, gpus="0123", cores=8)
    with pytest.raises(DeviceError, match="need 8 GPUs"):
        slots(None, 8, gpus="0123", cores=8)


def test_gpus_are_those_this_process_may_use(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in slots(None, 1, gpus=visible_gpus(), cores=8)] == [
        "4",
        "5",
    ]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == ("0", "1")


def test_one_process_at_a_time_works_on_a_folder(tmp_path: Path):
    found = planned(tmp_path, "table1", mars(tmp_path))
    found.settings.out.mkdir()
    with (
        hold(found.settings.out / "lock"),
        pytest.raises(OutputError, match="another `reproduce` is at work"),
    ):
        reproduce(found, View(say=lambda text: None, progress=lambda name: nullcontext(lambda *_: None)))


def test_a_run_that_fails_shows_the_end_of_its_log(tmp_path: Path):
    found = planned(tmp_path, "table1", mars(tmp_path))
    for picture in (tmp_path / "mars" / "bbox_train").rglob("*.jpg"):
        picture.write_bytes(b"no picture")
    with pytest.raises(
        IntraclipError, match=r"failed with exit code 2(?s:.*)cannot read the frame(?s:.*)goes on"
    ):
        do_runs(
            found.runs[:1],
            [Slot(environment={"OMP_NUM_THREADS": "1"})],
            found.estimated,
            say=lambda text: None,
            progress=lambda done, total, what: None,
        )


def test_a_table_is_made_from_one_command_and_only_what_is_missing_is_trained(tmp_path: Path, capsys):
    data, recipe = mars(tmp_path), write_recipe(tmp_path)
    out = tmp_path / "out"
    command = ["reproduce", "ablation-schedule", "--scale", "smoke", "--seeds", "1", "--jobs", "2"]
    command += ["--data", str(data), "--recipe", str(recipe), "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "decay by 1/200, as printed" in printed.out
    assert "2 runs to do, 0 done already" in printed.err
    page = (out / "ablation-schedule.html").read_text()
    assert "decay by 0.1" in page
    assert "<script" not in page
    curves = (out / "ablation-schedule-curves.csv").read_text().splitlines()
    assert len(curves) == 1 + 2 * 2  # two runs of two epochs

    folders = sorted(out.glob("runs/mars/*/split-0-seed-0"))
    kept = (folders[0] / "model.safetensors").stat().st_mtime_ns
    (folders[1] / "embeddings.npz").unlink()  # as if it had been killed before it was scored
    before = json.loads((out / "ablation-schedule.json").read_text())["rows"]
    assert main([*command, "--json"]) == 0
    printed = capsys.readouterr()
    assert "1 runs to do, 1 done already" in printed.err
    assert (folders[0] / "model.safetensors").stat().st_mtime_ns == kept
    assert json.loads(printed.out)["ablation-schedule"]["rows"] == before


@pytest.mark.slow
def test_killed_at_random_it_finishes_the_rest_only(tmp_path: Path):
    data, recipe = mars(tmp_path), write_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace("epochs = 2", "epochs = 40"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "intraclip", "reproduce", "table1", "--scale", "smoke", "--seeds", "1"]
    command += ["--data", str(data), "--recipe", str(recipe), "--out", str(out)]
    for patience in (12.0, 18.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(patience)
        process.kill()
        process.wait()
        kept = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/*/*/model.safetensors")}
        time.sleep(3)
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    logs = [
        json.loads(line) for p in out.glob("runs/*/*/*/metrics.jsonl") for line in p.read_text().splitlines()
    ]
    assert len(logs) == 4 * 40
    assert (out / "table1.md").is_file()
