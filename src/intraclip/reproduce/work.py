"""Does the runs of a plan: several at a time, each as the commands that a person would type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from intraclip.engine.stopping import RunStopped, StopRequest
from intraclip.errors import DeviceError, IntraclipError, OutputError
from intraclip.reproduce.plan import PlannedRun

POLL = 0.3
"""Seconds between two looks at the running processes."""

SHOWN_LINES = 12
"""Last lines of a failed run's log that go into the message."""

Progress = Callable[[float, float, str], None]
"""Takes the seconds of work done, those of all the work, both estimated beforehand, and what is running."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place where one run at a time is made.

    Attributes:
        environment: variables that give it its share of the machine.
        processes: processes of a run.
    """

    environment: Mapping[str, str]
    processes: int = 1


def visible_gpus() -> tuple[str, ...]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them; their numbers where it is not set.

    Asked without starting CUDA here: this process only waits, the memory is for the runs.
    """
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple(named[:count]) if len(named) >= count else tuple(map(str, range(count)))


def slots(jobs: int | None, processes: int, *, gpus: Sequence[str], cores: int) -> list[Slot]:
    """Divide the machine among runs.

    Without GPUs one run a core is the fastest way: measured on two cores, two runs with a thread each did 1.4 times
    the work of one run with two threads. With GPUs, each run gets `processes` of them for itself.

    Args:
        jobs: runs at a time; None for as many as there is room for.
        processes: processes, and GPUs, of each run.
        gpus: names of the GPUs.
        cores: cores of this machine.

    Raises:
        DeviceError: more GPUs are asked for than there are.

    >>> [slot.environment for slot in slots(None, 1, gpus=(), cores=2)]
    [{'OMP_NUM_THREADS': '1'}, {'OMP_NUM_THREADS': '1'}]
    >>> [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(None, 2, gpus="0123", cores=16)]
    ['0,1', '2,3']
    """
    if not gpus:
        count = jobs or max(1, cores // processes)
        threads = max(1, cores // (count * processes))
        return [Slot(environment={"OMP_NUM_THREADS": str(threads)}, processes=processes)] * count
    room = len(gpus) // processes
    count = room if jobs is None else jobs
    if not room or count > room:
        raise DeviceError(
            f"{jobs or 1} runs of {processes} processes need {(jobs or 1) * processes} GPUs, {len(gpus)} are there; "
            "lower --jobs or --processes"
        )
    return [
        Slot(
            environment={
                "CUDA_VISIBLE_DEVICES": ",".join(gpus[processes * i : processes * (i + 1)]),
                "OMP_NUM_THREADS": str(max(1, cores // (count * processes))),
            },
            processes=processes,
        )
        for i in range(count)
    ]


def do_runs(
    runs: Sequence[PlannedRun],
    places: Sequence[Slot],
    estimates: Mapping[Path, float],
    *,
    say: Callable[[str], None],
    progress: Progress,
) -> None:
    """Train and score what is missing.

    Args:
        runs: those that are not done, in the order in which they are started.
        places: one run at a time in each.
        estimates: run folder -> seconds it will take; for the progress.
        say: told about every run that ends.
        progress: called several times a second.

    Raises:
        IntraclipError: a run failed; the message holds the end of its log. Runs that were going on have saved
            themselves.
        RunStopped: SIGTERM or Ctrl-C; the runs have saved themselves.
    """
    waiting = deque(runs)
    going: dict[int, _Going] = {}
    total = sum(estimates[run.folder] for run in runs)
    finished = 0.0
    try:
        with StopRequest() as stop:
            while waiting or going:
                for place, slot in enumerate(places):
                    if place not in going and waiting:
                        going[place] = _Going(waiting.popleft(), slot)
                time.sleep(POLL)
                for place, one in list(going.items()):
                    if one.process.poll() is None:
                        continue
                    del going[place]
                    one.check()
                    finished += estimates[one.run.folder]
                    say(f"{one.run.name}: {one.result()}")
                done = finished + sum(estimates[g.run.folder] * g.share() for g in going.values())
                progress(done, total, ", ".join(g.stage() for g in going.values()))
                if stop.number:
                    raise RunStopped(
                        "stopped; what was trained is kept, the same command goes on from there",
                        stop.exit_code,
                    )
    finally:
        for one in going.values():
            one.ask_to_stop()
        for one in going.values():
            one.process.wait()


class _Going:
    """A run that is being made."""

    def __init__(self, run: PlannedRun, slot: Slot) -> None:
        self.run = run
        self.log = run.folder.with_name(run.folder.name + ".log")
        self.lock = run.folder.with_name(run.folder.name + ".lock")
        commands = []
        if run.state in ("missing", "interrupted"):
            commands.append([*_launcher(slot), *run.train_arguments()])
        commands.append([*_launcher(slot), *run.evaluate_arguments()])
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "intraclip.reproduce.child", json.dumps(commands), str(self.lock)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **slot.environment},
                    start_new_session=True,  # Ctrl-C reaches this process alone, which then asks the others
                )
        except OSError as error:
            raise OutputError(f"{self.run.folder} cannot be written: {error}") from None

    def ask_to_stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def check(self) -> None:
        """Raise what the run ended with, if it failed."""
        code = self.process.returncode
        assert self.process.stdin is not None
        self.process.stdin.close()
        if code == 0:
            return
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
        raise IntraclipError(
            f"{self.run.name} failed with exit code {code}. The end of {self.log}:\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nWhat was trained is kept; the same command goes on from there."
        )

    def epoch(self) -> int:
        """Epochs finished."""
        try:
            with (self.run.folder / "metrics.jsonl").open("rb") as file:
                return sum(1 for _ in file)
        except OSError:
            return 0

    def share(self) -> float:
        """Share of the work that is done, 0..1."""
        return 0.95 * self.epoch() / self.run.recipe.optimizer.epochs

    def stage(self) -> str:
        """What it is doing, in a few words."""
        epoch, epochs = self.epoch(), self.run.recipe.optimizer.epochs
        return f"epoch {epoch}/{epochs}" if epoch < epochs else "scoring"

    def result(self) -> str:
        """Its scores in a few words."""
        found = json.loads((self.run.folder / "evaluation.json").read_text(encoding="utf-8"))
        protocol, scores = next(iter(found["scores"].items()))
        return f"rank-1 {100 * scores['rank1']:.1f}, mAP {100 * scores['mAP']:.1f} ({protocol})"


def _launcher(slot: Slot) -> list[str]:
    if slot.processes == 1:
        return [sys.executable, "-m", "intraclip"]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *(f"--nproc-per-node={slot.processes}", "-m", "intraclip"),
    ]
