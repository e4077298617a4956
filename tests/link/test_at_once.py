"""Several processes at one gallery while it is linked: nothing is lost or half-written, and who is refused is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import intraclip as ic
from intraclip.cli.main import run
from intraclip.errors import OutputError
from intraclip.gallery.gallery import create_gallery, open_gallery
from intraclip.gallery.records import Filters, TrackletRecord
from intraclip.link import kept
from intraclip.link.kept import kept_in
from link.link_world import World, make_world

STOPPING = """
import sys
from intraclip.cli.main import run
import intraclip.{module} as module
call = module.{name}
def waiting(*args, **options):
    print("waiting", flush=True)
    sys.stdin.readline()
    return call(*args, **options)
module.{name} = waiting
sys.exit(run("link", sys.argv[1:]))
"""

AGAIN_AND_AGAIN = """
import sys
import intraclip as ic
from intraclip.errors import OutputError
for _ in range(3):
    try:
        ic.link(sys.argv[1], threshold=1.2)
        print("linked", flush=True)
    except OutputError as error:
        print(error, flush=True)
"""


@pytest.fixture
def world() -> World:
    return make_world(people=6, noise=0.15)


@pytest.fixture
def folder(tmp_path: Path, world: World) -> Path:
    with create_gallery(tmp_path / "gallery", fingerprint="f", dimension=8, metric="euclidean") as gallery:
        gallery.add([record(name) for name in world.names], world.evidence.features, fingerprint="f")
    return tmp_path / "gallery"


def record(name: str) -> TrackletRecord:
    camid = 1 + int(name[1:]) % 3
    return TrackletRecord(id=name, camera=f"yard{camid}", camid=camid)


@contextmanager
def stopped_at(module: str, name: str, folder: Path, out: Path) -> Iterator[Callable[[], str]]:
    """`link` in a process that waits before a function of a module; what is yielded lets it go on."""
    command = [
        sys.executable,
        "-c",
        STOPPING.format(module=module, name=name),
        str(folder),
        "--out",
        str(out),
    ]
    with subprocess.Popen(
        [*command, "--threshold", "1.2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == "waiting\n", first + process.stdout.read()
        try:
            yield lambda: process.communicate("go on\n")[0]
        finally:
            process.kill()


def test_who_links_a_gallery_that_is_being_linked_is_refused_at_once(folder: Path, tmp_path: Path):
    with stopped_at("link.people", "link", folder, tmp_path / "first") as go_on:
        with pytest.raises(
            OutputError, match="is being linked by somebody else; wait for that, then link it"
        ):
            run("link", [str(folder), "--out", str(tmp_path / "second")])
        assert not (tmp_path / "second").exists()
        with pytest.raises(OutputError, match="is being linked by somebody else"):
            ic.link(folder)
        said = go_on()
    assert "6 people" in said, said
    again = ic.link(folder, threshold=1.2)
    assert again.changes is not None
    assert again.changes.kept == 6


def test_what_others_do_while_a_gallery_is_linked_is_kept(folder: Path, tmp_path: Path, world: World):
    gone = frozenset(world.names[:4])  # person 1, and one of the next
    with (
        stopped_at("link.people", "link", folder, tmp_path / "out") as go_on,
        open_gallery(folder) as gallery,
    ):
        gallery.delete(Filters(ids=gone))
        gallery.add([record("t100")], world.evidence.features[:1], fingerprint="f")
        gallery.reject("t004", "t005")
        gallery.set_person(["t008"], "Anna")
        said = go_on()
        assert "4 tracklets that were deleted meanwhile were left out" in said, said
        before = kept_in(gallery)
        assert before is not None
        assert set(before.person) == set(world.names) - gone
        assert [(j.query, j.tracklet, j.same) for j in gallery.judgements()] == [("t004", "t005", False)]
        assert gallery.check() == []
        written = "".join(path.read_text() for path in (tmp_path / "out").iterdir() if path.is_file())
        assert not any(name in written for name in gone)
        people = ic.link(gallery, threshold=1.2)
    person = dict(zip(people.names, people.person.tolist(), strict=True))
    assert person["t004"] != person["t005"]
    assert people.labels == {person["t008"]: "Anna"}
    assert people.changes is not None
    assert people.changes.gone == ()
    assert person["t100"] not in before.person.values()


def test_a_page_with_tracklets_that_are_deleted_while_it_is_written_is_not_kept(folder: Path, tmp_path: Path):
    with stopped_at("report.people", "write_people_page", folder, tmp_path / "out") as go_on:
        with open_gallery(folder) as gallery:
            gallery.delete(Filters(ids=frozenset({"t003"})))
        said = go_on()
    assert "1 tracklets, such as t003, were deleted" in said, said
    assert not (tmp_path / "out").exists()
    with open_gallery(folder) as gallery:
        assert kept_in(gallery) is None


def test_of_many_who_link_all_the_time_each_is_done_or_refused(folder: Path, world: World):
    command = [sys.executable, "-c", AGAIN_AND_AGAIN, str(folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    with open_gallery(folder) as gallery:
        for number in range(100, 112):
            gallery.add([record(f"t{number}")], world.evidence.features[:1], fingerprint="f")
            if number % 3 == 0:
                gallery.delete(Filters(ids=frozenset({f"t{number - 1}"})))
        lines = [line for process in processes for line in process.communicate()[0].splitlines()]
        assert all(process.returncode == 0 for process in processes)
        assert len(lines) == 6
        assert all(line == "linked" or "is being linked by somebody else" in line for line in lines), lines
        assert "linked" in lines
        before = kept_in(gallery)
        assert before is not None
        assert set(before.person) <= {r.id for r in gallery.all_records()}
        assert set(before.person) >= set(world.names)
        assert len({key.rpartition("-")[0] for key in gallery.papers(kept.PART)}) == 1
        assert gallery.check() == []
