"""What follows from answers, which question comes first, and what is kept of the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intraclip.adapt.answers import settle
from intraclip.adapt.asking import Asked, Asking
from intraclip.adapt.clusters import LEVEL, cluster, constrained, likeness
from intraclip.adapt.footage import Footage
from intraclip.adapt.questions import next_question
from intraclip.errors import DataError
from intraclip.gallery.answers import Answer, read_answers, write_answers
from intraclip.gallery.gallery import Gallery, create_gallery
from intraclip.gallery.records import Filters, Judgement, TrackletRecord
from intraclip.types import UNKNOWN_PID, Tracklet


def nobody(count: int) -> np.ndarray:
    return np.zeros((count, count), dtype=bool)


def said(query: str, tracklet: str, same: bool) -> Judgement:
    return Judgement(query=query, tracklet=tracklet, same=same)


def pairs(found: np.ndarray) -> set[str]:
    return {"abcdef"[i] + "abcdef"[j] for i, j in np.argwhere(np.triu(found, 1))}


def test_what_follows_from_answers_is_certain_too():
    found = settle(nobody(5), "abcde", [said("a", "b", True), said("c", "b", True), said("d", "b", False)])
    assert found.group.tolist() == [0, 0, 0, 3, 4]
    assert pairs(found.together) == {"ab", "ac", "bc"}
    assert pairs(found.apart) == {"ad", "bd", "cd"}
    assert (found.apart == found.apart.T).all()


def test_what_the_footage_says_of_one_holds_for_all_that_are_the_same_person():
    impossible = nobody(4)
    impossible[0, 3] = impossible[3, 0] = True
    assert pairs(settle(impossible, "abcd", [said("a", "b", True)]).apart) == {"ad", "bd"}


def test_a_persons_word_goes_before_times():
    impossible = nobody(3)
    impossible[0, 1] = impossible[1, 0] = True
    found = settle(impossible, "abc", [said("a", "b", True)])
    assert pairs(found.together) == {"ab"}
    assert not found.apart.any()


def test_answers_about_tracklets_that_are_not_here_count_by_what_follows():
    found = settle(nobody(2), "ab", [said("a", "x", True), said("x", "b", True)])
    assert pairs(found.together) == {"ab"}
    found = settle(nobody(2), "ab", [said("a", "x", True), said("x", "b", False)])
    assert pairs(found.apart) == {"ab"}


def test_labels_count_as_what_people_said():
    found = settle(nobody(4), "abcd", [said("c", "d", True)], {"a": "Ann", "b": "Ann", "c": "Bob"})
    assert pairs(found.together) == {"ab", "cd"}
    assert pairs(found.apart) == {"ac", "ad", "bc", "bd"}


def test_contradictions_join_nothing_keep_apart_what_was_called_different_and_are_named():
    answers = [said("a", "b", True), said("b", "c", True), said("a", "c", False), said("d", "e", True)]
    found = settle(nobody(5), "abcde", answers)
    assert pairs(found.together) == {"de"}
    assert pairs(found.apart) == {"ac"}
    (note,) = found.notes
    assert "a and c were rejected as one person" in note
    assert "take one of the judgements back" in note


# -- which question --------------------------------------------------------------------------------------------


def groups_of(sizes: list[int], inside: float, between: float) -> np.ndarray:
    """Scores of groups of these sizes."""
    of = np.repeat(np.arange(len(sizes)), sizes)
    return np.where(of[:, None] == of, -inside, -between).astype(np.float32)


def test_the_question_that_settles_most_pairs_comes_first():
    scores = groups_of([2, 2, 4, 4], 0.1, 0.99)
    for one, other in ((slice(0, 2), slice(2, 4)), (slice(4, 8), slice(8, 12))):
        scores[one, other] = scores[other, one] = -0.55  # both pairs of groups are as uncertain
    found = next_question(scores, settle(nobody(12)))
    assert found is not None
    assert (found.a in range(4, 8), found.b in range(8, 12), found.pairs) == (True, True, 16)


def test_of_as_many_pairs_the_least_certain_comes_first():
    scores = groups_of([2, 2, 2, 2], 0.1, 0.99)
    scores[0:2, 2:4] = scores[2:4, 0:2] = -0.7
    scores[4:6, 6:8] = scores[6:8, 4:6] = -0.55
    found = next_question(scores, settle(nobody(8)))
    assert found is not None
    assert {found.a, found.b} <= set(range(4, 8))


def test_a_group_that_may_be_two_people_is_asked_about():
    scores = groups_of([3, 3], 0.05, 0.45)
    found = next_question(scores, settle(nobody(6)))
    assert found is not None
    assert (found.a < 3 <= found.b, found.pairs, found.chance < 0.5) == (True, 9, True)


def test_nothing_is_asked_that_is_certain():
    assert next_question(groups_of([4, 4], 0.02, 0.98), settle(nobody(8))) is None
    assert next_question(groups_of([1], 0, 1), settle(nobody(1))) is None


def answered(
    scores: np.ndarray, who: np.ndarray, count: int
) -> tuple[list[Judgement], list[tuple[int, int]]]:
    names = [str(i) for i in range(len(who))]
    answers: list[Judgement] = []
    asked: list[tuple[int, int]] = []
    for _ in range(count):
        settled = settle(nobody(len(who)), names, answers)
        found = next_question(scores, settled, asked=asked)
        if found is None:
            break
        assert not (settled.together | settled.apart)[found.a, found.b], "it follows from earlier answers"
        asked.append((found.a, found.b))
        answers.append(said(names[found.a], names[found.b], bool(who[found.a] == who[found.b])))
    return answers, asked


def uneven(noise: float = 0.9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of 20 people in 4 cameras, so noisy that groups are wrong."""
    rng = np.random.default_rng(4)
    who, where = np.repeat(np.arange(20), 4), np.tile(np.arange(1, 5), 20)
    vectors = rng.standard_normal((20, 24))[who] + noise * rng.standard_normal((80, 24))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), who, where


def wrong_pairs(person: np.ndarray, who: np.ndarray) -> int:
    groups = np.where(person > 0, person, -np.arange(len(person)))
    return int(np.triu((groups[:, None] == groups) != (who[:, None] == who), 1).sum())


def test_answers_mend_the_groups_and_faster_than_those_to_random_questions():
    vectors, who, where = uneven()
    scores, names = likeness(vectors, where), [str(i) for i in range(80)]
    answers, _ = answered(scores, who, 25)
    rng = np.random.default_rng(0)
    drawn = [sorted(rng.choice(80, 2, replace=False).tolist()) for _ in range(25)]
    others = [said(names[a], names[b], bool(who[a] == who[b])) for a, b in drawn]
    before, after, random = (
        wrong_pairs(cluster(vectors, where, settle(nobody(80), names, found)).person, who)
        for found in ([], answers, others)
    )
    assert after < 0.7 * before
    assert after < 0.8 * random


def test_not_all_questions_are_about_one_person():
    vectors, who, where = uneven()
    _, asked = answered(likeness(vectors, where), who, 10)
    assert len({int(who[row]) for pair in asked for row in pair}) >= 8


def test_what_nobody_could_tell_and_what_cannot_be_asked_is_not_asked():
    scores = groups_of([1, 1, 1], 0.0, 0.5)
    settled = settle(nobody(3))
    first = next_question(scores, settled)
    assert first is not None
    second = next_question(scores, settled, unsure=[(first.b, first.a)])
    assert second is not None
    assert (second.a, second.b) != (first.a, first.b)
    one_alone = np.array([True, False, False])
    assert next_question(scores, settled, askable=one_alone) is None


def test_groups_follow_what_was_said():
    scores = groups_of([2, 2], 0.1, 0.9)
    settled = settle(nobody(4), "abcd", [said("a", "b", False), said("a", "c", True)])
    known = constrained(scores, settled)
    assert known[0, 2] > 0
    assert known[0, 1] == -np.inf
    assert known[1, 2] == -np.inf
    assert known[0, 3] == scores[0, 3]
    assert known[2, 3] > -LEVEL


# -- asking ----------------------------------------------------------------------------------------------------


def footage_of(names: list[str], camids: np.ndarray) -> Footage:
    tracklets = tuple(
        Tracklet(name=name, root=Path("d"), frames=("0.jpg",), pid=UNKNOWN_PID, camid=int(c))
        for name, c in zip(names, camids, strict=True)
    )
    return Footage(root=Path("d"), tracklets=tracklets, times=None, sources=("",) * len(names))


@pytest.fixture
def site() -> tuple[Footage, np.ndarray, np.ndarray]:
    vectors, who, where = uneven()
    return footage_of([f"t{i:02d}" for i in range(80)], where), vectors, who


@pytest.fixture
def gallery(site, tmp_path: Path):
    footage, vectors, _ = site
    with create_gallery(tmp_path / "gallery", fingerprint="f00d", dimension=24) as found:
        records = [TrackletRecord(id=t.name, camera=f"c{t.camid}", camid=t.camid) for t in footage.tracklets]
        found.add(records, vectors, fingerprint="f00d")
        yield found


class Oracle:
    """Answers by who is who; `replies` come first."""

    def __init__(self, who: np.ndarray, *replies: str) -> None:
        self.who, self.replies, self.asked = who, list(replies), list[Asked]()

    def __call__(self, asked: Asked) -> str:
        self.asked.append(asked)
        if self.replies:
            return self.replies.pop(0)
        one, other = (int(t.name[1:]) for t in (asked.query, asked.tracklet))
        return "same" if self.who[one] == self.who[other] else "different"


def test_answers_are_judgements_of_the_gallery_at_once(site, gallery: Gallery, tmp_path: Path):
    footage, vectors, who = site
    oracle = Oracle(who)
    asking = Asking(footage, nobody(80), tmp_path / "answers.csv", gallery=gallery, by="Kim")
    asking.ask(vectors, 5, oracle, print)
    assert [(a.number, a.of) for a in oracle.asked] == [(n, 5) for n in range(1, 6)]
    told = {frozenset((j.query, j.tracklet)): (j.same, j.by) for j in gallery.judgements()}
    assert told == {
        frozenset((a.query.name, a.tracklet.name)): (
            bool(who[int(a.query.name[1:])] == who[int(a.tracklet.name[1:])]),
            "Kim",
        )
        for a in oracle.asked
    }
    assert {e.action for e in gallery.audit_log()} <= {"confirm", "reject"}
    assert len(read_answers(tmp_path / "answers.csv")) == 5


def test_what_was_answered_before_a_stop_is_not_asked_again(site, gallery: Gallery, tmp_path: Path):
    footage, vectors, who = site

    def begin(oracle: Oracle, count: int) -> None:
        asking = Asking(footage, nobody(80), tmp_path / "answers.csv", gallery=gallery)
        asking.ask(vectors, count, oracle, print)

    whole, first, second = Oracle(who, "unsure"), Oracle(who, "unsure"), Oracle(who)
    begin(first, 3)
    begin(second, 7)
    assert [a.number for a in second.asked] == [4, 5, 6, 7]
    without = Asking(footage, nobody(80), tmp_path / "others.csv")
    without.ask(vectors, 7, whole, print)
    asked = [(a.query.name, a.tracklet.name) for a in [*first.asked, *second.asked]]
    assert asked == [(a.query.name, a.tracklet.name) for a in whole.asked]


def test_an_answer_can_be_taken_back(site, gallery: Gallery, tmp_path: Path):
    footage, vectors, who = site
    oracle = Oracle(who, "undo", "same", "undo", "unsure", "undo", "different", "enough")
    lines: list[str] = []
    asking = Asking(footage, nobody(80), tmp_path / "answers.csv", gallery=gallery)
    asking.ask(vectors, 9, oracle, lines.append)
    assert lines == ["there is no answer to take back"]
    names = [(a.query.name, a.tracklet.name) for a in oracle.asked]
    assert len({names[i] for i in (0, 1, 3, 5)}) == 1  # the same question again
    (kept,) = gallery.judgements()
    assert ((kept.query, kept.tracklet), kept.same) == (names[0], False)
    assert not gallery.papers("unsure")


def test_who_could_not_tell_is_not_asked_again_and_it_goes_with_the_tracklet(
    site, gallery: Gallery, tmp_path: Path
):
    footage, vectors, who = site
    oracle = Oracle(who, "unsure", "enough")
    Asking(footage, nobody(80), tmp_path / "a.csv", gallery=gallery).ask(vectors, 2, oracle, print)
    again = Oracle(who, "enough")
    Asking(footage, nobody(80), tmp_path / "b.csv", gallery=gallery).ask(vectors, 2, again, print)
    first, second = oracle.asked[0], again.asked[0]
    assert (first.query, first.tracklet) != (second.query, second.tracklet)
    assert len(gallery.papers("unsure")) == 1
    gallery.delete(Filters(ids=frozenset({first.query.name})))
    assert not gallery.papers("unsure")


def test_a_tracklet_that_is_deleted_meanwhile_costs_its_question_alone(
    site, gallery: Gallery, tmp_path: Path
):
    footage, vectors, who = site
    oracle, gone, lines = Oracle(who), list[str](), list[str]()

    def answer(asked: Asked) -> str:
        if not gone:
            gone.append(asked.query.name)
            gallery.delete(Filters(ids=frozenset(gone)))
        return oracle(asked)

    asking = Asking(footage, nobody(80), tmp_path / "answers.csv", gallery=gallery)
    asking.ask(vectors, 4, answer, lines.append)
    assert len(gallery.judgements()) == len(asking.answers) == 4
    assert not any(gone[0] in (a.query, a.tracklet) for a in asking.answers)
    assert len(lines) == 1
    assert "deleted meanwhile" in lines[0]


def test_nothing_worth_asking_is_said(tmp_path: Path):
    who = np.repeat(np.arange(10), 7)  # as many of each as neighbours count
    vectors = np.eye(10, 24)[who] + 0.01 * np.random.default_rng(0).standard_normal((70, 24))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    lines: list[str] = []
    footage = footage_of([f"t{i:02d}" for i in range(70)], np.ones(70, dtype=np.int64))
    Asking(footage, nobody(70), tmp_path / "answers.csv").ask(vectors, 5, Oracle(who), lines.append)
    assert lines == [
        "nothing is worth asking: what tracklets, footage and answers say leaves no doubt that an answer could settle"
    ]


def test_a_contradiction_is_said_once(site, tmp_path: Path):
    footage, vectors, who = site
    given = [
        Answer(query="t00", tracklet="t01", answer="same"),
        Answer(query="t01", tracklet="t02", answer="same"),
        Answer(query="t00", tracklet="t02", answer="different"),
    ]
    lines: list[str] = []
    asking = Asking(footage, nobody(80), tmp_path / "answers.csv", given=given)
    asking.ask(vectors, 3, Oracle(who), lines.append)
    assert len(lines) == 1
    assert "t00 and t02 were rejected" in lines[0]


def test_tracklets_of_several_folders_are_found_in_the_gallery_and_cut_ones_not_asked_about(
    site, gallery: Gallery, tmp_path: Path
):
    footage = site[0]
    names = [f"2/{t.name}" if n else "2/t00@4" for n, t in enumerate(footage.tracklets)]
    renamed = replace(
        footage,
        tracklets=tuple(replace(t, name=n) for t, n in zip(footage.tracklets, names, strict=True)),
    )
    asking = Asking(renamed, nobody(80), tmp_path / "answers.csv", gallery=gallery)
    assert asking.names == ["", *(t.name for t in footage.tracklets[1:])]


def test_a_gallery_of_other_tracklets_is_refused(site, tmp_path: Path):
    footage, vectors, _ = site
    with create_gallery(tmp_path / "other", fingerprint="f00d", dimension=24) as other:
        other.add([TrackletRecord(id="x", camera="c")], vectors[:1], fingerprint="f00d")
        with pytest.raises(DataError, match="none of the 80 tracklets of d, such as t00, is in the gallery"):
            Asking(footage, nobody(80), tmp_path / "answers.csv", gallery=other)


# -- files -----------------------------------------------------------------------------------------------------


def test_a_file_of_answers_is_kept_in_the_gallery_which_is_not_overruled(
    site, gallery: Gallery, tmp_path: Path
):
    footage, _, _ = site
    gallery.reject("t00", "t01", by="the page")
    given = [
        Answer(query="t01", tracklet="t00", answer="same"),
        Answer(query="t02", tracklet="t03", answer="same", by="Jo"),
        Answer(query="t04", tracklet="t05", answer="unsure"),
    ]
    for _ in range(2):
        Asking(footage, nobody(80), tmp_path / "a.csv", gallery=gallery, given=given, by="Kim")
    told = {(j.query, j.tracklet, j.same, j.by) for j in gallery.judgements()}
    assert told == {("t00", "t01", False, "the page"), ("t02", "t03", True, "Jo")}
    assert len(gallery.papers("unsure")) == 1


def test_answers_about_others_are_refused_and_none_is_kept(site, gallery: Gallery, tmp_path: Path):
    footage, _, _ = site
    given = [
        Answer(query="t01", tracklet="t00", answer="same"),
        Answer(query="x", tracklet="t00", answer="same"),
    ]
    with pytest.raises(DataError, match=r"1 of the 3 tracklets .* such as x; nothing was kept"):
        Asking(footage, nobody(80), tmp_path / "a.csv", gallery=gallery, given=given)
    assert not gallery.judgements()


def test_a_file_of_answers_holds_what_was_written(tmp_path: Path):
    answers = [
        Answer(query='a,"b"', tracklet="é", answer="same", by="Kim", at=1.5),
        Answer(query="c", tracklet="d", answer="unsure"),
    ]
    write_answers(tmp_path / "a.csv", answers)
    assert read_answers(tmp_path / "a.csv") == answers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query,tracklet\na,b\n", "lacks the column 'judgement'"),
        ("query,tracklet,judgement\na,b,yes\n", "line 2: the judgement is 'yes'; same, different or unsure"),
        ("query,tracklet,judgement\na,a,same\n", "line 2: 'a' and 'a'; an answer is about two tracklets"),
        ("query,tracklet,judgement,at\na,b,same,noon\n", "line 2: at is 'noon'; Unix seconds"),
    ],
)
def test_damaged_files_of_answers_are_refused_with_the_line(tmp_path: Path, text: str, message: str):
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_answers(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_answers(tmp_path / "missing.csv")
