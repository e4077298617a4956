"""Distances become probabilities and thresholds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from intraclip.errors import DataError
from intraclip.metrics.calibration import PairDistances, pair_distances
from intraclip.metrics.distance import Distance
from intraclip.metrics.distance_matrix import distance_matrix
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.match_fit import fit_calibration
from intraclip.metrics.match_probability import MIN_PEOPLE, MatchCalibration, read_calibration
from intraclip.metrics.protocols import PROTOCOLS


def world(people: int = 40, *, noise: float = 0.7, cameras: int = 3, seed: int = 0) -> Embeddings:
    """People at random places, one tracklet in every camera."""
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(1, people + 1), cameras)
    features = rng.normal(size=(people, 8))[pids - 1] + noise * rng.normal(size=(people * cameras, 8))
    return Embeddings(
        features=features.astype(np.float32),
        pids=pids,
        camids=np.tile(np.arange(cameras), people),
        is_query=np.zeros(len(pids), dtype=np.bool_),
    )


def cross_camera_pairs(
    embeddings: Embeddings, metric: Distance = "euclidean"
) -> tuple[np.ndarray, np.ndarray]:
    """All distances across cameras, once each, and whether they are of one person; the slow and plain way."""
    first, second = np.triu_indices(len(embeddings), 1)
    other = embeddings.camids[first] != embeddings.camids[second]
    first, second = first[other], second[other]
    distances = distance_matrix(embeddings.features, embeddings.features, distance=metric)[first, second]
    return distances.astype(np.float64), embeddings.pids[first] == embeddings.pids[second]


def log_loss(probabilities: np.ndarray, same: np.ndarray) -> float:
    return float(-np.log(np.where(same, probabilities, 1 - probabilities)).mean())


@pytest.fixture(scope="module")
def calibration() -> MatchCalibration:
    return fit_calibration(world(), fingerprint="abc")


def test_every_pair_across_cameras_is_read(calibration: MatchCalibration):
    _, same = cross_camera_pairs(world())
    assert (calibration.people, calibration.genuine_pairs) == (40, int(same.sum()))
    assert calibration.impostor_pairs == int((~same).sum())
    assert calibration.prior == pytest.approx(same.mean())


def test_the_fit_agrees_with_scikit_learn():
    # Many people make Platt's targets plain 0 and 1; the weights are ours.
    embeddings = world(300, cameras=2)
    found = fit_calibration(embeddings)
    distances, same = cross_camera_pairs(embeddings)
    weights = np.where(same, 0.1 / same.sum(), 0.9 / (~same).sum()) * len(same)
    oracle = LogisticRegression(C=1e9, tol=1e-10).fit(distances[:, None], same, sample_weight=weights)
    at = np.array([1.0, 2.0, 3.0, 4.0])
    expected = oracle.predict_proba(at[:, None])[:, 1]
    np.testing.assert_allclose(found.with_prior(0.1).probability(at), expected, atol=0.02)


def test_probabilities_hold_on_people_that_were_not_seen():
    found = fit_calibration(world(100, seed=1), prior=0.2)
    distances, same = cross_camera_pairs(world(200, seed=2))
    probabilities = found.probability(distances)
    weights = np.where(same, 0.2 / same.sum(), 0.8 / (~same).sum())  # one pair in five shows one person
    for low, high in ((0.05, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        chosen = (probabilities >= low) & (probabilities < high)
        assert chosen.sum() > 50
        share = np.average(same[chosen], weights=weights[chosen])
        assert abs(share - np.average(probabilities[chosen], weights=weights[chosen])) < 0.08
    constant = log_loss(np.full(len(same), same.mean()), same)
    assert log_loss(found.with_prior(same.mean()).probability(distances), same) < 0.75 * constant


def test_with_few_people_it_is_better_than_the_isotonic_curve():
    losses = []
    for seed in range(6):
        few, others = world(6, seed=seed), world(60, seed=100 + seed)
        distances, same = cross_camera_pairs(others)
        found = fit_calibration(few, prior=0.05)
        # A pair of either kind is added at both ends, so that no distance proves anything; both kinds weigh alike.
        at, genuine = cross_camera_pairs(few)
        at, genuine = np.append(at, [-1, -1, 99, 99]), np.append(genuine, [True, False, True, False])
        weights = np.where(genuine, 1 / genuine.sum(), 1 / (~genuine).sum())
        even = IsotonicRegression(increasing=False).fit(at, genuine, sample_weight=weights).predict(distances)
        isotonic = 1 / (1 + (1 - even) / even * (0.95 / 0.05))
        losses.append((log_loss(found.probability(distances), same), log_loss(isotonic, same)))
    ours, theirs = np.mean(losses, axis=0)
    assert ours < theirs


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_threshold_keeps_its_rate(metric: Distance):
    embeddings = world()
    found = fit_calibration(embeddings, metric=metric)
    distances, same = cross_camera_pairs(embeddings, metric)
    for rate in (0.5, 0.1, 0.03, 0.01, 0.003):
        threshold = found.threshold(rate)
        achieved = (distances[~same].astype(np.float32) < np.float32(threshold)).mean()
        assert 0.93 * rate - 1 / (~same).sum() <= achieved <= rate
        passed = (distances[same].astype(np.float32) < np.float32(threshold)).mean()
        assert found.true_match_rate(rate) == pytest.approx(passed)


def test_a_rate_beyond_the_pairs_is_refused(calibration: MatchCalibration):
    smallest = calibration.false_match_rates[-1]
    assert smallest >= 10 / calibration.impostor_pairs
    calibration.threshold(smallest)
    with pytest.raises(DataError, match="beyond what 4,680 pairs of two people resolve; the smallest is"):
        calibration.threshold(0.9 * smallest)
    for rate in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(DataError, match="must lie inside 0 and 1"):
            calibration.threshold(rate)


FITTED = fit_calibration(world(8))


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=20), st.floats(1e-6, 1 - 1e-6))
def test_probability_never_rises_with_the_distance(distances: list[float], prior: float):
    values = FITTED.with_prior(prior).probability(np.sort(distances))
    assert values.dtype == np.float64
    assert ((values >= 0) & (values <= 1)).all()
    assert (np.diff(values) <= 0).all()


def test_the_prior_moves_the_odds_and_nothing_else(calibration: MatchCalibration):
    rare, even = calibration.with_prior(0.01), calibration.with_prior(0.5)
    p, q = rare.probability(2.0), even.probability(2.0)
    assert p < q
    assert (q / (1 - q)) / (p / (1 - p)) == pytest.approx(99)
    assert rare.threshold(0.01) == even.threshold(0.01)
    np.testing.assert_allclose(np.log(q / (1 - q)), even.log_likelihood_ratio(2.0))
    with pytest.raises(DataError, match=r"the prior is 1\.0"):
        calibration.with_prior(1.0)


def test_distance_of_is_the_inverse(calibration: MatchCalibration):
    even = calibration.with_prior(0.5)
    assert even.probability(even.distance_of(0.7)) == pytest.approx(0.7)
    assert calibration.with_prior(1e-12).distance_of(0.999999) == 0


@pytest.mark.parametrize("bad", [math.nan, -1.0])
def test_impossible_distances_are_refused(calibration: MatchCalibration, bad: float):
    with pytest.raises(DataError, match="1 distances are NaN or negative"):
        calibration.probability([0.0, bad])


def test_pairs_already_collected_give_the_same():
    embeddings = world()
    everyone = Embeddings(
        features=embeddings.features,
        pids=embeddings.pids,
        camids=embeddings.camids,
        is_query=np.ones(len(embeddings), dtype=bool),
    )
    pairs = pair_distances(everyone, PROTOCOLS["mars-full"])
    assert fit_calibration(pairs) == fit_calibration(embeddings)
    with pytest.raises(DataError, match="the pairs hold euclidean distances, not cosine"):
        fit_calibration(pairs, metric="cosine")


def test_grouping_many_impostors_changes_little():
    embeddings = world(100)  # 29,700 impostor pairs, seven times the groups
    found = fit_calibration(embeddings)
    distances, same = cross_camera_pairs(embeddings)
    weights = np.where(same, 0.1 / same.sum(), 0.9 / (~same).sum()) * len(same)
    targets = np.where(same, 1 - 1 / 102, 1 / ((~same).sum() + 2))
    # Soft targets as two copies of every pair, one of each class.
    x = np.concatenate([distances, distances])[:, None]
    y = np.repeat([1, 0], len(distances))
    w = np.concatenate([weights * targets, weights * (1 - targets)])
    oracle = LogisticRegression(C=1e9, tol=1e-10).fit(x, y, sample_weight=w)
    at = np.array([0.5, 1.5, 2.5, 3.5])
    expected = oracle.predict_proba(at[:, None])[:, 1]
    np.testing.assert_allclose(found.with_prior(0.1).probability(at), expected, rtol=2e-3)


def test_people_that_separate_have_finite_evidence():
    found = fit_calibration(world(10, noise=1e-4))
    assert math.isfinite(found.slope)
    assert 0.5 < found.with_prior(0.1).probability(0.0) < 1


def test_too_few_people_are_refused():
    fit_calibration(world(MIN_PEOPLE))
    with pytest.raises(DataError, match=f"{MIN_PEOPLE - 1} people .* needs at least {MIN_PEOPLE}"):
        fit_calibration(world(MIN_PEOPLE - 1))


def test_distances_that_tell_nothing_are_refused():
    embeddings = world(20)
    features = np.ones_like(embeddings.features)
    same = Embeddings(
        features=features, pids=embeddings.pids, camids=embeddings.camids, is_query=embeddings.is_query
    )
    with pytest.raises(DataError, match="do not tell people apart"):
        fit_calibration(same)
    # People that look unlike themselves: nearer means another person.
    pairs = PairDistances(
        distance="euclidean",
        protocol="mars-full",
        people=9,
        genuine=np.linspace(5, 6, 30, dtype=np.float32),
        impostors=100,
        nearest_impostors=np.linspace(1, 2, 100, dtype=np.float32),
        farthest_impostor=2.0,
        below_bin=np.zeros(1, dtype=np.int64),
    )
    with pytest.raises(DataError, match="do not tell people apart"):
        fit_calibration(pairs)


def test_another_metric_or_network_is_refused(calibration: MatchCalibration):
    calibration.require(metric="euclidean", fingerprint="abc")
    calibration.require(metric="euclidean", fingerprint="")
    with pytest.raises(DataError, match="for euclidean distances, not cosine"):
        calibration.require(metric="cosine", fingerprint="abc")
    with pytest.raises(DataError, match="belongs to the network abc, the embeddings to abd"):
        calibration.require(metric="euclidean", fingerprint="abd")


def test_json_gives_the_same_back(calibration: MatchCalibration, tmp_path: Path):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(calibration.to_json_dict()))
    assert read_calibration(path) == calibration


def test_damaged_files_are_refused_with_every_problem(calibration: MatchCalibration, tmp_path: Path):
    good = calibration.to_json_dict()
    with pytest.raises(DataError, match="not a match calibration"):
        MatchCalibration.from_json_dict({"version": 1, "distance": "euclidean"})
    with pytest.raises(DataError, match="damaged: KeyError"):
        MatchCalibration.from_json_dict({"thresholds": [], "equal_error": {}})
    with pytest.raises(DataError, match="has version 2, this program reads 1"):
        MatchCalibration.from_json_dict({**good, "version": 2})
    bad = {**good, "metric": "manhattan", "slope": -1.0, "people": True, "thresholds": [1.0, 2.0]}
    with pytest.raises(DataError) as caught:
        MatchCalibration.from_json_dict(bad)
    for word in ("manhattan", "slope is -1.0", "people is True", "tables have", "never ascend"):
        assert word in str(caught.value)
    path = tmp_path / "x.json"
    with pytest.raises(DataError, match="cannot be read"):
        read_calibration(path)
    path.write_bytes(b"\xff{")
    with pytest.raises(DataError, match=r"x\.json is not a JSON file"):
        read_calibration(path)


CURVE = {"distances": [0.5, 1.0, 2.0], "log_likelihood_ratios": [4.0, 1.0, -3.0]}


def of_score() -> dict[str, Any]:
    """As version 0.1 wrote it: a curve, the thresholds of four rates, and no fingerprint."""
    file = Path(__file__).parent.parent / "written_by_0_1" / "calibration_of_score.json"
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_what_score_wrote_is_read_too_and_survives_a_gallery():
    written = of_score()
    found = MatchCalibration.from_json_dict(written)
    assert found.people == written["people"]
    assert MatchCalibration.from_json_dict(json.loads(json.dumps(found.to_json_dict()))) == found
    at = found.distance_of(0.3)
    assert found.probability(at) == pytest.approx(0.3, abs=1e-6)
    assert (np.diff(found.probability(np.linspace(0, 2 * at, 50))) <= 0).all()
    supported = [row for row in written["thresholds"] if row["supported"]]
    assert found.threshold(0.01) == next(r["threshold"] for r in supported if r["false_match_rate"] == 0.01)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (None, "curve wants lists"),
        ({**CURVE, "distances": [1.0, 0.5, 2.0]}, "curve must have ascending"),
        ({**CURVE, "log_likelihood_ratios": [1.0, 2.0, 3.0]}, "never rise"),
        ({**CURVE, "distances": [1.0]}, "1 distances and 3 ratios"),
    ],
)
def test_a_damaged_curve_is_refused(curve: object, message: str):
    written = of_score()
    with pytest.raises(DataError, match=message):
        MatchCalibration.from_json_dict({**written, "curve": curve})
