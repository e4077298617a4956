from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intraclip.errors import DataError, DeviceError
from intraclip.metrics import blocks
from intraclip.metrics.blocks import block_shape, count_not_above, count_not_farther
from intraclip.metrics.distance import check_features, paired_distances
from intraclip.metrics.distance_matrix import distance_matrix

KINDS = ("normal", "lattice", "copies", "offset", "huge", "tiny", "outlier", "one point", "parallel")


def features_of(kind: str, n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Features whose distances tie, cancel, or leave the comfortable range of float32."""
    x = rng.normal(size=(n, size))
    match kind:
        case "lattice":
            x = np.round(x)
            x[:, 0] += 10  # no zero vectors, for cosine
        case "copies":
            x = x[rng.integers(0, max(1, n // 5), size=n)]
        case "offset":
            x = 1000 + 1e-3 * x
        case "huge":
            x *= 1e30
        case "tiny":
            x *= 1e-38
        case "outlier":
            x[0] *= 1e6
        case "one point":
            x = np.full_like(x, 0.1)
        case "parallel":
            x = np.outer(rng.integers(1, 9, size=n), x[0])
    return x.astype(np.float32)


def every_pair(features, query, gallery, distance):
    rows, columns = np.divmod(np.arange(len(query) * len(gallery)), len(gallery))
    found = paired_distances(
        features, features, rows=query[rows], columns=gallery[columns], distance=distance
    )
    return found.reshape(len(query), len(gallery))


def problem(kind, n, size, distance, seed):
    """A search, thresholds that are distances of it (so that they tie with them), and the counts they must give."""
    rng = np.random.default_rng(seed)
    features = features_of(kind, n, size, rng)
    order = rng.permutation(n)
    query, gallery = order[: max(1, n // 4)], order[n // 8 :]
    truth = every_pair(features, query, gallery, distance)
    left_out = rng.random(truth.shape) < 0.1
    numbers = rng.integers(0, 5, size=len(query))
    thresholds = [np.sort(rng.choice(row, size=k)) for row, k in zip(truth, numbers, strict=True)]
    expected = [
        int(((row <= t) & ~out).sum())
        for row, out, own in zip(truth, left_out, thresholds, strict=True)
        for t in own
    ]
    rows, columns = np.nonzero(left_out)
    search = {
        "query": query,
        "gallery": gallery,
        "distance": distance,
        "thresholds": np.concatenate(thresholds).astype(np.float32),
        "starts": np.concatenate(([0], np.cumsum(numbers))),
        "left_out": (rows, columns),
    }
    return features, search, np.array(expected, dtype=np.int64)


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(2, 60),
    size=st.sampled_from([1, 2, 7, 255, 600]),
    distance=st.sampled_from(["euclidean", "cosine"]),
    seed=st.integers(0, 10_000),
    max_bytes=st.sampled_from([1, 5_000, 50_000, blocks.MAX_BYTES]),
    device=st.sampled_from([None, "cpu"]),
)
def test_counts_are_exact_whatever_the_block_the_side_and_the_numbers(
    kind, n, size, distance, seed, max_bytes, device
):
    features, search, expected = problem(kind, n, size, distance, seed)
    check_features(features, name="test", distance=distance)
    found = count_not_farther(features, **search, max_bytes=max_bytes, device=device)
    assert found.tolist() == expected.tolist()


def test_counts_are_exact_where_a_plain_float32_product_is_not():
    rng = np.random.default_rng(0)
    # Galleries packed so densely that float32 products order many pairs wrongly.
    features = (5 + 1e-2 * rng.normal(size=(3000, 64))).astype(np.float32)
    query, gallery = np.arange(20), np.arange(20, 3000)
    truth = every_pair(features, query, gallery, "euclidean")
    thresholds = np.sort(truth[:, ::300], axis=1)
    squares = (features**2).sum(axis=1)
    product = squares[query, None] + squares[gallery] - 2 * features[query] @ features[gallery].T
    plain = np.sqrt(np.maximum(product, 0))
    expected = (truth[:, None] <= thresholds[..., None]).sum(axis=2)
    assert ((plain[:, None] <= thresholds[..., None]).sum(axis=2) != expected).any()
    nothing = np.empty(0, dtype=np.int64)
    found = count_not_farther(
        features,
        query=query,
        gallery=gallery,
        distance="euclidean",
        thresholds=thresholds.ravel(),
        starts=np.arange(21) * thresholds.shape[1],
        left_out=(nothing, nothing),
    )
    assert (found.reshape(expected.shape) == expected).all()


@pytest.mark.parametrize("size", [3, 64, 700, 2048])
def test_the_bound_holds_with_room_to_spare_against_float64(size):
    rng = np.random.default_rng(size)
    # All of one sign, where rounding adds up the most.
    features = np.abs(rng.normal(size=(300, size))).astype(np.float32)
    frame = blocks._Frame(centre=np.zeros(size, np.float32), scale=1.0, distance="euclidean")
    everything = np.arange(len(features))
    prepared, squares = frame.prepare(features, everything)
    side = blocks._NumpySide()
    side.load(prepared, squares)
    distances = distance_matrix(features, features, distance="euclidean")
    for query in range(5):
        low, high = frame.bounds(distances[query], np.full(300, squares[query]), float(squares.max()))
        q, g = prepared[query].astype(float), prepared.astype(float)
        true = squares / 2 - g @ q
        room = (high.astype(float) - low) / 2
        assert (np.abs((low.astype(float) + high) / 2 - true) < room / 4).all()
        nothing = everything[:0]
        one, own = prepared[query : query + 1], np.zeros(2, np.int64)
        assert side.count(one, low[:0], high[:0], own, (nothing, nothing))[0].size == 0
        product = (squares / 2).astype(np.float32) - sum(
            prepared[:, k : k + 256] @ prepared[query, k : k + 256] for k in range(0, size, 256)
        )
        assert (np.abs(product - true) < room / 2).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    values=st.integers(0, 40),
    thresholds=st.one_of(st.integers(0, 10), st.just(blocks.FEW + 5)),
    room=st.sampled_from([40, 130, 5000]),
)
def test_few_and_many_thresholds_are_counted_alike(seed, values, thresholds, room):
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 20, size=values).astype(np.float32)
    levels = np.sort(rng.integers(0, 20, size=thresholds)).astype(np.float32)
    found = count_not_above(numbers, levels, flags=np.empty(room, dtype=bool))
    assert found.tolist() == [(numbers <= level).sum() for level in levels]


@settings(max_examples=60, deadline=None)
@given(
    queries=st.integers(1, 10_000),
    gallery=st.integers(1, 10**6),
    size=st.integers(1, 4096),
    max_bytes=st.integers(2**20, 2**30),
)
def test_blocks_keep_to_their_memory(queries, gallery, size, max_bytes):
    rows, columns = block_shape(queries, gallery, size, max_bytes=max_bytes, cell_bytes=8)
    assert 1 <= rows <= queries
    assert 1 <= columns <= gallery
    assert 4 * size * (rows + columns) + 8 * rows * columns <= max_bytes


def test_memory_measured_stays_near_its_setting():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6_400, 100)).astype(np.float32)
    nothing = np.empty(0, dtype=np.int64)
    tracemalloc.start()
    count_not_farther(
        features,
        query=np.arange(400),
        gallery=np.arange(400, 6_400),
        distance="euclidean",
        thresholds=np.full(400, 14, np.float32),
        starts=np.arange(401),
        left_out=(nothing, nothing),
        max_bytes=2**20,
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20  # room to widen in comes on top; the whole matrix would take 9 MiB


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    distance=st.sampled_from(["euclidean", "cosine"]),
    size=st.sampled_from([1, 3, 64, 300]),
    seed=st.integers(0, 1000),
)
def test_a_pair_has_one_distance_in_any_company(kind, distance, size, seed):
    rng = np.random.default_rng(seed)
    features = features_of(kind, 30, size, rng)
    rows, columns = rng.integers(0, 30, size=(2, 1000))
    together = paired_distances(features, features, rows=rows, columns=columns, distance=distance)
    for pair in rng.integers(0, 1000, size=5):
        alone = paired_distances(
            features[rows[pair]][None],
            features[columns[pair]][None],
            rows=np.zeros(1, np.int64),
            columns=np.zeros(1, np.int64),
            distance=distance,
        )
        assert alone[0] == together[pair]
    same = (features[rows] == features[columns]).all(axis=1)
    assert (together[same] == 0).all()
    matrix = distance_matrix(features, features, distance=distance)[rows, columns]
    assert (np.abs(matrix - together) <= np.spacing(together)).all()


def test_features_without_distances_are_refused():
    fine = np.ones((2, 4), dtype=np.float32)
    for bad, message in (
        (np.full((2, 4), 3e38, np.float32), "do not fit float32"),
        (np.array([[1, np.nan], [1, 1]], np.float32), "1 query features are not finite"),
        (np.ones(4, np.float32), r"want the shape \[N, D\]"),
    ):
        with pytest.raises(DataError, match=message):
            check_features(bad, name="query", distance="euclidean")
    with pytest.raises(DataError, match="not one of euclidean, cosine"):
        check_features(fine, name="query", distance="manhattan")  # type: ignore[arg-type]
    zero = np.array([[0, 0], [1, 1]], np.float32)
    check_features(zero, name="query", distance="cosine", rows=np.array([1]))


def test_a_device_that_is_not_there_is_said():
    features, search, _ = problem("normal", 20, 4, "euclidean", 0)
    with pytest.raises(DeviceError, match="'nowhere' cannot be used"):
        count_not_farther(features, **search, device="nowhere")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_a_program_that_allows_less_than_float32_keeps_its_setting_and_gets_exact_counts(device):
    features, search, expected = problem("offset", 60, 64, "euclidean", 0)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert count_not_farther(features, **search, device=device).tolist() == expected.tolist()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.cuda
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_counts_on_a_gpu_are_those_of_the_cpu(kind, distance):
    features, search, expected = problem(kind, 3000, 600, distance, 0)
    assert count_not_farther(features, **search, device="cuda").tolist() == expected.tolist()
