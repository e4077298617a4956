"""Galleries in folders: files, crashes, other processes, full disks, damage."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest

from gallery.gallery_world import MODEL, SIZE, fill, pictures, record, vectors
from intraclip.errors import ConfigError, DamagedError, DataError, MissingExtraError, OutputError
from intraclip.gallery import folder_database
from intraclip.gallery.folder_database import FILE
from intraclip.gallery.gallery import Gallery, create_gallery, open_gallery
from intraclip.gallery.records import Filters

WRITER = """
import resource, signal, sys
from pathlib import Path
from gallery.gallery_world import MODEL, record, vectors
from intraclip.gallery.gallery import open_gallery
from intraclip.gallery.records import Pictures
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE, metric="euclidean").close()
    return tmp_path / "g"


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    tests = str(Path(__file__).parents[1])
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {tests!r})\n{WRITER}{code}",
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def pieces(trace: bytes) -> list[bytes]:
    """A long value may lie in two pages of the file: each piece of it is looked for by itself."""
    return [trace[start : start + 16] for start in range(0, max(1, len(trace) - 15), 16)]


def found_in(traces: dict[str, bytes], there: bytes) -> list[str]:
    return [name for name, trace in traces.items() if any(piece in there for piece in pieces(trace))]


def test_deleted_bytes_are_gone_from_every_file(folder):
    with open_gallery(folder) as gallery:
        filled = fill(gallery)
        gallery.set_person(["t0001"], "Annabel Secret")
        traces = {
            "vector": filled.vectors[1].tobytes(),
            "strip": pictures(1).strip[-80:],  # the end: JPEGs of one quality begin alike
            "crop": pictures(1).crops[1][-2000:-1900],
            "id": b"t0001",
            "person": b"Annabel Secret",
        }
        # A tracklet of a later transaction, so that the deleted one lies in the middle of everything.
        gallery.add([record(90)], vectors(1, seed=3), fingerprint=MODEL, pictures=[pictures(9)])
        assert found_in(traces, contents(folder)) == list(traces)
        deleted = gallery.delete(Filters(people=frozenset({"Annabel Secret"})))
        assert deleted.complete
        after = contents(folder)
        assert found_in(traces, after) == []
        kept = {"vector": filled.vectors[2].tobytes(), "strip": pictures(9).strip[-80:]}
        assert found_in(kept, after) == list(kept)


def test_a_reader_in_the_middle_delays_the_wiping_and_the_deletion_says_so(folder, monkeypatch):
    monkeypatch.setattr(folder_database, "WAIT_S", 0.05)
    with open_gallery(folder) as gallery:
        filled = fill(gallery)
        reader = sqlite3.connect(folder / FILE, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM tracklets").fetchone()
        deleted = gallery.delete(Filters(ids=frozenset({"t0001"})))
        assert not deleted.complete
        assert "another process" in deleted.note
        assert gallery.find(["t0001"]) == {}
        reader.execute("COMMIT")
        reader.close()
        assert gallery.delete(Filters(ids=frozenset({"t0002"}))).complete
        assert filled.vectors[1].tobytes() not in contents(folder)


def test_the_files_are_for_their_owner_alone(folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600


def test_what_is_no_gallery_is_refused(tmp_path, folder):
    with pytest.raises(DataError, match="is no gallery: there is no such folder"):
        open_gallery(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=f"is no gallery: it holds no {FILE}"):
        open_gallery(tmp_path / "other")
    with pytest.raises(OutputError, match="not empty"):
        create_gallery(tmp_path / "other", fingerprint=MODEL, dimension=4)
    with pytest.raises(OutputError, match="not empty"):
        create_gallery(folder, fingerprint=MODEL, dimension=4)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / FILE).write_text("this is no database, whatever its name says" * 20)
    with pytest.raises(DataError, match="damaged: file is not a database"):
        open_gallery(tmp_path / "text")
    (tmp_path / "sql").mkdir()
    with closing(sqlite3.connect(tmp_path / "sql" / FILE)) as db:
        db.execute("CREATE TABLE t (x)")
    with pytest.raises(DataError, match="another program"):
        open_gallery(tmp_path / "sql")


def test_another_version_is_refused(folder):
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match=r"version 99, this intraclip reads 1 to 2; update intraclip"):
        open_gallery(folder)


def test_a_damaged_database_is_refused_with_a_remedy(folder):
    with open_gallery(folder) as gallery:
        fill(gallery, 200)
    data = bytearray((folder / FILE).read_bytes())
    data[40_000:] = b"\xa5" * (len(data) - 40_000)
    (folder / FILE).write_bytes(data)

    def use() -> None:
        with open_gallery(folder) as gallery:
            gallery.search(vectors(1)[0], fingerprint=MODEL)
            gallery.stats()

    with pytest.raises(DataError, match=r"is damaged: .*restore"):
        use()


def test_a_damaged_vector_is_refused(folder):
    with open_gallery(folder) as gallery:
        fill(gallery)
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("UPDATE vectors SET vector = x'00' WHERE number = 3")
        db.commit()
    with open_gallery(folder) as gallery, pytest.raises(DamagedError, match="the vector of tracklet 't0002'"):
        gallery.search(vectors(1)[0], fingerprint=MODEL)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"metric": "manhattan"}, "metric"),
        ({"dimension": 0}, "dimension"),
        ({"fingerprint": ""}, "fingerprint"),
    ],
)
def test_a_gallery_that_makes_no_sense_is_not_made(tmp_path, values, message):
    with pytest.raises(ConfigError, match=message):
        create_gallery(tmp_path / "g", **{"fingerprint": MODEL, "dimension": 4, **values})
    assert not (tmp_path / "g").exists()


def test_a_server_without_its_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'intraclip\[milvus\]'"):
        open_gallery("milvus+http://127.0.0.1:1/people")


def test_an_address_of_another_kind_is_refused():
    for address in ("http://host/x", "milvus+http://host:1", "milvus+http://user:secret@host:1/x"):
        with pytest.raises(ConfigError, match="no address of a gallery"):
            open_gallery(address)


def test_a_second_writer_waits_and_is_then_told(folder, monkeypatch):
    monkeypatch.setattr(folder_database, "WAIT_S", 0.05)
    with open_gallery(folder) as gallery:
        fill(gallery)
        other = sqlite3.connect(folder / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match="another process is writing"):
            gallery.add([record(90)], vectors(1), fingerprint=MODEL)
        assert (
            len(gallery.search(vectors(1)[0], fingerprint=MODEL, k=99).matches) == 40
        )  # readers do not wait
        other.execute("ROLLBACK")
        other.close()
        assert gallery.add([record(90)], vectors(1), fingerprint=MODEL).added == 1


def test_two_processes_that_add_the_same_lose_nothing(folder):
    code = (
        "with open_gallery(Path(sys.argv[1])) as g:\n"
        "    for i in range(100): g.add([record(i)], vectors(100)[i : i + 1], fingerprint=MODEL)\n"
    )
    with ThreadPool(2) as pool:
        ended = pool.starmap(run, [(code, folder)] * 2)
    for process in ended:
        # One may meet an id that the other has added since it looked; it is told so, and nothing is doubled.
        assert process.returncode == 0 or "was added to the gallery" in process.stderr, process.stderr
    with open_gallery(folder) as gallery:
        assert gallery.stats().tracklets == 100
        np.testing.assert_array_equal(gallery.vectors(["t0042"])[0], vectors(100)[42])


def test_a_full_disk_is_said_and_loses_nothing(folder):
    with open_gallery(folder) as gallery:
        filled = fill(gallery)
    code = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "big = Pictures(strip=b'x' * 300_000)\n"
        "with open_gallery(Path(sys.argv[1])) as g:\n"
        "    for i in range(100, 200): g.add([record(i)], vectors(1), fingerprint=MODEL, pictures=[big])\n"
    )
    ended = run(code, folder, (folder / FILE).stat().st_size + 2_000_000)
    assert ended.returncode == 1
    assert "DiskFullError" in ended.stderr
    assert "the disk is full" in ended.stderr
    with open_gallery(folder) as gallery:
        there = {r.id for r in gallery.all_records()}
        assert {r.id for r in filled.records} < there
        np.testing.assert_array_equal(gallery.vectors(["t0007"])[0], filled.vectors[7])
        for name in there - {r.id for r in filled.records}:
            assert gallery.strip(name) == b"x" * 300_000
        assert gallery.add([record(999)], vectors(1), fingerprint=MODEL).added == 1


def test_searches_go_on_while_another_thread_adds_and_deletes(folder):
    errors: list[BaseException] = []
    done = threading.Event()

    def change(gallery: Gallery) -> None:
        try:
            for start in range(100, 400, 10):
                gallery.add(
                    [record(i) for i in range(start, start + 10)], vectors(10, seed=start), fingerprint=MODEL
                )
                gallery.delete(Filters(ids=frozenset({f"t{start:04d}", f"t{start - 95:04d}"})))
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    with open_gallery(folder) as gallery:
        filled = fill(gallery, 1)
        thread = threading.Thread(target=change, args=(gallery,))
        thread.start()
        searches = 0
        while not done.is_set():
            found = gallery.search(filled.vectors[0], fingerprint=MODEL, k=50)
            assert found.matches[0].record.id == "t0000"
            assert found.matches[0].distance == 0
            distances = [m.distance for m in found.matches]
            assert distances == sorted(distances)
            searches += 1
        thread.join()
        assert errors == []
        assert searches > 0
        left = {r.id for r in gallery.all_records()}
        found = gallery.search(filled.vectors[0], fingerprint=MODEL, k=1000)
        assert {m.record.id for m in found.matches} == left


def test_memory_is_read_anew_when_most_was_deleted(folder):
    with open_gallery(folder) as gallery:
        gallery.add([record(i) for i in range(3000)], vectors(3000), fingerprint=MODEL)
        assert len(gallery.search(vectors(1)[0], fingerprint=MODEL, k=1000).matches) == 1000
        gallery.delete(Filters(from_s=1000))
        found = gallery.search(vectors(1)[0], fingerprint=MODEL, k=1000)
        assert len(found.matches) == gallery.stats().tracklets == 100
        assert len(gallery._store._memory._state.vectors) == 100


def test_a_closed_gallery_says_so(folder):
    gallery = open_gallery(folder)
    gallery.close()
    with pytest.raises(OutputError, match="has been closed"):
        gallery.stats()


def test_an_interrupted_creation_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_database, "SCHEMA", "CREATE TABLE broken (;")
    with pytest.raises(DataError):
        create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=4)
    assert not (tmp_path / "g").exists()
