from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from intraclip.errors import ConfigError, DataError
from intraclip.metrics.distance import distance_matrix
from intraclip.metrics.protocols import PROTOCOLS, Protocol, protocol_named
from intraclip.metrics.ranking import average_precision, ranked_list, score
from intraclip.types import Embeddings

FULL, NO_QUERY, OFFICIAL = (PROTOCOLS[name] for name in ("mars-full", "mars-no-query", "mars-official"))


def embeddings(seed: int, *, n: int = 40, grid: int | None = None) -> Embeddings:
    """Random embeddings with junk, distractors and several cameras; a coarse grid makes many ties."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 2)).astype(np.float32)
    if grid is not None:
        features = np.round(features * grid).astype(np.float32)
    return Embeddings(
        features=features,
        pids=rng.choice([-1, 0, 1, 2, 3, 4], size=n),
        camids=rng.integers(1, 4, size=n),
        is_query=rng.random(n) < 0.3,
    )


def brute_force(e: Embeddings, protocol: Protocol) -> dict[str, float]:
    """CMC, AP and INP by walking down each sorted list, as the definitions say; wrong answers first in a tie."""
    first, aps, inps, skipped = [], [], [], 0
    for q in np.flatnonzero(e.is_query):
        answers = []
        for g in range(len(e)):
            if e.pids[g] == -1 or (e.is_query[g] and not protocol.queries_in_gallery):
                continue
            if e.pids[g] == e.pids[q] and e.camids[g] == e.camids[q]:
                continue
            distance = float(np.sqrt(((e.features[q].astype(float) - e.features[g]) ** 2).sum()))
            answers.append((round(distance, 5), bool(e.pids[g] == e.pids[q])))
        answers.sort()
        matches = sum(right for _, right in answers)
        if not matches:
            skipped += 1
            continue
        hits, ap, last, old_recall, old_precision = 0, 0.0, 0, 0.0, 1.0
        for position, (_, right) in enumerate(answers, start=1):
            if right:
                hits += 1
                last = position
                if hits == 1:
                    first.append(position)
            recall, precision = hits / matches, hits / position
            if right and protocol.average_precision == "rectangular":
                ap += precision / matches
            elif protocol.average_precision == "trapezoidal":
                ap += (recall - old_recall) * (precision + old_precision) / 2
            old_recall, old_precision = recall, precision
        aps.append(ap)
        inps.append(matches / last)
    ranks = {f"rank{k}": float(np.mean([f <= k for f in first])) for k in (1, 5, 10, 20)}
    return {
        **ranks,
        "mAP": float(np.mean(aps)),
        "mINP": float(np.mean(inps)),
        "queries_without_match": skipped,
    }


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    grid=st.sampled_from([None, 1, 2]),
    protocol=st.sampled_from([FULL, NO_QUERY, OFFICIAL]),
)
def test_scores_equal_brute_force_with_and_without_ties(seed, grid, protocol):
    e = embeddings(seed, grid=grid)
    try:
        found = score(e, protocol).to_json_dict()
    except DataError:  # no query or no match in this draw; what is then said has its own tests
        return
    for key, value in brute_force(e, protocol).items():
        assert found[key] == pytest.approx(value, abs=1e-9), key


def test_rectangular_ap_equals_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(50):
        right = rng.random(30) < 0.2
        if not right.any():
            continue
        ranks = np.flatnonzero(right) + 1
        expected = average_precision_score(right, -np.arange(30))
        assert average_precision(ranks, rule="rectangular") == pytest.approx(expected)


def line(positions: list[float], pids: list[int], camids: list[int], queries: int = 1) -> Embeddings:
    """Embeddings on a line; the first ones are queries."""
    return Embeddings(
        features=np.array(positions, dtype=np.float32)[:, None],
        pids=np.array(pids),
        camids=np.array(camids),
        is_query=np.arange(len(pids)) < queries,
    )


def test_own_camera_and_junk_leave_the_ranking():
    #          query, own camera, junk, wrong, right
    e = line([0, 0.1, 0.2, 0.3, 0.4], [1, 1, -1, 2, 1], [1, 1, 2, 2, 2])
    found = score(e, NO_QUERY)
    assert found.rank(1) == 0
    assert found.rank(5) == 1
    assert found.mAP == 0.5
    assert found.gallery == 3  # junk is out; the own camera's tracklet is another query's business


def test_distractors_stay_in_the_ranking():
    e = line([0, 0.1, 0.2], [1, 0, 1], [1, 1, 2])
    assert score(e, NO_QUERY).mAP == 0.5


def test_a_tie_counts_against_the_right_answer_whatever_the_order():
    for order in ([1, 2], [2, 1]):
        e = line([0, 0.5, 0.5], [1, *order], [1, 2, 2])
        assert score(e, NO_QUERY).rank(1) == 0


def test_a_collapsed_network_scores_the_worst_not_the_best():
    e = embeddings(0)
    flat = Embeddings(features=np.ones_like(e.features), pids=e.pids, camids=e.camids, is_query=e.is_query)
    assert score(flat, NO_QUERY).rank(1) == 0


def test_fewer_answers_than_rank_20_are_fine():
    e = line([0, 0.1], [1, 1], [1, 2])
    found = score(e, NO_QUERY)
    assert found.rank(20) == found.rank(1) == 1.0


def test_queries_in_the_gallery_are_matches_of_other_cameras():
    #  two queries of pid 1 in cameras 1 and 2, nothing else of pid 1
    e = line([0, 0.1, 0.2], [1, 1, 2], [1, 2, 3], queries=2)
    assert score(e, FULL).queries == 2
    with pytest.raises(DataError, match="none of the 2 queries has a right answer"):
        score(e, NO_QUERY)


def test_queries_without_match_are_counted_and_left_out():
    e = line([0, 5, 0.1], [1, 9, 1], [1, 1, 2], queries=2)
    found = score(e, NO_QUERY)
    assert (found.queries, found.queries_without_match) == (1, 1)
    assert found.rank(1) == 1


def test_empty_sides_are_refused():
    with pytest.raises(DataError, match=r"2 queries and 0 gallery"):
        score(line([0, 1], [1, 1], [1, 2], queries=2), NO_QUERY)
    with pytest.raises(DataError, match="0 queries and 2 gallery"):
        score(line([0, 1], [1, 1], [1, 2], queries=0), NO_QUERY)


def test_non_finite_features_are_refused_by_name():
    with pytest.raises(DataError, match=r"1 of 3 embeddings are not finite.*: row 1"):
        line([0, float("nan"), 1], [1, 2, 1], [1, 1, 2])


def test_lengths_that_differ_are_refused():
    with pytest.raises(DataError, match="'camids': 2"):
        Embeddings(
            features=np.zeros((3, 2), np.float32),
            pids=np.zeros(3, np.int64),
            camids=np.zeros(2, np.int64),
            is_query=np.zeros(3, bool),
        )


def test_distances_equal_scipy():
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(0)
    a, b = rng.normal(5, 1, (7, 16)).astype(np.float32), rng.normal(5, 1, (9, 16)).astype(np.float32)
    for name in ("euclidean", "cosine"):
        assert np.allclose(distance_matrix(a, b, distance=name), cdist(a, b, name), atol=1e-5)


def test_zero_vector_has_no_cosine():
    zero = np.zeros((1, 4), np.float32)
    with pytest.raises(DataError, match="zero vectors"):
        distance_matrix(zero, zero, distance="cosine")


def test_ranked_list_agrees_with_the_scores():
    e = embeddings(3)
    found = score(e, NO_QUERY)
    first = []
    for q in np.flatnonzero(e.is_query):
        answers = ranked_list(e, NO_QUERY, int(q), k=len(e))
        assert (np.diff(answers.distances) >= 0).all()
        assert not e.is_query[answers.rows].any()
        assert (e.pids[answers.rows] != -1).all()
        if answers.correct.any():
            first.append(np.flatnonzero(answers.correct)[0] == 0)
    assert np.mean(first) == pytest.approx(found.rank(1))


def test_unknown_protocol_lists_the_known():
    with pytest.raises(ConfigError, match="mars-official, mars-full"):
        protocol_named("mars")
