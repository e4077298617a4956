"""Does the runs of a plan: several at a time, each as commands that a person could type."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from intraclip.config_io import dump_recipe
from intraclip.core.files import write_text
from intraclip.errors import DeviceError, IntraclipError, OutputError
from intraclip.lab.reproduce.plan import PlannedRun
from intraclip.train.stopping import RunStopped, StopRequest

POLL = 0.3
"""Seconds between two looks at the running processes."""

QUICK = 60.0
"""Seconds in which a run that cannot work at all has failed: it starts, reads its data and makes a step."""

FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS))
"""What the system says when no run can write any more."""


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
    """Divide the machine among `jobs` runs at a time; by default as many as there are GPUs for, or cores without GPUs.

    Without GPUs one run a core is the fastest way: measured on two cores, two runs with a thread each did 1.4 times
    the work of one run with two threads. With GPUs, each run gets `processes` of them for itself, unless more
    runs of one process are asked for than there are GPUs: small networks do not fill one, and share it.

    Raises:
        DeviceError: more GPUs are asked for than there are.

    >>> [slot.environment for slot in slots(None, 1, gpus=(), cores=2)]
    [{'OMP_NUM_THREADS': '1'}, {'OMP_NUM_THREADS': '1'}]
    >>> [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(None, 2, gpus="0123", cores=16)]
    ['0,1', '2,3']
    >>> [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(3, 1, gpus="01", cores=16)]
    ['0', '1', '0']
    """
    if not gpus:
        count = jobs or max(1, cores // processes)
        threads = max(1, cores // (count * processes))
        return [Slot(environment={"OMP_NUM_THREADS": str(threads)}, processes=processes)] * count
    room = len(gpus) // processes
    count = room if jobs is None else jobs
    if not room or (count > room and processes > 1):
        raise DeviceError(
            f"{jobs or 1} runs of {processes} processes need {(jobs or 1) * processes} GPUs, {len(gpus)} are there; "
            "lower --jobs or --processes"
        )
    return [
        Slot(
            environment={
                "CUDA_VISIBLE_DEVICES": ",".join(gpus[processes * (i % room) : processes * (i % room + 1)]),
                "OMP_NUM_THREADS": str(max(1, cores // (count * processes))),
            },
            processes=processes,
        )
        for i in range(count)
    ]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A run that failed.

    Attributes:
        reason: the last line of its log that says something.
    """

    run: PlannedRun
    code: int
    reason: str
    seconds: float

    def __str__(self) -> str:
        """The run, what it said, and where it said more."""
        return f"{self.run.name} failed with exit code {self.code}: {self.reason} (log: {self.run.log})"

    def like(self, other: Failure) -> bool:
        """Whether a run of another variant failed with the same words, at once, as this one did."""
        said = [one.reason.replace(str(one.run.folder), "") for one in (self, other)]
        return (
            said[0] == said[1]
            and self.run.folder.parent.name != other.run.folder.parent.name
            and max(self.seconds, other.seconds) < QUICK
        )


def do_runs(
    runs: Sequence[PlannedRun],
    places: Sequence[Slot],
    estimates: Mapping[Path, float],
    *,
    say: Callable[[str], None],
    progress: Callable[[float, float, str], None],
) -> list[Failure]:
    """Train and score what is missing.

    A run that fails does not stop the others, unless its failure must hit all of them: the disk is full, or the first
    two runs that ended were of different variants and both failed at once with the same words.

    Raises:
        IntraclipError: a failure that must hit every run. Runs that were going on have saved themselves.
        OutputError: a recipe or a log cannot be written.
        RunStopped: SIGTERM or Ctrl-C; the runs have saved themselves.
    """
    for run in runs:
        if run.state in ("missing", "interrupted"):
            write_text(run.recipe_file, dump_recipe(run.recipe))
    waiting = deque(runs)
    going: dict[int, _Going] = {}
    total = sum(estimates[run.folder] for run in runs)
    finished = 0.0
    ended: list[Failure | None] = []
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
                    ended.append(one.failure())
                    finished += estimates[one.run.folder]
                    say(str(ended[-1] or f"{one.run.name}: {one.result()}"))
                    if waiting or going:
                        _stop_if_hopeless(ended)
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
    return [failure for failure in ended if failure]


def _stop_if_hopeless(ended: Sequence[Failure | None]) -> None:
    """Stop when the last failure must hit every run."""
    last = ended[-1]
    if last is None:
        return
    why = ""
    if any(text in last.reason for text in FULL):
        why = "nothing can be written any more"
    elif len(ended) == 2 and ended[0] is not None and ended[0].like(last):
        why = f"so did {ended[0].run.name}, the only other run that has ended, and with the same words"
    if why:
        raise IntraclipError(
            f"{last}; {why}: the other runs were stopped or not started. What was trained is kept; mend this, and the "
            "same command goes on from there."
        )


def command_lines(run: PlannedRun, slot: Slot) -> list[str]:
    """The commands that make a run in a place, as a person would type them."""
    before = [f"{name}={value}" for name, value in sorted(slot.environment.items())]
    before += _launcher(slot, ["intraclip"], ["torchrun"])
    return [shlex.join([*before, *arguments]) for arguments in _arguments(run, from_file=False)]


def _arguments(run: PlannedRun, *, from_file: bool) -> list[list[str]]:
    """What `intraclip` is called with, one call after another."""
    evaluate = run.evaluate_arguments()
    if run.state == "trained":
        return [evaluate]
    return [run.train_arguments(from_file=from_file), evaluate]


def _launcher(slot: Slot, alone: list[str], torchrun: list[str]) -> list[str]:
    """What stands before the arguments of `intraclip`: `alone`, or torchrun where a run has several processes."""
    if slot.processes == 1:
        return alone
    return [*torchrun, "--standalone", f"--nproc-per-node={slot.processes}", "-m", "intraclip"]


def last_words(log: str) -> str:
    r"""The line of a log that says why a command failed: its error, or the last one that says anything.

    >>> last_words("loading\nerror: no GPU\n")
    'error: no GPU'
    >>> last_words("Traceback (most recent call last):\n  File ...\nKeyError: 'a'\n[W1 c10d] warning\n")
    "KeyError: 'a'"
    """
    # torchrun marks the lines of its processes, and ends with a page of its own that names no reason.
    lines = [re.sub(r"^\[rank\d+\]: ?", "", line).rstrip() for line in log.splitlines()]
    lines = [line for line in lines if re.search(r"\w", line)]
    for pattern in (r"error: ", r"(?!.*ChildFailedError)(\w+\.)*\w*(Error|Exception|Exit|Interrupt)\b"):
        for number in reversed(range(len(lines))):
            if re.match(pattern, lines[number]):
                listed = lines[number + 1 : number + 2] if lines[number].endswith(":") else []
                return " ".join([lines[number], *(line.strip() for line in listed)])
    return lines[-1] if lines else "it says nothing; perhaps it was killed, as for lack of memory"


class _Going:
    """A run that is being made."""

    def __init__(self, run: PlannedRun, slot: Slot) -> None:
        self.run = run
        self.started = time.monotonic()
        lock = run.folder.with_name(run.folder.name + ".lock")
        python = [sys.executable, "-m"]
        launcher = _launcher(slot, [*python, "intraclip"], [*python, "torch.distributed.run"])
        commands = [[*launcher, *arguments] for arguments in _arguments(run, from_file=True)]
        try:
            run.log.parent.mkdir(parents=True, exist_ok=True)
            with run.log.open("ab") as log:
                self.log_start = log.tell()  # what earlier attempts wrote lies before
                self.process = subprocess.Popen(
                    [*python, "intraclip.lab.reproduce.supervise", json.dumps(commands), str(lock)],
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

    def failure(self) -> Failure | None:
        """How it failed; None when it did not."""
        code = self.process.returncode
        assert self.process.stdin is not None
        self.process.stdin.close()
        if code == 0:
            return None
        with self.run.log.open("rb") as log:
            log.seek(self.log_start)
            text = log.read().decode("utf-8", errors="replace")
        seconds = time.monotonic() - self.started
        return Failure(run=self.run, code=code, reason=last_words(text), seconds=seconds)

    def share(self) -> float:
        """Share of the work that is done, 0..1."""
        return 0.95 * self.run.epochs_done / self.run.recipe.optimizer.epochs

    def stage(self) -> str:
        """What it is doing, in a few words."""
        epoch, epochs = self.run.epochs_done, self.run.recipe.optimizer.epochs
        return f"epoch {epoch}/{epochs}" if epoch < epochs else "scoring"

    def result(self) -> str:
        """Its scores in a few words."""
        found = json.loads((self.run.folder / "evaluation.json").read_text(encoding="utf-8"))
        protocol, scores = next(iter(found["scores"].items()))
        return f"rank-1 {100 * scores['rank1']:.1f}, mAP {100 * scores['mAP']:.1f} ({protocol})"
