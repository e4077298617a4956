from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from counting import lines_of_python
from intraclip.errors import DataError
from intraclip.metrics import uncertainty
from intraclip.metrics.paired import paired, paired_values
from intraclip.metrics.scores import Outcomes
from intraclip.metrics.uncertainty import intervals


def made(precisions: npt.ArrayLike, first_hits: npt.ArrayLike | None = None) -> Outcomes:
    values = np.asarray(precisions, dtype=np.float64)
    hits = np.ones(len(values), dtype=np.int64) if first_hits is None else np.asarray(first_hits)
    return Outcomes(
        rows=np.arange(len(values)),
        first_hits=hits,
        average_precisions=values,
        inverse_negative_penalties=values / 2,
    )


def test_values_are_the_scores() -> None:
    found = intervals(made([0.2, 0.4, 0.9], [1, 5, 21]), np.array([1, 1, 2]), seed=0)
    values = {name: interval.value for name, interval in found.scores.items()}
    assert values == pytest.approx(
        {"rank1": 1 / 3, "rank5": 2 / 3, "rank10": 2 / 3, "rank20": 2 / 3, "mAP": 0.5, "mINP": 0.25}
    )
    assert (found.people, found.queries) == (2, 3)
    assert found.to_json_dict()["scores"]["mAP"]["value"] == pytest.approx(0.5)


def test_interval_covers_the_true_mean_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncertainty, "RESAMPLES", 400)
    rng = np.random.default_rng(0)
    for people, queries in ((10, 3), (60, 2)):
        held = 0
        for repetition in range(300):
            level = rng.beta(2, 2, people)  # persons are easy or hard, mean 0.5
            share = np.clip(np.repeat(level, queries) + rng.uniform(-0.05, 0.05, people * queries), 0, 1)
            pids = np.repeat(np.arange(people), queries)
            found = intervals(made(share), pids, seed=repetition).scores["mAP"]
            held += found.low <= 0.5 <= found.high
        assert 0.91 <= held / 300 <= 0.985, (people, held)


def test_width_is_that_of_theory_and_grows_with_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    outcomes = made(rng.uniform(size=2000))
    found = {}
    for confidence in (0.5, 0.95):
        monkeypatch.setattr(uncertainty, "CONFIDENCE", confidence)
        found[confidence] = intervals(outcomes, np.arange(2000), seed=0).scores["mAP"]
    # A uniform number deviates by sqrt(1 / 12), a mean of n by sqrt(n) less.
    assert found[0.95].high - found[0.95].low == pytest.approx(2 * 1.96 * np.sqrt(1 / 12 / 2000), rel=0.1)
    assert found[0.5].high - found[0.5].low == pytest.approx(2 * 0.674 * np.sqrt(1 / 12 / 2000), rel=0.1)


def test_queries_of_one_person_are_drawn_together() -> None:
    outcomes = made(np.repeat([0.4, 0.6] * 4, 5))
    alone = intervals(outcomes, np.arange(40), seed=0).scores["mAP"]
    together = intervals(outcomes, np.repeat(np.arange(8), 5), seed=0).scores["mAP"]
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_all_right_is_not_certain() -> None:
    found = intervals(made(np.ones(20)), np.arange(20), seed=0).scores["rank1"]
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.8316, abs=1e-4)  # Clopper-Pearson, 20 of 20
    none = intervals(made(np.full(20, 0.1), np.full(20, 99)), np.arange(20), seed=0).scores["rank1"]
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.8316, abs=1e-4)


def test_same_seed_same_interval_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    first, second = made(rng.uniform(size=90)), made(rng.uniform(size=90))
    pids = np.repeat(np.arange(30), 3)
    one = intervals(first, pids, seed=5), paired(first, second, pids, seed=5)
    monkeypatch.setattr(uncertainty, "_CHUNK", 1000)
    two = intervals(first, pids, seed=5), paired(first, second, pids, seed=5)
    assert one[0].scores["mAP"].low == pytest.approx(two[0].scores["mAP"].low, abs=1e-12)
    assert one[1].scores["mAP"].high == pytest.approx(two[1].scores["mAP"].high, abs=1e-12)
    assert one[1].scores["mAP"].p_value == two[1].scores["mAP"].p_value
    assert one[0] != intervals(first, pids, seed=6)


def test_p_value_of_three_people_by_hand() -> None:
    # Differences 0.1, 0.2, 0.3: of the 8 flips only all plus and all minus reach 0.6.
    found = paired(made([0.5, 0.5, 0.5]), made([0.6, 0.7, 0.8]), np.array([1, 2, 3]), seed=0).scores["mAP"]
    assert found.value == pytest.approx(0.2)
    assert found.p_value == 2 / 8
    assert found.exact
    # Differences 0.1, 0.2, -0.3 sum to nothing: every flip is as large.
    none = paired(made([0.5, 0.5, 0.5]), made([0.6, 0.7, 0.2]), np.array([1, 2, 3]), seed=0).scores["mAP"]
    assert none.p_value == 1


def test_exact_p_value_equals_enumeration_by_person() -> None:
    rng = np.random.default_rng(3)
    first, second = made(rng.uniform(size=18)), made(rng.uniform(size=18))
    pids = np.repeat(np.arange(6), 3)
    sums = np.array(
        [(second.average_precisions - first.average_precisions)[pids == p].sum() for p in range(6)]
    )
    flips = [abs(np.dot(signs, sums)) for signs in itertools.product((1, -1), repeat=6)]
    expected = np.mean(np.array(flips) >= abs(sums.sum()) - 1e-12)
    assert paired(first, second, pids, seed=0).scores["mAP"].p_value == expected


def test_drawn_p_value_agrees_with_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    first, second = made(rng.uniform(size=14)), made(rng.uniform(0.1, 1, size=14))
    exact = paired(first, second, np.arange(14), seed=0).scores["mAP"]
    monkeypatch.setattr("intraclip.metrics.paired.EXACT_PEOPLE", 5)
    drawn = paired(first, second, np.arange(14), seed=0).scores["mAP"]
    assert exact.exact
    assert not drawn.exact
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.02)


@pytest.mark.parametrize("people", [10, 40])
def test_p_value_is_uniform_where_nothing_differs(people: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncertainty, "RESAMPLES", 1)
    monkeypatch.setattr("intraclip.metrics.paired.PERMUTATIONS", 500)
    rng = np.random.default_rng(people)
    found = []
    for repetition in range(300):
        base = rng.uniform(size=people)
        first, second = made(base + rng.normal(0, 0.1, people)), made(base + rng.normal(0, 0.1, people))
        comparison = paired(first, second, np.arange(people), seed=repetition)
        found.append(comparison.scores["mAP"].p_value)
    for level in (0.05, 0.25, 0.5, 0.75):
        # Three deviations of a share of 300.
        assert abs(np.mean(np.array(found) <= level) - level) < 3 * np.sqrt(level * (1 - level) / 300)


def test_a_clear_difference_is_found() -> None:
    rng = np.random.default_rng(5)
    base = rng.uniform(size=200)
    found = paired(
        made(base, np.full(200, 2)), made(base + rng.normal(0.05, 0.1, 200)), np.arange(200), seed=0
    )
    assert found.scores["mAP"].low < 0.05 < found.scores["mAP"].high
    assert found.scores["mAP"].low > 0
    assert found.scores["mAP"].p_value < 0.001
    assert found.scores["rank1"].value == 1
    assert found.to_json_dict()["scores"]["rank1"]["difference"] == 1


def test_interval_of_a_difference_shrinks_with_people() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (20, 2000):
        first = made(rng.uniform(0.2, 0.8, count))
        second = made(first.average_precisions + rng.normal(0.05, 0.1, count))
        found = paired(first, second, np.arange(count), seed=0).scores["mAP"]
        assert found.low < 0.05 < found.high
        widths.append(found.high - found.low)
    # The deviation of a mean of n draws of deviation 0.1 is 0.1 / sqrt(n); 95 % lie within 1.96 of it either way.
    assert widths[1] == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(2000), rel=0.1)
    assert widths[0] > 5 * widths[1]


def test_equal_runs_differ_by_nothing() -> None:
    outcomes = made(np.linspace(0, 1, 30))
    found = paired(outcomes, outcomes, np.arange(30), seed=0).scores["mAP"]
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("people", [2, 9, 60])
def test_one_number_a_person_is_compared_as_one_query_a_person(people: int) -> None:
    rng = np.random.default_rng(people)
    first, second = rng.uniform(size=people), rng.uniform(0.1, 1.1, size=people)
    found = paired_values(first, second, seed=3)
    same = paired(made(first), made(second), np.arange(people), seed=3).scores["mAP"]
    assert (found.first, found.second, found.exact) == (same.first, same.second, same.exact)
    assert (found.low, found.high) == pytest.approx((same.low, same.high))
    # Drawn flips differ by chance, all flips are the same flips.
    assert found.p_value == pytest.approx(same.p_value, abs=0.02 if people > 16 else 0)


def test_numbers_of_one_person_or_of_different_people_are_not_compared() -> None:
    for first, second in (([0.1], [0.2]), ([0.1, 0.2], [0.1, 0.2, 0.3]), ([[0.1, 0.2]], [[0.1, 0.2]])):
        with pytest.raises(DataError, match="paired numbers of shapes"):
            paired_values(np.array(first), np.array(second), seed=0)


def test_outcomes_of_different_queries_are_refused() -> None:
    first = made([0.1, 0.2])
    other = Outcomes(
        rows=np.array([1, 2]),
        first_hits=np.array([1, 1]),
        average_precisions=np.array([0.1, 0.2]),
        inverse_negative_penalties=np.array([0.1, 0.2]),
    )
    with pytest.raises(DataError, match=r"different queries \(2 and 2, 1 of them in common\)"):
        paired(first, other, np.array([1, 2]), seed=0)


def test_what_cannot_be_resampled_is_refused() -> None:
    assert intervals(made([0.1, 0.2]), np.array([7, 7]), seed=0) is None
    with pytest.raises(DataError, match="show 1 person"):
        paired(made([0.1, 0.2]), made([0.1, 0.2]), np.array([7, 7]), seed=0)
    with pytest.raises(DataError, match=r"shape \(3,\) for 2 counted queries"):
        intervals(made([0.1, 0.2]), np.array([1, 2, 3]), seed=0)


def test_the_steps_of_python_do_not_grow_with_queries_or_resamples() -> None:
    rng = np.random.default_rng(6)
    first, second = made(rng.uniform(size=2000)), made(rng.uniform(size=2000))
    pids = np.sort(rng.integers(626, size=2000))

    def work() -> None:
        intervals(first, pids, seed=0)
        paired(first, second, pids, seed=0)

    assert lines_of_python(work) < 5_000
