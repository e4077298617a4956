"""Runs in processes: several at a time, stopped with their parent, and done only once."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from intraclip.cli.main import main
from intraclip.core.locks import hold
from intraclip.errors import ConfigError, DeviceError, IntraclipError, OutputError
from intraclip.lab.reproduce.run import reproduce
from intraclip.lab.reproduce.runner import Failure, Slot, do_runs, last_words, slots, visible_gpus
from intraclip.lab.view import View
from intraclip.recipe_files import load_recipe
from lab.reproduce.tiny import make, mars, planned, write_recipe

SILENT = View(say=lambda text: None, progress=lambda name: nullcontext(lambda *_: None))


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
            "import subprocess, sys, time; module = 'intraclip.lab.reproduce.supervise'; "
            "subprocess.Popen([sys.executable, '-m', module, *sys.argv[1:]], stdin=subprocess.PIPE, "
            "start_new_session=True); time.sleep(600)",
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
            [sys.executable, "-m", "intraclip.lab.reproduce.supervise", json.dumps(commands), str(lock)],
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
    shared = slots(6, 1, gpus="01", cores=12)  # small networks share a GPU
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in shared] == ["0", "1"] * 3
    assert {slot.environment["OMP_NUM_THREADS"] for slot in shared} == {"2"}
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
        pytest.raises(OutputError, match="another process is at work"),
    ):
        reproduce(found, SILENT)


FAKE = """
import json, os, pathlib, sys
words = sys.argv[1:]
folder = pathlib.Path(words[words.index("--out") + 1] if words[0] == "train" else words[1])
if words[0] == "train":
    for name, said in json.loads(os.environ["FAILING"]).items():
        if name in str(folder):
            print(said)
            sys.exit(2)
    folder.mkdir(parents=True)
    (folder / "called.json").write_text(json.dumps(words))
else:
    scores = {"mars-full": {"rank1": 0.5, "mAP": 0.25}}
    (folder / "evaluation.json").write_text(json.dumps({"scores": scores}))
"""
"""In place of `intraclip`: fails for the run folders whose names FAILING holds, with the words it gives them."""


@pytest.fixture
def fake(monkeypatch):
    """Runs that take no time; a function that says which of them fail, and with which words."""
    monkeypatch.setattr("intraclip.lab.reproduce.runner._launcher", lambda *_: [sys.executable, "-c", FAKE])
    monkeypatch.setattr("intraclip.lab.reproduce.runner.POLL", 0.01)

    def failing(**said: str) -> None:
        monkeypatch.setenv("FAILING", json.dumps(said))

    failing()
    return failing


def do(runs, said: list[str] | None = None) -> list[Failure]:
    return do_runs(
        runs,
        [Slot(environment={"OMP_NUM_THREADS": "1"})],
        {run.folder: 1.0 for run in runs},
        say=(said if said is not None else []).append,
        progress=lambda done, total, what: None,
    )


def test_every_run_is_given_its_whole_recipe(tmp_path: Path, fake):
    runs = planned(tmp_path, "table1", mars(tmp_path)).runs
    (tmp_path / "recipe.toml").unlink()  # whatever becomes of the recipe that the plan was made from
    assert do(runs) == []
    for run in runs:
        words = json.loads((run.folder / "called.json").read_text())
        assert load_recipe(words[words.index("--recipe") + 1]) == run.recipe


def test_a_run_that_fails_does_not_stop_the_others(tmp_path: Path, fake):
    runs = planned(tmp_path, "table1", mars(tmp_path), seeds=2).runs
    broken = {run.folder for run in runs if "small-tap-synchronous" in str(run.folder)}
    said: list[str] = []
    fake(**{"small-tap-synchronous": "error: no such thing"})
    failures = do(runs, said)
    assert {failure.run.folder for failure in failures} == broken
    assert len(broken) == 2
    assert all((run.folder / "evaluation.json").is_file() for run in runs if run.folder not in broken)
    assert len(said) == len(runs)
    for failure in failures:
        assert f"failed with exit code 2: error: no such thing (log: {failure.run.log})" in str(failure)


def test_words_of_earlier_attempts_are_not_those_of_this_one(tmp_path: Path, fake):
    run = planned(tmp_path, "table1", mars(tmp_path)).runs[0]
    run.log.parent.mkdir(parents=True)
    run.log.write_text("error: of yesterday\n")
    fake(small="something else\n")
    (failure,) = do([run])
    assert failure.reason == "something else"


def test_a_failure_of_the_first_two_variants_alike_stops_all(tmp_path: Path, fake):
    runs = planned(tmp_path, "table1", mars(tmp_path)).runs
    fake(small="error: the driver is gone")
    with pytest.raises(IntraclipError, match=r"the driver is gone(?s:.*)with the same words(?s:.*)goes on"):
        do(runs)
    assert [run.log.is_file() for run in runs] == [True, True, False, False]


def test_two_seeds_of_one_row_that_fail_alike_stop_nothing(tmp_path: Path, fake):
    runs = planned(tmp_path, "table1", mars(tmp_path), seeds=2).runs
    broken = [run for run in runs if "small-tap-synchronous" in str(run.folder)]
    others = [run for run in runs if run not in broken]
    fake(**{"small-tap-synchronous": "error: no such thing"})
    assert len(do([*broken, *others])) == 2
    assert all((run.folder / "evaluation.json").is_file() for run in others)


def test_a_full_disk_stops_all(tmp_path: Path, fake):
    runs = planned(tmp_path, "table1", mars(tmp_path)).runs
    full = os.strerror(errno.ENOSPC)
    fake(**{"small-tap-synchronous": f"error: model.safetensors cannot be written: {full}"})
    with pytest.raises(IntraclipError, match="nothing can be written any more"):
        do(runs)
    assert [run.log.is_file() for run in runs] == [True, True, False, False]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            "training 3/10\nerror: 2 problems in a.toml:\n  seed: -1\n",
            "error: 2 problems in a.toml: seed: -1",
        ),
        ("[rank1]: RuntimeError: boom\n=====\nx.errors.ChildFailedError:\n-----\n", "RuntimeError: boom"),
        ("Traceback:\ntorch.OutOfMemoryError: CUDA\n\n", "torch.OutOfMemoryError: CUDA"),
        ("one\ntwo\n----\n", "two"),
        ("", "it says nothing; perhaps it was killed, as for lack of memory"),
    ],
)
def test_the_last_words_of_a_log_are_found(log: str, said: str):
    assert last_words(log) == said


def test_a_real_run_that_fails_names_its_error(tmp_path: Path):
    found = planned(tmp_path, "table1", mars(tmp_path))
    for picture in (tmp_path / "mars" / "bbox_train").rglob("*.jpg"):
        picture.write_bytes(b"no picture")
    (failure,) = do(found.runs[:1])
    assert failure.code == 2
    assert failure.reason.startswith("error: cannot read the frame")


ABLATIONS = ["ablations", "--only", "default", "fc-bn-relu", "none", "--scale", "smoke", "--seeds", "1"]


def test_experiments_without_a_failed_run_are_written(tmp_path: Path, capsys, monkeypatch):
    data, recipe, out = mars(tmp_path), write_recipe(tmp_path), tmp_path / "out"

    def do_most(runs, *_, **__) -> list[Failure]:
        broken = [run for run in runs if "fc-bn-relu" in run.folder.parent.name]
        for run in runs:
            if run not in broken:
                make(run)
        return [Failure(run=run, code=2, reason="error: bad luck", seconds=1.0) for run in broken]

    monkeypatch.setattr("intraclip.lab.reproduce.run.do_runs", do_most)
    command = ["--data", str(data), "--recipe", str(recipe), "--out", str(out)]
    assert main(["reproduce", *ABLATIONS, *command]) == 2
    printed = capsys.readouterr()
    assert not (out / "ablation-ica.md").exists()
    assert (out / "ablation-sda.md").is_file()
    assert "Inside SDA" in printed.out
    assert "1 of 4 runs failed" in printed.err
    assert "error: bad luck" in printed.err
    assert "ablation-ica was not written, it needs the row fc-bn-relu" in printed.err
    hint = next(line for line in printed.err.splitlines() if "without it: " in line)
    assert main(shlex.split(hint.partition("without it: intraclip ")[2])) == 0
    assert (out / "ablation-ica.md").is_file()


def test_runs_made_otherwise_meanwhile_are_not_written(tmp_path: Path, monkeypatch):
    found = planned(tmp_path, "ablation-schedule", mars(tmp_path))

    def do_otherwise(runs, *_, **__) -> list[Failure]:
        for run in runs:
            make(replace(run, recipe=replace(run.recipe, loss={"triplet": {"margin": 0.5}})))
        return []

    monkeypatch.setattr("intraclip.lab.reproduce.run.do_runs", do_otherwise)
    with pytest.raises(ConfigError, match=r"another recipe \(loss.triplet.margin: 0.5 -> 0.3\)"):
        reproduce(found, SILENT)
    assert not list(found.settings.out.glob("*.md"))


def test_runs_that_end_without_a_result_are_not_written(tmp_path: Path, monkeypatch):
    found = planned(tmp_path, "ablation-schedule", mars(tmp_path))
    monkeypatch.setattr("intraclip.lab.reproduce.run.do_runs", lambda *_, **__: [])
    with pytest.raises(IntraclipError, match=r"2 runs have ended, but do not hold(?s:.*)\(missing\)"):
        reproduce(found, SILENT)


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
