"""Means, intervals and tests over trainings and people."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from intraclip.lab.reproduce import statistics
from intraclip.lab.reproduce.statistics import (
    agreed,
    gains,
    holm,
    measured,
    sample,
    student,
)
from intraclip.metrics.scores import Outcomes, Scores


def scores(average_precisions, first_hits) -> Scores:
    ap, hits = np.asarray(average_precisions, dtype=np.float64), np.asarray(first_hits, dtype=np.int64)
    return Scores(
        protocol="mars-full",
        distance="euclidean",
        cmc=(hits[:, None] <= np.arange(1, 51)).mean(axis=0),
        mAP=float(ap.mean()),
        mINP=float(ap.mean()),
        queries=len(ap),
        queries_without_match=0,
        gallery=100,
        outcomes=Outcomes(
            rows=np.arange(len(ap)), first_hits=hits, average_precisions=ap, inverse_negative_penalties=ap
        ),
    )


def test_student_agrees_with_scipy():
    values = np.random.default_rng(0).normal(0.3, 0.1, 5)
    found = student(values)
    oracle = stats.ttest_1samp(values, 0.0)
    low, high = oracle.confidence_interval(0.95)
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert found.deviation == pytest.approx(values.std(ddof=1))


def test_shared_people_widen_the_interval():
    values = [0.1, 0.2, 0.3, 0.2]
    plain, wide = student(values), student(values, overlap=1.0)
    # Nadeau & Bengio: variance (1/n + 1) instead of 1/n.
    assert (wide.high - wide.value) / (plain.high - plain.value) == pytest.approx(np.sqrt((0.25 + 1) / 0.25))
    assert wide.p_value > plain.p_value


def test_no_scatter_is_no_certainty():
    found = student([0.083, 0.083])
    assert (found.deviation, found.low, found.high, found.p_value) == (0.0, None, None, None)


def test_splits_and_seeds_are_told_apart():
    a, b = scores([0.2, 0.4], [1, 2]), scores([0.4, 0.6], [1, 1])
    over_seeds = sample({(0, 0): a, (0, 1): b}, "mAP")
    over_splits = sample({(0, 0): a, (1, 0): b}, "mAP")
    assert over_seeds.value == over_splits.value == pytest.approx(0.4)
    assert over_splits.high > over_seeds.high


def split_trainings(values, people: int = 2):
    """values[split][seed] -> trainings in which every query has that average precision."""
    return {
        (split, seed): scores([value] * people, [1] * people)
        for split, seeds in enumerate(values)
        for seed, value in enumerate(seeds)
    }


def test_seeds_of_a_split_are_one_training():
    # Differences of about 2 points on one split and 8 on the other, five seeds each.
    near = np.array([-0.2, 0.1, 0.0, 0.3, -0.2]) / 100
    better = split_trainings([0.42 + near, 0.48 + near[::-1]])
    worse = split_trainings(np.full((2, 5), 0.4))
    pids = dict.fromkeys((0, 1), np.arange(2))
    found = gains(better, worse, pids, ("mAP",))["mAP"].trainings
    assert (found.count, found.value) == (2, pytest.approx(0.05))
    # Two numbers, 2 and 8: Student's t with one degree of freedom (12.71), variance of the mean (1/2 + 1) times theirs.
    reach = stats.t.ppf(0.975, 1) * np.sqrt(1.5) * np.std([2, 8], ddof=1) / 100
    assert (found.low, found.high) == (pytest.approx(0.05 - reach), pytest.approx(0.05 + reach))
    own = sample(better, "mAP")
    assert (own.count, own.deviation) == (2, pytest.approx(np.std([42, 48], ddof=1) / 100))


@pytest.mark.parametrize("splits", [2, 4])
def test_the_interval_over_splits_and_seeds_covers_as_often_as_it_says(splits):
    # Deviation over splits 5, over seeds 1. Splits share people, which moves all of them alike: half of their variance,
    # as Nadeau & Bengio assume where one half of the people trains.
    rng = np.random.default_rng(splits)
    half = 5 / np.sqrt(2)
    hits = 0
    for _ in range(500):
        true = rng.normal(0, half, 1) + rng.normal(0, half, (splits, 1)) + rng.normal(0, 1, (splits, 5))
        found = sample(split_trainings(0.5 + true / 1000), "mAP")
        hits += found.low <= 0.5 <= found.high
    assert 0.92 <= hits / 500 <= 0.99


def test_holm_multiplies_by_the_claims_that_are_left():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2]) == [0.2]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_false_findings_as_rare_as_it_says():
    rng = np.random.default_rng(0)
    found = [min(holm(rng.uniform(size=13).tolist())) < 0.05 for _ in range(2000)]
    assert 0.03 < np.mean(found) < 0.065


@pytest.mark.parametrize(
    ("over_trainings", "over_people", "count", "expected"),
    [
        ((0.1, 0.2), (0.05, 0.3), 30, "holds"),
        ((-0.2, -0.1), (-0.3, -0.05), 30, "reversed"),
        ((0.1, 0.2), (-0.05, 0.3), 30, "open"),
        ((-0.1, 0.2), (0.05, 0.3), 30, "open"),
        ((0.1, 0.2), (-0.3, -0.1), 30, "open"),
        ((0.0, 0.2), (0.05, 0.3), 30, "open"),
        ((None, None), (0.05, 0.3), 30, "open"),
        ((0.1, 0.2), (float("nan"), float("nan")), 30, "open"),
        ((0.1, 0.2), (0.05, 0.3), 5, "open"),
        ((0.1, 0.2), (0.05, 0.3), 6, "holds"),
    ],
)
def test_both_intervals_must_agree(over_trainings, over_people, count, expected):
    assert agreed(over_trainings, over_people, count=count) == expected


@pytest.mark.parametrize(("measure", "value"), [("rank1", 0.5), ("rank5", 1.0), ("mAP", 0.3)])
def test_measures_by_name(measure, value):
    assert measured(scores([0.2, 0.4], [1, 2]), measure) == pytest.approx(value)


def trainings(shift: float, noise: float, *, seeds: int = 5, people: int = 30):
    base = np.random.default_rng(1).uniform(0.2, 0.6, people)
    found = {}
    for seed in range(seeds):
        rng = np.random.default_rng([2, seed, round(1000 * shift)])
        ap = np.clip(base + shift + rng.normal(0, noise, people), 0.01, 1)
        found[0, seed] = scores(ap, np.where(ap > 0.4, 1, 3))
    return found


PIDS = {0: np.arange(30)}


def gain(better, worse, pids, measure="mAP"):
    return gains(better, worse, pids, (measure,))[measure]


def test_people_are_drawn_once_for_all_measures(monkeypatch):
    calls = []
    real = statistics.paired
    monkeypatch.setattr(statistics, "paired", lambda *args, **named: calls.append(1) or real(*args, **named))
    found = gains(trainings(0.2, 0.02), trainings(0.0, 0.02), PIDS, ("mAP", "rank1"))
    assert len(calls) == 1
    assert list(found) == ["mAP", "rank1"]
    assert found["mAP"].people != found["rank1"].people


def test_a_clear_gain_holds_and_its_reverse_is_reversed():
    better, worse = trainings(0.2, 0.02), trainings(0.0, 0.02)
    found = gain(better, worse, PIDS)
    assert found.verdict == "holds"
    assert found.trainings.value == pytest.approx(0.2, abs=0.03)
    assert found.people.value == pytest.approx(found.trainings.value)
    assert gain(worse, better, PIDS).verdict == "reversed"


def test_no_gain_stays_open():
    assert gain(trainings(0.001, 0.1), trainings(0.0, 0.1), PIDS).verdict == "open"


def test_a_gain_of_few_people_stays_open():
    # All seeds agree, but one person of thirty carries the whole gain.
    worse = trainings(0.0, 0.0)
    better = {}
    for key, value in worse.items():
        ap = value.outcomes.average_precisions.copy()
        ap[0] = min(1.0, ap[0] + 0.3 + 0.01 * key[1])
        better[key] = scores(ap, value.outcomes.first_hits)
    found = gain(better, worse, PIDS)
    assert found.trainings.low > 0
    assert found.people.low <= 0
    assert found.verdict == "open"


def test_one_training_decides_nothing():
    found = gain(trainings(0.3, 0.0, seeds=1), trainings(0.0, 0.0, seeds=1), PIDS)
    assert found.trainings.p_value is None
    assert found.verdict == "open"


def test_only_shared_seeds_are_paired():
    better, worse = trainings(0.2, 0.02, seeds=5), trainings(0.0, 0.02, seeds=3)
    assert gain(better, worse, PIDS).trainings.count == 3
    assert gains({(0, 9): better[0, 0]}, worse, PIDS, ("mAP",)) == {}


def test_five_people_show_nothing():
    five = {0: np.arange(30) % 5}
    found = gain(trainings(0.2, 0.02), trainings(0.0, 0.02), five)
    assert found.people.low > 0
    assert (found.persons, found.verdict) == (5, "open")


def test_one_person_cannot_be_tested():
    one = {0: np.zeros(30, dtype=np.int64)}
    found = gain(trainings(0.2, 0.02), trainings(0.0, 0.02), one)
    assert found.people is None
    assert found.verdict == "open"
