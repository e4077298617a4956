"""Numbers of a figure: over people, over seeds, and what they say about the paper's claim."""

from __future__ import annotations

import numpy as np
import pytest

from intraclip.lab.reproduce.figures import Direction, Measure, measure, over_seeds, over_units, verdict
from intraclip.lab.reproduce.statistics import agreed
from intraclip.metrics.uncertainty import Estimate


def test_flip_test_counts_the_flips_that_reach_as_far() -> None:
    # Of 2^4 sign patterns of equal differences only ++++ and ---- reach the sum.
    assert over_units(np.zeros(4), np.ones(4)).p_value == pytest.approx(2 / 16)
    assert over_units(np.zeros(2), np.array([1.0, -1.0])).p_value == 1
    many = over_units(np.zeros(200), np.random.default_rng(0).normal(1, 1, 200))
    assert many.p_value == pytest.approx(1 / 10_001)
    assert many.low < many.value < many.high


def test_comparison_over_units_does_not_cry_wolf() -> None:
    rng = np.random.default_rng(1)
    found = [over_units(rng.standard_t(3, 12), rng.standard_t(3, 12)) for _ in range(300)]
    assert np.mean([pair.p_value < 0.05 for pair in found]) < 0.09
    assert np.mean([pair.low > 0 or pair.high < 0 for pair in found]) < 0.09


def test_values_that_are_not_known_are_left_out_on_both_sides() -> None:
    values = {"a": np.array([[0.1, np.nan, 0.3]]), "b": np.array([[0.2, 0.9, np.nan]])}
    found = measure("k", "n", values, {"a": [0], "b": [0]}, claimed="higher", percent=True)
    assert found.runs["a"].mean == pytest.approx(0.2)
    assert found.units.count == 1
    assert found.units.value == pytest.approx(0.1)
    assert "one observation" in verdict(found, unit="people")


def test_one_seed_has_no_deviation_and_several_are_matched_by_seed() -> None:
    one = {"a": np.array([[0.1, 0.2]]), "b": np.array([[0.2, 0.3]])}
    alone = measure("k", "n", one, {"a": [0], "b": [0]}, claimed="higher", percent=False)
    assert alone.runs["a"].deviation is None
    assert alone.runs["a"].unit_deviation == pytest.approx(np.std([0.1, 0.2], ddof=1))
    several = {"a": np.array([[1.0], [5.0], [9.0]]), "b": np.array([[6.0], [2.0]])}
    both = measure("k", "n", several, {"a": [0, 1, 2], "b": [1, 0]}, claimed="higher", percent=False)
    assert both.runs["b"].per_seed == {1: 6, 0: 2}
    assert both.runs["b"].deviation == pytest.approx(np.std([6, 2], ddof=1))
    assert (both.seeds.count, both.seeds.value) == (2, 1)
    # Both seeds differ by 1, without scatter: that is no certainty.
    assert both.seeds.p_value is None
    assert both.seeds == over_seeds(np.array([1.0, 1.0]))


def ends_of(pair: Estimate, sign: int) -> tuple[float | None, float | None]:
    if pair.low is None or pair.high is None:
        return None, None
    return (pair.low, pair.high) if sign > 0 else (-pair.high, -pair.low)


def compared(
    by_seed: list[float],
    by_unit: list[float],
    *,
    claimed: Direction = "higher",
    seeds: int = 4,
    units: int = 10,
) -> Measure:
    """Differences whose means over units are `by_seed`, and over seeds `by_unit`, both repeated as often as asked."""
    differences = np.resize(by_seed, seeds)[:, None] + np.resize(by_unit, units)[None]
    values = {"a": np.zeros((seeds, units)), "b": differences}
    return measure("k", "number", values, {n: range(seeds) for n in values}, claimed=claimed, percent=False)


@pytest.mark.parametrize(
    ("by_seed", "by_unit", "seeds", "units", "said"),
    [
        ([0.09, 0.11], [0.09, 0.11], 4, 10, "holds"),
        ([-0.09, -0.11], [-0.09, -0.11], 4, 10, "the other way"),
        # All seeds agree, and people do not; people agree, and seeds do not.
        (
            [0.09, 0.11],
            [1.0, -1.0],
            4,
            10,
            "points the way the paper claims, and is within chance over 10 people.",
        ),
        (
            [1.1, -0.9],
            [0.09, 0.11],
            4,
            10,
            "points the way the paper claims, and is within chance over 4 seeds.",
        ),
        (
            [1.0, -1.0],
            [1.0, -1.0],
            4,
            10,
            "not even point the way the paper claims, and is within chance over 4 seeds",
        ),
        (
            [0.1],
            [0.09, 0.11],
            1,
            10,
            "that of two networks, with one seed of each, and not of the two methods",
        ),
        (
            [0.09, 0.11],
            [0.09, 0.11],
            4,
            5,
            "too little tested: that takes an interval over seeds, and at least 6",
        ),
        ([0.1], [0.09, 0.11], 4, 10, "too little tested: that takes an interval over seeds"),
    ],
)
@pytest.mark.parametrize("claimed", ["higher", "lower"])
def test_a_claim_holds_where_seeds_and_people_agree(
    by_seed: list[float], by_unit: list[float], seeds: int, units: int, said: str, claimed: Direction
) -> None:
    sign = 1 if claimed == "higher" else -1
    found = compared(
        [sign * x for x in by_seed], [sign * x for x in by_unit], claimed=claimed, seeds=seeds, units=units
    )
    sentence = verdict(found, unit="people")
    assert said in sentence
    # The rule is the one of the tables.
    pairs = (found.seeds, found.units)
    ends = [ends_of(pair, sign) for pair in pairs]
    expected = agreed(*ends, count=units)
    assert found.verdict == found.to_json_dict()["comparisons"][0]["verdict"] == expected
    assert ("claim holds" in sentence, "the other way" in sentence) == (
        expected == "holds",
        expected == "reversed",
    )
