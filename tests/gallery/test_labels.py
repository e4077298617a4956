"""What people said, as training data."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import pytest

from gallery.gallery_world import CAMERAS, MODEL, SIZE, pictures, record, vectors
from intraclip.data.frames import read_tracklet_frame
from intraclip.data.readers import read_split
from intraclip.errors import DataError, OutputError
from intraclip.gallery.gallery import Gallery, create_gallery
from intraclip.gallery.labels import export_labels, people_of
from intraclip.gallery.records import Judgement
from intraclip.types import Tracklet


def said(query: int, tracklet: int, same: bool) -> Judgement:
    return Judgement(query=f"t{query:04d}", tracklet=f"t{tracklet:04d}", same=same)


RECORDS = {
    r.id: r for r in [record(i, person={7: "anna", 8: "anna", 9: "ben"}.get(i, "")) for i in range(10)]
}


@pytest.mark.parametrize(
    ("judgements", "groups", "conflicts"),
    [
        ([], [[7, 8], [9]], 0),
        ([said(1, 2, True), said(3, 2, True)], [[1, 2, 3], [7, 8], [9]], 0),
        ([said(1, 2, True), said(1, 3, False)], [[1, 2], [7, 8], [9]], 0),
        ([said(1, 7, True)], [[1, 7, 8], [9]], 0),
        ([said(1, 2, True), said(2, 3, True), said(1, 3, False)], [[7, 8], [9]], 1),
        ([said(7, 8, False)], [[9]], 1),
        ([said(7, 9, True)], [], 1),
        ([said(0, 99, True)], [[0], [7, 8], [9]], 0),
    ],
)
def test_confirmed_pairs_and_labels_make_people(judgements, groups, conflicts):
    found, contradictions = people_of({i: r.person for i, r in RECORDS.items()}, judgements)
    assert found == [[f"t{i:04d}" for i in group] for group in groups]
    assert len(contradictions) == conflicts


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    gallery = create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE)
    gallery.add(
        [record(i) for i in range(8)], vectors(8), fingerprint=MODEL, pictures=[pictures(i) for i in range(8)]
    )
    yield gallery
    gallery.close()


def test_the_export_is_a_data_folder_to_train_on(gallery, tmp_path):
    gallery.confirm("t0004", "t0001", by="kim")
    gallery.set_person(["t0002", "t0003"], "anna")
    gallery.reject("t0004", "t0002")
    summary = export_labels(gallery, tmp_path / "labels")
    assert (summary.people, summary.tracklets, summary.frames) == (2, 4, 8)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "labels").rglob("*") if p.is_file()}
    assert (stat.S_IMODE((tmp_path / "labels").stat().st_mode), modes) == (0o700, {0o600})
    split = read_split(tmp_path / "labels")
    assert {t.name: (t.pid, t.camid, len(t)) for t in split.train} == {
        "t0001": (1, 2, 2),
        "t0004": (1, 1, 2),
        "t0002": (2, 1, 2),
        "t0003": (2, 2, 2),
    }
    assert sorted(CAMERAS)[0] == CAMERAS[0]  # cameras are numbered in order of their names
    assert read_tracklet_frame(split.train[0], 1).shape == (320, 160, 3)
    with (tmp_path / "labels/judgements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["query"], r["tracklet"], r["judgement"], r["by"]) for r in rows] == [
        ("t0004", "t0001", "same", "kim"),
        ("t0004", "t0002", "different", ""),
    ]


def test_the_export_takes_all_frames_where_the_data_is_named(gallery, tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(5):
        (tmp_path / f"data/{i}.jpg").write_bytes(pictures(i).strip)
    whole = Tracklet(
        name="x", root=tmp_path / "data", frames=tuple(f"{i}.jpg" for i in range(5)), pid=-2, camid=1
    )
    gallery.confirm("t0001", "t0002")
    summary = export_labels(gallery, tmp_path / "labels", tracklets={"t0001": whole})
    assert summary.frames == 5 + 2


def test_nothing_to_export_says_why(gallery, tmp_path):
    gallery.reject("t0001", "t0002")
    with pytest.raises(DataError, match="no tracklet with pictures carries a label or a confirmed pair"):
        export_labels(gallery, tmp_path / "labels")
    gallery.set_person(["t0001", "t0002"], "anna")
    with pytest.raises(DataError, match="were rejected as one person"):
        export_labels(gallery, tmp_path / "labels")
    (tmp_path / "labels").mkdir(exist_ok=True)
    (tmp_path / "labels/mine.txt").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        export_labels(gallery, tmp_path / "labels")


def test_tracklets_without_pictures_are_named(gallery, tmp_path):
    gallery.add([record(20)], vectors(1), fingerprint=MODEL)
    gallery.confirm("t0001", "t0020")
    summary = export_labels(gallery, tmp_path / "labels")
    assert summary.without_pictures == ("t0020",)
    assert summary.tracklets == 1
