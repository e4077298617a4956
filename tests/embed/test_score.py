"""Embeddings files of other systems: what is refused, what is said, and what is counted."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from intraclip.embed.embeddings_io import EmbeddingsFile, load_embeddings, read_embeddings
from intraclip.embed.score import aligned, calibrate_file, score_file
from intraclip.errors import ConfigError, DataError
from intraclip.metrics.audit import repeated_rows
from intraclip.metrics.protocols import PROTOCOLS
from intraclip.metrics.ranking import score
from intraclip.metrics.side_by_side import distinct, protocols_named


def arrays(people: int = 8, cameras: int = 3, seed: int = 0) -> dict[str, Any]:
    """One tracklet a person and camera; those of camera 1 are the queries."""
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(1, people + 1), cameras)
    camids = np.tile(np.arange(1, cameras + 1), people)
    features = rng.normal(size=(people + 1, 6))[pids] + 0.6 * rng.normal(size=(len(pids), 6))
    return {"features": features, "pids": pids, "camids": camids, "is_query": camids == 1}


def write(path: Path, content: Mapping[str, Any]) -> Path:
    np.savez(path, **content)
    return path


def read(path: Path, **changes: Any) -> EmbeddingsFile:
    return read_embeddings(write(path / "file.npz", {**arrays(), **changes}))


# -- reading -----------------------------------------------------------------------------------------------


def test_a_file_of_another_system_is_read_as_it_is(tmp_path: Path):
    file = read(tmp_path, features=arrays()["features"].astype(np.float16))
    assert file.embeddings.features.dtype == np.float32
    assert file.embeddings.names == ()
    assert file.notes == ()
    extra = read(tmp_path, more=np.array([{}], dtype=object))  # not asked for, so not opened
    assert len(extra.embeddings) == 24


def test_whole_floats_and_zeros_and_ones_are_accepted_and_said(tmp_path: Path):
    plain = arrays()
    file = read(
        tmp_path,
        camids=plain["camids"].astype(np.float64),
        pids=plain["pids"].astype(np.uint16),
        is_query=plain["is_query"].astype(np.int64),
        names=np.array([f"t{i}".encode() for i in range(24)]),
    )
    assert np.array_equal(file.embeddings.camids, plain["camids"])
    assert np.array_equal(file.embeddings.is_query, plain["is_query"])
    assert file.embeddings.names[:2] == ("t0", "t1")
    assert len(file.notes) == 2
    assert "camids comes as float64" in file.notes[0]
    assert "is_query comes as int64: 1 is read as query" in file.notes[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"camids": np.ones(96, np.int64)},
            r"lengths differ: features 24, pids 24, camids 96, is_query 24; .*97 rank-1 on MARS",
        ),
        ({"features": np.zeros((25, 3))}, "lengths differ: features 25, pids 24"),
        ({"names": np.array(["a"] * 23)}, "lengths differ: .*names 23"),
        ({"features": np.zeros(24)}, r"features has shape \[24\], \[N, D\]"),
        ({"features": np.zeros((24, 0))}, r"features has shape \[24, 0\]"),
        ({"features": np.full((24, 2), "a")}, "features holds <U1, real numbers"),
        ({"features": np.zeros((24, 2), bool)}, "features holds bool"),
        ({"features": np.zeros((24, 2), complex)}, "features holds complex128"),
        ({"features": np.full((24, 2), 1e300)}, "24 of 24 embeddings hold values beyond float32: row 0"),
        ({"pids": np.ones((24, 1), int)}, r"pids has shape \[24, 1\]"),
        ({"pids": np.array(["1"] * 24)}, "pids holds <U1, whole numbers"),
        ({"pids": np.full(24, 2**64 - 1, np.uint64)}, "pids holds 18446744073709551615, which is beyond int64"),
        ({"pids": np.ones(24, bool)}, "pids holds bool, whole numbers"),
        ({"camids": np.full(24, 1.5)}, "camids holds float64 and 24 of 24 values are no whole numbers: 1.5 in row 0"),
        ({"camids": np.full(24, np.nan)}, "24 of 24 values are no whole numbers: nan in row 0"),
        ({"is_query": np.array(["False"] * 24)}, "is_query holds <U5; true and false"),
        ({"is_query": np.arange(24)}, "is_query holds 2, 3, 4, 5, 6 and 17 more; nothing but 1"),
        ({"is_query": np.ones((24, 1), bool)}, r"is_query has shape \[24, 1\]"),
        ({"names": np.array(["a", "b"] * 12)}, r"names occur twice: 'a' \(12 rows\), 'b' \(12 rows\)"),
        ({"names": np.ones(24)}, "names holds float64"),
        ({"names": np.array(["x"] * 24, dtype=object)}, "names holds pickled Python objects.*not opened"),
        ({"pids": np.array([1] * 24, dtype=object)}, "pids holds pickled Python objects"),
    ],
)  # fmt: skip
def test_what_would_give_wrong_scores_is_refused(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, **changes)
    assert str(tmp_path / "file.npz") in str(caught.value)


def test_all_that_is_wrong_with_the_arrays_comes_at_once(tmp_path: Path):
    features = arrays()["features"]
    features[3, 1], features[7] = np.nan, np.inf
    with pytest.raises(DataError) as caught:
        read(tmp_path, features=features, camids=np.full(24, 0.5), is_query=np.full(24, 7))
    text = str(caught.value)
    assert "3 problems" in text
    assert "2 of 24 embeddings are not finite (NaN or infinite): row 3, row 7" in text
    with pytest.raises(DataError, match=r"row 3 \(t3\), row 7 \(t7\)"):
        read(tmp_path, features=features, names=np.array([f"t{i}" for i in range(24)]))


class Trap:
    """A pickle that would tell on itself."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("a pickle was run",))


def test_files_that_are_no_npz_are_explained_and_no_pickle_is_run(tmp_path: Path):
    bad = tmp_path / "bad.npz"

    def said() -> str:
        with pytest.raises(DataError) as caught:
            load_embeddings(bad)
        return str(caught.value)

    assert "there is no embeddings file" in said()
    bad.write_bytes(pickle.dumps(Trap()))
    assert "looks like a pickle, which can run any program and is not opened" in said()
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    bad.write_bytes(stream.getvalue())
    assert "it is a single .npy array" in said()
    bad.write_bytes(b"PAR1 ...")
    assert "it is a Parquet file" in said()
    bad.write_bytes(b"")
    assert "it is no zip archive" in said()
    torch.save({"features": torch.zeros(3)}, bad)
    assert "is a PyTorch file with a pickle inside" in said()
    write(bad, {"qf": np.zeros((2, 2)), "gf": np.zeros((2, 2))})
    assert "lacks features, pids, camids, is_query; it has qf, gf. Queries and gallery stand" in said()
    write(bad, arrays())
    whole = bytearray(bad.read_bytes())
    whole[300:340] = bytes(40)
    bad.write_bytes(whole)
    assert "cannot be read as .npz, it is damaged" in said()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        load_embeddings(tmp_path)
    write(bad, {**arrays(), "features": np.array([[Trap()] * 2] * 24, dtype=object)})
    assert "features holds pickled Python objects" in said()


def test_parquet_gives_the_same_scores_and_its_own_errors(tmp_path: Path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    plain = {**arrays(), "names": np.array([f"t{i}" for i in range(24)])}
    path = tmp_path / "file.parquet"

    def table(**changes: Any) -> EmbeddingsFile:
        columns = {name: array.tolist() for name, array in plain.items()}
        parquet.write_table(pa.table({**columns, **changes}), path)
        return read_embeddings(path)

    expected = read(tmp_path, names=plain["names"])
    for features in (
        plain["features"].tolist(),
        pa.FixedSizeListArray.from_arrays(plain["features"].ravel(), 6),
    ):
        file = table(features=features)
        assert np.array_equal(file.embeddings.features, expected.embeddings.features)
        assert file.embeddings.names == expected.embeddings.names
        assert score_file(file).results == score_file(expected).results
    lists = plain["features"].tolist()
    for changes, message in (
        ({"features": [*lists[:-1], [1.0]]}, "the lists in features have lengths 1, 6"),
        ({"features": [1.0] * 24}, "features is a column of double; a list of numbers"),
        ({"features": [["a"]] * 24}, "features is a column of list"),
        ({"features": [*lists[:-1], None]}, "features has 1 empty cells"),
        ({"features": [*lists[:-1], [None] * 6]}, "features has 6 empty numbers"),
        ({"pids": [*range(23), None]}, "pids has 1 empty cells"),
        ({"pids": ["x"] * 24}, r"pids \(ndarray\) holds objects, numbers are needed"),
        ({"is_query": ["true"] * 24}, r"is_query \(ndarray\) holds objects"),
        ({"names": ["x"] * 24}, "names occur twice"),
    ):
        with pytest.raises(DataError, match=message):
            table(**changes)
    parquet.write_table(pa.table({"features": lists}), path)
    with pytest.raises(DataError, match="lacks pids, camids, is_query"):
        read_embeddings(path)
    path.write_bytes(b"no table")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_embeddings(path)


# -- scoring -----------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_metrics(tmp_path: Path):
    file = read(tmp_path)
    found = score_file(file, protocol="all", distance="cosine")
    assert list(found.results) == [p.name for p in protocols_named("all")]
    for name, result in found.results.items():
        expected = score(file.embeddings, PROTOCOLS[name], distance="cosine").to_json_dict()
        assert {key: result[key] for key in expected} == expected
        ends = result["intervals"]["scores"]["rank1"]
        assert ends["low"] <= result["rank1"] <= ends["high"]
    assert found.results["mars-no-query"]["same_as"] == ["ilids-vid", "prid2011", "lsvid", "cross-camera"]
    assert found.results["mars-full"]["same_as"] == []
    assert list(score_file(file).results) == ["cross-camera"]
    reranked = score_file(file, protocol="mars-full", rerank=True).results["mars-full"]["reranked"]
    assert reranked["protocol"] == "mars-full, k-reciprocal re-ranked (k1=20, k2=6, lambda=0.3)"
    assert (reranked["queries"], reranked["gallery"]) == (8, 24)
    with pytest.raises(ConfigError, match="protocol 'mars' is not one of"):
        score_file(file, protocol="mars")


def test_protocols_that_calculate_the_same_are_known():
    groups = [same for _, same in distinct(list(PROTOCOLS.values()))]
    assert len(groups) == 4
    assert sorted(name for same in groups for name in same) == sorted(PROTOCOLS)


def test_queries_without_a_match_are_counted_with_the_reason(tmp_path: Path):
    plain = arrays()
    pids, camids = plain["pids"].copy(), plain["camids"].copy()
    pids[[1, 2]] = 2  # nobody else is pid 1
    camids[[4, 5]] = 1  # pid 2 stays findable through rows 1 and 2
    camids[[7, 8]] = 1  # pid 3 is in camera 1 alone
    result = score_file(read(tmp_path, pids=pids, camids=camids)).results["cross-camera"]
    assert (result["queries"], result["queries_without_match"]) == (6, 2)
    assert result["without_match"] == {
        "pid_absent_from_gallery": {"queries": 1, "pids": [1]},
        "pid_in_own_camera_only": {"queries": 1, "pids": [3]},
    }
    assert result["notes"] == [
        "1 query is not counted, with a pid that is absent from the gallery: pid 1",
        "1 query is not counted, with a pid that the gallery has in the query's own camera alone: pid 3",
    ]
    with_queries = score_file(read(tmp_path, pids=pids, camids=camids), protocol="mars-full").results[
        "mars-full"
    ]
    assert with_queries["without_match"] == result["without_match"]


@pytest.mark.parametrize("protocol", ["cross-camera", "mars-full"])
def test_queries_of_nobody_change_no_score(tmp_path: Path, protocol: str):
    plain = arrays()
    rng = np.random.default_rng(1)
    extra = {
        "features": rng.normal(size=(6, 6)),
        "pids": np.array([-1, -1, 0, 0, -2, -2]),
        "camids": np.array([1, 2, 1, 2, 1, 2]),
    }
    # The second of each pair would be the "right" answer to the first.
    both = {k: np.concatenate([plain[k], extra[k]]) for k in extra}
    searched = [False, False, False, False, False, False] if protocol == "mars-full" else [False, True] * 3
    kept = np.concatenate([np.ones(24, bool), np.array(searched) | (protocol == "mars-full")])
    flags = np.concatenate([plain["is_query"], np.array([True, False] * 3)])
    none = np.concatenate([plain["is_query"], np.zeros(6, bool)])
    found = score_file(read(tmp_path, **both, is_query=flags), protocol=protocol)
    same = {k: v[kept] for k, v in {**both, "is_query": none}.items()}
    expected = score_file(read(tmp_path, **same), protocol=protocol).results[protocol]
    result = found.results[protocol]
    assert result["queries_ignored"] == {"junk": 1, "distractor": 1, "unknown": 1}
    assert {k: result[k] for k in ("cmc", "mAP", "queries", "gallery")} == {
        k: expected[k] for k in ("cmc", "mAP", "queries", "gallery")
    }
    text = "\n".join(found.notes)
    assert "1 query is of pid -1 (junk): not searched for and not counted" in text
    assert "1 query is of pid 0 (distractors): not searched for and not counted; where pids" in text
    assert "1 gallery tracklet is of pid 0 (distractors): searched, and never a right answer" in text


def test_nothing_to_score_is_said(tmp_path: Path):
    with pytest.raises(DataError, match=r"has no queries: is_query is false in all 24 rows"):
        score_file(read(tmp_path, is_query=np.zeros(24, bool)))
    with pytest.raises(
        DataError, match=r"none of the 8 queries is a person with a pid above 0 \(.*8 unknown\)"
    ):
        score_file(read(tmp_path, pids=np.full(24, -2)))
    with pytest.raises(DataError, match=r"file.npz: all tracklets are of one camera"):
        score_file(read(tmp_path, camids=np.ones(24, int)))
    with pytest.raises(DataError, match="cannot be scored under any protocol"):
        score_file(read(tmp_path, camids=np.ones(24, int)), protocol="all")
    everyone = read(tmp_path, is_query=np.ones(24, bool))
    found = score_file(everyone, protocol="all")
    assert set(found.results) == {"mars-official", "mars-full"}
    assert "finds 24 queries and 0 gallery" in found.not_scored["cross-camera"]


def test_one_person_has_no_interval(tmp_path: Path):
    file = read_embeddings(write(tmp_path / "one.npz", arrays(people=1)))
    result = score_file(file).results["cross-camera"]
    assert result["intervals"] is None
    assert "no intervals: the counted queries show one person" in result["notes"][0]


def test_repeated_features_are_counted(tmp_path: Path):
    features = arrays()["features"]
    features[5] = features[23] = features[3]
    assert repeated_rows(features) == [(5, 3), (23, 3)]
    found = score_file(read(tmp_path, features=features))
    assert any(
        "2 of 24 rows have exactly the features of an earlier row (2 of them a query" in n
        for n in found.notes
    )
    assert any("row 5 repeats row 3" in n for n in found.notes)


def test_another_file_is_compared_row_by_row(tmp_path: Path):
    names = np.array([f"t{i}" for i in range(24)])
    a = read(tmp_path, names=names)
    better = arrays()["features"] * 0.0 + np.eye(9)[arrays()["pids"]][:, :6] * 5 + arrays()["pids"][:, None]
    order = np.random.default_rng(3).permutation(24)
    shuffled = {k: v[order] for k, v in {**arrays(), "features": better, "names": names}.items()}
    b = read_embeddings(write(tmp_path / "b.npz", shuffled))
    assert np.array_equal(aligned(b, a).pids, a.embeddings.pids)
    compared = score_file(a, against=b).results["cross-camera"]["against"]["scores"]
    assert compared["rank1"]["first"] == 1.0
    assert compared["rank1"]["second"] == score_file(a).results["cross-camera"]["rank1"]
    assert compared["mAP"]["difference"] < 0
    itself = score_file(a, against=a).results["cross-camera"]["against"]["scores"]
    assert itself["mAP"]["difference"] == 0
    for changes, message in (
        ({"names": np.array([f"u{i}" for i in range(24)])}, "24 tracklets of .* are not in .*: t0, t1"),
        ({"names": names, "pids": np.roll(arrays()["pids"], 1)}, "pids of .* differ in 8 of 24 rows, first in row 0"),
        ({"is_query": arrays()["camids"] == 2}, "is_query of .* differ in 16 of 24 rows"),
    ):  # fmt: skip
        other = read_embeddings(write(tmp_path / "c.npz", {**arrays(), **changes}))
        with pytest.raises(DataError, match=message):
            score_file(a, against=other)
    few = read_embeddings(write(tmp_path / "d.npz", arrays(people=4)))
    with pytest.raises(DataError, match=r"has 24 rows, .* has 12; a comparison needs the same tracklets"):
        score_file(a, against=few)


def test_a_calibration_needs_one_protocol_and_pairs(tmp_path: Path):
    found, pairs = calibrate_file(read(tmp_path), distance="cosine")
    assert (found.metric, found.genuine_pairs, len(pairs.genuine)) == ("cosine", 16, 16)
    with pytest.raises(ConfigError, match="belongs to one protocol"):
        calibrate_file(read(tmp_path), protocol="all")
    with pytest.raises(DataError, match=r"file.npz: protocol cross-camera gives 0 genuine"):
        calibrate_file(read(tmp_path, camids=np.ones(24, int)))


# -- one camera, and names of other projects ---------------------------------------------------------------


def within(file: EmbeddingsFile) -> dict[str, float]:
    """Rank-1 and mAP inside each query's camera, by hand."""
    e = file.embeddings
    first, precisions = [], []
    for q in np.flatnonzero(e.is_query & (e.pids > 0)):
        there = np.flatnonzero(~e.is_query & (e.camids == e.camids[q]) & (e.pids != -1))
        right = e.pids[there] == e.pids[q]
        if not right.any():
            continue
        order = np.argsort(np.linalg.norm(e.features[there] - e.features[q], axis=1))
        ranks = np.flatnonzero(right[order]) + 1
        first.append(ranks[0] == 1)
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return {"rank1": float(np.mean(first)), "mAP": float(np.mean(precisions)), "queries": len(first)}


@pytest.mark.parametrize("cameras", [1, 2, 5])
def test_within_a_camera_every_other_tracklet_of_the_person_is_right(tmp_path: Path, cameras: int):
    plain = arrays(cameras=6)
    camids = plain["camids"] % cameras
    pids = np.where(np.arange(len(camids)) % 11 == 10, -1, plain["pids"])
    file = read(tmp_path, **{**plain, "camids": camids, "pids": pids, "is_query": plain["camids"] < 3})
    found = score_file(file, protocol="within-camera").results["within-camera"]
    expected = within(file)
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert found["queries"] + found["queries_without_match"] == int(
        (file.embeddings.is_query & (pids > 0)).sum()
    )
    same = score_file(file, protocol="within-camera", against=file).results["within-camera"]["against"]
    assert same["scores"]["mAP"]["difference"] == 0


def test_one_camera_is_said_and_so_is_how_to_score_within_it(tmp_path: Path):
    plain = arrays()
    file = read(tmp_path, camids=np.full(24, 7))
    for scoring in (lambda: score_file(file), lambda: score(file.embeddings, PROTOCOLS["mars-full"])):
        with pytest.raises(
            DataError, match=r"all tracklets are of one camera \(camid 7\).*use protocol within-camera"
        ):
            scoring()
    assert score_file(file, protocol="within-camera").results["within-camera"]["queries"] == 8
    # Two cameras and nobody in both is another matter.
    with pytest.raises(DataError, match="are of 2 cameras: check pids and camids"):
        score_file(read(tmp_path, camids=np.where(plain["pids"] < 4, 1, 2)))


def test_what_is_across_cameras_is_refused_within_one(tmp_path: Path):
    file = read(tmp_path)
    with pytest.raises(ConfigError, match="within-camera gives no thresholds"):
        calibrate_file(file, protocol="within-camera")
    with pytest.raises(ConfigError, match="within-camera is scored without re-ranking"):
        score_file(file, protocol="within-camera", rerank=True)
    with pytest.raises(DataError, match="none of the 8 queries has a right answer in its own camera"):
        score_file(file, protocol="within-camera")


def test_names_of_torchreid_are_taken(tmp_path: Path):
    plain = arrays()
    q = plain["is_query"]
    sides = {"q": q, "g": ~q}
    apart = {
        side + name: plain[key][rows]
        for side, rows in sides.items()
        for key, name in (("features", "f"), ("pids", "_pids"), ("camids", "_camids"))
    }
    file = read_embeddings(write(tmp_path / "t.npz", apart))
    expected = score_file(read(tmp_path)).results["cross-camera"]
    found = score_file(file).results["cross-camera"]
    assert (found["mAP"], found["rank1"], found["queries"]) == (expected["mAP"], expected["rank1"], 8)
    with pytest.raises(DataError, match="lengths of the gallery differ: gf 16, g_pids 15, g_camids 16"):
        read_embeddings(write(tmp_path / "t.npz", {**apart, "g_pids": apart["g_pids"][:-1]}))
    with pytest.raises(DataError, match=r"qf has shape \[8, 3\] and gf \[16, 6\]"):
        read_embeddings(write(tmp_path / "t.npz", {**apart, "qf": apart["qf"][:, :3]}))
    del apart["gf"]
    with pytest.raises(
        DataError, match=r"lacks features, pids, camids, is_query; it has .*or apart in an .npz file"
    ):
        read_embeddings(write(tmp_path / "t.npz", apart))


def test_the_default_protocol_is_that_of_the_data_set_where_the_file_says_it(tmp_path: Path):
    file = read(tmp_path)
    assert list(score_file(file).results) == ["cross-camera"]
    said = replace(file, metadata={"protocol": "mars-full"})
    assert list(score_file(said).results) == ["mars-full"]
    assert list(score_file(replace(file, metadata={"protocol": "mine"})).results) == ["cross-camera"]
