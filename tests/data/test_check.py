"""`check_dataset`: everything that can be wrong with a copy is a finding in words."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.io import loadmat, savemat

from data.miniature import (
    DEFAULT_ROWS,
    write_folder_tree,
    write_ilids_vid,
    write_lsvid,
    write_manifest,
    write_mars,
    write_prid2011,
)
from intraclip.data.check import DataReport, check_dataset, queries_without_match
from intraclip.data.readers import read_split
from intraclip.errors import DataError

WRITERS = {
    "mars": write_mars,
    "ilids-vid": write_ilids_vid,
    "prid2011": write_prid2011,
    "lsvid": write_lsvid,
    "folder": write_folder_tree,
}


def texts(report: DataReport, severity: str) -> str:
    return "\n".join(f"{f.where}: {f.what}" for f in report.findings if f.severity == severity)


@pytest.fixture
def mars(tmp_path: Path) -> Path:
    root = write_mars(tmp_path / "mars")
    (root / "benchmark.json").write_text("{}")
    return root


@pytest.mark.parametrize("layout", WRITERS)
def test_a_complete_copy_has_no_errors(layout: str, tmp_path: Path):
    root = WRITERS[layout](tmp_path / "set")
    (root / "benchmark.json").write_text("{}")
    report = check_dataset(root)
    assert report.ok
    assert report.layout == layout
    assert report.is_benchmark
    assert report.frames_decoded == sum(c.frames for c in report.subsets.values())
    assert texts(report, "error") == texts(report, "warning") == ""
    assert report.to_text().endswith("No problems.")


def test_sizes_of_the_subsets(mars: Path):
    report = check_dataset(mars)
    train, query, gallery = report.subsets["train"], report.subsets["query"], report.subsets["gallery"]
    assert (train.tracklets, train.frames, train.pids, train.cameras, train.shortest) == (6, 24, 2, 3, 4)
    assert (query.tracklets, query.longest) == (4, 5)
    assert (gallery.tracklets, gallery.pids) == (4, 2)
    assert "train             6         24      2        3  4 to 4" in report.to_text()
    assert check_dataset(write_ilids_vid(mars.parent / "ilids")).num_splits == 2


def test_report_is_plain_json(mars: Path):
    shutil.rmtree(mars / "bbox_train" / "0001")
    content = json.loads(json.dumps(check_dataset(mars).to_json_dict()))
    assert content["layout"] == "mars"
    assert content["ok"] is False
    assert content["subsets"]["train"]["frames"] == 24
    assert content["findings"][0]["severity"] == "error"


def test_difference_to_the_published_counts_is_spelled_out(mars: Path):
    (mars / "benchmark.json").unlink()
    report = check_dataset(mars)
    assert report.ok
    assert "published: 8,298 training tracklets; here 6: 8,292 fewer" in texts(report, "warning")
    assert "published: 5 frames in the shortest training tracklet; here 4" in texts(report, "warning")
    assert report.to_text().endswith("1 warning.")


def test_tracklets_lost_from_a_table_are_named(mars: Path):
    path = mars / "info" / "tracks_train_info.mat"
    savemat(path, {"track_train_info": loadmat(path)["track_train_info"][[0, 1, 3, 5]]})
    report = check_dataset(mars)
    assert (
        "2 tracklets of train_name.txt are not in the table (8 frames), first missing: 0001C3T0001"
        in texts(report, "warning")
    )


def test_missing_files_are_counted_and_named(mars: Path):
    (mars / "bbox_train" / "0001" / "0001C2T0001F003.jpg").unlink()
    shutil.rmtree(mars / "bbox_train" / "0003")
    text = texts(check_dataset(mars, decode="none"), "error")
    assert "13 of 24 frames are listed but are not there, 3 tracklets have none at all" in text
    assert "first missing: 0001/0001C2T0001F003.jpg, 0003/0003C1T0001F001.jpg" in text


def test_missing_image_folder_does_not_hide_the_rest(mars: Path):
    shutil.rmtree(mars / "bbox_test")
    report = check_dataset(mars)
    assert "bbox_test: the folder is missing" in texts(report, "error")
    assert report.subsets["query"].tracklets == 4
    assert report.frames_decoded == 24


@pytest.mark.parametrize("decode", ["sample", "all"])
def test_truncated_and_empty_frames_are_found(decode: str, mars: Path):
    folder = mars / "bbox_test" / "0002"
    whole = (folder / "0002C1T0001F001.jpg").read_bytes()
    (folder / "0002C1T0001F001.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "0002C1T0001F002.jpg").write_bytes(b"")
    (folder / "0002C1T0001F003.jpg").write_bytes(b"no picture")
    report = check_dataset(mars, decode=decode)
    text = texts(report, "error")
    assert "1 files are empty: 0002/0002C1T0001F002.jpg" in text
    assert "2 of 56 decoded frames cannot be read" in text
    assert "0002C1T0001F001.jpg (" in text
    assert not report.ok


def test_truncated_png_is_found(tmp_path: Path):
    root = write_ilids_vid(tmp_path)
    path = root / "i-LIDS-VID" / "sequences" / "cam1" / "person001" / "cam1_person001_9.png"
    path.write_bytes(path.read_bytes()[:-30])
    assert "cam1_person001_9.png (" in texts(check_dataset(root), "error")


def test_no_decoding_reads_no_frame(mars: Path):
    (mars / "bbox_test" / "0002" / "0002C1T0001F002.jpg").write_bytes(b"")
    report = check_dataset(mars, decode="none")
    assert report.ok
    assert report.frames_decoded == 0


def test_a_sample_is_the_same_for_the_same_seed(mars: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("intraclip.data.check.SAMPLE_FRAMES", 10)
    seen: list[Path] = []
    monkeypatch.setattr(
        "intraclip.data.check.read_tracklet_frame",
        lambda tracklet, index: seen.append(tracklet.frame_path(index)),
    )
    assert check_dataset(mars, seed=3).frames_decoded == 10
    first = sorted(seen)
    seen.clear()
    check_dataset(mars, seed=3)
    assert sorted(seen) == first
    seen.clear()
    check_dataset(mars, seed=4)
    assert sorted(seen) != first


def test_what_the_reader_refuses_is_one_finding(mars: Path):
    (mars / "info" / "query_IDX.mat").unlink()
    report = check_dataset(mars)
    assert not report.ok
    assert report.subsets == {}
    assert "query_IDX.mat is missing" in report.to_text()
    (mars / "benchmark.json").write_text("[]")
    assert "expected a JSON object" in check_dataset(mars).to_text()


def test_short_tracklets_are_counted(tmp_path: Path):
    report = check_dataset(write_folder_tree(tmp_path))
    assert "8 have fewer than 4 frames" in texts(report, "note")


def test_queries_without_a_match_are_counted(tmp_path: Path):
    rows = [*DEFAULT_ROWS, {"tracklet": "q2", "pid": 7, "camid": 1, "subset": "query"}]
    root = write_manifest(tmp_path, [*rows, {"tracklet": "g2", "pid": 7, "camid": 1, "subset": "gallery"}])
    text = texts(check_dataset(root), "warning")
    assert (
        "1 of 2 queries have no match in another camera of the gallery (1 when the queries are left" in text
    )


def test_queries_left_in_the_gallery_can_match_each_other(tmp_path: Path):
    split = read_split(write_mars(tmp_path, cameras=(1, 2)))
    assert len(queries_without_match(split, queries_in_gallery=False)) == 4
    assert queries_without_match(split, queries_in_gallery=True) == []
    alone = replace(split, query=split.query[:1])
    assert queries_without_match(alone, queries_in_gallery=True) == [split.query[0]]


def test_one_pid_in_training_and_gallery_is_a_warning(tmp_path: Path):
    rows = [*DEFAULT_ROWS, {"tracklet": "x", "pid": 1, "camid": 3, "subset": "gallery"}]
    report = check_dataset(write_manifest(tmp_path, rows))
    assert "training and gallery: 1 pids are in both: 1" in texts(report, "warning")


def test_empty_folders_and_unused_images_are_named(tmp_path: Path):
    root = write_manifest(tmp_path, DEFAULT_ROWS)
    (root / "tracklets" / "lost").mkdir()
    shutil.copytree(root / "tracklets" / "a1", root / "tracklets" / "a9")
    report = check_dataset(root)
    assert "1 folders are empty: tracklets/lost" in texts(report, "warning")
    assert "3 images belong to no tracklet" in texts(report, "note")


def test_frames_of_two_tracklets_are_noticed(mars: Path):
    path = mars / "info" / "tracks_train_info.mat"
    table = loadmat(path)["track_train_info"]
    names = mars / "info" / "train_name.txt"
    names.write_text(names.read_text().replace("0003C3T0001F004.jpg", "0003C3T0001F003.jpg"))
    savemat(path, {"track_train_info": table})
    assert "1 frames belong to more than one tracklet" in texts(check_dataset(mars), "error")


def test_manifest_with_another_number_of_frames_is_an_error(tmp_path: Path):
    rows = [{**row, "num_frames": 3} for row in DEFAULT_ROWS]
    root = write_manifest(tmp_path, rows)
    assert check_dataset(root).ok
    (root / "tracklets" / "a2" / "999.jpg").unlink()
    text = texts(check_dataset(root), "error")
    assert "1 tracklets have another number of frames: a2 (3 in the manifest, 2 in the folder)" in text


def test_missing_subsets_are_named(tmp_path: Path):
    root = write_lsvid(tmp_path / "lsvid", train_list=False)
    (root / "benchmark.json").write_text("{}")
    assert "training: there are no training tracklets" in texts(check_dataset(root), "warning")
    only = write_manifest(tmp_path / "own", DEFAULT_ROWS[3:])
    assert "query: there are no query tracklets" in texts(check_dataset(only), "note")


def test_no_data_set_and_wrong_choice_are_errors(tmp_path: Path):
    with pytest.raises(DataError, match="no data set of a known layout"):
        check_dataset(tmp_path)
    with pytest.raises(DataError, match="decode is 'some', expected none, sample or all"):
        check_dataset(tmp_path, decode="some")  # type: ignore[arg-type]


def test_numbers_of_frames_may_be_floats(tmp_path: Path):
    rows = [{**row, "num_frames": "3.0"} for row in DEFAULT_ROWS]
    assert check_dataset(write_manifest(tmp_path, rows)).ok
