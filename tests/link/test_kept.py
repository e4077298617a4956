"""The linking that a gallery keeps, and what people said in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import intraclip as ic
from intraclip.errors import DataError, OutputError
from intraclip.gallery.gallery import Gallery, create_gallery
from intraclip.gallery.records import Filters, Judgement, TrackletRecord
from intraclip.link import kept
from intraclip.link.kept import keep_in, kept_in
from intraclip.link.told import said_of
from link.link_world import World, make_world


@pytest.fixture
def world() -> World:
    return make_world(people=6, noise=0.15)


@pytest.fixture
def gallery(tmp_path: Path, world: World):
    with create_gallery(tmp_path / "gallery", fingerprint="f", dimension=8, metric="euclidean") as made:
        records = [
            TrackletRecord(id=name, camera=f"yard{camid}", camid=int(camid))
            for name, camid in zip(world.names, world.evidence.camids, strict=True)
        ]
        made.add(records, world.evidence.features, fingerprint="f")
        yield made


def test_a_linking_is_kept_in_pieces_and_forgets_who_is_deleted(
    gallery: Gallery, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept, "PIECE", 60)
    ic.link(gallery, threshold=1.2, keep=False)
    assert kept_in(gallery) is None
    people = ic.link(gallery, threshold=1.2)
    before = kept_in(gallery)
    assert before is not None
    assert before.person == dict(zip(people.names, people.person.tolist(), strict=True))
    assert len(gallery.papers(kept.PART)) > 3
    gone = frozenset(people.names[row] for row in people.members(2).tolist())
    gallery.delete(Filters(ids=gone))
    left = kept_in(gallery)
    assert left is not None
    assert left.person == {name: p for name, p in before.person.items() if p != 2}
    assert left.following == before.following
    again = ic.link(gallery, threshold=1.2)
    assert again.changes is not None
    assert (again.changes.kept, again.changes.added) == (5, ())
    assert 2 not in again.numbers
    assert gallery.check() == []


def test_what_people_said_and_what_of_it_contradicts_itself_is_noted(gallery: Gallery, world: World):
    one, two, three = world.names[:3]
    gallery.confirm(one, two)
    gallery.confirm(two, three)
    gallery.reject(one, three)
    notes = ic.link(gallery, threshold=1.2).notes
    assert any(
        note.startswith("followed from the gallery: 2 pairs called one person, 1 called two")
        for note in notes
    )
    assert any(f"contradicts itself: {one} and {three} were rejected" in note for note in notes)
    gallery.delete(Filters(ids=frozenset({two})))  # and with it what it said of the others
    notes = ic.link(gallery, threshold=1.2).notes
    assert any("0 pairs called one person, 1 called two" in note for note in notes)
    assert not any("contradicts" in note for note in notes)


def test_times_that_run_backwards_are_refused_and_in_an_older_gallery_forbid_nothing(
    gallery: Gallery, world: World, monkeypatch: pytest.MonkeyPatch
):
    bad = TrackletRecord(id="backwards", camera="yard1", camid=1, start_s=5.0, end_s=4.0)
    vector = world.evidence.features[:1]
    with pytest.raises(DataError, match="1 tracklets end before they start, such as backwards: 5 to 4 s"):
        gallery.add([bad], vector, fingerprint="f")
    monkeypatch.setattr("intraclip.gallery.gallery.require_times", lambda _: None)  # as older versions did
    gallery.add([bad], vector, fingerprint="f")
    people = ic.link(gallery, threshold=1.2)
    assert any("such as backwards, end before they start" in note for note in people.notes)
    assert people.evidence.times is not None
    assert np.isnan(people.evidence.times).all()


def test_dates_that_only_some_have_are_not_used_and_that_is_told(gallery: Gallery):
    times = {"start_s": 1.0, "end_s": 2.0}
    dated = TrackletRecord(id="dated", camera="yard1", camid=1, started_at=1.7e9, **times)
    gallery.add([dated], np.ones((1, 8), np.float32), fingerprint="f")
    found = ic.link(gallery, threshold=1.2)
    assert any(
        note.startswith(
            "18 of 19 tracklets, such as t000, have no date, so those of the others were not used"
        )
        for note in found.notes
    )
    assert found.evidence.times is not None
    assert found.evidence.times[found.names.index("dated")].tolist() == [1.0, 2.0]


def test_a_killed_process_leaves_the_linking_before(gallery: Gallery, monkeypatch: pytest.MonkeyPatch):
    ic.link(gallery, threshold=1.2)
    before = kept_in(gallery)
    one = ic.link(gallery, threshold=99.0, renumber=True)
    keep_in(gallery, one, kept_in(gallery))
    assert kept_in(gallery) != before
    put = Gallery.put_paper

    def killed(self: Gallery, kind: str, *args: object, **options: object) -> None:
        if kind == kept.WHICH:
            raise KeyboardInterrupt
        put(self, kind, *args, **options)  # type: ignore[arg-type]

    now = kept_in(gallery)
    with monkeypatch.context() as patch:
        patch.setattr(Gallery, "put_paper", killed)
        with pytest.raises(KeyboardInterrupt):
            ic.link(gallery, threshold=1.2)
    assert kept_in(gallery) == now
    ic.link(gallery, threshold=1.2)
    assert len({key.rpartition("-")[0] for key in gallery.papers(kept.PART)}) == 1  # nothing is left of it


def test_who_did_not_see_the_linking_that_is_kept_does_not_replace_it(gallery: Gallery):
    first = ic.link(gallery, threshold=1.2)
    seen = kept_in(gallery)
    ic.link(gallery, threshold=99.0)
    now = kept_in(gallery)
    for before in (None, seen):  # as on a server, which has no locks
        with pytest.raises(OutputError, match=r"somebody else linked the gallery .* link it again"):
            keep_in(gallery, first, before)
    assert kept_in(gallery) == now
    assert len({key.rpartition("-")[0] for key in gallery.papers(kept.PART)}) == 1


def test_numbers_follow_from_people_in_memory(world: World):
    first = ic.link(world.embeddings, threshold=1.2, distance="euclidean")
    rows = np.flatnonzero(first.person != 1)
    e = world.embeddings
    rest = ic.Embeddings(
        features=e.features[rows],
        pids=e.pids[rows],
        camids=e.camids[rows],
        is_query=e.is_query[rows],
        names=tuple(e.names[i] for i in rows.tolist()),
    )
    again = ic.link(rest, threshold=1.2, distance="euclidean", before=first)
    np.testing.assert_array_equal(again.person, first.person[rows])
    assert again.changes is not None
    assert again.changes.gone == (1,)
    assert again.following == first.following


def test_labels_and_judgements_say_who_is_one_and_who_are_two():
    said = said_of(
        {"a": "Anna", "b": "Anna", "c": "Eva", "d": "", "e": ""},
        [
            Judgement(query="d", tracklet="c", same=True),
            Judgement(query="e", tracklet="a", same=False),
            Judgement(query="a", tracklet="elsewhere", same=True),
        ],
    )
    assert [group.tolist() for group in said.together] == [[0, 1], [2, 3]]
    assert said.different is not None
    assert said.different.tolist() == [[4, 0]]
    assert said.named is not None
    one, two = said.named[0], said.named[2]
    assert said.named.tolist() == [one, one, two, two, 0]
    assert one != two
    assert said.label_of([0, 2, 1]) == "Anna"
    assert said.label_of([3, 4]) == ""


def test_what_contradicts_itself_joins_nobody_and_is_told_once():
    said = said_of(
        dict.fromkeys("abcd", ""),
        [
            Judgement(query="a", tracklet="b", same=True),
            Judgement(query="b", tracklet="c", same=True),
            Judgement(query="c", tracklet="a", same=False),
        ],
    )
    assert said.together == ()
    assert said.different is not None
    assert said.different.tolist() == [[2, 0]]
    assert sum("contradicts itself" in note for note in said.notes) == 1
