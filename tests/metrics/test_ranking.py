from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from intraclip.errors import ConfigError, DataError
from intraclip.metrics import given_distances
from intraclip.metrics.counting import average_precision
from intraclip.metrics.distance_matrix import distance_matrix
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.given_distances import score_distances
from intraclip.metrics.protocols import PROTOCOLS, Protocol, protocol_named
from intraclip.metrics.ranked_lists import ranked_list
from intraclip.metrics.ranking import score
from intraclip.metrics.scores import Scores

FULL, NO_QUERY, OFFICIAL = (PROTOCOLS[name] for name in ("mars-full", "mars-no-query", "mars-official"))


def match_ranks(distances: np.ndarray, *, matches: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """Ranks of the right answers of one query, counted from 1, by sorting everything; ties go to the wrong ones."""
    order = np.lexsort((matches, distances))
    return np.flatnonzero(matches[order[~excluded[order]]]) + 1


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
    """CMC, AP and INP by walking down each sorted list, as the definitions say; wrong answers first in a tie.

    Distances tie when they are equal as float32 numbers. (Rounding to decimals would make ties where there are none.)
    """
    first, aps, inps, skipped = [], [], [], 0
    for q in np.flatnonzero(e.is_query):
        answers = []
        for g in range(len(e)):
            if e.pids[g] == -1 or (e.is_query[g] and not protocol.queries_in_gallery):
                continue
            if e.pids[g] == e.pids[q] and e.camids[g] == e.camids[q]:
                continue
            distance = float(np.sqrt(((e.features[q].astype(float) - e.features[g]) ** 2).sum()))
            answers.append((float(np.float32(distance)), bool(e.pids[g] == e.pids[q])))
        answers.sort()
        matches = sum(right for _, right in answers) if e.pids[q] > 0 else 0  # nobody has no right answer
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


@pytest.mark.parametrize("rank", [0, -1, 51, 1.5])
def test_ranks_that_the_curve_does_not_have_are_refused(rank):
    found = score(line([0, 0.1], [1, 1], [1, 2]), NO_QUERY)
    with pytest.raises(ConfigError, match=rf"there is no rank-{rank}: the CMC curve has the ranks 1 to 50"):
        found.rank(rank)


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
    with pytest.raises(DataError, match=r"camids \[2\]"):
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


def assert_same(a: Scores, b: Scores) -> None:
    """Equal to the last bit, query by query."""
    assert (a.queries, a.queries_without_match, a.gallery) == (b.queries, b.queries_without_match, b.gallery)
    assert a.outcomes.first_hits.tolist() == b.outcomes.first_hits.tolist()
    assert a.outcomes.average_precisions.tolist() == b.outcomes.average_precisions.tolist()
    assert (a.mAP, a.mINP, a.cmc.tolist()) == (b.mAP, b.mINP, b.cmc.tolist())


def matrix_of(e: Embeddings) -> dict[str, np.ndarray]:
    """What `score_distances` wants, for the embeddings' queries in all of them, junk included."""
    query = np.flatnonzero(e.is_query)
    return {
        "distances": distance_matrix(e.features[query], e.features, distance="euclidean"),
        "query_pids": e.pids[query],
        "query_camids": e.camids[query],
        "gallery_pids": e.pids,
        "gallery_camids": e.camids,
    }


def random_matrix(seed: int, *, queries: int = 12, gallery: int = 70, levels: int | None = None) -> dict:
    """Distances and ids; a few levels make many ties. Query 0 has a right answer."""
    rng = np.random.default_rng(seed)
    distances = rng.random((queries, gallery))
    if levels is not None:
        distances = np.floor(distances * levels)
    given_ = {
        "distances": distances.astype(np.float32),
        "query_pids": rng.choice([-1, 0, 1, 2, 3], size=queries),
        "query_camids": rng.integers(1, 4, size=queries),
        "gallery_pids": rng.choice([-1, 0, 1, 2, 3], size=gallery),
        "gallery_camids": rng.integers(1, 4, size=gallery),
    }
    given_["query_pids"][0] = given_["gallery_pids"][0] = 1
    given_["query_camids"][0], given_["gallery_camids"][0] = 1, 2
    return given_


EXAMPLES = settings(max_examples=50, deadline=None)
SEEDS = st.integers(0, 10_000)
RULES = st.sampled_from(["rectangular", "trapezoidal"])
LEVELS = st.sampled_from([None, 1, 4, 30])


@EXAMPLES
@given(seed=SEEDS, levels=LEVELS, rule=RULES, gallery=st.sampled_from([1, 3, 19, 70]))
def test_a_matrix_is_scored_like_query_by_query(seed, levels, rule, gallery):
    m = random_matrix(seed, levels=levels, gallery=gallery)
    found = score_distances(**m, rule=rule)
    aps, first, inps = [], [], []
    for row, pid, camid in zip(m["distances"], m["query_pids"], m["query_camids"], strict=True):
        matches = (m["gallery_pids"] == pid) & (pid > 0)
        own = matches & (m["gallery_camids"] == camid)
        ranks = match_ranks(row, matches=matches, excluded=own | (m["gallery_pids"] == -1))
        if len(ranks):
            aps.append(average_precision(ranks, rule=rule))
            first.append(ranks[0])
            inps.append(len(ranks) / ranks[-1])
    assert found.outcomes.first_hits.tolist() == first
    assert found.outcomes.average_precisions == pytest.approx(aps, abs=1e-12)
    assert found.mINP == pytest.approx(np.mean(inps), abs=1e-12)
    assert found.queries_without_match == len(m["query_pids"]) - len(first)


@EXAMPLES
@given(seed=SEEDS, levels=LEVELS, rule=RULES)
def test_the_order_of_the_gallery_does_not_matter(seed, levels, rule):
    m = random_matrix(seed, levels=levels)
    order = np.random.default_rng(seed).permutation(len(m["gallery_pids"]))
    other = dict(m, distances=m["distances"][:, order])
    other |= {name: m[name][order] for name in ("gallery_pids", "gallery_camids")}
    assert_same(score_distances(**m, rule=rule), score_distances(**other, rule=rule))


@EXAMPLES
@given(seed=SEEDS, levels=LEVELS, rule=RULES, dtype=st.sampled_from([np.float16, np.float32, np.float64]))
def test_only_the_order_of_distances_matters(seed, levels, rule, dtype):
    m = random_matrix(seed, levels=levels)
    place = np.unique(m["distances"], return_inverse=True)[1].reshape(m["distances"].shape)
    expected = score_distances(**m, rule=rule)
    for other in (place - 50, np.sqrt(place), -1 / (place + 1.0)):
        assert_same(expected, score_distances(**dict(m, distances=other.astype(dtype)), rule=rule))


@EXAMPLES
@given(
    seed=SEEDS,
    grid=st.sampled_from([None, 1, 2]),
    protocol=st.sampled_from([FULL, NO_QUERY, OFFICIAL]),
    distance=st.sampled_from(["euclidean", "cosine"]),
    max_bytes=st.sampled_from([1, 100, 700, 3000]),
    device=st.sampled_from([None, "cpu"]),
)
def test_neither_blocks_nor_the_device_change_a_score(seed, grid, protocol, distance, max_bytes, device):
    e = embeddings(seed, grid=grid)
    if distance == "cosine":
        e.features[(e.features == 0).all(axis=1)] = 1
    try:
        expected = score(e, protocol, distance=distance)
    except DataError:
        return
    assert_same(expected, score(e, protocol, distance=distance, max_bytes=max_bytes, device=device))


@EXAMPLES
@given(seed=SEEDS, grid=st.sampled_from([None, 1, 2]), rule=RULES)
def test_features_and_their_matrix_score_alike_junk_or_no_junk(seed, grid, rule):
    e = embeddings(seed, grid=grid)
    protocol = OFFICIAL if rule == "trapezoidal" else FULL
    try:
        expected = score(e, protocol)
    except DataError:
        return
    found = score_distances(**matrix_of(e), rule=rule)
    assert_same(expected, found)
    assert (found.protocol, found.distance) == ("given distances", "given")


def test_a_pid_with_more_matches_than_are_compared_one_by_one():
    rng = np.random.default_rng(0)
    n = 400
    e = Embeddings(
        features=np.round(4 * rng.normal(size=(n, 3))).astype(np.float32),
        pids=rng.integers(1, 3, size=n),
        camids=rng.integers(1, 4, size=n),
        is_query=np.arange(n) < 10,
    )
    found = score(e, FULL)
    for key, value in brute_force(e, FULL).items():
        assert found.to_json_dict()[key] == pytest.approx(value, abs=1e-9), key
    assert_same(found, score(e, FULL, max_bytes=1))
    assert_same(found, score(e, FULL, device="cpu"))
    assert_same(found, score_distances(**matrix_of(e)))


@pytest.mark.parametrize("tile", [1, 7, 70])
def test_rows_longer_than_a_tile(monkeypatch, tile):
    m = random_matrix(1, levels=30)
    expected = score_distances(**m)
    monkeypatch.setattr(given_distances, "_TILE", tile)
    assert_same(expected, score_distances(**m))


def test_a_matrix_in_any_layout_is_left_as_it_is():
    m = random_matrix(2)
    expected = score_distances(**m)
    before = m["distances"].copy()
    wide = np.zeros((24, 140), np.float32)
    wide[::2, ::2] = m["distances"]
    for other in (m["distances"], np.asfortranarray(m["distances"]), wide[::2, ::2]):
        other.flags.writeable = False
        assert_same(expected, score_distances(**dict(m, distances=other)))
    assert (m["distances"] == before).all()


@pytest.mark.parametrize("name", ["query_pids", "query_camids", "gallery_pids", "gallery_camids"])
def test_one_id_a_frame_is_refused(name):
    m = random_matrix(3)
    with pytest.raises(DataError, match=rf"{name} has the shape .*\(not one a frame\)"):
        score_distances(**dict(m, **{name: np.repeat(m[name], 4)}))
    with pytest.raises(DataError, match=f"{name} must be integers"):
        score_distances(**dict(m, **{name: m[name].astype(float)}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_distance_that_is_not_finite_is_refused_by_place(value, dtype):
    m = random_matrix(4)
    for column in (0, 5, 69):
        bad = m["distances"].astype(dtype)
        bad[3, column] = value
        with pytest.raises(DataError, match=f"query 3 to gallery item {column} is"):
            score_distances(**dict(m, distances=bad))


def test_matrices_that_are_none_are_refused():
    m = random_matrix(5)
    empty = {name: m[name][:0] for name in ("gallery_pids", "gallery_camids")}
    with pytest.raises(DataError, match=r"at least one query and one gallery item, not float32 \(12, 0\)"):
        score_distances(**dict(m, distances=m["distances"][:, :0], **empty))
    with pytest.raises(DataError, match=r"floating \[Q, G\].*int64"):
        score_distances(**dict(m, distances=np.zeros(m["distances"].shape, np.int64)))
    with pytest.raises(DataError, match=r"not float32 \(70,\)"):
        score_distances(**dict(m, distances=m["distances"][0]))
    with pytest.raises(DataError, match="rule 'median'"):
        score_distances(**m, rule="median")
    with pytest.raises(DataError, match="none of the 12 queries"):
        score_distances(**dict(m, query_pids=np.full(12, 7)))


def test_near_ties_are_decided_by_the_distance_itself():
    #  Two gallery items that a float32 product of these features cannot tell apart, the right one nearer.
    features = np.array([[3000, 1], [3000, 1.0001], [3000, 1.0002]], dtype=np.float32)
    for pids, rank in (([1, 1, 2], 1), ([1, 2, 1], 2)):
        e = Embeddings(
            features=features,
            pids=np.array(pids),
            camids=np.array([1, 2, 2]),
            is_query=np.array([True, False, False]),
        )
        assert score(e, NO_QUERY).outcomes.first_hits.tolist() == [rank]


def test_queries_that_are_nobody_match_nobody():
    """Two unlabelled tracklets, or two distractors, are not one person for sharing a pid."""
    for nobody in (-2, -1, 0):
        e = line([0, 1, 0.1, 1.1], [nobody, 1, nobody, 1], [1, 1, 2, 2], queries=2)
        found = score(e, NO_QUERY)
        assert (found.queries, found.queries_without_match) == (1, 1)
        assert not ranked_list(e, NO_QUERY, 0, k=5).correct.any()
    with pytest.raises(DataError, match="none of the 1 queries"):
        score(line([0, 0.1], [-2, -2], [1, 2]), NO_QUERY)
