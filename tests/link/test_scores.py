"""Groups against known identities."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.cluster import pair_confusion_matrix

from intraclip.errors import DataError
from intraclip.link.scores import score_people

labels = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 40)), min_size=1, max_size=24
)


@settings(deadline=None)
@given(labels)
def test_pairs_agree_with_scikit_learn(rows: list[tuple[int, int, int]]):
    person, pids, _ = (np.array(column) for column in zip(*rows, strict=True))
    found = score_people(person, pids)
    # Each pair counts twice there.
    (_, false), (missed, right) = pair_confusion_matrix(pids, person)
    assert found.precision == (pytest.approx(right / (right + false)) if right + false else 1)
    assert found.recall == (pytest.approx(right / (right + missed)) if right + missed else 1)


@settings(deadline=None)
@given(labels)
def test_bcubed_is_the_mean_over_tracklets(rows: list[tuple[int, int, int]]):
    person, pids, _ = (np.array(column) for column in zip(*rows, strict=True))
    group, same = person[:, None] == person, pids[:, None] == pids
    found = score_people(person, pids)
    assert found.bcubed_precision == pytest.approx(((group & same).sum(1) / group.sum(1)).mean())
    assert found.bcubed_recall == pytest.approx(((group & same).sum(1) / same.sum(1)).mean())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 40)), min_size=1, max_size=24))
def test_idf1_is_the_best_of_all_matchings(rows: list[tuple[int, int, int]]):
    person, pids, frames = (np.array(column) for column in zip(*rows, strict=True))
    found = score_people(person, pids, frames)
    people, groups = sorted(set(pids.tolist())), sorted(set(person.tolist()))
    padded = [*groups, *([None] * len(people))]  # anybody may stay unmatched
    best = max(
        sum(int(frames[(pids == p) & (person == g)].sum()) for p, g in zip(people, chosen, strict=True) if g)
        for chosen in itertools.permutations(padded, len(people))
    )
    assert found.idp == found.idr == found.idf1 == pytest.approx(best / frames.sum())


def test_idf1_agrees_with_the_trackers_library():
    # One "sequence" in which every tracklet is a run of frames of its own: then the tracks of the library are people.
    identity = pytest.importorskip("trackers.eval.identity")
    rng = np.random.default_rng(0)
    pids, person = rng.integers(1, 6, size=20), rng.integers(1, 7, size=20)
    frames = rng.integers(1, 9, size=20)
    found = score_people(person, pids, frames)
    true_ids = [np.array([pid]) for pid, n in zip(pids, frames, strict=True) for _ in range(n)]
    found_ids = [np.array([p]) for p, n in zip(person, frames, strict=True) for _ in range(n)]
    theirs = identity.compute_identity_metrics(true_ids, found_ids, [np.ones((1, 1)) for _ in true_ids])
    assert found.idf1 == pytest.approx(theirs["IDF1"])


def test_distractors_spoil_groups_but_are_not_missed():
    #               known people       distractors, one of them with person 1
    pids = np.array([1, 1, 2, 2, 0, 0, 0, -1, -2])
    person = np.array([1, 1, 2, 3, 1, 9, 9, 1, 2])
    frames = np.array([10, 10, 10, 10, 5, 5, 5, 100, 100])
    found = score_people(person, pids, frames)
    assert (found.known, found.identities, found.people) == (4, 2, 3)
    # Pairs in groups: 1-1, and the distractor with both; 9-9 is not known to be wrong; junk and unlabelled are out.
    assert found.precision == pytest.approx(1 / 3)
    assert found.recall == pytest.approx(1 / 2)
    assert found.bcubed_precision == pytest.approx((2 / 3 + 2 / 3 + 1 + 1) / 4)
    assert found.idr == pytest.approx(30 / 40)
    assert found.idp == pytest.approx(30 / 45)
    assert found.idf1 == pytest.approx(2 * 30 / (40 + 45))


def test_frames_weigh():
    pids, person = np.array([1, 1, 1]), np.array([1, 2, 2])
    assert score_people(person, pids).idf1 == pytest.approx(2 / 3)
    found = score_people(person, pids, np.array([80, 10, 10]))
    assert found.idf1 == pytest.approx(0.8)
    assert found.weighted


def test_many_people_are_scored_in_parts():
    rng = np.random.default_rng(0)
    pids = rng.integers(1, 4000, size=20_000)
    person = np.where(rng.random(20_000) < 0.1, rng.permutation(20_000) + 4000, pids)
    found = score_people(person, pids)
    assert found.precision == 1
    assert 0.85 < found.idr < 0.95


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="no tracklet has a pid above 0"):
        score_people(np.array([1, 2]), np.array([0, -2]))
    with pytest.raises(DataError, match=r"groups \[2\] and pids \[1\]"):
        score_people(np.array([1, 2]), np.array([1]))
    with pytest.raises(DataError, match="at least one frame"):
        score_people(np.array([1]), np.array([1]), np.array([0]))
