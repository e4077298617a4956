"""Means, intervals and tests over trainings and people."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from intraclip.metrics.ranking import Outcomes, Scores
from intraclip.reproduce.statistics import gain, measured, sample, student


def scores(average_precisions, first_hits) -> Scores:
    ap, hits = np.asarray(average_precisions, dtype=np.float64), np.asarray(first_hits, dtype=np.int64)
    return Scores(
        protocol="mars-full",
        distance="euclidean",
        cmc=np.array([(hits <= k).mean() for k in range(1, 51)]),
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
    assert (wide.high - wide.mean) / (plain.high - plain.mean) == pytest.approx(np.sqrt((0.25 + 1) / 0.25))
    assert wide.p_value > plain.p_value


def test_no_scatter_is_no_certainty():
    found = student([0.083, 0.083])
    assert (found.deviation, found.low, found.high, found.p_value) == (0.0, None, None, None)


def test_splits_and_seeds_are_told_apart():
    a, b = scores([0.2, 0.4], [1, 2]), scores([0.4, 0.6], [1, 1])
    over_seeds = sample({(0, 0): a, (0, 1): b}, "mAP")
    over_splits = sample({(0, 0): a, (1, 0): b}, "mAP")
    assert over_seeds.mean == over_splits.mean == pytest.approx(0.4)
    assert over_splits.high > over_seeds.high


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


def test_a_clear_gain_holds_and_its_reverse_is_reversed():
    better, worse = trainings(0.2, 0.02), trainings(0.0, 0.02)
    found = gain(better, worse, PIDS, "mAP")
    assert found.verdict == "holds"
    assert found.trainings.mean == pytest.approx(0.2, abs=0.03)
    assert found.people.value == pytest.approx(found.trainings.mean)
    assert gain(worse, better, PIDS, "mAP").verdict == "reversed"


def test_no_gain_stays_open():
    assert gain(trainings(0.001, 0.1), trainings(0.0, 0.1), PIDS, "mAP").verdict == "open"


def test_a_gain_of_few_people_stays_open():
    # All seeds agree, but one person of thirty carries the whole gain.
    worse = trainings(0.0, 0.0)
    better = {}
    for key, value in worse.items():
        ap = value.outcomes.average_precisions.copy()
        ap[0] = min(1.0, ap[0] + 0.3 + 0.01 * key[1])
        better[key] = scores(ap, value.outcomes.first_hits)
    found = gain(better, worse, PIDS, "mAP")
    assert found.trainings.low > 0
    assert found.people.low <= 0
    assert found.verdict == "open"


def test_one_training_decides_nothing():
    found = gain(trainings(0.3, 0.0, seeds=1), trainings(0.0, 0.0, seeds=1), PIDS, "mAP")
    assert found.trainings.p_value is None
    assert found.verdict == "open"


def test_only_shared_seeds_are_paired():
    better, worse = trainings(0.2, 0.02, seeds=5), trainings(0.0, 0.02, seeds=3)
    assert gain(better, worse, PIDS, "mAP").trainings.count == 3
    assert gain({(0, 9): better[0, 0]}, worse, PIDS, "mAP") is None


def test_one_person_cannot_be_tested():
    one = {0: np.zeros(30, dtype=np.int64)}
    found = gain(trainings(0.2, 0.02), trainings(0.0, 0.02), one, "mAP")
    assert found.people is None
    assert found.verdict == "open"
