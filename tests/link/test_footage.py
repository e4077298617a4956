"""A cut without labels: what unlabelled footage says about its own distances."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from intraclip.link.agglomeration import agglomerate
from intraclip.link.evidence import Evidence
from intraclip.link.footage import fit_tail, without_cameras
from intraclip.link.level import best_level
from intraclip.link.people import LIKELIER, link
from intraclip.link.scores import score_people
from intraclip.metrics.distance import Distance
from link.link_world import make_world


def site(
    *, people: int = 25, cameras: int = 2, visits: int = 2, shift: float = 0.7, seed: int = 0
) -> tuple[Evidence, np.ndarray, tuple[str, ...]]:
    """People whose tracklets of one camera nearly repeat each other, and cameras that each shift all they see."""
    rng = np.random.default_rng(seed)
    size = 32
    pids = np.repeat(np.arange(1, people + 1), cameras * visits)
    camids = np.tile(np.repeat(np.arange(1, cameras + 1), visits), people)
    view = (pids - 1) * cameras + camids - 1
    features = (
        2.0
        + rng.normal(size=(people, size))[pids - 1]
        + 0.6 * rng.normal(size=(people * cameras, size))[view]
        + shift * rng.normal(size=(cameras, size))[camids - 1]
        + 0.1 * rng.normal(size=(len(pids), size))
    )
    names = tuple(f"t{row:04d}" for row in range(len(pids)))
    return Evidence(features=features.astype(np.float32), camids=camids, metric="cosine"), pids, names


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("cameras", [2, 4])
def test_visits_that_repeat_each_other_do_not_split_people(seed: int, cameras: int):
    # The silhouette is best where every camera has its own group of a person: right pairs alone, most of them missed.
    evidence, pids, names = site(seed=seed, cameras=cameras)
    found = link(evidence, names)
    scores = score_people(found.person, pids)
    assert "by this footage itself" in found.rule
    assert scores.precision > 0.9
    assert scores.f1 > 0.9


def test_what_a_camera_adds_to_all_it_sees_is_taken_out():
    evidence, pids, _ = site(shift=0.0, seed=3)
    shifted, _, _ = site(shift=3.0, seed=3)
    same = pids[:, None] == pids
    across = evidence.camids[:, None] != evidence.camids
    rows = np.arange(len(pids))

    def told_apart(e: Evidence) -> float:
        distances = e.distances(rows, rows)
        return float(distances[same & across].mean() - distances[~same & across].mean())

    assert told_apart(without_cameras(shifted)) < 5 * told_apart(shifted) < 0
    np.testing.assert_allclose(
        without_cameras(shifted).features.reshape(-1, 32)[shifted.camids == 1].mean(axis=0), 0, atol=1e-5
    )


def test_the_tail_holds_one_person_and_two():
    evidence, pids, _ = site(people=40, cameras=3, seed=4)
    levelled = without_cameras(evidence)
    tail = fit_tail(levelled)
    assert tail is not None
    rows = np.arange(len(pids))
    across = np.triu(evidence.camids[:, None] != evidence.camids)
    one = across & (pids[:, None] == pids)
    mean = float(levelled.distances(rows, rows)[one].mean())
    assert tail.start - tail.mean == pytest.approx(mean, abs=0.05)
    near, far = tail.probability(np.array([tail.start - tail.mean, tail.start - 0.01]))
    assert near > 0.9
    assert far < 0.5
    limits = [tail.distance_of(probability) for probability in (0.1, 0.5, 0.9)]
    assert all(limits)
    assert limits == sorted(limits, reverse=True)


def test_pairs_seen_at_once_that_look_alike_make_two_people_nearer_by_chance():
    evidence, pids, _ = site(people=40, cameras=3, seed=5)
    times = np.stack(
        [10.0 * pids, 10.0 * pids + 12], axis=1
    )  # who follows is there before who leads has left
    plain = fit_tail(without_cameras(evidence))
    timed = fit_tail(without_cameras(replace(evidence, times=times)))
    assert plain is not None
    assert plain.apart == 0
    # It is the wider of the two answers, and where they leave no sign of one person, none is given.
    assert timed is None or (timed.apart > 0 and timed.scale >= plain.scale)


def test_where_nothing_is_told_apart_the_silhouette_chooses():
    rng = np.random.default_rng(0)
    few = Evidence(features=rng.normal(size=(6, 8)).astype(np.float32), camids=np.array([1, 1, 1, 2, 2, 2]))
    assert fit_tail(few) is None
    found = link(few, tuple("abcdef"))
    assert "silhouette" in found.rule
    assert any("too few or too even" in note for note in found.notes)


def test_the_only_tracklet_of_a_camera_keeps_its_features():
    evidence, _, _ = site()
    lonely = replace(evidence, camids=np.where(np.arange(len(evidence)) == 0, 9, evidence.camids))
    assert without_cameras(lonely) is lonely


def test_a_higher_probability_joins_less():
    evidence, _, names = site(seed=6)
    counts = [link(evidence, names, probability=p).count for p in (0.05, 0.2, 0.9)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_of_three_ways_to_the_cut_the_middle_one_is_taken():
    evidence, pids, names = site(seed=7, cameras=3)
    found = link(evidence, names)
    asked = link(evidence, names, probability=LIKELIER)
    rule = re.search(r"middle of three: (\S+), .*; (\S+), .*; and (\S+),", found.rule)
    assert rule is not None
    ways = sorted(map(float, rule.groups()))
    assert found.threshold == pytest.approx(ways[1], rel=1e-3)
    assert asked.threshold == pytest.approx(float(rule[3]), rel=1e-3)
    assert score_people(found.person, pids).f1 > 0.9


def test_small_worlds_are_cut_no_worse_than_by_the_silhouette():
    found, plain = [], []
    for seed in range(6):
        world = make_world(seed=seed)
        tree = agglomerate(world.evidence.score_matrix())
        groups = tree.cut(best_level(world.evidence, tree)[0])
        plain.append(score_people(groups, world.pids).f1)
        found.append(score_people(link(world.evidence, world.names).person, world.pids).f1)
    assert np.mean(found) > np.mean(plain) - 0.02


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_limits_of_what_a_place_can_hold(metric: Distance):
    rng = np.random.default_rng(0)
    one = rng.normal(size=(1, 32)).astype(np.float32)
    camids = np.arange(60) % 3
    names = tuple(f"{i:02d}" for i in range(60))
    alike = Evidence(features=np.repeat(one, 60, axis=0), camids=camids, metric=metric)
    assert link(alike, names).count == 1
    two = Evidence(features=np.repeat(one, 2, axis=0), camids=camids[:2], metric=metric)
    assert link(two, names[:2]).count == 1
    assert link(replace(two, features=rng.normal(size=(2, 32)).astype(np.float32)), names[:2]).count == 2
    # Nearly everything is one person, who so is the mean of every camera.
    pids = np.maximum(np.arange(60) - 57, 0)
    features = rng.normal(size=(3, 32))[pids] + 0.3 * rng.normal(size=(60, 32))
    crowd = Evidence(features=features.astype(np.float32), camids=camids, metric=metric)
    assert link(crowd, names).person.tolist() == (pids + 1).tolist()
    # One camera.
    pids = np.arange(60) % 12
    features = rng.normal(size=(12, 32))[pids] + 0.3 * rng.normal(size=(60, 32))
    single = Evidence(features=features.astype(np.float32), camids=np.ones(60, dtype=np.int64), metric=metric)
    assert score_people(link(single, names).person, pids + 1).f1 > 0.9
