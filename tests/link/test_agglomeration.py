"""Average linkage that never joins what must stay apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from intraclip.link.agglomeration import agglomerate

Matrix = np.ndarray


def symmetric(values: Matrix) -> Matrix:
    upper = np.triu(values, 1)
    return (upper + upper.T).astype(np.float32)


def random_scores(count: int, *, forbidden: float = 0.0, seed: int = 0) -> Matrix:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(count, count))
    scores[rng.random((count, count)) < forbidden] = -np.inf
    return symmetric(scores)


def greedy(scores: Matrix, level: float) -> list[set[int]]:
    """The plain way: join the best two groups while they score more than the level."""
    groups = [{i} for i in range(len(scores))]

    def mean(a: set[int], b: set[int]) -> float:
        return float(np.mean([scores[i, j].astype(np.float64) for i in a for j in b]))

    while len(groups) > 1:
        best, a, b = max(
            (mean(a, b), i, j) for (i, a), (j, b) in itertools.combinations(enumerate(groups), 2)
        )
        if not best > level:
            break
        groups[a] |= groups.pop(b)
    return groups


def groups_of(labels: Matrix) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == g).tolist()) for g in np.unique(labels)}


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for partition in partitions(rest):
        yield [[first], *partition]
        for i, group in enumerate(partition):
            yield [*partition[:i], [first, *group], *partition[i + 1 :]]


def total(scores: Matrix, groups: list[list[int]]) -> float:
    """Objective of correlation clustering: sum of the scores inside groups."""
    return float(sum(scores[i, j] for g in groups for i, j in itertools.combinations(g, 2)))


@pytest.mark.parametrize("forbidden", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_same_as_joining_the_best_pair_each_time(forbidden: float, seed: int):
    scores = random_scores(25, forbidden=forbidden, seed=seed)
    tree = agglomerate(scores.copy())
    for level in (-0.5, 0.0, 0.3):
        assert groups_of(tree.cut(level)) == {frozenset(g) for g in greedy(scores, level)}


@pytest.mark.parametrize("seed", range(5))
def test_without_constraints_it_is_scipys_average_linkage(seed: int):
    points = np.random.default_rng(seed).normal(size=(60, 3))
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    theirs = linkage(squareform(distances, checks=False), "average")
    tree = agglomerate((-distances).astype(np.float32))
    np.testing.assert_allclose(np.sort(-tree.scores), theirs[:, 2], rtol=1e-4)
    for height in (0.8, 1.2, 2.0):
        assert groups_of(tree.cut(-height)) == groups_of(fcluster(theirs, height, "distance"))


@pytest.mark.parametrize("seed", range(10))
def test_it_finds_the_optimum_where_people_are_distinct(seed: int):
    rng = np.random.default_rng(seed)
    people = rng.integers(0, 3, size=7)
    scores = symmetric(np.where(people[:, None] == people, 2.0, -2.0) + rng.uniform(-1.5, 1.5, size=(7, 7)))
    # Two tracklets of one person that cannot be: even so, nothing better exists.
    best = max(partitions(list(range(7))), key=lambda groups: total(scores, groups))
    assert groups_of(agglomerate(scores.copy()).cut(0.0)) == {frozenset(g) for g in best}


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 7), st.integers(0, 10_000), st.floats(0, 0.8))
def test_it_is_never_better_than_the_best_of_all_partitions_and_always_allowed(
    count: int, seed: int, forbidden: float
):
    scores = random_scores(count, forbidden=forbidden, seed=seed)
    found = [sorted(g) for g in groups_of(agglomerate(scores.copy()).cut(0.0))]
    best = max(total(scores, groups) for groups in partitions(list(range(count))))
    # A join needs a mean above 0, so its sum is above 0: never worse than everybody alone.
    assert 0 <= total(scores, found) <= best + 1e-5


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 30),
    st.integers(0, 10_000),
    st.floats(0, 1),
    st.sampled_from([-np.inf, -1.0, 0.0, 1.0]),
    st.booleans(),
)
def test_forbidden_pairs_are_never_together(
    count: int, seed: int, forbidden: float, level: float, ties: bool
):
    scores = random_scores(count, forbidden=forbidden, seed=seed)
    if ties:
        scores = np.where(np.isneginf(scores), scores, np.round(scores)).astype(np.float32)
    labels = agglomerate(scores.copy()).cut(level)
    together = (labels[:, None] == labels) & ~np.eye(count, dtype=bool)
    assert not (together & np.isneginf(scores)).any()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(0, 10_000), st.floats(0, 0.5))
def test_every_cut_is_coarser_than_the_one_above_and_lies_side_by_side(
    count: int, seed: int, forbidden: float
):
    tree = agglomerate(random_scores(count, forbidden=forbidden, seed=seed))
    order = tree.order()
    assert sorted(order.tolist()) == list(range(count))
    above = np.arange(count)
    for level in (1.0, 0.5, 0.0, -0.5, -np.inf):
        labels = tree.cut(level)
        for group in np.unique(above):
            assert len(np.unique(labels[above == group])) == 1
        assert int((np.diff(labels[order]) != 0).sum()) + 1 == len(np.unique(labels))
        above = labels


def test_ties_go_to_the_lower_rows_and_end():
    scores = np.ones((6, 6), dtype=np.float32)
    assert len(np.unique(agglomerate(scores.copy()).cut(0.5))) == 1
    # A ring of equal scores around it.
    ring = np.full((6, 6), -np.inf, dtype=np.float32)
    for i in range(6):
        ring[i, (i + 1) % 6] = ring[(i + 1) % 6, i] = 1.0
    first = agglomerate(ring.copy()).cut(0.0)
    assert groups_of(first) == {frozenset({0, 1}), frozenset({2, 3}), frozenset({4, 5})}
    np.testing.assert_array_equal(first, agglomerate(ring.copy()).cut(0.0))


def test_a_transitive_match_through_a_forbidden_pair_is_not_made():
    scores = np.array([[0, 3, -np.inf], [3, 0, 2], [-np.inf, 2, 0]], dtype=np.float32)
    assert groups_of(agglomerate(scores).cut(0.0)) == {frozenset({0, 1}), frozenset({2})}


def test_nothing_and_one_item():
    assert len(agglomerate(np.zeros((0, 0), dtype=np.float32)).cut(0.0)) == 0
    assert agglomerate(np.zeros((1, 1), dtype=np.float32)).cut(0.0).tolist() == [0]


def test_impossible_scores_are_refused():
    with pytest.raises(ValueError, match=r"\[N, N\]"):
        agglomerate(np.zeros((2, 3), dtype=np.float32))
    for bad in (np.nan, np.inf):
        scores = np.zeros((3, 3), dtype=np.float32)
        scores[0, 1] = scores[1, 0] = bad
        with pytest.raises(ValueError, match="NaN or plus infinity"):
            agglomerate(scores)
