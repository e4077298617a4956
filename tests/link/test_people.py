"""Tracklets in, people out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, silhouette_score

from intraclip.errors import ConfigError, DataError
from intraclip.link import level as level_module
from intraclip.link.agglomeration import agglomerate
from intraclip.link.evidence import Evidence
from intraclip.link.level import best_level, silhouettes
from intraclip.link.people import People, link
from intraclip.link.travel import Travel, TravelTimes
from intraclip.metrics.match_fit import fit_calibration
from intraclip.metrics.match_probability import MatchCalibration
from link.link_world import World, make_world


def partition(people: People) -> set[frozenset[str]]:
    return {
        frozenset(people.names[row] for row in people.members(person))
        for person in range(1, people.count + 1)
    }


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def calibration() -> MatchCalibration:
    return fit_calibration(make_world(people=40, seed=1).embeddings)


@pytest.mark.parametrize("how", ["calibrated", "threshold", "nothing given"])
def test_people_are_found(world: World, calibration: MatchCalibration, how: str):
    if how == "calibrated":
        found = link(world.evidence_with(calibration=calibration), world.names)
    else:
        found = link(world.evidence, world.names, threshold=2.0 if how == "threshold" else None)
    assert adjusted_rand_score(world.pids, found.person) > 0.9
    assert found.rule


def test_the_silhouette_finds_people(world: World):
    tree = agglomerate(world.evidence.score_matrix())
    level, silhouette = best_level(world.evidence, tree)
    assert adjusted_rand_score(world.pids, tree.cut(level)) > 0.9
    assert 0 < silhouette <= 1


@settings(deadline=None, max_examples=25)
@given(st.randoms(use_true_random=False), st.integers(0, 100), st.booleans())
def test_the_order_of_tracklets_changes_nothing(random, seed: int, rounded: bool):
    world = make_world(people=6, noise=0.8, seed=seed)
    evidence = world.evidence
    if rounded:  # many equal distances
        evidence = world.evidence_with(features=np.round(evidence.features))
    order = list(range(len(world.names)))
    random.shuffle(order)
    shuffled = replace(
        evidence,
        features=evidence.features[order],
        camids=evidence.camids[order],
        times=evidence.times[order],
    )
    names = tuple(world.names[i] for i in order)
    straight, mixed = link(evidence, world.names, threshold=2.0), link(shuffled, names, threshold=2.0)
    assert partition(straight) == partition(mixed)
    np.testing.assert_array_equal(straight.person[order], mixed.person)
    np.testing.assert_allclose(straight.distance[order], mixed.distance, rtol=1e-6)


def overlaps(evidence: Evidence) -> np.ndarray:
    times = evidence.times
    return (
        (evidence.camids[:, None] == evidence.camids)
        & (times[:, None, 0] <= times[None, :, 1])
        & (times[None, :, 0] <= times[:, None, 1])
        & ~np.eye(len(evidence), dtype=bool)
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(1, 100), st.booleans())
def test_who_is_seen_at_once_by_one_camera_is_never_one_person(seed: int, threshold: float, travel: bool):
    rng = np.random.default_rng(seed)
    count = 20
    starts = rng.uniform(0, 60, size=count)
    ways = TravelTimes(travel={(1, 2): Travel(minimum_s=10, usual_s=20)}) if travel else None
    evidence = Evidence(
        features=np.zeros((count, 2), dtype=np.float32) + rng.normal(size=(count, 2)).astype(np.float32),
        camids=rng.integers(1, 4, size=count),
        times=np.stack([starts, starts + rng.uniform(0, 10, size=count)], axis=1),
        travel=ways,
    )
    found = link(evidence, tuple(f"{i:02d}" for i in range(count)), threshold=threshold)
    together = (found.person[:, None] == found.person) & ~np.eye(count, dtype=bool)
    assert not (together & overlaps(evidence)).any()
    if travel:
        times, cameras = evidence.times, evidence.camids
        gap = np.maximum(times[:, None, 0] - times[None, :, 1], times[None, :, 0] - times[:, None, 1])
        between = (cameras[:, None] == 1) & (cameras == 2)
        assert not (together & between & (gap < 10)).any()


def test_one_instant_in_common_is_enough():
    names = ("a", "b")
    features = np.ones((2, 3), dtype=np.float32)
    touching = Evidence(features=features, camids=np.array([1, 1]), times=np.array([[0.0, 5.0], [5.0, 9.0]]))
    assert link(touching, names, threshold=1.0).count == 2
    after = Evidence(features=features, camids=np.array([1, 1]), times=np.array([[0.0, 5.0], [5.1, 9.0]]))
    assert link(after, names, threshold=1.0).count == 1
    # Two videos of one camera, each from 0: their times do not compare.
    videos = replace(touching, sources=("monday.mp4", "tuesday.mp4"))
    assert link(videos, names, threshold=1.0).count == 1
    # Another camera may see the same person at once.
    assert link(replace(touching, camids=np.array([1, 2])), names, threshold=1.0).count == 1


def test_missing_times_forbid_nothing_and_are_told():
    features = np.ones((3, 3), dtype=np.float32)
    camids = np.array([1, 1, 1])
    some = np.array([[0.0, 5.0], [1.0, 6.0], [np.nan, np.nan]])
    found = link(Evidence(features=features, camids=camids, times=some), ("a", "b", "c"), threshold=1.0)
    assert sorted(np.bincount(found.person)[1:]) == [1, 2]
    assert any("1 tracklets have no times" in note for note in found.notes)
    assert any("1 pairs were seen by one camera at once" in note for note in found.notes)
    found = link(Evidence(features=features, camids=camids), ("a", "b", "c"), threshold=1.0)
    assert found.count == 1
    assert any(note.startswith("no times") for note in found.notes)


def test_one_tracklet_a_camera():
    world = make_world(people=3, noise=0.01)
    evidence = world.evidence_with(camids=np.ones(9, dtype=np.int64), times=None)
    assert link(evidence, world.names, threshold=2.0).count == 3
    assert link(replace(evidence, one_per_camera=True), world.names, threshold=2.0).count == 9


def test_travel_times_separate_twins(calibration: MatchCalibration):
    # Of two people alike in camera 2, the one who is there two seconds after somebody left camera 1 cannot be them,
    # the one who comes after a minute can.
    features = np.zeros((3, 8), dtype=np.float32)
    features[:, 0] = [0, 0.1, 0.2]
    times = np.array([[0.0, 10.0], [12.0, 72.0], [70.0, 75.0]])
    evidence = Evidence(
        features=features,
        camids=np.array([1, 2, 2]),
        times=times,
        calibration=calibration,
        travel=TravelTimes(travel={(1, 2): Travel(minimum_s=20, usual_s=60)}),
    )
    found = link(evidence, ("leaves", "too fast", "in time"))
    assert found.person[0] == found.person[2]
    assert found.person[0] != found.person[1]
    plain = link(replace(evidence, travel=None), ("leaves", "too fast", "in time"))
    assert plain.person[0] == plain.person[1]


def test_clocks_shift_what_overlaps(calibration: MatchCalibration):
    evidence = Evidence(
        features=np.zeros((2, 8), dtype=np.float32),
        camids=np.array([1, 2]),
        times=np.array([[0.0, 10.0], [0.0, 10.0]]),
        travel=TravelTimes(travel={(1, 2): Travel(minimum_s=20)}),
    )
    assert link(evidence, ("a", "b"), threshold=1.0).count == 2
    late = TravelTimes(travel=evidence.travel.travel, clock={2: 30.0})
    assert link(replace(evidence, travel=late), ("a", "b"), threshold=1.0).count == 1


def test_probability_and_distance_are_means_over_the_others(world: World, calibration: MatchCalibration):
    found = link(world.evidence_with(calibration=calibration, times=None), world.names)
    person = next(p for p in range(1, found.count + 1) if len(found.members(p)) >= 3)
    rows = found.members(person)
    row, others = rows[0], rows[1:]
    apart = np.linalg.norm(
        world.evidence.features[others].astype(float) - world.evidence.features[row].astype(float), axis=1
    )
    assert found.distance[row] == pytest.approx(apart.mean(), rel=1e-5)
    odds = np.log(calibration.probability(apart) / (1 - calibration.probability(apart)))
    assert found.probability[row] == pytest.approx(1 / (1 + np.exp(-odds.mean())), rel=1e-4)


def test_who_is_alone_has_no_probability(calibration: MatchCalibration):
    evidence = Evidence(
        features=np.ones((1, 8), dtype=np.float32), camids=np.array([4]), calibration=calibration
    )
    found = link(evidence, ("only",))
    assert found.person.tolist() == [1]
    assert np.isnan(found.probability).all()
    assert np.isnan(found.distance).all()
    assert link(replace(evidence, calibration=None), ("only",)).count == 1


def test_one_camera_joins_what_a_tracker_broke():
    world = make_world(people=4, cameras=1, noise=0.01)
    features = np.concatenate([world.evidence.features, world.evidence.features])
    times = np.concatenate([world.evidence.times, world.evidence.times + 1000])
    evidence = Evidence(features=features, camids=np.ones(8, dtype=np.int64), times=times)
    assert link(evidence, tuple(f"{i}" for i in range(8)), threshold=1.0).count == 4


def test_people_are_numbered_by_cameras_then_tracklets_then_names():
    at = {"a": 0.0, "b": 10.0, "c": 20.0, "d": 30.0}
    rows = [
        ("a1", "a", 1),
        ("b1", "b", 1),
        ("b2", "b", 1),
        ("b3", "b", 1),
        ("c1", "c", 1),
        ("c2", "c", 2),
        ("d1", "d", 1),
    ]
    evidence = Evidence(
        features=np.array([[at[person], 1.0] for _, person, _ in rows], dtype=np.float32),
        camids=np.array([camera for _, _, camera in rows]),
    )
    found = link(evidence, tuple(name for name, _, _ in rows), threshold=1.0)
    assert found.person.tolist() == [3, 2, 2, 2, 1, 1, 4]
    assert found.cameras(1) == [1, 2]


def test_silhouettes_agree_with_scikit_learn(world: World):
    evidence = world.evidence
    rows = np.arange(len(evidence))
    tree = agglomerate(evidence.score_matrix())
    levels = np.array([-0.5, -1.0, -1.5, -2.5, -4.0])
    found = silhouettes(evidence, tree, levels)
    distances = evidence.distances(rows, rows).astype(np.float64)
    np.fill_diagonal(distances, 0)
    for level, value in zip(levels, found, strict=True):
        labels = tree.cut(level)
        groups = len(np.unique(labels))
        if 1 < groups < len(labels):
            assert value == pytest.approx(silhouette_score(distances, labels, metric="precomputed"), abs=1e-6)
    level, value = best_level(evidence, tree)
    assert value >= found.max() - 0.05
    assert len(np.unique(tree.cut(level))) == pytest.approx(12, abs=2)


def test_a_sample_of_silhouettes_is_near_the_whole(monkeypatch: pytest.MonkeyPatch):
    world = make_world(people=80)
    tree = agglomerate(world.evidence.score_matrix())
    levels = np.array([-1.5, -2.0])
    whole = silhouettes(world.evidence, tree, levels)
    monkeypatch.setattr(level_module, "SAMPLE", 120)
    some = silhouettes(world.evidence, tree, levels)
    np.testing.assert_allclose(some, whole, atol=0.05)
    assert some.tolist() != whole.tolist()


def test_bad_input_is_refused(world: World, calibration: MatchCalibration):
    features, camids = world.evidence.features, world.evidence.camids
    spoiled = features.copy()
    spoiled[3, 0] = np.nan
    with pytest.raises(DataError, match="1 tracklet features are not finite"):
        Evidence(features=spoiled, camids=camids)
    with pytest.raises(DataError, match="zero vectors"):
        Evidence(features=np.zeros((2, 3), dtype=np.float32), camids=camids[:2], metric="cosine")
    with pytest.raises(DataError, match="end before they start, such as row 1: 5 to 4 s"):
        Evidence(features=features[:2], camids=camids[:2], times=np.array([[0.0, 1.0], [5.0, 4.0]]))
    with pytest.raises(DataError, match="no tracklets to link"):
        link(Evidence(features=features[:0], camids=camids[:0]), ())
    with pytest.raises(DataError, match="need 36 different names, got 1"):
        link(world.evidence, ("same",) * 36)
    for threshold in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ConfigError, match="a distance above 0"):
            link(world.evidence, world.names, threshold=threshold)
    with pytest.raises(ConfigError, match="must lie inside 0 and 1"):
        link(world.evidence, world.names, probability=1.0)
    with pytest.raises(ConfigError, match="give one of them"):
        link(world.evidence_with(calibration=calibration), world.names, threshold=1.0)


def test_travel_times_need_one_clock_a_camera(world: World):
    count = len(world.names)
    sources = tuple("ab"[i % 2] for i in range(count))
    with pytest.raises(DataError, match="camera 1 has several recordings"):
        world.evidence_with(sources=sources, travel=TravelTimes(travel={(1, 2): Travel(minimum_s=3)}))


def test_the_score_matrix_is_symmetric_whatever_its_blocks():
    world = make_world(people=100)  # more than one block
    scores = world.evidence.score_matrix()
    np.testing.assert_array_equal(scores, scores.T)
    rows = np.arange(len(world.names))
    whole = world.evidence.scores(rows, rows)
    np.testing.assert_array_equal(np.isneginf(scores), np.isneginf(whole))
    finite = np.isfinite(scores)
    np.testing.assert_allclose(scores[finite], whole[finite], rtol=1e-5, atol=1e-6)
