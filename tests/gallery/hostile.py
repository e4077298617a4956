"""Galleries that are damaged on purpose, and what they must still answer: exactly what is right, or a clear error.

PYTHONPATH=tests python -m gallery.hostile 500        figures of docs/security.md
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gallery.gallery_world import MODEL, SIZE, fill, pictures, record, vectors
from intraclip.errors import DamagedError, DataError, IntraclipError, OutputError
from intraclip.gallery.folder_files import RESERVE
from intraclip.gallery.gallery import Gallery, create_gallery, open_gallery, opened_or_created
from intraclip.gallery.records import Filters, Pictures

Answers = dict[str, Any]


def make_pristine(folder: Path, *, dense: bool) -> None:
    """A gallery with something of everything.

    Args:
        folder: where.
        dense: without large pictures, so that damage meets tables and indices; and closed. Else its last changes are
            in the write-ahead log alone, as after a kill.
    """
    work = folder.with_name("work")
    create_gallery(work, fingerprint=MODEL, dimension=SIZE, metric="euclidean", model="a model").close()
    with open_gallery(work) as gallery:
        fill(gallery, 30, shown=0 if dense else 3)
        gallery.set_person(["t0001", "t0004"], "Annabel")
        gallery.confirm("t0002", "t0003", by="kim")
        gallery.reject("t0004", "t0007")
        gallery._store.put_document("note", json.dumps({"text": "n" * 300}))
        gallery.delete(Filters(ids=frozenset({"t0010", "t0011"})))
        gallery.audit("search", {"tracklet": "t0002"}, actor="kim", origin="here")
        for number in range(40, 44):
            gallery.add(
                [record(number)],
                vectors(1, seed=number),
                fingerprint=MODEL,
                pictures=[Pictures(strip=b"strip", crops=(b"crop",)) if dense else pictures(number)],
            )
        gallery.audit("search", {"tracklet": "t0003"}, actor="kim", origin="here")
        if not dense:
            shutil.copytree(work, folder)
    if dense:
        shutil.copytree(work, folder)
    (folder / RESERVE).unlink()
    shutil.rmtree(work)


QUESTIONS: dict[str, Callable[[Gallery], Any]] = {
    "info": lambda g: (g.info.fingerprint, g.info.metric, g.info.dimension, g.info.model, g.info.created_at),
    "list": lambda g: [r.to_json_dict() for r in g.all_records()],
    "camera": lambda g: [r.id for r in g.all_records(Filters(cameras=frozenset({"hall"})))],
    "person": lambda g: [r.id for r in g.all_records(Filters(people=frozenset({"Annabel"})))],
    "time": lambda g: [r.id for r in g.all_records(Filters(from_s=50, to_s=120))],
    "one": lambda g: g.record("t0005").to_json_dict(),
    "absent": lambda g: sorted(g.find(["t0010", "t0012", "t0041", "nobody"])),
    "stats": lambda g: {k: v for k, v in vars(g.stats()).items() if k not in ("size_bytes", "info")},
    "vectors": lambda g: g.vectors(["t0000", "t0007", "t0042"]).tolist(),
    "search": lambda g: found(g.search(vectors(1, seed=5)[0], fingerprint=MODEL, k=40)),
    "search own": lambda g: found(g.search_tracklet("t0003", k=7)),
    "search person": lambda g: found(
        g.search(vectors(1)[0], fingerprint=MODEL, filters=Filters(people=frozenset({"Annabel"})))
    ),
    "search without": lambda g: found(
        g.search(vectors(1)[0], fingerprint=MODEL, filters=Filters(exclude_ids=frozenset({"t0001", "t0040"})))
    ),
    "strip": lambda g: [g.strip(i) for i in ("t0000", "t0002", "t0043", "t0020")],
    "crops": lambda g: [g.crops(i) for i in ("t0001", "t0041")],
    "judgements": lambda g: g.judgements(),
    "document": lambda g: g._store.document("note"),
    "audit": lambda g: g.audit_log(),
}


def found(result: Any) -> list[tuple[str, float, str]]:
    return [(m.record.id, m.distance, m.record.person) for m in result.matches]


def answers(folder: Path) -> Answers:
    """To every question what the gallery says, or the error that it gives."""

    def ask(question: Callable[[Gallery], Any]) -> Any:
        try:
            return question(gallery)
        except IntraclipError as error:
            return error

    try:
        gallery = open_gallery(folder)
    except IntraclipError as error:
        return dict.fromkeys(QUESTIONS, error)
    with gallery:
        return {name: ask(question) for name, question in QUESTIONS.items()}


def outcome(right: Answers, given: Answers) -> str:
    """``right``, ``refused`` or ``WRONG`` with the questions that were answered wrongly."""
    wrong = [
        name
        for name, answer in given.items()
        if answer != right[name] and not (isinstance(answer, DataError) and explains(answer))
    ]
    if wrong:
        return f"WRONG {wrong}"
    return "refused" if any(isinstance(a, IntraclipError) for a in given.values()) else "right"


def explains(error: DataError) -> bool:
    """Whether an error says that the gallery is damaged, or is none of this program's and version's."""
    other = ("database of another program", "has format version")
    return isinstance(error, DamagedError) or any(text in str(error) for text in other)


def flip(path: Path, rng: np.random.Generator) -> str:
    """Change one byte of a file; mostly one that is not zero, as most of a young database is empty."""
    data = np.fromfile(path, np.uint8)
    places = np.flatnonzero(data) if rng.random() < 0.8 else np.arange(len(data))
    place = int(rng.choice(places))
    data[place] ^= rng.integers(1, 256, dtype=np.uint8)
    data.tofile(path)
    return f"{path.name} at {place}"


def truncate(path: Path, rng: np.random.Generator) -> str:
    """Cut a file short."""
    size = int(rng.integers(path.stat().st_size))
    with path.open("r+b") as file:
        file.truncate(size)
    return f"{path.name} cut to {size}"


def blank(path: Path, rng: np.random.Generator) -> str:
    """Overwrite a sector, as a failing disk does."""
    data = bytearray(path.read_bytes())
    place = int(rng.integers(len(data))) // 512 * 512
    data[place : place + 512] = bytes([rng.choice([0, 255])]) * len(data[place : place + 512])
    path.write_bytes(data)
    return f"{path.name} sector at {place}"


def trial(
    pristine: Path, right: Answers, seed: int, damage: Callable[[Path, np.random.Generator], str] = flip
) -> str:
    """Damage a copy of a gallery and ask it everything."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "g"
        shutil.copytree(pristine, folder)
        # Files with much in them more often; all of them sometimes.
        files = sorted(p for p in folder.iterdir() if p.stat().st_size)
        weights = np.array([p.stat().st_size ** 0.5 for p in files])
        what = damage(files[rng.choice(len(files), p=weights / weights.sum())], rng)
        result = outcome(right, answers(folder))
    return result if not result.startswith("WRONG") else f"{result}: seed {seed}, {what}"


def prepared(folder: Path, *, dense: bool) -> tuple[Path, Answers]:
    """A pristine gallery, and what is right to answer of it."""
    make_pristine(folder, dense=dense)
    with tempfile.TemporaryDirectory() as work:
        shutil.copytree(folder, Path(work) / "g")
        right = answers(Path(work) / "g")
    assert not any(isinstance(a, Exception) for a in right.values()), right
    return folder, right


# -- killed, full, many at once --------------------------------------------------------------------------


@dataclass
class State:
    """What a gallery must hold: people by tracklet, and judged pairs."""

    people: dict[str, str] = field(default_factory=dict)
    judged: set[tuple[str, str]] = field(default_factory=set)

    def after(self, step: Step) -> State:
        """What it must hold after a step."""
        people, judged = dict(self.people), set(self.judged)
        if step.what == "add":
            people |= dict.fromkeys(step.ids, "")
        elif step.what == "label":
            people |= dict.fromkeys(step.ids, step.person)
        elif step.what == "confirm":
            judged.discard(step.ids[::-1])  # a later word replaces an earlier one, in whichever order
            judged.add(step.ids)
        elif step.what == "retract":
            judged.discard(step.ids)
        elif step.what == "delete":
            people = {i: p for i, p in people.items() if i not in step.ids}
            judged = {pair for pair in judged if not set(pair) & set(step.ids)}
        return State(people, judged)

    @classmethod
    def of(cls, gallery: Gallery) -> State:
        """What it holds."""
        return cls(
            {r.id: r.person for r in gallery.all_records()},
            {(j.query, j.tracklet) for j in gallery.judgements()},
        )


class Step(NamedTuple):
    """One change."""

    what: str
    ids: tuple[str, ...]
    person: str = ""


def steps(rng: np.random.Generator, count: int, prefix: str = "t", start: State | None = None) -> list[Step]:
    """Changes that are possible one after the other."""
    state, made = start or State(), []
    for number in range(count):
        there = sorted(state.people)
        choices = ["add", "add", *(["label", "confirm", "delete"] if len(there) > 4 else [])]
        choices += ["retract"] if state.judged else []
        what = str(rng.choice(choices))
        if what == "add":
            step = Step(what, tuple(f"{prefix}{number:03d}{i}" for i in range(3)))
        elif what == "retract":
            step = Step(what, sorted(state.judged)[rng.integers(len(state.judged))])
        else:
            chosen = tuple(map(str, rng.choice(there, 2, replace=False)))
            step = Step(what, chosen, person=f"P{number}")
        made.append(step)
        state = state.after(step)
    return made


def do(gallery: Gallery, step: Step, *, size: int = 3_000) -> None:
    """Make a change."""
    if step.what == "add":
        shown = [
            Pictures(strip=i.encode() * (size // 5), crops=(i.encode() * (size // 5),)) for i in step.ids
        ]
        gallery.add(
            [record(0, id=i) for i in step.ids], vectors(len(step.ids)), fingerprint=MODEL, pictures=shown
        )
    elif step.what == "label":
        gallery.set_person(step.ids, step.person)
    elif step.what == "confirm":
        gallery.confirm(*step.ids)
    elif step.what == "retract":
        gallery.retract(*step.ids)
    else:
        gallery.delete(Filters(ids=frozenset(step.ids)))


def opened(folder: Path) -> AbstractContextManager[Gallery]:
    """As `gallery add` opens a gallery."""
    return opened_or_created(folder, fingerprint=MODEL, dimension=SIZE, metric="euclidean", model="a model")


def child(work: Callable[[Callable[[], None]], None]) -> tuple[int, int]:
    """Run something in a process; its number, and a pipe with a byte for everything it finished."""
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        code = 1
        try:
            os.close(reading)
            work(lambda: os.write(writing, b"x") and None)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    return number, reading


def finished(reading: int) -> int:
    """How much a process finished until it ended."""
    with os.fdopen(reading, "rb") as pipe:
        return len(pipe.read())


def killed(root: Path, seed: int) -> str:
    """Create and change a gallery in a process that is killed anywhere; twice."""
    rng = np.random.default_rng(seed)
    folder, states = root / "g", [State()]
    for round_number in range(2):
        made = steps(rng, 30, f"r{round_number}", states[-1])

        def work(tell: Callable[[], None], made: list[Step] = made) -> None:
            with opened(folder) as gallery:
                for step in made:
                    do(gallery, step)
                    tell()

        number, reading = child(work)
        time.sleep(float(rng.uniform(0, 0.02 if rng.random() < 0.5 else 0.3)))
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        done = finished(reading)
        base = states[-1]
        for step in made[:done]:
            base = base.after(step)
        allowed = [base, *([base.after(made[done])] if done < len(made) else [])]
        with opened(folder) as gallery:  # what was half-created is done now
            found = State.of(gallery)
            if found not in allowed:
                return f"WRONG after {done} steps"
            if damage := gallery.check():
                return f"WRONG {damage}"
        states.append(found)
    return "kept"


def full(disk: Path, seed: int) -> str:
    """Change a gallery on a disk that is filled meanwhile: nothing is half done, and deletion always works."""
    rng = np.random.default_rng(seed)
    folder, state = disk / "g", State()
    refused = 0
    with opened(folder) as gallery:
        do(gallery, Step("add", ("a0000", "a0001", "a0002")))
        state = State.of(gallery)
        for place, step in enumerate(steps(rng, 40, "t", state)):
            if place == 12:
                with suppress(OSError), (disk / "rubbish").open("wb", buffering=0) as file:
                    while shutil.disk_usage(disk).free > rng.integers(0, 300_000):
                        file.write(bytes(4096))
            if not set(step.ids) <= state.people.keys() and step.what != "add":
                continue
            if step.what == "retract" and step.ids not in state.judged:
                continue
            try:
                do(gallery, step, size=20_000)
                state = state.after(step)
            except OutputError as error:
                if step.what != "add":
                    return f"WRONG {step.what} was refused on a full disk: {error}"
                refused += 1
            if State.of(gallery) != state:
                return f"WRONG after {step.what}"
    with open_gallery(folder) as gallery:
        gone = sorted(state.people)[0]
        gallery.audit("delete", {"ids": [gone]})
        if not gallery.delete(Filters(ids=frozenset({gone}))).complete or gallery.check():
            return "WRONG at the end"
    if any(gone.encode() * 20 in f.read_bytes() for f in folder.iterdir()):
        return "WRONG bytes were left"
    return "refused" if refused else "kept"


def together(root: Path, seed: int) -> str:
    """Three processes create one gallery and change it at once; each one's own tracklets are as it left them."""
    plans = [steps(np.random.default_rng([seed, part]), 8, f"{part}x") for part in range(3)]

    def work(tell: Callable[[], None], plan: list[Step]) -> None:
        with opened(root / "g") as gallery:
            for step in plan:
                do(gallery, step)
                tell()

    children = [child(partial(work, plan=plan)) for plan in plans]
    codes = [os.waitpid(number, 0)[1] for number, _ in children]
    done = [finished(reading) for _, reading in children]
    right = State()
    for plan in plans:
        for step in plan:
            right = right.after(step)
    if any(codes) or done != [8, 8, 8]:
        return f"WRONG {codes} {done}"
    with open_gallery(root / "g") as gallery:
        return "kept" if State.of(gallery) == right and not gallery.check() else "WRONG state"


def in_folder(case: Callable[[Path, int], str], seed: int) -> str:
    """A case in a folder of its own."""
    with tempfile.TemporaryDirectory() as work:
        return case(Path(work), seed)


def on_small_disk(seed: int) -> str:
    """`full` on a disk of 8 MB; only who may mount can make one."""
    with tempfile.TemporaryDirectory() as work:
        command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", work]
        if (
            shutil.which("mount") is None
            or subprocess.run(command, capture_output=True, check=False).returncode
        ):
            return "no disk"
        try:
            return full(Path(work), seed)
        finally:
            subprocess.run(["umount", "-l", work], check=True)


def main() -> None:
    """Everything; the figures on standard output."""
    count = int(sys.argv[1])

    def series(name: str, cases: int, one: Callable[[int], str]) -> None:
        results: Counter[str] = Counter()
        for seed in range(cases):
            result = one(seed)
            results[result.split(" ")[0]] += 1
            if result.startswith("WRONG"):
                print(name, seed, result, flush=True)
        print(f"{name}: {cases} cases, {dict(results)}", flush=True)

    with tempfile.TemporaryDirectory() as work:
        kinds = [prepared(Path(work) / name, dense=name == "dense") for name in ("dense", "whole")]
        series("a flipped byte", count, lambda seed: trial(*kinds[seed % 2], seed, flip))
        series("a file cut short", count // 4, lambda seed: trial(*kinds[seed % 2], seed, truncate))
        series("a lost sector", count // 4, lambda seed: trial(*kinds[seed % 2], seed, blank))
    series("kills", count // 4, partial(in_folder, killed))
    series("full disk", count // 8, on_small_disk)
    series("three writers", count // 8, partial(in_folder, together))


if __name__ == "__main__":
    main()
