"""A cut without labels: what unlabelled footage says about its own distances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from intraclip.link.evidence import Evidence
from intraclip.link.footage import fit_tail, without_cameras
from intraclip.link.people import link
from intraclip.link.scores import score_people


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
