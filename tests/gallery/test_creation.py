"""Making a gallery: one process only, whole or not at all; what is refused leaves nothing behind."""

from __future__ import annotations

import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from gallery.gallery_world import MODEL, OTHER, SIZE, record, vectors
from intraclip.core.folders import require_empty_folder
from intraclip.errors import ConfigError, DataError, OutputError
from intraclip.gallery import folder_database
from intraclip.gallery.folder_files import COMMITS, FILE, LINKING, PARTIAL, RESERVE
from intraclip.gallery.gallery import create_gallery, is_taken, open_gallery, opened_or_created

ADD = """
import sys
sys.path.insert(0, sys.argv[1])
from gallery.gallery_world import MODEL, SIZE, record, vectors
from intraclip.gallery.gallery import opened_or_created
print("ready", flush=True)
for place in range(int(sys.argv[4])):
    sys.stdin.readline()
    with opened_or_created(f"{sys.argv[2]}{place}", fingerprint=MODEL, dimension=SIZE) as gallery:
        first = int(sys.argv[3])
        gallery.add([record(i) for i in range(first, first + 5)], vectors(5), fingerprint=MODEL)
    print("added 5", flush=True)
"""

ASKED = {"fingerprint": MODEL, "dimension": SIZE}


def test_two_processes_that_create_one_gallery_lose_nothing(tmp_path):
    count = 10
    arguments = [str(Path(__file__).parents[1]), str(tmp_path / "g")]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", ADD, *arguments, str(first), str(count)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for first in (0, 100)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for _ in range(count):  # both begin at the same moment, again and again
            for process in processes:
                process.stdin.write("\n")
                process.stdin.flush()
            for process in processes:
                assert process.stdout.readline() == "added 5\n", process.communicate()[1]
    for place in range(count):
        with open_gallery(tmp_path / f"g{place}") as gallery:
            assert gallery.stats().tracklets == 10


def test_a_folder_that_appears_between_two_looks_is_no_error(tmp_path, monkeypatch):
    def late(folder: Path, *, remedy: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / COMMITS).touch()  # what another process makes first
        require_empty_folder(folder, remedy=remedy)

    monkeypatch.setattr(folder_database, "require_empty_folder", late)
    with opened_or_created(tmp_path / "g", **ASKED) as gallery:
        gallery.add([record(1)], vectors(1), fingerprint=MODEL)
    with open_gallery(tmp_path / "g") as gallery:
        assert gallery.stats().tracklets == 1


def test_a_second_creation_is_refused_and_harms_nothing(tmp_path):
    with create_gallery(tmp_path / "g", **ASKED) as gallery:
        gallery.add([record(0)], vectors(1), fingerprint=MODEL)
        with pytest.raises(OutputError, match="not empty"):
            create_gallery(tmp_path / "g", **ASKED)
        assert gallery.stats().tracklets == 1


@pytest.mark.parametrize(
    "left",
    [
        [COMMITS],
        [COMMITS, PARTIAL],
        [COMMITS, PARTIAL, f"{PARTIAL}-journal", RESERVE],
        [COMMITS, RESERVE, LINKING],  # the database was taken away
        [f"{FILE}.4711.partial", f"{FILE}.4711.partial-journal"],
    ],
)
def test_a_creation_that_was_killed_is_swept_and_done_again(tmp_path, left):
    (tmp_path / "g").mkdir()
    for name in left:
        (tmp_path / "g" / name).write_bytes(b"half" if name != COMMITS else b"")
    assert not is_taken(tmp_path / "g")
    with pytest.raises(DataError, match="its creation was cut short; make one with `intraclip gallery add"):
        open_gallery(tmp_path / "g")
    with opened_or_created(tmp_path / "g", **ASKED) as gallery:
        gallery.add([record(0)], vectors(1), fingerprint=MODEL)
    with open_gallery(tmp_path / "g") as gallery:
        assert gallery.stats().tracklets == 1
    assert not list((tmp_path / "g").glob("*partial*"))


def test_a_folder_of_other_things_is_taken(tmp_path):
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "notes.txt").write_text("mine")
    (tmp_path / "g" / PARTIAL).write_text("half")
    assert is_taken(tmp_path / "g")
    with pytest.raises(OutputError, match="not empty"):
        create_gallery(tmp_path / "g", **ASKED)
    assert (tmp_path / "g" / "notes.txt").read_text() == "mine"


def test_what_is_refused_leaves_no_gallery(tmp_path):
    def refused() -> None:
        with opened_or_created(tmp_path / "g", **ASKED) as gallery:
            gallery.add([record(0)], 0 * vectors(1), fingerprint=MODEL)

    with pytest.raises(DataError):
        refused()
    assert not (tmp_path / "g").exists()
    with opened_or_created(tmp_path / "g", fingerprint=OTHER, dimension=SIZE) as gallery:
        gallery.add([record(0)], vectors(1), fingerprint=OTHER)

    def refused_again() -> None:
        with opened_or_created(tmp_path / "g", fingerprint=OTHER, dimension=SIZE) as gallery:
            gallery.add([record(1)], 0 * vectors(1), fingerprint=OTHER)

    with pytest.raises(DataError):
        refused_again()
    with open_gallery(tmp_path / "g") as gallery:
        assert gallery.stats().tracklets == 1


def test_an_empty_gallery_of_another_model_is_made_anew(tmp_path):
    create_gallery(
        tmp_path / "g", **ASKED, metric="euclidean"
    ).close()  # as a kill before the first addition leaves it
    with opened_or_created(tmp_path / "g", fingerprint=OTHER, dimension=8, metric="cosine") as gallery:
        assert (gallery.info.fingerprint, gallery.info.dimension, gallery.info.metric) == (OTHER, 8, "cosine")
        gallery.add([record(0)], vectors(1, size=8), fingerprint=OTHER)
    with opened_or_created(tmp_path / "g", **ASKED) as gallery:
        assert gallery.info.fingerprint == OTHER  # not empty any more: it stays what it is
        assert gallery.stats().tracklets == 1


def test_another_distance_is_refused(tmp_path):
    with opened_or_created(tmp_path / "g", **ASKED, metric="euclidean") as gallery:
        gallery.add([record(0)], vectors(1), fingerprint=MODEL)

    def ask(metric: str | None) -> str:
        with opened_or_created(tmp_path / "g", **ASKED, metric=metric) as gallery:
            return gallery.info.metric

    assert ask(None) == ask("euclidean") == "euclidean"
    with pytest.raises(
        ConfigError, match="measures euclidean distances, which cannot be changed; leave --distance"
    ):
        ask("cosine")
    with open_gallery(tmp_path / "g") as gallery:
        assert gallery.stats().tracklets == 1


def test_whoever_writes_to_a_removed_gallery_is_told(tmp_path):
    first = create_gallery(tmp_path / "g", **ASKED)
    with create_gallery(tmp_path / "other", **ASKED), open_gallery(tmp_path / "g") as second:
        assert first.discard()
        assert not (tmp_path / "g").exists()
        with pytest.raises(OutputError, match=r"was removed, or replaced"):
            second.add([record(0)], vectors(1), fingerprint=MODEL)
        with pytest.raises(OutputError, match=r"was removed, or replaced"):
            second.ready()


def test_a_gallery_that_held_something_is_not_discarded(tmp_path):
    with create_gallery(tmp_path / "g", **ASKED) as gallery:
        gallery.add([record(0)], vectors(1), fingerprint=MODEL)
        assert not gallery.discard()
        assert gallery.stats().tracklets == 1


def test_all_files_are_for_their_owner_alone(tmp_path):
    with create_gallery(tmp_path / "g", **ASKED) as gallery:
        gallery.add([record(0)], vectors(1), fingerprint=MODEL)
        with gallery.linked_alone():
            pass
        modes = {p.name: oct(stat.S_IMODE(p.stat().st_mode)) for p in (tmp_path / "g").iterdir()}
    assert {FILE, f"{FILE}-wal", COMMITS, RESERVE, LINKING} <= modes.keys()
    assert set(modes.values()) == {"0o600"}
    assert stat.S_IMODE((tmp_path / "g").stat().st_mode) == 0o700


def test_a_creation_that_takes_too_long_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_database, "WAIT_S", 0.05)
    with (
        folder_database.creating(tmp_path / "g", 0),
        pytest.raises(OutputError, match="another process is making the gallery"),
    ):
        create_gallery(tmp_path / "g", **ASKED)
