"""What is taken back is gone at once, on a full disk too; who did what stands in the log."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gallery.gallery_world import MODEL, SIZE, fill, record, vectors
from intraclip.errors import OutputError
from intraclip.gallery.folder_files import RESERVE, RESERVE_BYTES
from intraclip.gallery.gallery import create_gallery, open_gallery
from intraclip.gallery.records import Filters, Pictures


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_labels_and_judgements_that_are_taken_back_are_gone_from_every_file(tmp_path):
    with create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE) as gallery:
        fill(gallery)
        gallery.set_person(["t0001"], "Annabel Secret")
        gallery.confirm("t0002", "t0003", by="Judge Doredd")
        gallery._store.put_document("note", "a secret text")
        for trace in (b"Annabel Secret", b"Judge Doredd", b"a secret text"):
            assert trace in contents(tmp_path / "g")
        gallery.set_person(["t0001"], "")
        assert b"Annabel Secret" not in contents(tmp_path / "g")
        gallery.retract("t0003", "t0002")
        assert b"Judge Doredd" not in contents(tmp_path / "g")
        gallery._store.put_document("note", None)
        assert b"a secret text" not in contents(tmp_path / "g")
        gallery.set_person(["t0001"], "Annabel Secret")
        gallery.confirm("t0002", "t0003", by="Judge Doredd")
        gallery.set_person(["t0001"], "Another")
        gallery.reject("t0003", "t0002", by="somebody else")
        for trace in (b"Annabel Secret", b"Judge Doredd"):
            assert trace not in contents(tmp_path / "g")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB; only who may mount can make one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill_disk(place: Path) -> None:
    with (place / "rubbish").open("wb", buffering=0) as file:
        for size in (100_000, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    assert shutil.disk_usage(place).free < 4096


def test_deletion_works_on_a_full_disk(small_disk):
    folder = small_disk / "g"
    with create_gallery(folder, fingerprint=MODEL, dimension=SIZE) as gallery:
        shown = [
            Pictures(strip=bytes([65 + i]) * 60_000, crops=(bytes([97 + i]) * 40_000,)) for i in range(20)
        ]
        gallery.add([record(i) for i in range(20)], vectors(20), fingerprint=MODEL, pictures=shown)
        gallery.set_person(["t0001"], "Annabel Secret")
        gallery.confirm("t0002", "t0003", by="kim")
        fill_disk(small_disk)
        with pytest.raises(OutputError, match="the disk is full"):
            gallery.add([record(90)], vectors(1), fingerprint=MODEL, pictures=[Pictures(strip=b"z" * 90_000)])
        with pytest.raises(OutputError, match="the disk is full"):
            gallery.ready()
        assert len(gallery.search(vectors(1)[0], fingerprint=MODEL, k=30).matches) == 20
        gallery.audit("delete", {"ids": ["t0001"]}, actor="kim")
        deleted = gallery.delete(Filters(ids=frozenset({"t0001"})))
        assert deleted.complete
        assert b"Annabel Secret" not in contents(folder)
        assert b"B" * 100 not in contents(folder)
        gallery.retract("t0002", "t0003")
        gallery.set_person(["t0005"], "")
        assert gallery.judgements() == []
        # More than the log has room for: it goes in parts.
        gallery.audit("delete", {"ids": ["all"]}, actor="kim")
        deleted = gallery.delete(Filters(cameras=frozenset({"hall"})))
        assert (len(deleted.ids), deleted.pictures, deleted.complete) == (10, 20, True)
        assert b"A" * 100 not in contents(folder)
        assert (folder / RESERVE).stat().st_size > RESERVE_BYTES / 2
    # By a process that finds the disk full.
    fill_disk(small_disk)
    code = (
        "import sys\nfrom intraclip.gallery.gallery import open_gallery\n"
        "from intraclip.gallery.records import Filters\n"
        "with open_gallery(sys.argv[1]) as g:\n"
        "    print(len(g.delete(Filters(from_s=0)).ids))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert ended.stdout == "9\n", ended.stderr
    (small_disk / "rubbish").unlink()
    with open_gallery(folder) as gallery:
        assert gallery.stats().tracklets == 0
        assert gallery.check() == []
        gallery.ready()
        assert [e.action for e in gallery.audit_log()] == ["delete", "delete"]
        assert gallery.add([record(90)], vectors(1), fingerprint=MODEL).added == 1


def test_who_and_where_stand_in_the_log(tmp_path):
    with create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE) as gallery:
        gallery.audit("search", {"k": 1}, actor="kim", origin="command line")
        (line,) = gallery.audit_log()
        assert (line.actor, line.origin) == ("kim", "command line")


def test_a_tracklet_that_a_wrong_clock_put_ahead_is_found_and_deleted(tmp_path, monkeypatch):
    import time

    now = time.time()
    with create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE) as gallery:
        with monkeypatch.context() as clock:
            clock.setattr(time, "time", lambda: now + 400 * 86_400)
            gallery.add([record(0)], vectors(1), fingerprint=MODEL)
        gallery.add([record(1)], vectors(1, seed=1), fingerprint=MODEL)
        # Seen after it was added: the year was mistyped. Its age counts from when it was added.
        mistyped = record(2, started_at=now + 400 * 86_400, added_at=now - 90 * 86_400)
        gallery.add([mistyped], vectors(1, seed=2), fingerprint=MODEL)
        old = Filters(seen_before=now - 30 * 86_400)
        ahead = Filters(seen_after=now + 60)
        for filters, ids in ((old, {"t0002"}), (ahead, {"t0000"})):
            assert {r.id for r in gallery.all_records(filters)} == ids
            found = gallery.search(vectors(1)[0], fingerprint=MODEL, filters=filters)
            assert {m.record.id for m in found.matches} == ids
        assert gallery.delete(old).ids == ("t0002",)
        assert gallery.delete(ahead).ids == ("t0000",)
