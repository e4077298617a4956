from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from intraclip.errors import DataError
from intraclip.metrics.distance_matrix import distance_matrix
from intraclip.metrics.rerank import RERANKED, rerank


def people(seed: int, *, n: int, size: int = 4, count: int = 8, noise: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, size))
    return (centres[rng.integers(count, size=n)] + rng.normal(0, noise, (n, size))).astype(np.float32)


def dense(d: np.ndarray, queries: int, *, k1: int, k2: int, weight: float) -> np.ndarray:
    """The equations of the paper, word by word, on all distances d of queries and then gallery."""
    n = len(d)
    d = d / d.max()
    ranks = [sorted(range(n), key=lambda g, p=p: (g != p, d[p, g], g)) for p in range(n)]

    def nearest(p: int, k: int) -> list[int]:
        return ranks[p][: k + 1]

    def reciprocal(p: int, k: int) -> set[int]:  # Eq. 3
        return {g for g in nearest(p, k) if p in nearest(g, k)}

    def robust(p: int) -> set[int]:  # Eq. 5
        own = reciprocal(p, k1)
        found = set(own)
        for q in own:
            candidates = reciprocal(q, round(k1 / 2))
            if len(own & candidates) >= 2 / 3 * len(candidates) - 1e-9:
                found |= candidates
        return found

    encoded = np.zeros((n, n))
    for p in range(n):
        for g in robust(p):
            encoded[p, g] = np.exp(-d[p, g])  # Eq. 7
    encoded = np.stack([encoded[ranks[p][:k2]].mean(axis=0) for p in range(n)])  # Eq. 11
    result = np.zeros((queries, n - queries))
    for p in range(queries):
        for g in range(queries, n):
            smaller = np.minimum(encoded[p], encoded[g]).sum()  # Eq. 10
            larger = np.maximum(encoded[p], encoded[g]).sum()
            result[p, g - queries] = (1 - weight) * (1 - smaller / larger) + weight * d[p, g]  # Eq. 12
    return result


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(4, 40),
    k1=st.sampled_from([1, 3, 5, 8, 20]),
    k2=st.sampled_from([1, 2, 4, 6]),
    weight=st.sampled_from([0.0, 0.3, 0.7]),
    distance=st.sampled_from(["euclidean", "cosine"]),
)
def test_agrees_with_the_equations_written_out(seed, n, k1, k2, weight, distance) -> None:
    features = people(seed, n=n)
    queries = max(1, n // 4)
    wide = cdist(features.astype(float), features.astype(float), distance)
    expected = dense(
        wide**2 if distance == "euclidean" else np.maximum(wide, 0), queries, k1=k1, k2=k2, weight=weight
    )
    found = rerank(
        features,
        np.arange(queries),
        np.arange(queries, n),
        distance=distance,
        k1=k1,
        k2=k2,
        weight=weight,
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_weight_one_gives_back_the_plain_distance(distance) -> None:
    features = people(1, n=60)
    query, gallery = np.arange(20), np.arange(20, 60)
    plain = distance_matrix(features[query], features[gallery], distance=distance)
    found = rerank(features, query, gallery, distance=distance, weight=1)
    largest = distance_matrix(features, features, distance=distance).max()
    np.testing.assert_allclose(
        np.sqrt(found) * largest if distance == "euclidean" else found * largest, plain, rtol=1e-5
    )


def test_label_says_what_it_is() -> None:
    assert RERANKED == "k-reciprocal re-ranked (k1=20, k2=6, lambda=0.3)"


def test_common_neighbours_bring_a_far_match_forward() -> None:
    # One person from -1 to 1 with the query at the right end; another one from 2.4 on, keeping to themselves.
    person, stranger = np.linspace(1, -1, 9), np.linspace(2.4, 3.4, 9)
    features = np.concatenate([person, stranger]).astype(np.float32)[:, None]
    far_match, near_stranger = 8 - 1, 9 - 1  # places in the gallery
    plain = distance_matrix(features[:1], features[1:], distance="euclidean")[0]
    assert plain[near_stranger] < plain[far_match]
    found = rerank(features, np.array([0]), np.arange(1, 18), k1=8, k2=3)[0]
    assert found[far_match] < found[near_stranger]


def test_block_sizes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.round(3 * people(3, n=80)).astype(np.float32)  # whole numbers: many ties, no rounding
    query, gallery = np.arange(25), np.arange(25, 80)
    one = rerank(features, query, gallery)
    for block in (1, 13):
        monkeypatch.setattr("intraclip.metrics.rerank.BLOCK", block)
        np.testing.assert_array_equal(rerank(features, query, gallery), one)


def test_scaling_all_features_changes_nothing() -> None:
    features = people(4, n=50)
    query, gallery = np.arange(10), np.arange(10, 50)
    one, large = rerank(features, query, gallery), rerank(16 * features, query, gallery)
    np.testing.assert_allclose(one, large, atol=1e-6)


def test_a_query_that_is_searched_too_is_one_tracklet() -> None:
    features = people(5, n=40)
    apart = rerank(features, np.arange(10), np.arange(10, 40))
    both = rerank(features, np.arange(10), np.arange(40))
    np.testing.assert_allclose(both[:, 10:], apart, atol=1e-6)
    np.testing.assert_allclose(np.diag(both), 0, atol=1e-6)


def test_order_of_queries_and_gallery_is_kept() -> None:
    features = people(6, n=40)
    one = rerank(features, np.arange(10), np.arange(10, 40))
    turned = rerank(features, np.arange(10)[::-1], np.arange(10, 40)[::-1])
    np.testing.assert_array_equal(turned, one[::-1, ::-1])


def test_everybody_in_one_point() -> None:
    features = np.ones((30, 3), dtype=np.float32)
    found = rerank(features, np.arange(5), np.arange(5, 30))
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_one_query_and_one_tracklet() -> None:
    features = np.array([[0.0], [1.0]], dtype=np.float32)
    found = rerank(features, np.array([0]), np.array([1]))
    # Both know only each other; averaged encodings are equal, what stays is the plain part.
    np.testing.assert_allclose(found, [[0.3]], atol=1e-6)


def test_wrong_arguments_are_refused() -> None:
    features = people(8, n=10)
    rows = np.arange(5)
    for wrong in ({"k1": 0}, {"k2": 0}, {"weight": 1.5}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
            rerank(features, rows, rows + 5, **wrong)
    with pytest.raises(DataError, match=r"10 features .* got 5 and 5 of them, from 0 to 10"):
        rerank(features, rows, rows + 6)
    with pytest.raises(DataError, match="got 0 and 5"):
        rerank(features, rows[:0], rows)
    with pytest.raises(DataError, match="zero vectors"):
        rerank(np.zeros_like(features), rows, rows + 5, distance="cosine")


def test_three_thousand_by_three_thousand_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intraclip.metrics.rerank.BLOCK", 128)
    features = people(9, n=6000, size=16, count=600)
    query, gallery = np.arange(3000), np.arange(3000, 6000)
    tracemalloc.start()
    found = rerank(features, query, gallery)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    result = found.nbytes
    assert result == 36_000_000
    # All distances of all 6,000 tracklets would take 144 MB in float32, and re-ranking them densely several times that.
    assert peak - result < 80_000_000, f"{peak / 1e6:.0f} MB"
