"""SIGKILL at random moments: what was acknowledged is there, nothing is half-there.

`pytest tests/gallery/test_kills.py -m slow` does it twenty times.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from gallery import hostile
from gallery.gallery_world import MODEL, SIZE, pictures, vectors
from intraclip.gallery.folder_database import connect
from intraclip.gallery.gallery import create_gallery, open_gallery

WORKER = """
import sys
sys.path.insert(0, sys.argv[2])
from gallery import hostile
from gallery.gallery_world import MODEL, pictures, record, vectors
from intraclip.gallery.gallery import open_gallery
from intraclip.gallery.records import Filters
with open_gallery(sys.argv[1]) as gallery:
    step = first = int(sys.argv[3])
    print("ready", flush=True)
    while True:
        numbers = range(4 * step, 4 * step + 4)
        records, shown = [record(i) for i in numbers], [pictures(i) for i in numbers]
        gallery.add(records, vectors(4, seed=step), fingerprint=MODEL, pictures=shown)
        gallery.confirm(f"t{4 * step:04d}", f"t{4 * step + 1:04d}")
        print("added", step, flush=True)
        if step % 3 == 2 and step > first:
            gone = frozenset(f"t{4 * (step - 1) + i:04d}" for i in range(4))
            print("deleting", step - 1, flush=True)
            assert len(gallery.delete(Filters(ids=gone)).ids) == 4
            print("deleted", step - 1, flush=True)
        step += 1
"""


def kill_once(folder: Path, rng: np.random.Generator, step: int) -> tuple[list[list[str]], bool]:
    """Run the worker from a step on, kill it; what it said."""
    arguments = [sys.executable, "-c", WORKER, str(folder), str(Path(__file__).parents[1]), str(step)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == "ready\n", first + process.stdout.read()
        # After a random number of lines, whatever the machine is busy with, and anywhere in what comes then.
        said = [process.stdout.readline() for _ in range(rng.integers(1, 16))]
        time.sleep(float(rng.uniform(0, 0.03)))
        process.kill()
        said += process.stdout.readlines()
    words = [line.split() for line in said]
    assert {word[0] for word in words} <= {"added", "deleting", "deleted"}, "".join(said)
    return words, process.returncode == -9


def check(
    folder: Path,
    *,
    sure: set[int],
    acknowledged: set[int],
    perhaps: set[int],
    may_be_gone: set[int],
    gone: set[int],
) -> set[int]:
    """Compare the gallery with what is known of it; the steps that are there.

    Args:
        folder: of the gallery.
        sure: steps that were there before, or acknowledged since.
        acknowledged: those whose judgement was acknowledged too.
        perhaps: the step that may have been under way.
        may_be_gone: steps whose deletion had begun.
        gone: steps whose deletion was acknowledged, or seen.
    """
    with closing(connect(folder)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in ("vectors", "tracklets"):
            others = f"SELECT count(*) FROM {table} WHERE number NOT IN (SELECT number FROM pictures)"
            assert db.execute(others).fetchone() == (0,)
    with open_gallery(folder) as gallery:
        ids = {r.id for r in gallery.all_records()}
        there = {int(i[1:]) // 4 for i in ids}
        assert ids == {
            f"t{4 * step + i:04d}" for step in there for i in range(4)
        }  # all four, or none of them
        assert sure - may_be_gone <= there
        assert there <= (sure | perhaps)
        assert not there & gone
        judged = {int(j.query[1:]) // 4 for j in gallery.judgements()}
        assert judged <= there
        assert acknowledged - may_be_gone <= judged
        for step in there:
            np.testing.assert_array_equal(
                gallery.vectors([f"t{4 * step + i:04d}" for i in range(4)]), vectors(4, seed=step)
            )
        for step in list(there)[-5:]:
            assert gallery.crops(f"t{4 * step:04d}") == pictures(4 * step).crops
        found = gallery.search(vectors(1)[0], fingerprint=MODEL, k=1000)
        assert {m.record.id for m in found.matches} == ids
        return there


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_writers_leave_what_was_acknowledged_and_nothing_half(tmp_path, kills):
    create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE, metric="euclidean").close()
    rng = np.random.default_rng()
    there: set[int] = set()
    acknowledged: set[int] = set()
    gone: set[int] = set()
    step = 0
    for _ in range(kills):
        said, was_killed = kill_once(tmp_path / "g", rng, step)
        assert was_killed
        told = {word: {int(n) for w, n in said if w == word} for word in ("added", "deleting", "deleted")}
        last = max([step - 1, *told["added"]])
        gone |= told["deleted"]
        acknowledged = (acknowledged | told["added"]) - gone
        there = check(
            tmp_path / "g",
            sure=(there | told["added"]) - gone,
            acknowledged=acknowledged,
            perhaps={last + 1},
            may_be_gone=told["deleting"],
            gone=gone,
        )
        gone |= told["deleting"] - there
        acknowledged -= gone
        step = last + 2
    assert there


def test_a_kill_anywhere_leaves_the_state_before_or_after_a_change():
    # Creation too; a killed one is finished by the next command.
    assert {hostile.in_folder(hostile.killed, seed) for seed in range(5)} == {"kept"}


def test_a_disk_that_fills_up_stops_additions_and_nothing_else():
    results = {hostile.on_small_disk(seed) for seed in range(3)}
    if results == {"no disk"}:
        pytest.skip("no disk can be mounted here")
    assert results <= {"kept", "refused"}


def test_three_processes_that_create_and_change_one_gallery_lose_nothing():
    assert {hostile.in_folder(hostile.together, seed) for seed in range(3)} == {"kept"}
