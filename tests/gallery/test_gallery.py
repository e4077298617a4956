"""What a gallery promises, whichever store keeps it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gallery.gallery_world import CAMERAS, MODEL, OTHER, SIZE, fill, pictures, record, vectors
from intraclip.errors import ConfigError, DataError
from intraclip.gallery.gallery import open_gallery
from intraclip.gallery.records import Filters, Pictures, TrackletRecord
from intraclip.metrics.distance import paired_distances
from intraclip.metrics.match_probability import MatchCalibration

CALIBRATION = MatchCalibration(
    metric="euclidean", fingerprint=MODEL, prior=0.1, intercept=12.0, slope=2.5,
    false_match_rates=(0.1, 0.01), thresholds=(5.0, 4.0), true_match_rates=(0.9, 0.5),
    people=9, genuine_pairs=90, impostor_pairs=900,
)  # fmt: skip


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_what_was_added_is_found_in_the_order_of_its_distance(make, metric):
    filled = fill(make(metric))
    query = vectors(1, seed=9)[0]
    found = filled.gallery.search(query, fingerprint=MODEL, k=7)
    assert [m.record.id for m in found.matches] == filled.nearest(query, [True] * 40)[:7]
    assert [m.rank for m in found.matches] == [1, 2, 3, 4, 5, 6, 7]
    places = np.array([int(m.record.id[1:]) for m in found.matches])
    expected = paired_distances(
        query[None], filled.vectors, rows=np.zeros_like(places), columns=places, distance=metric
    )
    np.testing.assert_allclose([m.distance for m in found.matches], expected, rtol=1e-5)
    assert found.exact
    assert found.matches[0].probability is None
    assert found.matches[0].passes is None


def test_everything_about_a_tracklet_comes_back(make):
    filled = fill(make())
    gallery = filled.gallery
    back = gallery.record("t0000")
    assert back.added_at > 0
    assert replace(back, added_at=0.0) == filled.records[0]
    strips = [gallery.strip(name) for name in ("t0001", "t0009")]
    assert strips == [pictures(1).strip, b""]
    assert gallery.crops("t0001") == pictures(1).crops
    assert gallery.crops("nobody") == ()
    np.testing.assert_array_equal(gallery.vectors(["t0002", "t0001"]), filled.vectors[[2, 1]])
    np.testing.assert_allclose(gallery.info.dimension, SIZE)


def test_vectors_of_a_cosine_gallery_have_length_one(make):
    filled = fill(make("cosine"))
    found = filled.gallery.vectors(["t0003", "t0004"])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        (Filters(cameras=frozenset({CAMERAS[1]})), lambda i: i % 2 == 1),
        (Filters(exclude_cameras=frozenset({CAMERAS[1], "nowhere"})), lambda i: i % 2 == 0),
        (Filters(sources=frozenset({"video2.mp4", "video0.mp4"})), lambda i: i % 3 != 1),
        (Filters(ids=frozenset({"t0005", "t0006", "gone"})), lambda i: i in (5, 6)),
        (Filters(exclude_ids=frozenset({"t0005"}), to_s=60), lambda i: i <= 6 and i != 5),
        (Filters(from_s=55, to_s=80), lambda i: 5 <= i <= 8),
        (Filters(cameras=frozenset()), lambda i: False),
        (Filters(people=frozenset({""})), lambda i: True),
        (Filters(people=frozenset({"anna"})), lambda i: False),
        (Filters(since=0), lambda i: False),
        (Filters(seen_before=1e12), lambda i: True),
        (Filters(seen_before=5), lambda i: False),
    ],
)
def test_filters_mean_the_same_in_searches_and_in_lists(make, filters, passes):
    filled = fill(make())
    query = vectors(1, seed=9)[0]
    wanted = [passes(i) for i in range(40)]
    found = filled.gallery.search(query, fingerprint=MODEL, k=40, filters=filters)
    assert [m.record.id for m in found.matches] == filled.nearest(query, wanted)
    assert [r.id for r in filled.gallery.all_records(filters)] == [
        f"t{i:04d}" for i in range(40) if wanted[i]
    ]


def test_wall_clock_filters_leave_out_what_has_no_wall_clock(make):
    gallery = make()
    made = [
        record(0, started_at=1000.0, start_s=0.0, end_s=20.0),
        record(1, started_at=2000.0, start_s=None, end_s=None),
        record(2),
    ]
    gallery.add(made, vectors(3), fingerprint=MODEL)
    for filters, expected in (
        (Filters(since=1010), ["t0000", "t0001"]),  # the first one was seen until 1020
        (Filters(since=1021), ["t0001"]),
        (Filters(until=1500), ["t0000"]),
        (Filters(seen_before=1500), ["t0000"]),
    ):
        found = gallery.search(vectors(1)[0], fingerprint=MODEL, filters=filters)
        assert sorted(m.record.id for m in found.matches) == expected
        assert [r.id for r in gallery.all_records(filters)] == expected


def test_a_tracklet_finds_neither_itself_nor_its_own_camera_unless_asked(make):
    filled = fill(make())
    others = filled.nearest(filled.vectors[4], [i % 2 == 1 for i in range(40)])
    assert [m.record.id for m in filled.gallery.search_tracklet("t0004", k=40).matches] == others
    everyone = filled.nearest(filled.vectors[4], [i != 4 for i in range(40)])
    found = filled.gallery.search_tracklet("t0004", k=40, own_camera=True)
    assert [m.record.id for m in found.matches] == everyone


def test_equal_vectors_are_ranked_by_id(make):
    gallery = make()
    same = np.repeat(vectors(1), 5, axis=0)
    gallery.add([record(i) for i in (3, 1, 4, 0, 2)], same, fingerprint=MODEL)
    found = gallery.search(same[0], fingerprint=MODEL, k=3)
    assert [m.record.id for m in found.matches] == ["t0000", "t0001", "t0002"]
    assert [m.distance for m in found.matches] == [0, 0, 0]


def test_an_empty_gallery_answers_nothing(make):
    gallery = make()
    assert gallery.search(vectors(1)[0], fingerprint=MODEL).matches == ()
    assert gallery.page().records == ()
    assert gallery.stats().tracklets == 0
    assert gallery.add([], vectors(0), fingerprint=MODEL).added == 0
    assert gallery.vectors([]).shape == (0, SIZE)


def test_pages_come_in_order_of_ids_and_end(make):
    filled = fill(make())
    first = filled.gallery.page(limit=15)
    second = filled.gallery.page(limit=15, cursor=first.cursor)
    third = filled.gallery.page(limit=15, cursor=second.cursor)
    assert [r.id for p in (first, second, third) for r in p.records] == [f"t{i:04d}" for i in range(40)]
    assert third.cursor == ""
    assert filled.gallery.page(limit=40).cursor == ""
    odd = filled.gallery.page(Filters(cameras=frozenset({CAMERAS[1]})), limit=3, cursor="t0001")
    assert [r.id for r in odd.records] == ["t0003", "t0005", "t0007"]


def test_adding_again_skips_and_other_content_is_refused(make):
    filled = fill(make())
    gallery = filled.gallery
    again = gallery.add(
        [*filled.records[:3], record(77)],
        np.concatenate([filled.vectors[:3] * (1 + 1e-4), vectors(1, seed=5)]),
        fingerprint=MODEL,
    )
    assert (again.added, again.skipped) == (1, 3)
    with pytest.raises(DataError, match=r"'t0001' is in the gallery .* camera is .* there and door here"):
        gallery.add([record(78), record(1, camera="door")], vectors(2), fingerprint=MODEL)
    with pytest.raises(DataError, match=r"'t0001' .* start_s is 10.0 there and 11.0 here"):
        gallery.present([record(1, start_s=11.0)])
    with pytest.raises(DataError, match=r"'t0001' .* another vector"):
        gallery.add([record(78), record(1)], vectors(2, seed=4), fingerprint=MODEL)
    with pytest.raises(DataError, match=r"occur twice.*t0078"):
        gallery.add([record(78), record(78)], vectors(2), fingerprint=MODEL)
    assert gallery.find(["t0078"]) == {}
    assert gallery.stats().tracklets == 41


def test_wrong_vectors_are_refused_with_their_names(make):
    gallery = make("cosine")
    with pytest.raises(DataError, match=f"holds embeddings of a model .fingerprint {'a' * 16}.*{'b' * 16}"):
        gallery.add([record(1)], vectors(1), fingerprint=OTHER)
    with pytest.raises(DataError, match="fingerprint missing"):
        gallery.search(vectors(1)[0], fingerprint="")
    with pytest.raises(DataError, match=r"shape \[1, 15\].*size 16"):
        gallery.add([record(1)], vectors(1, size=15), fingerprint=MODEL)
    broken = vectors(2)
    broken[1, 3] = np.nan
    with pytest.raises(DataError, match=r"1 of 2 vectors are not finite.*t0002"):
        gallery.add([record(1), record(2)], broken, fingerprint=MODEL)
    with pytest.raises(DataError, match="zero vectors"):
        gallery.add([record(1)], np.zeros((1, SIZE), np.float32), fingerprint=MODEL)
    with pytest.raises(DataError, match="2 tracklets come with 1 vectors and 2 sets"):
        gallery.add([record(1), record(2)], vectors(1), fingerprint=MODEL)
    with pytest.raises(DataError, match="not finite"):
        gallery.search(broken[1], fingerprint=MODEL)
    with pytest.raises(ConfigError, match="k is 0"):
        gallery.search(vectors(1)[0], fingerprint=MODEL, k=0)
    assert gallery.stats().tracklets == 0


@pytest.mark.parametrize(
    "changes", [{"id": ""}, {"camera": ""}, {"id": "a\nb"}, {"id": "x" * 600}, {"start_s": float("nan")}]
)
def test_records_that_cannot_be_kept_are_refused(changes):
    with pytest.raises(DataError):
        record(1, **changes)


def test_a_missing_tracklet_is_named(make):
    gallery = make()
    for call in (gallery.record, gallery.search_tracklet, lambda i: gallery.vectors([i])):
        with pytest.raises(DataError, match="ghost"):
            call("ghost")
    with pytest.raises(DataError, match="ghost"):
        gallery.confirm("ghost", "other")


def test_deletion_removes_all_that_belongs_to_a_tracklet(make):
    filled = fill(make())
    gallery = filled.gallery
    gallery.set_person(["t0001", "t0004"], "anna")
    gallery.confirm("t0001", "t0004")
    gallery.reject("t0001", "t0002")
    gallery.confirm("t0006", "t0008")
    anna = Filters(people=frozenset({"anna"}))
    planned = gallery.delete(anna, dry_run=True)
    assert planned.dry_run
    assert gallery.stats().tracklets == 40
    deleted = gallery.delete(anna)
    assert deleted.ids == planned.ids == ("t0001", "t0004")
    assert deleted.people == {"anna": 2}
    assert sum(deleted.cameras.values()) == 2
    assert deleted.pictures == planned.pictures == 3
    assert deleted.judgements == planned.judgements == 2
    assert gallery.find(["t0001", "t0004"]) == {}
    assert gallery.crops("t0001") == ()
    assert [(j.query, j.tracklet) for j in gallery.judgements()] == [("t0006", "t0008")]
    found = gallery.search(filled.vectors[1], fingerprint=MODEL, k=40)
    assert [m.record.id for m in found.matches] == filled.nearest(
        filled.vectors[1], [i not in (1, 4) for i in range(40)]
    )
    gallery.add([record(1)], vectors(1, seed=7), fingerprint=MODEL)  # the id is free again
    assert gallery.record("t0001").person == ""


def test_deletion_by_camera_source_and_age(make):
    gallery = make()
    old = [record(i, started_at=1000.0 + i) for i in range(6)]
    gallery.add([*old, record(6, camera="door")], vectors(7), fingerprint=MODEL)
    assert gallery.delete(Filters(seen_before=1002)).ids == ("t0000", "t0001")
    assert gallery.delete(Filters(sources=frozenset({"video2.mp4"}))).ids == ("t0002", "t0005")
    assert gallery.delete(Filters(cameras=frozenset({"door"}))).ids == ("t0006",)
    assert gallery.delete(Filters(cameras=frozenset({"door"}))).ids == ()
    assert [r.id for r in gallery.all_records()] == ["t0003", "t0004"]
    with pytest.raises(ConfigError, match="say which"):
        gallery.delete(Filters())


def test_labels_can_be_searched_for_and_taken_away(make):
    gallery = fill(make()).gallery
    gallery.search(vectors(1)[0], fingerprint=MODEL)  # the searchable copy must follow what comes now
    gallery.set_person(["t0001", "t0002"], "anna")
    anna = Filters(people=frozenset({"anna"}))
    found = gallery.search(vectors(1)[0], fingerprint=MODEL, filters=anna)
    assert {m.record.id for m in found.matches} == {"t0001", "t0002"}
    assert gallery.stats().people == {"anna": 2}
    gallery.set_person(["t0001"], "")
    assert [r.id for r in gallery.all_records(anna)] == ["t0002"]
    assert gallery.vectors(["t0001"]).shape == (1, SIZE)
    with pytest.raises(DataError, match="control characters"):
        gallery.set_person(["t0001"], "an\nna")


def test_the_last_word_about_two_tracklets_counts(make):
    gallery = fill(make()).gallery
    gallery.confirm("t0001", "t0002", by="kim")
    gallery.confirm("t0003", "t0002", by="kim")
    gallery.reject("t0002", "t0001", by="lee")
    said = [(j.query, j.tracklet, j.same, j.by) for j in gallery.judgements()]
    assert said == [("t0003", "t0002", True, "kim"), ("t0002", "t0001", False, "lee")]
    assert gallery.retract("t0002", "t0003")
    assert not gallery.retract("t0002", "t0003")
    assert len(gallery.judgements()) == 1
    with pytest.raises(DataError, match="itself"):
        gallery.confirm("t0001", "t0001")


def test_a_calibration_turns_distances_into_probabilities(make):
    filled = fill(make())
    gallery = filled.gallery
    with pytest.raises(ConfigError, match="has none"):
        gallery.search_tracklet("t0001", false_match_rate=0.1)
    gallery.set_calibration(CALIBRATION)
    assert gallery.calibration() == CALIBRATION
    found = gallery.search_tracklet("t0001", k=20, false_match_rate=0.1)
    distances = [m.distance for m in found.matches]
    np.testing.assert_allclose([m.probability for m in found.matches], CALIBRATION.probability(distances))
    assert found.threshold == 5.0
    assert [m.passes for m in found.matches] == [d < 5.0 for d in distances]
    assert {m.passes for m in found.matches} == {True, False}
    assert gallery.search_tracklet("t0001").matches[0].passes is None
    with pytest.raises(DataError, match="another model"):
        gallery.set_calibration(replace(CALIBRATION, fingerprint=OTHER))
    with pytest.raises(DataError, match="cosine distances"):
        gallery.set_calibration(replace(CALIBRATION, metric="cosine"))
    gallery.set_calibration(None)
    assert gallery.calibration() is None


def test_the_audit_log_only_grows_and_reads_backwards(make):
    gallery = make()
    for number in range(5):
        gallery.audit("search", {"query": f"q{number}"}, actor="kim")
    newest = gallery.audit_log(limit=2)
    assert [e.detail["query"] for e in newest] == ["q4", "q3"]
    assert (newest[0].action, newest[0].actor) == ("search", "kim")
    rest = gallery.audit_log(before=newest[-1].number)
    assert [e.detail["query"] for e in rest] == ["q2", "q1", "q0"]


def test_counts_tell_what_is_there(make):
    filled = fill(make())
    stats = filled.gallery.stats()
    assert stats.tracklets == 40
    assert stats.cameras == {CAMERAS[0]: 20, CAMERAS[1]: 20}
    assert stats.sources == {"video0.mp4": 14, "video1.mp4": 13, "video2.mp4": 13}
    assert (stats.start_s, stats.end_s) == (0.0, 395.0)
    assert stats.started_at is None
    assert stats.info.fingerprint == MODEL
    assert not stats.calibrated


def test_a_gallery_opened_again_is_the_same(address_of):
    address = address_of("euclidean")
    with open_gallery(address) as gallery:
        filled = fill(gallery)
        gallery.set_calibration(CALIBRATION)
        gallery.confirm("t0001", "t0002")
        before = gallery.search_tracklet("t0001", k=5)
        info = gallery.info
    with open_gallery(address) as gallery:
        assert gallery.info == info
        assert gallery.search_tracklet("t0001", k=5) == before
        assert gallery.calibration() == CALIBRATION
        assert len(gallery.judgements()) == 1
        assert gallery.add(filled.records, filled.vectors, fingerprint=MODEL).skipped == 40


def test_two_open_galleries_see_each_others_changes(address_of):
    address = address_of("euclidean")
    with open_gallery(address) as one, open_gallery(address) as two:
        fill(one)
        assert len(two.search(vectors(1)[0], fingerprint=MODEL, k=100).matches) == 40
        two.add([record(50)], vectors(1, seed=3), fingerprint=MODEL)
        assert one.search(vectors(1, seed=3)[0], fingerprint=MODEL, k=1).matches[0].record.id == "t0050"
        one.delete(Filters(ids=frozenset({"t0050"})))
        assert two.search(vectors(1, seed=3)[0], fingerprint=MODEL, k=1).matches[0].record.id != "t0050"


def test_records_without_times_and_pictures_are_welcome(make):
    gallery = make()
    bare = TrackletRecord(id="人 1/ü", camera="c")
    gallery.add([bare], vectors(1), fingerprint=MODEL, pictures=[Pictures()])
    assert replace(gallery.record("人 1/ü"), added_at=0.0) == bare
    assert gallery.search_tracklet("人 1/ü").matches == ()
