"""What people said about tracklets that are in no gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intraclip as ic
from intraclip.cli.main import run
from intraclip.embed.embeddings_writer import save_embeddings
from intraclip.errors import ConfigError, DataError
from intraclip.gallery.answers import Answer
from intraclip.gallery.gallery import create_gallery
from intraclip.gallery.records import TrackletRecord
from intraclip.link.people import People
from intraclip.types import Split, Tracklet
from link.link_world import World, make_world

HEADER = "query,tracklet,judgement\n"


@pytest.fixture
def world() -> World:
    return make_world(people=4, noise=0.15)


def persons(people: People) -> dict[str, int]:
    return dict(zip(people.names, people.person.tolist(), strict=True))


def test_answers_join_and_part_whatever_distances_say(world: World, tmp_path: Path):
    """t000 to t002 are one person, t003 to t005 the next."""
    file = tmp_path / "answers.csv"
    file.write_text(f"{HEADER}t000,t003,same\nt001,t002,same\nt001,t002,different\nt004,t005,unsure\n")
    told = persons(ic.link(world.embeddings, threshold=1.2, distance="euclidean", answers=file))
    assert told["t000"] == told["t003"]
    assert told["t001"] != told["t002"]  # the last word counts
    plain = persons(ic.link(world.embeddings, threshold=1.2, distance="euclidean"))
    assert plain["t000"] != plain["t003"]
    assert plain["t001"] == plain["t002"]
    again = ic.link(
        world.embeddings,
        threshold=1.2,
        distance="euclidean",
        answers=[
            Answer(query="t000", tracklet="t003", answer="same"),
            Answer(query="t002", tracklet="t001", answer="different"),
        ],
    )
    assert persons(again) == told


def test_labels_are_names_and_their_tracklets_one_person_each(world: World, tmp_path: Path):
    file = tmp_path / "people.csv"
    file.write_text("tracklet;name\nt000;Anna\nt006;Anna\nt001;'=Eva\nt002;\n")
    people = ic.link(world.embeddings, threshold=1.2, distance="euclidean", labels=file)
    person = persons(people)
    assert person["t000"] == person["t006"] != person["t001"]
    assert people.labels == {person["t000"]: "Anna", person["t001"]: "=Eva"}
    by_hand = ic.link(
        world.embeddings,
        threshold=1.2,
        distance="euclidean",
        labels={"t000": "Anna", "t006": "Anna", "t001": "=Eva", "t002": ""},
    )
    assert persons(by_hand) == person
    assert by_hand.labels == people.labels


def test_pids_part_and_join_but_name_nobody(world: World, tmp_path: Path):
    file = tmp_path / "tracklets.csv"
    file.write_text(
        "tracklet,folder,pid,camid,subset\nt000,x,7,1,train\nt006,y,7.0,1,train\nt001,z,8,1,\nt002,w,,1,\n"
    )
    people = ic.link(world.embeddings, threshold=1.2, distance="euclidean", labels=file)
    person = persons(people)
    assert person["t000"] == person["t006"] != person["t001"]
    assert people.labels == {}


def test_what_contradicts_itself_joins_nobody_and_the_command_says_so(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    save_embeddings(tmp_path / "e.npz", world.embeddings, times=None, metadata={"fingerprint": "f"})
    (tmp_path / "a.csv").write_text(f"{HEADER}t000,t003,same\nt003,t006,same\nt000,t006,different\n")
    argv = [str(tmp_path / "e.npz"), "--threshold", "1.2", "--distance", "euclidean"]
    assert run("link", [*argv, "--answers", str(tmp_path / "a.csv"), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "contradicts itself: t000 and t006 were rejected as one person" in out
    assert (
        "followed from the files of answers and labels: 2 pairs called one person, 1 called two, 0 labels"
        in out
    )
    assert "12 tracklets, 4 people" in out


@pytest.mark.parametrize(
    ("flag", "text", "words"),
    [
        (
            "answers",
            f"{HEADER}t000,t001,same\nt000,t99,same\n",
            r"f\.csv, line 3: there is no tracklet 't99' among the 12",
        ),
        ("answers", f"{HEADER}t000,t001,yes\n", r"line 2: the judgement is 'yes'; same, different or unsure"),
        ("answers", f"{HEADER}t000,t000,same\n", "line 2: 't000' and 't000'; an answer is about two"),
        ("answers", "tracklet,name\n", "lacks the column 'query'"),
        (
            "labels",
            "tracklet,name\nt99,Anna\n",
            r"line 2: there is no tracklet 't99' among the 12 that are linked",
        ),
        ("labels", "tracklet,name\nt000,A\nt000,B\n", r"line 3: tracklet 't000' is 'B', and 'A' in .*line 2"),
        ("labels", "tracklet,pid\nt000,seven\n", "line 2, tracklet 't000': pid 'seven' is no whole number"),
        ("labels", "tracklet,who\nt000,Anna\n", "no column 'name' or 'pid'; labels are a column tracklet"),
        (
            "labels",
            f"tracklet,name\nt000,{'x' * 2000}\n",
            "line 2, tracklet 't000': the label is 2,000 characters long",
        ),
    ],
)
def test_what_is_wrong_is_named_and_leaves_nothing(
    world: World, tmp_path: Path, flag: str, text: str, words: str
):
    save_embeddings(tmp_path / "e.npz", world.embeddings, times=None, metadata={"fingerprint": "f"})
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        run(
            "link",
            [str(tmp_path / "e.npz"), f"--{flag}", str(tmp_path / "f.csv"), "--out", str(tmp_path / "out")],
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"t000": 3}, "the labels, tracklet 't000': the label is 3, no text"),
        ({"t000": None}, "the labels, tracklet 't000': the label is None, no text"),
        ({"t000": "a\nb"}, "it may hold no control characters"),
        ({"t99": "Anna"}, "the labels: there is no tracklet 't99'"),
    ],
)
def test_labels_that_are_none_are_refused_from_python_too(world: World, labels: Any, words: str):
    with pytest.raises(DataError, match=words):
        ic.link(world.embeddings, labels=labels)


@pytest.mark.parametrize(
    ("two", "answer", "words"),
    [
        (("a", "b"), "yes", "the judgement is 'yes'"),
        (("a", "a"), "same", "'a' and 'a'; an answer is about two"),
    ],
)
def test_an_answer_that_is_none_cannot_be_made(two: tuple[str, str], answer: str, words: str):
    with pytest.raises(DataError, match=words):
        Answer(query=two[0], tracklet=two[1], answer=answer)


def test_a_gallery_has_its_own(tmp_path: Path):
    with create_gallery(tmp_path / "g", fingerprint="f", dimension=2) as gallery:
        gallery.add(
            [TrackletRecord(id="a", camera="x", camid=1)], np.eye(2, dtype=np.float32)[:1], fingerprint="f"
        )
        for source in (gallery, tmp_path / "g"):
            with pytest.raises(ConfigError, match="a gallery keeps what was said about its tracklets"):
                ic.link(source, labels={"a": "Anna"})
        assert gallery.audit_log() == []


def test_a_folder_is_not_embedded_in_vain(tmp_path: Path):
    one = Tracklet(name="a", root=tmp_path, frames=("1.jpg",), pid=-2, camid=1)
    split = Split(dataset="x", root=tmp_path, train=(), query=(), gallery=(one,), protocol="cross-camera")
    network: Any = object()  # fails where it is asked
    with pytest.raises(DataError, match="the answers: there is no tracklet 'b' among the 1 that are linked"):
        ic.link(split, network=network, answers=[Answer(query="a", tracklet="b", answer="same")])


@pytest.mark.parametrize("source", [None, [1, 2], np.eye(3)])
def test_what_cannot_be_linked_is_refused_with_what_can(source: Any):
    with pytest.raises(DataError, match="cannot be linked; give embeddings, such as"):
        ic.link(source)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": -1.0}, "the threshold is -1.0"),
        ({"probability": 2}, "the probability is 2"),
        ({"calibration": "none.json"}, r"none\.json cannot be read"),
        ({"calibration": "none.npz"}, "there is no embeddings file"),
    ],
)
def test_what_is_wrong_by_itself_is_refused_before_tracklets_are_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], message: str
):
    monkeypatch.chdir(tmp_path)
    split = Split(dataset="folder", root=tmp_path, train=(), query=(), gallery=(), protocol="cross-camera")
    with pytest.raises((ConfigError, DataError), match=message):
        ic.link(split, network=None, **wrong)


def test_labelled_embeddings_of_another_size_are_no_calibration(world: World):
    other = make_world(people=6).embeddings
    narrow = ic.Embeddings(
        features=other.features[:, :4],
        pids=other.pids,
        camids=other.camids,
        is_query=other.is_query,
        names=other.names,
    )
    with pytest.raises(DataError, match="have 4 numbers each, those to link 8: they are of another network"):
        ic.link(world.embeddings, calibration=narrow)


def test_answers_are_also_given_as_they_are_said(world: World):
    how = {"threshold": 1.2, "distance": "euclidean"}
    told = persons(
        ic.link(world.embeddings, answers=[("t000", "t003", "same"), ("t001", "t002", "different")], **how)
    )
    assert told["t000"] == told["t003"]
    assert told["t001"] != told["t002"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"answers": [("t000", "t003")]},
            r"answers: \('t000', 't003'\) is none; two tracklets and a word are",
        ),
        ({"answers": [("t000", "t003", True)]}, "two tracklets and a word are"),
        ({"answers": [("t000", "t003", "maybe")]}, "'maybe'; same, different or unsure is needed"),
        ({"answers": 3}, "answers: 3 are none"),
        ({"labels": ["anna"]}, r"labels: \['anna'\] is no label by tracklet"),
        ({"before": 3}, "before: 3 is no earlier linking"),
    ],
)
def test_what_is_no_answer_no_label_and_no_linking_is_refused(
    world: World, wrong: dict[str, Any], message: str
):
    with pytest.raises(DataError, match=message):
        ic.link(world.embeddings, threshold=1.2, distance="euclidean", **wrong)
