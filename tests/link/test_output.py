"""The table of people, and labels that `train` reads."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import write_tracklet
from intraclip.core.jobs import alone
from intraclip.data.readers import read_split
from intraclip.errors import DataError, OutputError
from intraclip.link.evidence import Evidence
from intraclip.link.output import (
    LABELS,
    LINKING,
    PEOPLE,
    PEOPLE_COLUMNS,
    output_folder,
    people_rows,
    read_linking,
    write_labels,
    write_linking,
    write_people,
)
from intraclip.link.people import link
from intraclip.types import Tracklet
from link.link_world import make_world


def test_the_table_has_a_row_a_tracklet_by_person_and_time(tmp_path: Path):
    world = make_world(people=4)
    people = link(world.evidence, world.names, threshold=2.0)
    write_people(tmp_path / "people.csv", people)
    rows = list(csv.DictReader((tmp_path / "people.csv").read_text(encoding="utf-8").splitlines()))
    assert tuple(rows[0]) == PEOPLE_COLUMNS
    assert sorted(row["tracklet"] for row in rows) == sorted(world.names)
    keys = [(int(row["person"]), float(row["start_s"])) for row in rows]
    assert keys == sorted(keys)
    assert {row["probability"] for row in rows} == {""}
    for row in rows:
        place = world.names.index(row["tracklet"])
        assert int(row["person"]) == people.person[place]
        assert int(row["camera"]) == world.evidence.camids[place]
    alone = Evidence(features=np.ones((1, 2), dtype=np.float32), camids=np.array([3]))
    assert people_rows(link(alone, ("x",))) == [
        {
            "tracklet": "x",
            "person": 1,
            "name": "",
            "camera": 3,
            "start_s": None,
            "end_s": None,
            "probability": None,
            "distance": None,
        }
    ]


def own_layout(root: Path) -> list[Tracklet]:
    """Three people in two cameras and one in a single one, a folder a tracklet."""
    tracklets = []
    for pid in (1, 2, 3, 4):
        for camid in (1, 2)[: 1 if pid == 4 else 2]:
            name = f"cam{camid}_p{pid}"
            made = write_tracklet(root / "tracklets" / name, pid=pid, camid=camid, frames=2)
            frames = tuple(f"tracklets/{name}/{frame}" for frame in made.frames)
            tracklets.append(Tracklet(name=name, root=root, frames=frames, pid=-2, camid=camid))
    return tracklets


def test_labels_are_read_back_as_training_people(tmp_path: Path):
    tracklets = own_layout(tmp_path)
    features = np.array([[float(t.name[-1]), 1.0] for t in tracklets], dtype=np.float32)
    people = link(
        Evidence(features=features, camids=np.array([t.camid for t in tracklets])),
        tuple(t.name for t in tracklets),
        threshold=0.5,
    )
    assert write_labels(tmp_path / "tracklets.csv", people, tracklets) == (3, 6)
    split = read_split(tmp_path)
    assert sorted(t.name for t in split.gallery) == ["cam1_p4"]
    found = {t.name: t.pid for t in split.train}
    assert {name[-1] for name in found} == {"1", "2", "3"}
    for name, pid in found.items():
        assert pid == found[f"cam{3 - int(name[3])}_{name[5:]}"]
    assert len(set(found.values())) == 3


def test_labels_keep_what_the_manifest_knows(tmp_path: Path):
    tracklets = own_layout(tmp_path)
    people = link(
        Evidence(
            features=np.array([[float(t.name[-1]), 1.0] for t in tracklets], dtype=np.float32),
            camids=np.array([t.camid for t in tracklets]),
        ),
        tuple(t.name for t in tracklets),
        threshold=0.5,
    )
    old = {
        t.name: {"tracklet": t.name, "folder": "old", "pid": "99", "camid": "9", "subset": "query"}
        | {"video": f"cam{t.camid}.mp4", "start_s": f"{row}.500", "end_s": "", "track": str(row)}
        for row, t in enumerate(tracklets)
    }
    del old[tracklets[0].name]
    write_labels(tmp_path / "tracklets.csv", people, tracklets, old)
    table = (tmp_path / "tracklets.csv").read_text(encoding="utf-8").splitlines()
    assert table[0] == "tracklet,folder,pid,camid,subset,video,start_s,end_s,track"
    rows = list(csv.DictReader(table))
    assert (rows[0]["video"], rows[0]["start_s"]) == ("", "")
    for number, (row, t) in enumerate(zip(rows, tracklets, strict=True)):
        assert (row["tracklet"], row["camid"], row["pid"] != "99") == (t.name, str(t.camid), True)
        assert row["folder"] == f"tracklets/{t.name}/{Path(t.frames[0]).parent.name}"
        if number:
            assert (row["video"], row["start_s"]) == (f"cam{t.camid}.mp4", f"{number}.500")


def test_layouts_without_a_folder_a_tracklet_are_refused(tmp_path: Path):
    first = write_tracklet(tmp_path, pid=1, camid=1, number=1)
    second = write_tracklet(tmp_path, pid=1, camid=1, number=2)
    people = link(
        Evidence(features=np.ones((2, 2), dtype=np.float32), camids=np.array([1, 1])),
        (first.name, second.name),
        threshold=1.0,
    )
    with pytest.raises(DataError, match="has no folder of its own"):
        write_labels(tmp_path / "tracklets.csv", people, [first, second])
    assert not (tmp_path / "tracklets.csv").exists()


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    people = link(Evidence(features=np.ones((1, 2), dtype=np.float32), camids=np.array([3])), ("x",))
    with pytest.raises(OutputError, match="cannot be written"):
        write_people(tmp_path / "file" / "people.csv", people)


def test_labels_that_a_human_corrected_are_not_replaced(tmp_path: Path):
    world = make_world(people=4)
    people = link(world.evidence, world.names, threshold=2.0)
    with output_folder(tmp_path / "out") as folder:
        write_people(folder / PEOPLE, people)
        (folder / LABELS).write_text("pid\n1\n")
        write_linking(folder, people, [PEOPLE, LABELS])
    with output_folder(tmp_path / "out") as folder:
        write_linking(folder, people, [])
    assert [p.name for p in (tmp_path / "out").iterdir()] == [LINKING]  # what this one did not write is gone
    with output_folder(tmp_path / "out") as folder:
        (folder / LABELS).write_text("pid\n1\n")
        write_linking(folder, people, [LABELS])
    (tmp_path / "out" / LABELS).write_text("pid\n2\n")
    with (
        pytest.raises(OutputError, match=r"tracklets.csv was changed .*; move it elsewhere"),
        output_folder(tmp_path / "out"),
    ):
        raise AssertionError
    assert (tmp_path / "out" / LABELS).read_text() == "pid\n2\n"


def test_a_first_linking_that_was_killed_is_no_obstacle(tmp_path: Path):
    people = link(make_world(people=4).evidence, make_world(people=4).names, threshold=2.0)
    out = tmp_path / "out"
    (out / "next.partial").mkdir(parents=True)
    (out / "next.partial" / PEOPLE).write_text("half")
    (out / "lock").write_text("")
    with output_folder(out) as folder:
        write_linking(folder, people, [])
    assert [p.name for p in out.iterdir()] == [LINKING]
    with alone(out), pytest.raises(OutputError, match="another process is at work"), output_folder(out):
        raise AssertionError


@pytest.mark.parametrize(
    ("text", "words"),
    [("a,b\n1,2\n", "no columns tracklet and name"), (b"tracklet,name\n\xff,x\n", "save it as CSV in UTF-8")],
)
def test_a_table_whose_names_cannot_be_read_is_refused(tmp_path: Path, text: str | bytes, words: str):
    world = make_world(people=4)
    people = link(world.evidence, world.names, threshold=2.0)
    write_linking(tmp_path, people, [])
    (tmp_path / PEOPLE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=words):
        read_linking(tmp_path)
    (tmp_path / PEOPLE).unlink()
    before, typed = read_linking(tmp_path)
    assert typed == {}
    assert before.person == dict(zip(people.names, people.person.tolist(), strict=True))
    with pytest.raises(DataError, match="holds no linking"):
        read_linking(tmp_path / "elsewhere")


def test_names_that_are_gone_from_every_row_are_taken_away(tmp_path: Path):
    world = make_world(people=4)
    people = link(world.evidence, world.names, threshold=2.0)
    named = replace(people, labels={1: "Anna", 2: "Eva"})
    write_linking(tmp_path, named, [])
    write_people(tmp_path / PEOPLE, named)
    before, typed = read_linking(tmp_path)
    assert (typed, before.labels) == ({}, {1: "Anna", 2: "Eva"})
    text = (tmp_path / PEOPLE).read_text().replace("Anna", "").replace("Eva", "", 1)
    (tmp_path / PEOPLE).write_text(text)
    before, typed = read_linking(tmp_path)
    assert before.called(typed).labels == {2: "Eva"}


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("people", -5),
        ("people", 0),
        ("people", 10**30),
        ("people", float("inf")),
        ("following", float("nan")),
    ],
)
def test_a_linking_with_numbers_that_are_none_is_damaged(tmp_path: Path, where: str, value: float):
    known = {"links_version": 1, "following": 2, "people": {"a": 1}, "labels": {}, "files": {}}
    known[where] = {"a": value} if where == "people" else value
    (tmp_path / "links.json").write_text(json.dumps(known))
    with pytest.raises(DataError, match=r"links\.json is damaged"):
        read_linking(tmp_path)
    (tmp_path / "links.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"links\.json is damaged"):
        read_linking(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"), [("A\x07B", "no control characters"), ("x" * 2000, "2,000 characters long")]
)
def test_a_typed_name_that_is_none_is_refused_with_its_tracklet(tmp_path: Path, name: str, words: str):
    known = {"links_version": 1, "following": 2, "people": {"a": 1}, "labels": {}, "files": {}}
    (tmp_path / "links.json").write_text(json.dumps(known))
    (tmp_path / "people.csv").write_text(f"tracklet,name\na,{name}\n")
    with pytest.raises(DataError, match=f"people.csv, tracklet 'a': the name is .*{words}"):
        read_linking(tmp_path)
