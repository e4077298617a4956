"""`intraclip score` as a person types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intraclip.cli.main import main


def write(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(1, 9), 2)
    camids = np.tile([1, 2], 8)
    content = {
        "features": rng.normal(size=(9, 5))[pids] + 0.5 * rng.normal(size=(16, 5)),
        "pids": pids,
        "camids": camids,
        "is_query": camids == 1,
    }
    np.savez(path, **{**content, **changes})
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "theirs.npz")


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "Traceback" not in err
    return err


def test_the_table_says_what_makes_the_numbers(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["score", str(file), "--distance", "cosine"]) == 0
    out = capsys.readouterr().out
    assert "16 tracklets, 8 queries, embeddings of size 5" in out
    assert "95 % interval, had other people been tested (8 people): rank-1" in out
    assert "distance cosine; queries without a match are not counted" in out
    assert "cross-camera is the default" in out


def test_all_protocols_come_side_by_side_and_equal_ones_once(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["score", str(file), "--protocol", "all"]) == 0
    out = capsys.readouterr().out
    assert out.count("│ mars-") == 3
    assert "mars-no-query (ilids-vid, prid2011, lsvid, cross-camera: the same here)" in out


def test_json_is_keyed_by_protocol(file: Path, capsys: pytest.CaptureFixture[str]):
    write(file, is_query=np.tile([1, 0], 8))
    assert main(["score", str(file), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result) == ["cross-camera"]
    value = result["cross-camera"]
    wanted = {
        "rank1",
        "rank5",
        "rank10",
        "rank20",
        "mAP",
        "mINP",
        "queries",
        "queries_without_match",
        "gallery",
    }
    assert wanted <= set(value)
    assert (value["queries"], value["gallery"], value["distance"]) == (8, 8, "euclidean")
    assert set(value["intervals"]["scores"]["mAP"]) == {"value", "low", "high"}
    assert value["notes"] == ["is_query comes as int64: 1 is read as query, 0 as gallery"]
    assert main(["score", str(file), "--json", "--protocol", "all"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 7


def test_a_protocol_that_cannot_be_scored_is_said_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    everyone = write(tmp_path / "a.npz", is_query=np.ones(16, bool))
    assert main(["score", str(everyone), "--protocol", "all", "--json"]) == 0
    captured = capsys.readouterr()
    assert list(json.loads(captured.out)) == ["mars-official", "mars-full"]
    assert (
        "not scored under mars-no-query, ilids-vid, prid2011, lsvid, cross-camera: protocol mars"
        in captured.err
    )
    assert "finds 16 queries and 0 gallery tracklets" in captured.err
    assert main(["score", str(everyone), "--protocol", "all"]) == 0
    assert "not scored under mars-no-query, ilids-vid" in capsys.readouterr().out


def test_reranked_scores_stand_apart(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["score", str(file), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)["cross-camera"]
    assert main(["score", str(file), "--rerank", "--json"]) == 0
    both = json.loads(capsys.readouterr().out)["cross-camera"]
    reranked = both.pop("reranked")
    assert both == plain
    assert reranked["label"] == "k-reciprocal re-ranked (k1=20, k2=6, lambda=0.3)"
    assert (reranked["queries"], reranked["gallery"]) == (plain["queries"], plain["gallery"])
    assert main(["score", str(file), "--rerank"]) == 0
    out = capsys.readouterr().out
    assert "cross-camera, re-ranked" in out
    assert "compare it with other re-ranked scores alone" in out


def test_two_files_are_compared(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = write(tmp_path / "other.npz", features=np.random.default_rng(1).normal(size=(16, 5)))
    assert main(["score", str(file), "--against", str(other)]) == 0
    assert "cross-camera, mAP" in capsys.readouterr().out
    assert main(["score", str(file), "--against", str(other), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["cross-camera"]["against"]["scores"]["mAP"]
    assert 0 < found["p_value"] <= 1
    assert found["second"] > found["first"]


def test_thresholds_are_printed_and_written(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "calibration.json"
    argv = ["score", str(file), "--calibrate", str(out)]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "equal error rate" in text
    assert "false-match rate 0.0001" in text
    assert "(too few pairs)" in text
    assert json.loads(out.read_text())["genuine_pairs"] == 8
    assert "exists; name another file, or add --force" in refused(capsys, *argv)
    assert main([*argv, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cross-camera"]["calibration"] == json.loads(out.read_text())
    assert "belongs to one protocol" in refused(capsys, *argv, "--force", "--protocol", "all")


def test_bad_files_get_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "there is no embeddings file" in refused(capsys, "score", tmp_path / "none.npz")
    wrong = write(tmp_path / "wrong.npz", camids=np.ones(64, int))
    assert "lengths differ: features 16, pids 16, camids 64, is_query 16" in refused(capsys, "score", wrong)
    text = write(tmp_path / "text.npz", is_query=np.array(["False"] * 16))
    assert "is_query holds <U5" in refused(capsys, "score", text)
    nobody = write(tmp_path / "nobody.npz", is_query=np.zeros(16, int))
    assert "has no queries" in refused(capsys, "score", nobody)
    fine = write(tmp_path / "fine.npz")
    assert "protocol 'mars' is not one of" in refused(capsys, "score", fine, "--protocol", "mars")
    assert "text.npz: 1 problem" in refused(capsys, "score", fine, "--against", text)


def test_parquet_without_its_extra_names_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "pip install 'intraclip[parquet]'" in refused(capsys, "score", tmp_path / "a.parquet")


# -- audit -------------------------------------------------------------------------------------------------


def test_the_audit_names_faults_and_rows_and_exits_with_1(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["score", str(file), "--audit"]) == 0
    assert "theirs.npz: no findings in 16 rows" in capsys.readouterr().out
    names = np.array([f"cam{c}_p{i:02d}" for i, c in enumerate(np.tile([1, 2], 8))])
    camids = np.tile([1, 2], 8)
    camids[5] = 1
    wrong = write(tmp_path / "wrong.npz", names=names, camids=camids)
    assert main(["score", str(wrong), "--audit"]) == 1
    out = capsys.readouterr().out
    assert "camids-against-names: camids are not the cameras of the names; 1 of 16 rows" in out
    assert "  rows: cam2_p05" in out
    assert "  cross-camera, euclidean: rank-1 " in out
    assert "; mended rank-1 " in out
    assert "  do: write the camera of each tracklet" in out
    assert main(["score", str(wrong), "--audit", "--json", "--protocol", "mars-full"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["protocol"], found["distance"], found["logs"]) == ("mars-full", "euclidean", {})
    assert [(f["fault"], f["rows"], f["names"]) for f in found["findings"]] == [
        ("camids-against-names", [5], ["cam2_p05"])
    ]


def test_numbers_of_a_log_are_traced(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["score", str(file), "--json", "--distance", "cosine"]) == 0
    log, other = tmp_path / "theirs.json", tmp_path / "other.txt"
    log.write_text(capsys.readouterr().out)
    other.write_text("Rank-1: 12.34%\n")
    argv = ["score", str(file), "--audit", "--against-log", str(log), "--against-log", str(other)]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "theirs.json, line " in out
    assert "mars-no-query, cosine" in out
    assert "other.txt, line 1: rank-1 12.3 is given by no way of counting; the nearest, rank-1 " in out
    assert main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["logs"]
    assert "cosine" in {way["distance"] for way in found[str(log)][0]["given_by"]}
    assert found[str(other)][0]["given_by"] == []


def test_people_of_the_training_set_are_named(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["score", str(file), "--audit", "--audit-train", str(file)]) == 1
    assert "train-people: 8 people of the test were trained on" in capsys.readouterr().out


def test_wrong_audits_get_one_clear_error(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    log = tmp_path / "a.log"
    argv = ["score", str(file)]
    assert "belong to --audit; add it" in refused(capsys, *argv, "--against-log", log)
    assert "cannot be read: No such file" in refused(capsys, *argv, "--audit", "--against-log", log)
    log.write_text("nothing here")
    assert "holds no rank-1 and no mAP" in refused(capsys, *argv, "--audit", "--against-log", log)
    assert "takes no --against, --rerank" in refused(capsys, *argv, "--audit", "--rerank")
    within = refused(capsys, *argv, "--audit", "--protocol", "within-camera")
    assert "looks across cameras; protocol within-camera does not" in within
    assert "protocol 'all' is not one of" in refused(capsys, *argv, "--audit", "--protocol", "all")
    nan = np.full((16, 5), np.nan)
    assert "16 of 16 embeddings are not finite" in refused(
        capsys, "score", write(tmp_path / "n.npz", features=nan), "--audit"
    )
