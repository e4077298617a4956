"""From runs to tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.miniature import write_ilids_vid
from intraclip.engine.run import write_json
from intraclip.reproduce.results import Scoring, table_result
from intraclip.reproduce.run import View, reproduce
from intraclip.reproduce.tables import markdown, p_text, remarks, short_tables, tables
from reproduce.tiny import ilids, make, mars, planned, prid


def silent() -> View:
    from contextlib import nullcontext

    return View(say=lambda text: None, progress=lambda name: nullcontext(lambda *_: None))


@pytest.fixture(scope="module")
def table1(tmp_path_factory: pytest.TempPathFactory):
    """Table 1 on miniature data with two seeds: the plan and the result."""
    folder = tmp_path_factory.mktemp("table1")
    found = planned(folder, "table1", mars(folder), seeds=2)
    for run in found.runs:
        make(run)
    found = planned(folder, "table1", folder / "mars", seeds=2)
    result = table_result(found.plans[0], Scoring(), scale="smoke", recipe="tiny", say=lambda text: None)
    return found, json.loads(json.dumps(result))


def test_rows_hold_what_the_runs_were_scored_with(table1):
    found, result = table1
    for row in result["rows"].values():
        own = row["results"]["mars"]
        for entry in own["runs"]:
            folder = found.settings.out / "runs" / entry["run"]
            scores = json.loads((folder / "evaluation.json").read_text())["scores"]["mars-full"]
            for measure in ("rank1", "rank5", "rank20", "mAP", "mINP"):
                assert entry[measure] == pytest.approx(scores[measure])
        values = [entry["mAP"] for entry in own["runs"]]
        assert own["measures"]["mAP"]["mean"] == pytest.approx(sum(values) / 2)
        assert own["parameters"] > 0


def test_gains_are_paired_by_seed(table1):
    _, result = table1
    rows = result["rows"]
    for claim in result["claims"]:
        by_seed = [
            {e["seed"]: e["mAP"] for e in rows[claim[key]]["results"]["mars"]["runs"]}
            for key in ("better", "worse")
        ]
        wanted = sum(by_seed[0][s] - by_seed[1][s] for s in (0, 1)) / 2
        found = claim["results"]["mars"]["mAP"]
        assert found["trainings"]["mean"] == pytest.approx(wanted)
        assert found["people"]["difference"] == pytest.approx(wanted)
        assert found["verdict"] in ("holds", "reversed", "open")


def test_the_paper_stands_beside_ours(table1):
    _, result = table1
    text = markdown(result)
    assert "| Model 4: ICA + SDA |" in text
    for printed in ("87.5", "81.6", "77.8"):
        assert printed in text
    assert "rank-1 +9.7, mAP +7.1" in text
    assert "differs" not in text
    scores, gains = tables(result)
    assert {len(row) for row in scores.rows} == {len(scores.header)}
    assert {len(row) for row in gains.rows} == {len(gains.header)}
    assert len(gains.rows) == 5


def test_the_terminal_gets_fewer_columns(table1):
    _, result = table1
    scores, gains = short_tables(result)
    assert len(scores.header) <= 6
    assert {len(row) for row in (*scores.rows,)} == {len(scores.header)}
    assert {len(row) for row in gains.rows} == {len(gains.header)}


def test_how_the_numbers_were_taken_is_said(table1):
    _, result = table1
    said = " ".join(remarks(result))
    assert "training seeds 0, 1," in said
    assert "euclidean" in said
    assert "8 runs on" in said
    assert "not the published data set" in said  # the miniature has other counts than MARS


def test_other_protocols_and_distances_need_no_new_runs(table1):
    found, result = table1
    other = table_result(
        found.plans[0],
        Scoring(protocol="mars-no-query", distance="cosine"),
        scale="smoke",
        recipe="tiny",
        say=lambda text: None,
    )
    assert other["datasets"]["mars"]["protocol"] == "mars-no-query"
    assert other["distance"] == "cosine"
    assert other["datasets"]["mars"]["gallery"] < result["datasets"]["mars"]["gallery"]


def test_several_data_sets_and_splits_make_several_tables(tmp_path: Path):
    found = planned(tmp_path, "ablation-schedule", mars(tmp_path))
    assert [source.layout for source in found.plans[0].sources] == ["mars"]
    data = write_ilids_vid(
        tmp_path / "i", pids=range(1, 9), splits=((1, 2, 3, 4, 5, 6, 7, 8), (5, 6, 7, 8, 1, 2, 3, 4))
    )
    found = planned(tmp_path, "table1", tmp_path / "mars", data, splits=())
    for run in found.runs:
        if run.folder.parent.name in {r.folder.parent.name for r in found.runs[:4]}:
            make(run)
    again = planned(tmp_path, "table1", tmp_path / "mars", data, splits=())
    assert all(run.state == "done" for run in again.runs)
    (path,) = reproduce(again, silent())
    text = path.read_text()
    assert "**MARS:" in text
    assert "**iLIDS-VID, 2 splits:" in text
    assert "Nadeau & Bengio" in text


def test_table_4_tests_every_training_split_on_every_test_split(tmp_path: Path):
    first, second = ilids(tmp_path), prid(tmp_path)
    found = planned(tmp_path, "table4", first, second)
    for run in found.runs:
        make(run)
    again = planned(tmp_path, "table4", first, second)
    said: list[str] = []
    result = table_result(again.plans[0], Scoring(), scale="smoke", recipe="tiny", say=said.append)
    assert len(said) == 3
    data = result["datasets"]["prid2011"]
    assert (data["trained_on"], data["splits"]) == ("ilids-vid", [0])
    assert result["rows"]["stsrn"]["results"] == {}
    cached = sorted((tmp_path / "out").rglob("cross-prid2011.json"))
    assert len(cached) == 3
    said.clear()
    second_time = table_result(again.plans[0], Scoring(), scale="smoke", recipe="tiny", say=said.append)
    assert said == []
    assert second_time["rows"] == result["rows"]
    # Another distance cannot come from the cache.
    table_result(again.plans[0], Scoring(distance="cosine"), scale="smoke", recipe="tiny", say=said.append)
    assert len(said) == 3
    write_json(tmp_path / "x.json", result)
    assert "41.6" in markdown(result)
    assert "not trained" in markdown(result)


def test_p_values_are_not_zero():
    assert p_text(0.0) == "p < 0.001"
    assert p_text(0.25) == "p 0.25"
