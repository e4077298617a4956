"""Average linkage of near pairs alone: the same groups as from all pairs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from intraclip.link import neighbours
from intraclip.link import people as people_module
from intraclip.link.agglomeration import agglomerate
from intraclip.link.evidence import Evidence
from intraclip.link.neighbours import agglomerate_near, near_pairs
from intraclip.link.people import People, link
from intraclip.link.travel import Travel, TravelTimes
from intraclip.metrics.match_fit import fit_calibration
from link.link_world import World, make_world


def groups(people: People) -> set[frozenset[int]]:
    return {frozenset(people.members(person).tolist()) for person in people.numbers}


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(people=60, noise=0.5, seed=1)


def evidences(world: World) -> dict[str, tuple[Evidence, dict[str, Any]]]:
    e = world.evidence
    ways = TravelTimes(travel={(1, 2): Travel(minimum_s=10, usual_s=100)})
    calibration = fit_calibration(make_world(people=40, seed=1).embeddings)
    named = (np.arange(len(e)) % 7 == 0) * (np.arange(len(e)) % 3 + 1)
    return {
        "euclidean": (e, {"threshold": 2.0}),
        "cosine": (replace(e, metric="cosine"), {"threshold": 0.3}),
        "calibrated": (replace(e, calibration=calibration, travel=ways), {}),
        "footage": (e, {"probability": 0.5}),
        "one a camera": (replace(e, one_per_camera=True), {"threshold": 2.5}),
        "judged": (
            replace(
                e,
                together=(np.array([0, 5, 9]), np.array([20, 30])),
                different=np.array([[1, 2], [4, 3]]),
                named=named,
                travel=ways,
            ),
            {"threshold": 2.5},
        ),
    }


@pytest.mark.parametrize("how", ["euclidean", "cosine", "calibrated", "footage", "one a camera", "judged"])
def test_the_groups_are_those_of_all_pairs(world: World, monkeypatch: pytest.MonkeyPatch, how: str):
    if how == "footage":
        world = make_world(people=60, seed=2)
    evidence, options = evidences(world)[how]
    whole = link(evidence, world.names, **options)
    assert len(world.names) / 4 < whole.count < len(world.names)
    monkeypatch.setattr(people_module, "FULL", 10)
    monkeypatch.setattr(neighbours, "TILE", 50)  # several blocks
    near = link(evidence, world.names, **options)
    assert groups(near) == groups(whole)
    assert near.rule == whole.rule
    assert ("by this footage itself" in whole.rule) == (how == "footage")
    np.testing.assert_allclose(near.probability, whole.probability, rtol=1e-6)
    assert near.notes == whole.notes


def test_the_silhouette_of_many_tries_fewer_cuts_and_says_so(monkeypatch: pytest.MonkeyPatch):
    world = make_world(people=4, noise=0.1, seed=1)
    evidence = world.evidence_with(camids=np.ones(12, dtype=np.int64), times=None)
    monkeypatch.setattr(people_module, "FULL", 10)
    monkeypatch.setattr(people_module, "PAIRS", 3)
    found = link(evidence, world.names)
    assert "silhouette" in found.rule
    assert any("only cuts below a distance of" in note for note in found.notes)
    for person in found.numbers:
        assert len(set(world.pids[found.members(person)].tolist())) == 1
    assert found.count < 12


def test_the_pairs_are_all_that_score_more(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(neighbours, "TILE", 64)
    for evidence, _ in evidences(world).values():
        scores = np.triu(evidence.score_matrix(), 1)
        scores[np.tril_indices(len(scores))] = -np.inf
        level = float(np.quantile(scores[np.isfinite(scores)], 0.9))
        found, _ = near_pairs(evidence, level)
        # A pair at the level itself may differ by its last digit.
        clear = np.abs(scores - level) > 1e-5
        dense = np.zeros(scores.shape, dtype=bool)
        dense[found["first"], found["second"]] = True
        np.testing.assert_array_equal(dense & clear, (scores > level) & clear)
        np.testing.assert_allclose(
            found["score"], scores[found["first"], found["second"]], rtol=1e-5, atol=1e-6
        )


def test_too_many_near_pairs_leave_the_best_and_are_told(world: World, monkeypatch: pytest.MonkeyPatch):
    evidence = world.evidence
    scores = evidence.score_matrix()[np.triu_indices(len(evidence), 1)]
    found, floor = near_pairs(evidence, -3.0, most=100)
    assert 90 <= len(found) <= 100
    assert floor > -3.0
    assert sorted(found["score"].tolist()) == pytest.approx(sorted(scores.tolist())[-len(found) :])
    monkeypatch.setattr(people_module, "FULL", 10)
    monkeypatch.setattr(neighbours, "PAIRS", 1)
    told = link(evidence, world.names, threshold=3.0)
    assert any("more pairs are near enough than can be held" in note for note in told.notes)
    # What was joined is right all the same: no group is joined that scores less than the level.
    rows = [told.members(p) for p in told.numbers]
    for members in rows:
        if len(members) == 2:
            assert evidence.distances(members[:1], members[1:])[0, 0] < 3.0


def test_a_group_with_many_neighbours_keeps_the_nearest(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    evidence = Evidence(
        features=rng.normal(size=(60, 2)).astype(np.float32), camids=np.ones(60, dtype=np.int64)
    )
    pairs, _ = near_pairs(evidence, -2.0, most=10_000)
    whole, none = agglomerate_near(60, pairs, -2.0, evidence.scores)
    assert none == 0
    full = agglomerate(evidence.score_matrix())
    np.testing.assert_array_equal(whole.cut(-2.0), full.cut(-2.0))
    monkeypatch.setattr(neighbours, "NEAREST", 2)
    _, pruned = agglomerate_near(60, pairs, -2.0, evidence.scores)
    assert pruned > 0


@pytest.mark.parametrize("alike", [True, False])
def test_all_alike_or_all_different(monkeypatch: pytest.MonkeyPatch, alike: bool):
    monkeypatch.setattr(people_module, "FULL", 1)
    features = np.ones((30, 4)) if alike else np.eye(30)
    evidence = Evidence(features=features.astype(np.float32), camids=np.arange(30) % 3)
    names = tuple(f"{i:02d}" for i in range(30))
    assert link(evidence, names, threshold=0.5).count == (1 if alike else 30)


def test_no_pair_but_those_seen_at_once_is_kept_apart_by_time(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(3)
    starts = rng.uniform(0, 50, size=80)
    times = np.stack([starts, starts + rng.uniform(0, 8, size=80)], axis=1)
    times[::9] = np.nan
    evidence = Evidence(
        features=rng.normal(size=(80, 3)).astype(np.float32),
        camids=rng.integers(1, 4, size=80),
        times=times,
        sources=tuple(str(s) for s in rng.integers(0, 2, size=80)),
    )
    monkeypatch.setattr("intraclip.link.evidence.PAIRS", 7)
    found = [
        tuple(sorted(pair))
        for a, b in evidence.pairs_at_once()
        for pair in zip(a.tolist(), b.tolist(), strict=True)
    ]
    rows = np.arange(80)
    wanted = np.argwhere(np.triu(evidence.apart(rows[:, None], rows), 1))
    assert sorted(found) == sorted(map(tuple, wanted.tolist()))
    assert len(found) > 20
