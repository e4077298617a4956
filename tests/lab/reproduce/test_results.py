"""From runs to tables."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from data.miniature import write_ilids_vid, write_mars
from intraclip.cli.common import print_table
from intraclip.config_io import recipe_from_table
from intraclip.core.files import write_json, write_text
from intraclip.data.readers import read_split
from intraclip.embed.embeddings_io import save_embeddings
from intraclip.lab.reproduce.experiments import EXPERIMENTS, MEASURES, Experiment
from intraclip.lab.reproduce.plan import PlannedRun
from intraclip.lab.reproduce.results import table_result
from intraclip.lab.reproduce.run import Plan, plan, reproduce
from intraclip.lab.reproduce.tables import p_text, page, remarks, short_tables, tables
from intraclip.lab.view import View
from intraclip.metrics.embeddings import Embeddings
from lab.reproduce.tiny import ilids, make, mars, planned, prid


def silent() -> View:
    from contextlib import nullcontext

    return View(say=lambda text: None, progress=lambda name: nullcontext(lambda *_: None))


def write_run(run: PlannedRun, noise: float, *, commit: str = "abc", torch: str = "2.0") -> None:
    """What a table reads of a run, as if it had been trained: people as directions in space, and noise."""
    split = read_split(run.source.root, split=run.split)
    pids = np.array([t.pid for t in split.test])
    rng = np.random.default_rng(list(run.name.encode()))
    directions = np.random.default_rng(0).normal(size=(64, 32))
    save_embeddings(
        run.folder / "embeddings.npz",
        Embeddings(
            features=(directions[pids] + noise * rng.normal(size=(len(pids), 32))).astype(np.float32),
            pids=pids,
            camids=np.array([t.camid for t in split.test]),
            is_query=np.arange(len(pids)) < len(split.query),
        ),
    )
    said = {"commit": commit, "packages": {"torch": torch, "numpy": "2"}, "parameters": 9}
    write_json(run.folder / "environment.json", said)
    epochs = (
        {"epoch": n, "seconds": 2.0, "accuracy": n / 4, "identity": 3.0 - n, "triplet": 0.5 / n}
        for n in (1, 2)
    )
    write_text(run.folder / "metrics.jsonl", "".join(f"{json.dumps(epoch)}\n" for epoch in epochs))


def written(folder: Path, noise: dict[str, float], *, seeds: int = 4, **special: dict[str, str]) -> Plan:
    """Table 1 on 14 test people; `special` says what a row's runs were made with."""
    data = write_mars(folder / "mars", train_pids=(1, 3, 5), test_pids=range(2, 30, 2), frames=1)
    found = planned(folder, "table1", data, seeds=seeds)
    for row, runs in found.plans[0].runs["mars"].items():
        for run in runs:
            write_run(run, noise[row], **special.get(row.replace("-", "_"), {}))
    return found


def result_of(found: Plan) -> dict[str, Any]:
    return table_result(found.plans[0], found.settings, recipe="tiny", say=lambda text: None)


GOOD_ICA = {"model-1": 1.5, "model-2": 1.5, "model-3": 0.9, "model-4": 0.9}


@pytest.fixture(scope="module")
def good_ica(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Table 1 where ICA helps and SDA does nothing."""
    return result_of(written(tmp_path_factory.mktemp("good"), GOOD_ICA))


@pytest.fixture(scope="module")
def table1(tmp_path_factory: pytest.TempPathFactory):
    """Table 1 on miniature data with two seeds: the plan and the result."""
    folder = tmp_path_factory.mktemp("table1")
    found = planned(folder, "table1", mars(folder), seeds=2)
    for run in found.runs:
        make(run)
    found = planned(folder, "table1", folder / "mars", seeds=2)
    result = table_result(found.plans[0], found.settings, recipe="tiny", say=lambda text: None)
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
        last = [
            json.loads(
                (found.settings.out / "runs" / e["run"] / "metrics.jsonl").read_text().splitlines()[-1]
            )
            for e in own["runs"]
        ]
        for name in ("accuracy", "identity", "triplet"):
            assert own[f"training_{name}"] == pytest.approx(sum(epoch[name] for epoch in last) / 2)


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


@pytest.mark.parametrize("flipped", [False, True], ids=["ICA helps", "ICA harms"])
def test_verdicts_follow_from_the_runs(good_ica, tmp_path: Path, flipped: bool):
    result = good_ica
    if flipped:
        result = result_of(written(tmp_path, dict(zip(GOOD_ICA, reversed(GOOD_ICA.values()), strict=True))))
    clear = "reversed" if flipped else "holds"
    verdicts = []
    for claim in result["claims"]:
        by_seed = [
            {e["seed"]: e["mAP"] for e in result["rows"][claim[key]]["results"]["mars"]["runs"]}
            for key in ("better", "worse")
        ]
        found = claim["results"]["mars"]["mAP"]
        differences = [by_seed[0][seed] - by_seed[1][seed] for seed in range(4)]
        ends = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        assert (found["trainings"]["low"], found["trainings"]["high"]) == pytest.approx(tuple(ends))
        assert found["people"]["count"] == 14
        signs = {np.sign(end) for end in (*ends, found["people"]["low"], found["people"]["high"])}
        assert found["verdict"] == {(1.0,): "holds", (-1.0,): "reversed"}.get(tuple(signs), "open")
        verdicts.append(found["verdict"])
    assert verdicts == ["open", clear, "open", clear, clear]


def test_p_over_people_takes_all_claims_of_the_table_into_account(good_ica):
    for measure in ("mAP", "rank1"):
        people = [claim["results"]["mars"][measure]["people"] for claim in good_ica["claims"]]
        smallest = min(people, key=lambda found: found["p_value"])
        assert smallest["p_holm"] == pytest.approx(min(1, 5 * smallest["p_value"]))
        assert all(found["p_value"] <= found["p_holm"] <= 1 for found in people)
    decisive = [claim["results"]["mars"]["mAP"]["people"] for claim in good_ica["claims"]]
    for table in (tables(good_ica)[-1], short_tables(good_ica)[-1]):
        for row, found in zip(table.rows, decisive, strict=True):
            assert row[2].endswith(p_text(found["p_holm"]))
    assert "adjusted for the 5 claims of a table (Holm 1979)" in " ".join(remarks(good_ica))


def test_one_claim_needs_no_adjustment(tmp_path: Path):
    found = written(tmp_path, GOOD_ICA)
    experiment = replace(found.plans[0].experiment, claims=found.plans[0].experiment.claims[:1])
    alone = replace(found, plans=(replace(found.plans[0], experiment=experiment),))
    result = result_of(alone)
    people = result["claims"][0]["results"]["mars"]["mAP"]["people"]
    assert people["p_holm"] == people["p_value"]
    assert "Holm" not in page(result).markdown()


def test_seeds_of_several_splits_are_averaged_and_n_is_said(tmp_path: Path):
    first, second = (5, 6, 7, 8, 1, 2, 3, 4), (1, 2, 3, 4, 5, 6, 7, 8)
    data = write_ilids_vid(tmp_path / "i", pids=range(1, 9), splits=(first, second))
    found = planned(tmp_path, "table1", data, splits="all", seeds=3)
    for row, runs in found.plans[0].runs["ilids-vid"].items():
        for run in runs:
            write_run(run, GOOD_ICA[row])
    result = result_of(found)
    own = result["rows"]["model-4"]["results"]["ilids-vid"]
    by_split = [[e["mAP"] for e in own["runs"] if e["split"] == split] for split in (0, 1)]
    assert [len(found) for found in by_split] == [3, 3]
    measured = own["measures"]["mAP"]
    assert measured["count"] == 2
    assert measured["deviation"] == pytest.approx(np.std(np.mean(by_split, axis=1), ddof=1))
    assert all(c["results"]["ilids-vid"]["mAP"]["trainings"]["count"] == 2 for c in result["claims"])
    said = " ".join(remarks(result))
    assert "iLIDS-VID: n = 2, the trainings are the splits, the 3 seeds of each averaged first" in said
    # Four people a split, eight in both.
    assert "too few" not in said


def test_few_test_people_are_said(table1):
    assert "mars: 4 test people are too few for any claim to count as shown" in " ".join(remarks(table1[1]))


def test_losses_stand_beside_the_accuracy_with_the_level_of_chance(good_ica):
    training = tables(good_ica)[1]
    assert training.header == ("", "time", "accuracy", "identity loss (chance 1.10)", "triplet loss")
    assert {row[1:] for row in training.rows} == {("4 s", "0.50", "1.00", "0.25")}
    assert short_tables(good_ica)[0].header[-3:] == ("accuracy", "identity", "triplet")
    said = " ".join(remarks(good_ica))
    assert f"MARS ln 3 = {math.log(3):.2f}" in said
    assert "cannot be compared between augmentation modes" in said
    assert "| 4 s | 0.50 | 1.00 | 0.25 |" in page(good_ica).markdown()


def test_claims_about_rows_near_chance_are_no_result(good_ica):
    (verdicts,) = ({row[-1] for row in table.rows} for table in tables(good_ica) if table.title == "Gains")
    assert "no result: model-2 and model-1 hardly trained" in verdicts  # 1.00 of 1.10
    trained = json.loads(json.dumps(good_ica))
    for claim in trained["claims"]:
        claim["untrained"]["mars"] = []
    (verdicts,) = ({row[-1] for row in table.rows} for table in tables(trained) if table.title == "Gains")
    assert "yes" in verdicts


def test_the_training_curve_of_every_row_is_shown(table1):
    found, result = table1
    (curves,) = (table for table in tables(result) if "by epoch" in table.title)
    runs = found.plans[0].runs["mars"]["model-1"]
    lines = [[json.loads(x) for x in (r.folder / "metrics.jsonl").read_text().splitlines()] for r in runs]
    wanted = [f"{(a['identity'] + b['identity']) / 2:.2f}" for a, b in zip(*lines, strict=True)]
    assert list(curves.rows[0][1:]) == wanted
    assert curves.header[1:] == tuple(str(line["epoch"]) for line in lines[0])


def test_the_json_holds_the_whole_recipe_of_every_row(table1):
    found, result = table1
    for key, runs in found.plans[0].runs["mars"].items():
        told = json.loads(json.dumps(result["rows"][key]["recipe"]))
        assert "seed" not in told
        assert "split" not in told["data"]
        assert recipe_from_table(told, source="the table") == replace(runs[0].recipe, seed=0)
        assert told["optimizer"]["epochs"] == 2


def test_claims_over_different_code_are_named(good_ica, tmp_path: Path):
    assert not any("different code" in remark for remark in remarks(good_ica))
    some = result_of(written(tmp_path / "a", GOOD_ICA, model_2={"commit": "def"}))
    (line,) = (remark for remark in remarks(some) if "different code" in remark)
    assert "(commit abc, def), in the claims: SDA helps the baseline; ICA helps with SDA." in line
    assert some["claims"][0]["differing"] == {"mars": {"commit": ["abc", "def"]}}
    assert some["claims"][1]["differing"] == {"mars": {}}
    older = {"torch": "1.9"}
    every = result_of(written(tmp_path / "b", GOOD_ICA, model_2=older, model_3=older))
    (line,) = (remark for remark in remarks(every) if "different code" in remark)
    assert "(torch 1.9, 2.0), in the claims: " in line
    assert "ICA and SDA together" not in line


def wide_result(experiment: Experiment, layout: str) -> dict[str, Any]:
    """A result whose numbers take all the room they may."""
    number = {"count": 5, "mean": 1.0, "deviation": 0.1, "low": 0.9, "high": 1.0, "p_value": 0.0012}
    gain = {
        "trainings": number | {"mean": -0.112, "low": -0.223, "high": -0.101},
        "people": number | {"low": -0.223, "high": -0.101, "p_holm": 0.0012},
        "verdict": "reversed",
    }
    own = {"measures": dict.fromkeys(MEASURES, number), "seconds": 40000.0, "training_accuracy": 0.5}
    own |= {"training_identity": 4.61, "training_triplet": 0.31}
    return {
        "measured_by": experiment.measured_by,
        "datasets": {
            layout: dict.fromkeys(("queries", "test_people", "gallery"), 1980)
            | {"protocol": "mars-full", "rendered": None, "splits": [0]}
        },
        "rows": {
            row.key: {"label": row.label, "printed": row.printed, "results": {layout: own}}
            for row in experiment.rows
        },
        "claims": [
            {"text": claim.text, "results": {layout: {experiment.measured_by: gain}}}
            for claim in experiment.claims
        ],
    }


@pytest.mark.parametrize("experiment", [e for e in EXPERIMENTS.values() if e.claims], ids=lambda e: e.name)
def test_a_terminal_of_120_columns_holds_every_number(experiment, capsys):
    every = (short_tables(wide_result(experiment, layout)) for layout in experiment.layouts)
    for table in itertools.chain(*every):
        print_table(table.header, table.rows)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 120
        for row in table.rows:
            # One line holds all of a row's cells whole; a long label goes on below it.
            assert any(all(cell in line for cell in row[1:]) for line in lines), row
        header = "".join(lines[:3])
        assert all(name in header for name in table.header)


def test_the_paper_stands_beside_ours(table1):
    _, result = table1
    text = page(result).markdown()
    assert "| Model 4: ICA + SDA |" in text
    for printed in ("87.5", "81.6", "77.8"):
        assert printed in text
    assert "rank-1 +9.7, mAP +7.1" in text
    assert "differs" not in text
    scores, training, _, gains = tables(result)
    for table in (scores, training):
        assert {len(row) for row in table.rows} == {len(table.header)}
    assert {len(row) for row in gains.rows} == {len(gains.header)}
    assert len(gains.rows) == 5


def test_the_terminal_gets_fewer_columns(table1):
    _, result = table1
    scores, gains = short_tables(result)
    assert len(scores.header) <= 9
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
        replace(found.settings, protocol="mars-no-query", distance="cosine"),
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
    found = planned(tmp_path, "table1", tmp_path / "mars", data, splits="all")
    settings = replace(found.settings, only=("model-1", "model-2"))  # a claim needs two rows
    for run in plan(settings).runs:
        make(run)
    again = plan(settings)
    assert len(again.runs) == 6
    assert all(run.state == "done" for run in again.runs)
    (path,) = reproduce(again, silent())
    text = path.read_text()
    assert "**MARS:" in text
    assert "**iLIDS-VID, 2 splits:" in text
    assert "iLIDS-VID: n = 2, the trainings are the splits; splits share people" in text
    assert "Nadeau & Bengio" in text
    page = path.with_suffix(".html").read_text()
    for said in (text, page):
        assert f"identity loss (chance {math.log(6):.2f})" in said  # MARS here
        assert f"identity loss (chance {math.log(4):.2f})" in said  # iLIDS-VID here
        assert "triplet loss" in said


def test_table_4_tests_every_training_split_on_every_test_split(tmp_path: Path):
    first, second = ilids(tmp_path), prid(tmp_path)
    found = planned(tmp_path, "table4", first, second)
    for run in found.runs:
        make(run)
    again = planned(tmp_path, "table4", first, second)
    said: list[str] = []
    result = table_result(again.plans[0], again.settings, recipe="tiny", say=said.append)
    assert len(said) == 3
    data = result["datasets"]["prid2011"]
    assert (data["trained_on"], data["splits"]) == ("ilids-vid", [0])
    assert result["rows"]["stsrn"]["results"] == {}
    assert result["rows"]["stsrn"]["recipe"] is None
    # People and splits that were trained on, not those of the other data set.
    assert data["trained_splits"] == [0]
    assert data["chance_identity_loss"] == pytest.approx(math.log(4))
    assert "iLIDS-VID ln 4 = 1.39" in " ".join(remarks(result))
    cached = sorted((tmp_path / "out").rglob("cross-prid2011.json"))
    assert len(cached) == 3
    said.clear()
    second_time = table_result(again.plans[0], again.settings, recipe="tiny", say=said.append)
    assert said == []
    assert second_time["rows"] == result["rows"]
    # Another distance cannot come from the cache.
    table_result(again.plans[0], replace(again.settings, distance="cosine"), recipe="tiny", say=said.append)
    assert len(said) == 3
    write_json(tmp_path / "x.json", result)
    assert "41.6" in page(result).markdown()
    assert "not trained" in page(result).markdown()


def test_p_values_are_not_zero():
    assert p_text(0.0) == "p < 0.001"
    assert p_text(0.25) == "p 0.25"
