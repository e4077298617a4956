"""How alike two embeddings are, and scores of plain arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from intraclip.errors import ConfigError, DataError
from intraclip.metrics import ranking
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.match_fit import fit_calibration
from intraclip.metrics.protocols import PROTOCOLS
from intraclip.metrics.scoring import score
from intraclip.metrics.similarity import similarity
from intraclip.metrics.uncertainty import intervals


def world(people: int = 12) -> Embeddings:
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(1, people + 1), 3)
    camids = np.tile([1, 2, 3], people)
    features = rng.normal(size=(people + 1, 8))[pids] + 0.4 * rng.normal(size=(len(pids), 8))
    return Embeddings(features=features, pids=pids, camids=camids, is_query=camids == 1)


@pytest.mark.parametrize("kind", [np.array, torch.tensor, list])
def test_cosine_of_arrays_tensors_and_lists(kind):
    assert similarity(kind([3.0, 4.0]), kind([4.0, 3.0])) == pytest.approx(0.96)
    assert similarity(kind([1.0, 2.0]), kind([2.0, 4.0])) == 1.0
    assert similarity(kind([1.0, 0.0]), kind([-1.0, 0.0])) == -1.0


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 2], [1, 2, 3], r"one size, got \[2\] and \[3\]"),
        ([[1, 2]], [[1, 2]], "two vectors"),
        ([0, 0], [1, 2], "zero"),
        ([np.nan, 0], [1, 2], "not finite"),
        (["a"], ["b"], "real numbers"),
    ],
)
def test_what_has_no_cosine_is_refused(a, b, message):
    with pytest.raises(DataError, match=message):
        similarity(a, b)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_calibration_gives_its_probability_of_its_own_distance(tmp_path: Path, metric):
    e = world()
    calibration = fit_calibration(e, metric=metric)
    (tmp_path / "c.json").write_text(json.dumps(calibration.to_json_dict()))
    cosine, probability = similarity(e[0], e[1], calibration=calibration)
    unit = [v / np.linalg.norm(v) for v in (e[0], e[1])]
    assert cosine == pytest.approx(float(unit[0] @ unit[1]), abs=1e-6) == similarity(e[0], e[1])
    distance = 1 - cosine if metric == "cosine" else float(np.linalg.norm(e[0] - e[1]))
    assert probability == pytest.approx(float(calibration.probability(distance)), rel=1e-4)
    assert similarity(e[0], e[1], calibration=tmp_path / "c.json").probability == pytest.approx(probability)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, lambda a: a.tolist()])
def test_arrays_score_as_embeddings_do(kind):
    e = world()
    found = score(kind(e.features), kind(e.pids), kind(e.camids), kind(e.is_query), protocol="mars-full")
    expected = ranking.score(e, PROTOCOLS["mars-full"])
    assert found.to_json_dict() == expected.to_json_dict() == score(e, protocol="mars-full").to_json_dict()
    people = e.pids[expected.outcomes.rows]
    assert found.intervals == intervals(expected.outcomes, people, seed=0)
    assert f"mAP {found.mAP:.3f} (" in repr(found)
    assert score(e, protocol=PROTOCOLS["mars-full"], distance="cosine").distance == "cosine"


def test_one_person_has_scores_without_intervals():
    found = score([[0, 0], [0, 1], [5, 5]], [1, 1, 2], [1, 2, 2], [True, False, False])
    assert found.rank(1) == 1
    assert found.intervals is None


def test_what_cannot_be_scored_is_refused():
    e = world()
    with pytest.raises(TypeError, match="give pids, camids and is_query"):
        score(e.features)
    with pytest.raises(TypeError, match="hold pids"):
        score(e, e.pids)
    with pytest.raises(ConfigError, match="mars-ful"):
        score(e, protocol="mars-ful")
    with pytest.raises(DataError, match=r"pids \[3\]"):
        score(e.features, [1, 2, 3], e.camids, e.is_query)
