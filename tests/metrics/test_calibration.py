from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from intraclip.errors import DataError
from intraclip.metrics import calibration
from intraclip.metrics.calibration import (
    PairDistances,
    Roc,
    equal_error_rate,
    pair_distances,
    roc,
    threshold_at,
)
from intraclip.metrics.distance_matrix import distance_matrix
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.protocols import PROTOCOLS, Protocol

FULL, NO_QUERY = PROTOCOLS["mars-full"], PROTOCOLS["mars-no-query"]


def area(curve: Roc) -> float:
    """How often a genuine pair is nearer than an impostor pair, ties for a half."""
    return float(np.trapezoid(curve.true_match_rates, curve.false_match_rates))


def line(positions: list[float], pids: list[int], camids: list[int], queries: int = 1) -> Embeddings:
    """Embeddings on a line; the first ones are queries."""
    return Embeddings(
        features=np.array(positions, dtype=np.float32)[:, None],
        pids=np.array(pids),
        camids=np.array(camids),
        is_query=np.arange(len(pids)) < queries,
    )


def world(seed: int, *, n: int = 150, grid: bool = False, people: int = 12) -> Embeddings:
    """People as clouds in three cameras, with junk, distractors and unlabelled tracklets."""
    rng = np.random.default_rng(seed)
    pids = rng.integers(-2, people, size=n)
    centres = rng.normal(size=(people + 2, 4))
    features = centres[pids] + rng.normal(0, 0.6, size=(n, 4))
    return Embeddings(
        features=(np.round(2 * features) if grid else features).astype(np.float32),
        pids=pids,
        camids=rng.integers(1, 4, size=n),
        is_query=rng.random(n) < 0.4,
    )


def by_hand(e: Embeddings, protocol: Protocol) -> tuple[list[float], list[float]]:
    """Genuine and impostor distances by the words of the rules, pair by pair."""
    genuine, impostors = [], []
    seen = set()
    for q in range(len(e)):
        for g in range(len(e)):
            if not e.is_query[q] or e.pids[q] <= 0 or e.pids[g] < 0:
                continue
            if e.is_query[g] and not protocol.queries_in_gallery:
                continue
            if q == g or frozenset((q, g)) in seen:
                continue
            other_camera = e.camids[q] != e.camids[g]
            distance = float(np.sqrt(((e.features[q].astype(float) - e.features[g]) ** 2).sum()))
            if e.pids[q] == e.pids[g] and other_camera:
                genuine.append(distance)
            elif e.pids[q] != e.pids[g] and other_camera:
                impostors.append(distance)
            seen.add(frozenset((q, g)))
    return sorted(genuine), sorted(impostors)


def drawn(genuine: list[float], impostors: list[float]) -> PairDistances:
    """Pairs with these very distances: one person's query at 0 in camera 1, everybody else in camera 2."""
    positions = [0.0, *genuine, *impostors]
    pids = [1] * (1 + len(genuine)) + [2] * len(impostors)
    return pair_distances(line(positions, pids, [1] + [2] * (len(pids) - 1)), NO_QUERY)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), protocol=st.sampled_from([FULL, NO_QUERY]))
def test_pairs_equal_the_rules_applied_one_by_one(seed, protocol) -> None:
    e = world(seed, n=50)
    genuine, impostors = by_hand(e, protocol)
    if not genuine or not impostors:
        return
    pairs = pair_distances(e, protocol)
    np.testing.assert_allclose(pairs.genuine, genuine, atol=1e-5)
    np.testing.assert_allclose(pairs.nearest_impostors, impostors, atol=1e-5)
    assert pairs.impostors == len(impostors)
    assert pairs.farthest_impostor == pytest.approx(impostors[-1], abs=1e-5)


def test_junk_distractors_own_camera_and_unlabelled() -> None:
    #            query, genuine, own camera, junk, distractor, unlabelled, impostor, impostor in the query's camera
    positions = [0, 1, 2, 3, 4, 5, 6, 7]
    e = line(positions, [1, 1, 1, -1, 0, -2, 2, 2], [1, 2, 1, 2, 2, 2, 2, 1])
    pairs = pair_distances(e, NO_QUERY)
    assert pairs.genuine.tolist() == [1]
    assert pairs.nearest_impostors.tolist() == [4, 6]
    assert pairs.people == 1


def test_pairs_of_two_queries_count_once() -> None:
    e = line([0, 1, 10], [1, 1, 2], [1, 2, 3], queries=3)
    pairs = pair_distances(e, FULL)
    assert pairs.genuine.tolist() == [1]
    assert pairs.nearest_impostors.tolist() == [9, 10]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_distances_are_those_of_the_ranking(distance) -> None:
    e = world(1)
    pairs = pair_distances(e, NO_QUERY, distance=distance)
    q = np.flatnonzero(e.is_query & (e.pids > 0))
    g = np.flatnonzero(~e.is_query & (e.pids >= 0))
    all_pairs = distance_matrix(e.features[q], e.features[g], distance=distance)
    other = e.camids[q][:, None] != e.camids[g]
    same = e.pids[q][:, None] == e.pids[g]
    np.testing.assert_allclose(pairs.genuine, np.sort(all_pairs[same & other]), atol=1e-6)
    np.testing.assert_allclose(pairs.nearest_impostors, np.sort(all_pairs[~same & other]), atol=1e-6)


def test_block_sizes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    e = world(2, n=300, grid=True)  # distances of whole numbers have no rounding that could differ
    one = pair_distances(e, FULL)
    for block in (1, 17):
        monkeypatch.setattr(calibration, "BLOCK", block)
        other = pair_distances(e, FULL)
        assert [threshold_at(one, r) for r in (0.1, 0.01)] == [threshold_at(other, r) for r in (0.1, 0.01)]
        assert equal_error_rate(one) == equal_error_rate(other)
        np.testing.assert_array_equal(one.below_bin, other.below_bin)


def test_thresholds_by_hand() -> None:
    pairs = drawn([1, 2, 3, 20], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
    found = threshold_at(pairs, 0.2)
    assert (found.threshold, found.false_matches, found.true_match_rate) == (7, 2, 0.75)
    found = threshold_at(pairs, 0.05)
    assert (found.threshold, found.false_matches, found.true_match_rate) == (5, 0, 0.75)
    assert not found.supported
    # Ties with the first that must not pass stay out, all of them.
    tied = threshold_at(drawn([1], [5, 6, 6, 6, 7, 7, 7, 7, 7, 7]), 0.2)
    assert (tied.threshold, tied.false_matches) == (6, 1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rate=st.floats(0.001, 0.999),
    keep=st.sampled_from([1, 5, 40, 10_000]),
    grid=st.booleans(),
)
def test_a_threshold_keeps_its_rate_and_the_next_distance_would_not(seed, rate, keep, grid) -> None:
    rng = np.random.default_rng(seed)
    impostors = rng.gamma(3, 1, size=200)
    impostors = np.round(impostors, 1 if grid else 9).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "KEEP", keep)
        pairs = drawn(rng.gamma(2, 0.5, size=20).tolist(), impostors.tolist())
    found = threshold_at(pairs, rate)
    passed = int((impostors < np.float32(found.threshold)).sum())
    assert passed / 200 <= rate
    assert found.false_matches == passed
    if found.false_matches < keep:
        assert (impostors <= np.float32(found.threshold)).sum() / 200 > rate
    else:  # a bin lower at most
        assert (impostors <= np.float32(found.threshold * (1 + 2**-11))).sum() / 200 > rate
    assert found.true_match_rate == np.mean(pairs.genuine < np.float32(found.threshold))
    # From a smaller rate to a larger one the threshold never falls, across the border of what is kept too.
    assert threshold_at(pairs, min(rate * 1.05, 0.9999)).threshold >= found.threshold


def test_support_needs_ten_pairs() -> None:
    pairs = drawn([1], np.linspace(2, 3, 1000).tolist())
    assert threshold_at(pairs, 0.01).supported
    assert not threshold_at(pairs, 0.0099).supported


@pytest.mark.parametrize("grid", [False, True])
def test_roc_equals_scikit_learn(grid) -> None:
    e = world(3, n=200, grid=grid)
    pairs = pair_distances(e, FULL)
    labels = np.concatenate([np.ones(len(pairs.genuine)), np.zeros(pairs.impostors)])
    distances = np.concatenate([pairs.genuine, pairs.nearest_impostors])
    expected_fmr, expected_tmr, _ = roc_curve(labels, -distances, drop_intermediate=False)
    found = roc(pairs)
    expected = set(zip(expected_fmr.round(12), expected_tmr.round(12), strict=True))
    assert (
        set(zip(found.false_match_rates.round(12), found.true_match_rates.round(12), strict=True)) <= expected
    )
    assert area(found) == pytest.approx(roc_auc_score(labels, -distances), abs=1e-12)
    assert (found.false_match_rates[0], found.true_match_rates[0]) == (0, 0)
    assert (found.false_match_rates[-1], found.true_match_rates[-1]) == (1, 1)
    assert (np.diff(found.thresholds) > 0).all()
    # The equal error rate on the full curve of the oracle.
    crossing = np.argmax(expected_fmr >= 1 - expected_tmr)
    f0, f1 = expected_fmr[crossing - 1 : crossing + 1]
    n0, n1 = 1 - expected_tmr[crossing - 1 : crossing + 1]
    share = (n0 - f0) / ((f1 - f0) + (n0 - n1))
    equal = equal_error_rate(pairs)
    assert equal.rate == pytest.approx(f0 + share * (f1 - f0), abs=1e-12)
    assert np.mean(pairs.nearest_impostors < equal.threshold) == pytest.approx(equal.rate, abs=0.02)
    assert np.mean(pairs.genuine >= equal.threshold) == pytest.approx(equal.rate, abs=0.1 if grid else 0.02)


def test_equal_error_rate_by_hand() -> None:
    # Below 3: one of four genuine pairs missed, one of four impostors let in.
    found = equal_error_rate(drawn([1, 1.5, 2, 5], [2.5, 3, 4, 6]))
    assert (found.rate, found.threshold) == (0.25, 3)
    assert equal_error_rate(drawn([1, 2], [3, 4])).rate == 0
    assert equal_error_rate(drawn([3, 4], [1, 2])).rate == 1
    assert equal_error_rate(drawn([1, 1], [1, 1])).rate == 0.5


def test_a_coarse_tail_changes_roc_by_no_more_than_a_bin(monkeypatch: pytest.MonkeyPatch) -> None:
    e = world(4, n=300)
    exact = pair_distances(e, FULL)
    monkeypatch.setattr(calibration, "KEEP", 50)
    coarse = pair_distances(e, FULL)
    assert len(coarse.nearest_impostors) == 50
    np.testing.assert_array_equal(coarse.nearest_impostors, exact.nearest_impostors[:50])
    assert area(roc(coarse)) == pytest.approx(area(roc(exact)), abs=1e-3)
    assert equal_error_rate(coarse).rate == pytest.approx(equal_error_rate(exact).rate, abs=2e-3)


def test_nothing_to_calibrate_is_refused() -> None:
    with pytest.raises(DataError, match="0 genuine and 1 impostor pairs"):
        pair_distances(line([0, 1], [1, 2], [1, 2]), NO_QUERY)
    with pytest.raises(DataError, match="1 genuine and 0 impostor pairs"):
        pair_distances(line([0, 1], [1, 1], [1, 2]), NO_QUERY)
    with pytest.raises(DataError, match="0 genuine and 0 impostor pairs of 0 labelled queries"):
        pair_distances(line([0, 1], [-2, -2], [1, 2]), NO_QUERY)
    with pytest.raises(ValueError, match="false-match rate is 1"):
        threshold_at(drawn([1], [2]), 1)


def test_one_pair_of_each_kind_is_enough_to_go_through() -> None:
    assert equal_error_rate(drawn([1], [2])).rate == 0
    assert not threshold_at(drawn([1], [2]), 0.01).supported
