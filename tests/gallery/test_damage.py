"""Damaged galleries: what is wrong is never answered, what is intact can be saved; old formats still open."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from gallery.gallery_world import MODEL, SIZE, fill, pictures, record, vectors
from gallery.hostile import QUESTIONS, answers, blank, flip, outcome, prepared, trial, truncate
from intraclip.errors import DamagedError, DataError
from intraclip.gallery.folder_files import COMMITS, FILE
from intraclip.gallery.gallery import create_gallery, open_gallery
from intraclip.gallery.records import Filters
from intraclip.gallery.salvage import save_intact

OLD = Path(__file__).with_name("format1.sqlite.gz")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    root = tmp_path_factory.mktemp("pristine")
    return [prepared(root / name, dense=name == "dense") for name in ("dense", "whole")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE, metric="euclidean").close()
    with open_gallery(tmp_path / "g") as gallery:
        fill(gallery)
    return tmp_path / "g"


def change(folder: Path, statement: str) -> None:
    """Behind the gallery's back."""
    db = sqlite3.connect(folder / FILE)
    triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    db.execute(statement)
    for _, sql in triggers:
        db.execute(sql)
    db.commit()
    db.close()


@pytest.mark.parametrize("damage", [flip, truncate, blank])
def test_a_damaged_gallery_answers_rightly_or_says_that_it_is_damaged(kinds, damage):
    results = [trial(*kinds[seed % 2], seed, damage) for seed in range(160 if damage is flip else 30)]
    assert [r for r in results if r.startswith("WRONG")] == []
    assert {"right", "refused"} <= set(results)  # else the trial tries nothing


def test_the_trial_would_see_a_wrong_answer(kinds):
    _, right = kinds[0]
    assert outcome(right, right) == "right"
    assert outcome(right, {**right, "strip": [b""]}) == "WRONG ['strip']"
    assert outcome(right, {**right, "one": DataError("no such tracklet")}) == "WRONG ['one']"
    assert set(right) == set(QUESTIONS)


@pytest.mark.parametrize(
    ("statement", "use", "what"),
    [
        (
            "UPDATE tracklets SET camera = 'door' WHERE id = 't0003'",
            lambda g: g.page(),
            "the record of tracklet .t0003.",
        ),
        ("UPDATE tracklets SET boxes = '[]' WHERE id = 't0000'", lambda g: g.record("t0000"), "'t0000'"),
        ("DELETE FROM tracklets WHERE id = 't0003'", lambda g: g.find(["t0003"]), "39 rows can be read, 40"),
        ("DELETE FROM pictures WHERE number = 2", lambda g: g.crops("t0001"), "pictures of tracklet 't0001'"),
        (
            "UPDATE pictures SET jpeg = x'00' WHERE number = 1 AND place = 1",
            lambda g: g.crops("t0000"),
            "pictures of tracklet 't0000'",
        ),
        (
            "UPDATE vectors SET vector = zeroblob(64) WHERE number = 5",
            lambda g: g.search(vectors(1)[0], fingerprint=MODEL),
            "the vector of tracklet 't0004'",
        ),
        ("UPDATE info SET value = 'cosine' WHERE name = 'metric'", lambda g: g.info, "row 'metric'"),
    ],
)
def test_what_is_damaged_is_named_with_the_way_to_save_the_rest(folder, statement, use, what):
    change(folder, statement)

    def ask() -> None:
        with open_gallery(folder) as gallery:
            use(gallery)

    with pytest.raises(DamagedError, match=what) as caught:
        ask()
    assert f"intraclip gallery check {folder} --out NEW" in str(caught.value)


def test_a_damaged_log_loses_no_change_without_a_word(tmp_path):
    create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE, metric="euclidean").close()
    with open_gallery(tmp_path / "g") as gallery:
        for i in range(3):
            gallery.add([record(i)], vectors(1), fingerprint=MODEL)
        shutil.copytree(tmp_path / "g", tmp_path / "copy")
    log = tmp_path / "copy" / f"{FILE}-wal"
    data = bytearray(log.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    log.write_bytes(data)
    with pytest.raises(DamagedError, match=r"write-ahead log: [12] of its last changes are lost"):
        open_gallery(tmp_path / "copy")
    saved = save_intact(tmp_path / "copy", tmp_path / "new")
    assert saved.tracklets in (1, 2)
    (tmp_path / "copy" / COMMITS).unlink()  # as the message says, where a copy was restored
    with open_gallery(tmp_path / "copy") as gallery:
        assert gallery.stats().tracklets == saved.tracklets


def test_all_that_is_intact_is_saved(folder, tmp_path):
    with open_gallery(folder) as gallery:
        gallery.confirm("t0010", "t0011", by="kim")
        gallery.confirm("t0004", "t0012", by="kim")
        gallery.set_person(["t0010"], "Annabel")
        gallery.audit("search", {"tracklet": "t0001"}, actor="kim", origin="here")
        gallery._store.put_document("note", "a text")
        before = {r.id: r for r in gallery.all_records()}
    change(folder, "UPDATE vectors SET vector = zeroblob(64) WHERE number = 5")
    change(folder, "UPDATE tracklets SET camera = 'door' WHERE id = 't0007'")
    change(folder, "UPDATE pictures SET jpeg = x'00' WHERE number = 2 AND place = 0")
    with open_gallery(folder) as gallery:
        damage = gallery.check()
    assert [w for w in ("t0004", "'t0007'", "'t0001'") if not any(w in d for d in damage)] == []
    saved = save_intact(folder, tmp_path / "new")
    assert (saved.tracklets, saved.judgements, saved.audit) == (38, 1, 1)
    assert saved.without_pictures == ["t0001"]
    assert any("2 of 40 tracklets" in line for line in saved.lost)
    with open_gallery(tmp_path / "new") as new:
        assert new.check() == []
        assert {r.id: r for r in new.all_records()} == {
            i: r for i, r in before.items() if i not in ("t0004", "t0007")
        }
        np.testing.assert_array_equal(new.vectors(["t0020"])[0], vectors(40)[20])
        assert new.crops("t0002") == pictures(2).crops
        assert new._store.document("note") == "a text"
        (line,) = new.audit_log()
        assert (line.actor, line.origin, line.detail) == ("kim", "here", {"tracklet": "t0001"})


def test_a_page_that_cannot_be_read_costs_what_is_on_it_alone(tmp_path):
    create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE, metric="euclidean").close()
    with open_gallery(tmp_path / "g") as gallery:
        gallery.add([record(i) for i in range(2000)], vectors(2000), fingerprint=MODEL)
    db = sqlite3.connect(tmp_path / "g" / FILE)
    (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'tracklets'").fetchone()
    db.close()
    data = bytearray((tmp_path / "g" / FILE).read_bytes())
    size = 16_384
    start = (root - 1) * size
    assert data[start] == 5  # an inner page: its first child is a leaf with tracklets
    cell = int.from_bytes(data[start + 12 + 8 : start + 12 + 10], "big")
    leaf = int.from_bytes(data[start + cell : start + cell + 4], "big")
    data[(leaf - 1) * size : (leaf - 1) * size + 100] = b"\xa5" * 100
    (tmp_path / "g" / FILE).write_bytes(data)
    saved = save_intact(tmp_path / "g", tmp_path / "new")
    assert 1500 < saved.tracklets < 2000
    assert any("tracklets, in all" in line for line in saved.lost)


def test_a_gallery_whose_model_cannot_be_read_saves_nothing(folder, tmp_path):
    change(folder, "UPDATE info SET value = 'x' WHERE name = 'fingerprint'")
    with pytest.raises(DamagedError, match="which model"):
        save_intact(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_gallery_of_format_1_is_brought_up_to_date(tmp_path):
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / FILE).write_bytes(gzip.decompress(OLD.read_bytes()))
    for _ in range(2):
        with open_gallery(tmp_path / "g") as gallery:
            assert gallery.info.format_version == 2
            assert gallery.check() == []
            assert gallery.stats().tracklets == 11
            assert gallery.record("t0001").person == "Annabel"
            assert len(gallery.record("t0000").boxes) == 1
            assert len(gallery.crops("t0002")) == 2
            np.testing.assert_array_equal(gallery.vectors(["t0007"])[0], vectors(12)[7])
            assert [(j.query, j.tracklet, j.same) for j in gallery.judgements()] == [
                ("t0002", "t0003", True),
                ("t0004", "t0001", False),
            ]
            assert gallery._store.document("note") == "a text"
            assert [(e.action, e.actor, e.origin) for e in gallery.audit_log()][::-1][:2] == [
                ("search", "kim", ""),
                ("delete", "kim", ""),
            ]
            gallery.audit("search", {}, actor="kim", origin="here")
    with open_gallery(tmp_path / "g") as gallery:
        gallery.add([record(20)], vectors(1), fingerprint=MODEL)
        assert gallery.delete(Filters(people=frozenset({"Annabel"}))).ids == ("t0001",)
        assert len(gallery.search(vectors(1)[0], fingerprint=MODEL, k=40).matches) == 11


def test_damage_that_comes_while_it_is_open_is_met(folder):
    with open_gallery(folder) as gallery:
        gallery.ready()
        gallery.crops("t0020")
        change(folder, "UPDATE pictures SET jpeg = x'00' WHERE number = 3")
        with pytest.raises(DamagedError, match="pictures of tracklet 't0002'"):
            gallery.crops("t0002")
        assert gallery.record("t0003").id == "t0003"
        with pytest.raises(DamagedError, match="pictures of tracklet 't0002'"):
            gallery.ready()


def test_answers_are_the_same_after_a_copy(kinds, tmp_path):
    pristine, right = kinds[1]
    shutil.copytree(pristine, tmp_path / "g")
    assert answers(tmp_path / "g") == right


@pytest.mark.parametrize("place", ["x'6162'", "1.5"])
def test_a_picture_in_a_place_that_is_no_number_is_damage(folder, place):
    of = "number = (SELECT number FROM tracklets WHERE id = 't0001')"
    change(folder, f"UPDATE pictures SET place = {place} WHERE {of} AND place = 2")
    with (
        open_gallery(folder) as gallery,
        pytest.raises(DamagedError, match="the pictures of tracklet 't0001'"),
    ):
        gallery.crops("t0001")
