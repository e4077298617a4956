"""Numbers of logs are read, and traced to the way of counting that made them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from intraclip.metrics.counting import Counting, OwnCamera, Ties, count, ways_to_count
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.given_distances import score_distances
from intraclip.metrics.printed import printed_scores, trace
from intraclip.metrics.protocols import PROTOCOLS
from intraclip.metrics.ranking import score, searched
from intraclip.metrics.rerank import rerank

FULL, NO_QUERY, OFFICIAL = (PROTOCOLS[name] for name in ("mars-full", "mars-no-query", "mars-official"))


def embeddings(seed: int = 0, *, n: int = 160, grid: float | None = None) -> Embeddings:
    rng = np.random.default_rng(seed)
    pids = rng.choice([-1, 0, *range(1, 16)], size=n)
    features = 0.5 * rng.normal(size=(20, 6))[pids] + rng.normal(size=(n, 6))
    is_query = rng.random(n) < 0.3
    pids[np.flatnonzero(is_query)[:4]] = range(100, 104)  # nobody else is they
    return Embeddings(
        features=features if grid is None else np.round(features * grid),
        pids=pids,
        camids=rng.integers(1, 5, size=n),
        is_query=is_query,
    )


def by_hand(e: Embeddings, way: Counting) -> dict[str, float]:
    """Walking down each sorted list."""
    first, precisions = [], []
    for q in np.flatnonzero(e.is_query):
        if e.pids[q] <= 0 and not way.nobody:
            continue
        answers: list[tuple[float, float, bool]] = []
        for g in range(len(e)):
            if e.is_query[g] and not way.protocol.queries_in_gallery:
                continue
            right, own = e.pids[g] == e.pids[q], e.camids[g] == e.camids[q]
            if e.pids[g] == -1 and not way.junk and not (right and way.nobody):
                continue
            left_out = {
                "left out": right and own,
                "left in": False,
                "left in but itself": g == q,
                "whole camera left out": own,
            }[way.own_camera]
            if left_out:
                continue
            d = float(np.float32(np.sqrt(((e.features[q].astype(float) - e.features[g]) ** 2).sum())))
            answers.append(
                (d, {"against": float(right), "for": float(~right), "order": float(g)}[way.ties], bool(right))
            )
        ranks = [place for place, (*_, right) in enumerate(sorted(answers), start=1) if right]
        if ranks:
            hits = range(1, len(ranks) + 1)
            values = [h / r for h, r in zip(hits, ranks, strict=True)]
            if way.protocol.average_precision == "trapezoidal":
                old = [1.0 if r == 1 else (h - 1) / (r - 1) for h, r in zip(hits, ranks, strict=True)]
                values = [(a + b) / 2 for a, b in zip(values, old, strict=True)]
            first.append(ranks[0] == 1)
            precisions.append(np.mean(values))
        elif way.unmatched:
            first.append(False)
            precisions.append(0.0)
    return {"rank1": float(np.mean(first)), "mAP": float(np.mean(precisions))}


@pytest.mark.parametrize("protocol", [FULL, NO_QUERY, OFFICIAL], ids=lambda p: p.name)
@pytest.mark.parametrize("grid", [None, 1.0])
def test_each_way_counts_as_it_says(protocol: Any, grid: float | None):
    e = embeddings(grid=grid)
    plain = Counting(protocol=protocol, distance="euclidean")
    ways = [
        plain,
        *(
            replace(plain, own_camera=choice, junk=True, ties=ties)
            for choice in get_args(OwnCamera)
            for ties in get_args(Ties)
        ),
        replace(plain, nobody=True),
        replace(plain, nobody=True, junk=True, unmatched=True),
    ]  # fmt: skip
    for way, found in zip(ways, count(e, ways), strict=True):
        assert found.scores == pytest.approx(by_hand(e, way)), str(way)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("protocol", [FULL, NO_QUERY, OFFICIAL], ids=lambda p: p.name)
def test_without_departures_the_scores_are_those_of_score(distance: Any, protocol: Any):
    e = embeddings()
    plain = Counting(protocol=protocol, distance=distance)
    found, reranked = count(e, [plain, replace(plain, reranked=True)])
    expected = score(e, protocol, distance=distance)
    assert found.scores == pytest.approx({"rank1": expected.rank(1), "mAP": expected.mAP})
    assert np.array_equal(found.rows, expected.outcomes.rows)
    query, gallery = searched(e, protocol)
    again = score_distances(
        rerank(e.features, query, gallery, distance=distance),
        query_pids=e.pids[query],
        query_camids=e.camids[query],
        gallery_pids=e.pids[gallery],
        gallery_camids=e.camids[gallery],
        rule=protocol.average_precision,
    )
    assert reranked.scores == pytest.approx({"rank1": again.rank(1), "mAP": again.mAP})


def test_ways_that_change_nothing_are_left_out():
    e = embeddings()
    ways = ways_to_count(e, ties=False)
    assert len(set(map(str, ways))) == len(ways)
    assert {way.ties for way in ways} == {"against"}
    assert max(len(way.departures()) for way in ways) == 2
    people = replace(e, pids=np.maximum(e.pids, 1))
    assert not any(way.junk or way.nobody for way in ways_to_count(people, ties=False))
    features = e.features.copy()
    features[3] = 0
    assert {way.distance for way in ways_to_count(replace(e, features=features), ties=True)} == {"euclidean"}


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("Rank-1  : 87.1%\nRank-5 : 95.0%\nRank-10 : 97%\nmAP: 76.2%", [(0.871, 0.762)]),
        ("top1:87.1% top5:95.0% top10:97.1% mAP:76.2%", [(0.871, 0.762)]),
        ("Results ----------\nmAP: 0.762\nCMC curve\nRank-1  :0.871\n", [(0.871, 0.762)]),
        ("| Dataset | Rank-1 | Rank-5 | mAP |\n|---|---|---|---|\n| MARS | 87.10 | 95.0 | 76.21 |", [(0.871, 0.7621)]),
        ("| rank-1 | 87.1 |\n| mAP | 76.2 |", [(0.871, 0.762)]),
        ("epoch 1 rank1 50.0 mAP 40.0\nepoch 2 rank1 60.0 mAP 45.0", [(0.5, 0.4), (0.6, 0.45)]),
        (
            json.dumps({"rank1": 0.8712345, "cmc": [0.9], "mAP": 0.76, "intervals": {"rank1": {"low": 0.8}}}),
            [(0.8712345, 0.76)],
        ),
        ("mean AP: 76.2, R@1 = 87.1", [(0.871, 0.762)]),
    ],
)  # fmt: skip
def test_printed_numbers_are_read(text: str, pairs: list[tuple[float, float]]):
    found = [(one.scores["rank1"], one.scores["mAP"]) for one in printed_scores(text)]
    assert found == [pytest.approx(pair) for pair in pairs]


def test_text_without_scores_gives_none_and_a_long_log_its_end():
    assert printed_scores("Rank-10: 95.0, rank-1 curve follows, top15: 3, mAP@50: 3") == []
    long = "\n".join(f"epoch {i} rank1 {i}.5 mAP {i}.0" for i in range(2, 60))
    assert [one.line for one in printed_scores(long)] == list(range(39, 59))
    assert len(printed_scores("mAP 50.0 rank1 60.0\n" * 5)) == 1


WAYS = {
    "plain": {},
    "cosine": {"distance": "cosine"},
    "with the queries": {"protocol": FULL},
    "own camera": {"own_camera": "left in"},
    "junk and no match": {"junk": True, "unmatched": True},
    "the MATLAB rule, nobody": {"protocol": OFFICIAL, "nobody": True},
    "re-ranked": {"reranked": True},
}


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS.keys())
def test_printed_numbers_are_traced_to_the_way_that_made_them(changes: dict[str, Any]):
    e = embeddings(n=300)
    way = replace(Counting(protocol=NO_QUERY, distance="euclidean"), **changes)
    scores = count(e, [way])[0].scores
    text = f"Rank-1: {100 * scores['rank1']:.2f}% mAP: {100 * scores['mAP']:.2f}%"
    (found,) = trace(e, printed_scores(text), ties=False)
    assert found.ways == (way,)
    assert found.nearest == way
    assert found.to_json_dict()["given_by"][0]["departures"] == way.departures()


def test_numbers_of_another_file_are_given_by_no_way():
    (found,) = trace(embeddings(n=300), printed_scores("rank1 97.00% mAP 96.00%"), ties=False)
    assert found.ways == ()
    assert not found.printed.is_given_by(found.nearest_scores)
