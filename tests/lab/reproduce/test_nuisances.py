"""mAP by what disturbs the query: groups from the ground truth, and gains inside each of them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from data.miniature import write_mars
from intraclip.data.readers import read_split
from intraclip.errors import DataError
from intraclip.lab.reproduce.nuisances import CLEAN, by_nuisance, groups_of
from intraclip.lab.reproduce.statistics import Trainings
from intraclip.metrics.scores import Outcomes, Scores
from intraclip.types import Split

PEOPLE = range(2, 62, 2)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Two queries a person: every third person occluded and blurred, every third one in changing light."""
    root = write_mars(tmp_path / "mars", train_pids=(1, 3), test_pids=PEOPLE, frames=1)
    found = read_split(root)
    with_ground_truth(found, ["occluder: pole; motion blur", "second person; lighting change", "loose box"])
    return read_split(root)


def with_ground_truth(split: Split, kinds: list[str], *, leave_out: int = 0) -> None:
    folder = split.root / "ground_truth"
    folder.mkdir(exist_ok=True)
    with (folder / "tracklets.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=["name", "nuisances"])
        writer.writeheader()
        for tracklet in split.query[leave_out:]:
            writer.writerow({"name": tracklet.name, "nuisances": kinds[tracklet.pid // 2 % 3]})


def scored(precisions: np.ndarray) -> Scores:
    count = len(precisions)
    return Scores(
        protocol="mars-full",
        distance="euclidean",
        cmc=np.ones(50),
        mAP=float(precisions.mean()),
        mINP=0.5,
        queries=count,
        queries_without_match=0,
        gallery=90,
        outcomes=Outcomes(
            rows=np.arange(count),
            first_hits=np.ones(count, dtype=np.int64),
            average_precisions=precisions,
            inverse_negative_penalties=precisions,
        ),
    )


def test_a_query_is_in_the_group_of_each_of_its_nuisances(split: Split):
    groups = groups_of(split)
    pids = {
        group: {t.pid // 2 % 3 for t in split.query if t.name in names} for group, names in groups.items()
    }
    assert pids == {CLEAN: {2}, "occlusion": {0}, "changing light": {1}, "motion blur": {0}}
    assert sum(len(groups[g]) for g in (CLEAN, "occlusion", "changing light")) == len(split.query)


def test_data_without_ground_truth_have_no_groups(tmp_path: Path):
    root = write_mars(tmp_path / "mars", train_pids=(1, 3), test_pids=(2, 4), frames=1)
    assert groups_of(read_split(root)) == {}


def test_a_query_that_the_ground_truth_lacks_is_named(split: Split):
    with_ground_truth(split, ["", "", ""], leave_out=1)
    with pytest.raises(DataError, match=f"no row for the query {split.query[0].name}"):
        groups_of(split)


def test_a_gain_under_occlusion_alone_is_found_there_alone(split: Split):
    rng = np.random.default_rng(0)
    occluded = np.array([t.pid // 2 % 3 == 0 for t in split.query])
    base, better = {}, {}
    for seed in range(3):
        precisions = rng.uniform(0.2, 0.6, len(split.query))
        base[0, seed] = scored(precisions)
        better[0, seed] = scored(precisions + 0.2 * occluded + rng.normal(0, 0.01, len(split.query)))
    scores: dict[str, Trainings] = {"model-1": base, "model-2": better}
    pids = {0: np.array([t.pid for t in split.query])}
    claims = [{"text": "SDA helps", "better": "model-2", "worse": "model-1"}]
    found = by_nuisance(split, scores, pids, claims)
    claim = found["claims"][0]
    assert claim["groups"]["occlusion"]["verdict"] == "holds"
    assert claim["groups"]["occlusion"]["trainings"]["mean"] == pytest.approx(0.2, abs=0.01)
    assert claim["groups"]["changing light"]["trainings"]["mean"] == pytest.approx(0, abs=0.01)
    assert claim["more"]["occlusion"]["low"] > 0.15
    assert claim["more"]["changing light"]["low"] < 0 < claim["more"]["changing light"]["high"]
    assert set(found["groups"]) == {CLEAN, "occlusion", "changing light", "motion blur"}
    assert found["groups"]["occlusion"]["people"] == sum(pid // 2 % 3 == 0 for pid in PEOPLE)
    values = [s.outcomes.average_precisions[occluded].mean() for s in base.values()]
    assert found["rows"]["model-1"]["occlusion"]["mean"] == pytest.approx(math.fsum(values) / 3)
