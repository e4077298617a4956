"""Readers of every layout, on tiny copies."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from data.miniature import (
    DEFAULT_ROWS,
    SPLIT_FILE,
    SPLIT_FOLDER,
    write_folder_tree,
    write_frame,
    write_ilids_vid,
    write_lsvid,
    write_manifest,
    write_mars,
    write_prid2011,
)
from intraclip.data.check import check_dataset
from intraclip.data.layouts import LAYOUTS
from intraclip.data.readers import find_dataset, num_splits, read_split
from intraclip.data.readers.common import natural_key
from intraclip.data.readers.counts import PublishedCounts, count_split
from intraclip.data.readers.folder import read_folder
from intraclip.data.readers.ilids_vid import read_ilids_vid
from intraclip.data.readers.lsvid import read_lsvid
from intraclip.data.readers.mars import read_mars, read_mars_info
from intraclip.data.readers.matlab import load_mat
from intraclip.data.readers.prid2011 import read_prid2011
from intraclip.errors import DataError, MissingExtraError
from intraclip.types import UNKNOWN_PID, Split, Tracklet

WRITERS = {
    "mars": write_mars,
    "ilids-vid": write_ilids_vid,
    "prid2011": write_prid2011,
    "lsvid": write_lsvid,
    "folder": write_manifest,
}
PROTOCOLS = {
    "mars": "mars-full",
    "ilids-vid": "ilids-vid",
    "prid2011": "prid2011",
    "lsvid": "lsvid",
    "folder": "cross-camera",
}


def message(error: pytest.ExceptionInfo[BaseException]) -> str:
    return str(error.value)


def pids(tracklets) -> list[int]:
    return sorted({t.pid for t in tracklets})


# ---------------------------------------------------------------- all layouts


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_is_recognised_and_its_frames_exist(layout: str, tmp_path: Path):
    root = WRITERS[layout](tmp_path / "set")
    assert find_dataset(root)[0] == layout
    split = read_split(root)
    assert split.protocol == PROTOCOLS[layout]
    assert split.dataset == layout
    assert split.train
    assert split.query
    assert split.gallery
    for tracklet in (*split.train, *split.test):
        assert all(tracklet.frame_path(i).is_file() for i in range(len(tracklet)))
        assert list(tracklet.frames) == sorted(tracklet.frames, key=natural_key)


@pytest.mark.parametrize("layout", WRITERS)
def test_the_folder_above_is_understood(layout: str, tmp_path: Path):
    root = WRITERS[layout](tmp_path / "set")
    assert find_dataset(tmp_path) == (layout, root)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_folder_inside_is_understood(layout: str, tmp_path: Path):
    root = WRITERS[layout](tmp_path / "set")
    inside = [root / name for name in LAYOUTS.load(layout).inner_folders if (root / name).is_dir()]
    assert inside
    for folder in inside:
        assert find_dataset(folder) == (layout, root)


@pytest.mark.parametrize("layout", WRITERS)
def test_reading_twice_gives_the_same_split(layout: str, tmp_path: Path):
    root = WRITERS[layout](tmp_path / "set")
    assert read_split(root, layout=layout) == read_split(root, layout=layout)


def test_a_path_with_dots_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = write_mars(tmp_path / "set")
    monkeypatch.chdir(root / "info")
    assert find_dataset(Path()) == ("mars", root)


def test_two_data_sets_in_one_folder_are_ambiguous(tmp_path: Path):
    write_mars(tmp_path / "a")
    write_ilids_vid(tmp_path / "b")
    with pytest.raises(DataError, match=r"several data sets: a \(mars\), b \(ilids-vid\)"):
        find_dataset(tmp_path)
    assert find_dataset(tmp_path, layout="mars") == ("mars", tmp_path / "a")


def test_an_unknown_folder_lists_what_was_looked_for(tmp_path: Path):
    with pytest.raises(DataError) as error:
        find_dataset(tmp_path)
    for reader in map(LAYOUTS.load, LAYOUTS):
        assert reader.markers in message(error)


def test_wrong_layout_and_missing_folder_are_named(tmp_path: Path):
    with pytest.raises(DataError, match="no layout 'market'; there are auto, mars"):
        find_dataset(tmp_path, layout="market")
    with pytest.raises(DataError, match="does not exist"):
        find_dataset(tmp_path / "nowhere")
    write_mars(tmp_path / "set")
    with pytest.raises(DataError, match="prid_2011/multi_shot"):
        read_split(tmp_path / "set", layout="prid2011")


def test_number_of_splits(tmp_path: Path):
    assert num_splits(write_mars(tmp_path / "mars")) == 1
    assert num_splits(write_ilids_vid(tmp_path / "ilids")) == 2
    assert num_splits(write_prid2011(tmp_path / "prid"), "prid2011") == 10


@pytest.mark.parametrize(("layout", "last"), [("mars", 0), ("ilids-vid", 1), ("prid2011", 9), ("folder", 0)])
def test_a_split_that_does_not_exist_is_refused(layout: str, last: int, tmp_path: Path):
    root = WRITERS[layout](tmp_path / "set")
    assert read_split(root, split=last).index == last
    for wrong in (-1, last + 1):
        with pytest.raises(DataError, match=f"no split {wrong}"):
            read_split(root, split=wrong)


def test_published_counts_are_checked_on_request(tmp_path: Path):
    root = write_mars(tmp_path)
    with pytest.raises(DataError) as error:
        read_split(root, check_counts=True)
    assert "published: 8,298 training tracklets; here 6: 8,292 fewer" in message(error)


def test_a_rendered_copy_has_counts_and_a_name_of_its_own(tmp_path: Path):
    root = write_mars(tmp_path)
    (root / "benchmark.json").write_text('{"name": "painted-people"}')
    assert read_split(root, check_counts=True).dataset == "painted-people"
    (root / "benchmark.json").write_text("{}")
    assert read_split(root).dataset == "benchmark-mars"
    (root / "benchmark.json").write_text("{")
    with pytest.raises(DataError, match="no JSON"):
        read_split(root)


def test_published_counts_name_things_that_are_counted(tmp_path: Path):
    counted = count_split(read_split(write_mars(tmp_path)))
    for reader in map(LAYOUTS.load, LAYOUTS):
        published = reader.published or PublishedCounts(source="", counts={})
        assert set(published.counts) <= set(counted)


# ---------------------------------------------------------------- MARS


def test_mars_counts(tmp_path: Path):
    counts = count_split(read_mars(write_mars(tmp_path)))
    assert counts["training tracklets"] == 6
    assert counts["training frames"] == 24
    assert counts["training pids"] == 2
    assert counts["test tracklets"] == 8
    assert counts["test frames"] == 33
    assert counts["test pids"] == 2
    assert counts["query tracklets"] == 4
    assert counts["gallery tracklets"] == 4
    assert counts["junk tracklets (pid -1)"] == 1
    assert counts["distractor tracklets (pid 0)"] == 1
    assert counts["frames in the longest test tracklet"] == 5


def test_mars_gallery_is_every_test_tracklet_that_is_no_query(tmp_path: Path):
    split = read_mars(write_mars(tmp_path))
    assert not {t.name for t in split.query} & {t.name for t in split.gallery}
    assert [t.name for t in split.gallery] == ["00-1C1T0001", "0000C2T0001", "0002C3T0001", "0004C3T0001"]
    assert [t.pid for t in split.gallery] == [-1, 0, 2, 4]
    first = split.query[0]
    assert (first.name, first.pid, first.camid, len(first)) == ("0002C1T0001", 2, 1, 5)
    assert first.frames[-1] == "0002/0002C1T0001F005.jpg"
    assert first.root == tmp_path / "bbox_test"


def test_mars_names_may_be_compressed(tmp_path: Path):
    plain = read_mars(write_mars(tmp_path / "a"))
    packed = read_mars(write_mars(tmp_path / "b", compressed_names=True))
    assert [t.frames for t in plain.train] == [t.frames for t in packed.train]


def test_mars_tables_need_no_images(tmp_path: Path):
    root = write_mars(tmp_path, images=False)
    info = read_mars_info(root / "info")
    assert len(info.split(root).test) == 8
    assert info.test.unused_names() == []
    with pytest.raises(DataError, match=r"2 problems\n.*bbox_train is missing\n.*bbox_test is missing"):
        read_mars(root)


def test_mars_missing_files_are_all_named(tmp_path: Path):
    root = write_mars(tmp_path, images=False)
    (root / "info" / "query_IDX.mat").unlink()
    (root / "info" / "train_name.txt").unlink()
    with pytest.raises(DataError) as error:
        read_mars(root)
    for name in (
        "query_IDX.mat is missing",
        "train_name.txt is missing",
        "bbox_train is missing",
        "2 problems",
    ):
        assert name in message(error)


@pytest.mark.parametrize("keep", [0, 60, 150, 200])
def test_mars_truncated_table_is_explained(keep: int, tmp_path: Path):
    root = write_mars(tmp_path)
    path = root / "info" / "tracks_test_info.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"tracks_test_info\.mat"):
        read_mars(root)


def test_mars_truncated_name_list_is_explained(tmp_path: Path):
    root = write_mars(tmp_path / "plain")
    path = root / "info" / "test_name.txt"
    path.write_text("\n".join(path.read_text().split()[:20]))
    with pytest.raises(
        DataError, match=r"4 of 8 rows point outside the 20 names of test_name\.txt, first row 5"
    ):
        read_mars(root)
    packed = write_mars(tmp_path / "packed", compressed_names=True) / "info" / "train_name.txt.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train_name\.txt\.gz cannot be read"):
        read_mars(tmp_path / "packed")


def change_table(root: Path, half: str, change) -> None:
    path = root / "info" / f"tracks_{half}_info.mat"
    name = f"track_{half}_info"
    table = loadmat(path)[name].astype(np.int64)
    savemat(path, {name: change(table)})


def shuffle_column(column: int):
    def change(table: np.ndarray) -> np.ndarray:
        table[:, column] = np.roll(table[:, column], 1)
        return table

    return change


def test_mars_shuffled_camids_are_noticed(tmp_path: Path):
    root = write_mars(tmp_path)
    change_table(root, "test", shuffle_column(3))
    with pytest.raises(DataError) as error:
        read_mars(root)
    assert "camid" in message(error)
    assert "first row 1: camid 3, but the frames are 00-1C1T0001F001.jpg" in message(error)


def test_mars_shuffled_pids_are_noticed(tmp_path: Path):
    root = write_mars(tmp_path)
    change_table(root, "train", shuffle_column(2))
    with pytest.raises(DataError, match="2 of 6 rows have a pid that the file names contradict"):
        read_mars(root)


def test_mars_tracklets_of_mixed_people_are_noticed(tmp_path: Path):
    root = write_mars(tmp_path)

    def shift(table: np.ndarray) -> np.ndarray:
        table[0, 1] += 1
        table[1, 0] += 1
        return table

    change_table(root, "train", shift)
    with pytest.raises(DataError, match=r"1 tracklets mix frames .* first row 1: 0001C1T0001F001"):
        read_mars(root)


def test_mars_table_of_another_shape_or_name_is_noticed(tmp_path: Path):
    root = write_mars(tmp_path)
    change_table(root, "train", lambda table: table[:, :3])
    with pytest.raises(DataError, match=r"shape \(6, 3\)"):
        read_mars(root)
    savemat(root / "info" / "tracks_train_info.mat", {"other": np.ones((2, 4))})
    with pytest.raises(DataError, match=r"holds \['other'\], expected the variable 'track_train_info'"):
        read_mars(root)
    savemat(root / "info" / "tracks_train_info.mat", {"track_train_info": np.full((2, 4), 0.5)})
    with pytest.raises(DataError, match="whole numbers"):
        read_mars(root)


@pytest.mark.parametrize(
    ("rows", "words"),
    [([0, 3], "no row"), ([3, 99], "no row"), ([3, 3], "named twice: 3"), ([1, 3], "junk or distractors")],
)
def test_mars_wrong_queries_are_noticed(rows: list[int], words: str, tmp_path: Path):
    root = write_mars(tmp_path)
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array([rows], dtype=np.uint16)})
    with pytest.raises(DataError, match=words):
        read_mars(root)


def test_mars_strange_names_are_noticed(tmp_path: Path):
    root = write_mars(tmp_path)
    path = root / "info" / "train_name.txt"
    path.write_text(path.read_text().replace("0003C2", "0003X2"))
    with pytest.raises(DataError, match=r"4 names are not like 0001C1T0001F001\.jpg: 0003X2T0001F001\.jpg"):
        read_mars(root)


def test_mars_person_in_training_and_test_is_noticed(tmp_path: Path):
    with pytest.raises(DataError, match=r"1 pids are in the training and in the test table: 2"):
        read_mars(write_mars(tmp_path, train_pids=(1, 2), test_pids=(2, 4)))


# ---------------------------------------------------------------- iLIDS-VID


def test_ilids_vid_first_half_tests_by_default(tmp_path: Path):
    root = write_ilids_vid(tmp_path)  # people 1, 2, 5, 9; split 0 is 3, 1, 4, 2
    split = read_ilids_vid(root)
    assert pids(split.query) == pids(split.gallery) == [1, 5]
    assert pids(split.train) == [2, 9]
    assert [t.camid for t in split.train] == [1, 1, 2, 2]
    assert {t.camid for t in split.query} == {1}
    assert {t.camid for t in split.gallery} == {2}


def test_ilids_vid_last_half_tests_on_request(tmp_path: Path):
    root = write_ilids_vid(tmp_path)
    split = read_split(root, direction="last-half-tests")
    assert pids(split.query) == [2, 9]
    assert pids(split.train) == [1, 5]
    assert pids(read_ilids_vid(root, split=1).query) == [1, 2]
    with pytest.raises(DataError, match="no direction 'up'"):
        read_ilids_vid(root, direction="up")


def test_ilids_vid_frames_are_in_order_of_their_numbers(tmp_path: Path):
    tracklet = read_ilids_vid(write_ilids_vid(tmp_path)).query[0]
    assert tracklet.name == "cam1_person001"
    assert [Path(f).name for f in tracklet.frames] == [f"cam1_person001_{n}.png" for n in (8, 9, 10)]


def test_ilids_vid_hidden_and_foreign_files_are_left_out(tmp_path: Path):
    root = write_ilids_vid(tmp_path)
    folder = root / "i-LIDS-VID" / "sequences" / "cam1" / "person001"
    for name in (".DS_Store", "Thumbs.db", "._cam1_person001_8.png", "notes.txt"):
        (folder / name).write_bytes(b"")
    (folder.parent / ".hidden").mkdir()
    assert len(read_ilids_vid(root).query[0]) == 3


def test_ilids_vid_missing_split_file_is_named(tmp_path: Path):
    root = write_ilids_vid(tmp_path)
    (root / SPLIT_FOLDER / SPLIT_FILE).unlink()
    with pytest.raises(DataError, match=r"split file is missing.*train_test_splits_ilidsvid\.mat"):
        read_split(root)
    with pytest.raises(DataError, match="split file is missing"):
        num_splits(root)


def test_ilids_vid_split_file_has_to_be_permutations(tmp_path: Path):
    with pytest.raises(DataError, match=r"rows 1 \(counted from 0\) do not name each"):
        read_split(write_ilids_vid(tmp_path, splits=((1, 2, 3, 4), (1, 2, 3, 3))))


def test_ilids_vid_people_have_to_match_the_split_file_and_the_cameras(tmp_path: Path):
    root = write_ilids_vid(tmp_path / "a")
    write_frame(root / "i-LIDS-VID" / "sequences" / "cam1" / "person011" / "1.png")
    with pytest.raises(DataError) as error:
        read_split(root)
    assert "person011 is only in cam1, not in cam2" in message(error)
    assert "cam1 has 5 people, the split file has 4" in message(error)


def test_ilids_vid_frames_of_another_person_are_noticed(tmp_path: Path):
    root = write_ilids_vid(tmp_path)
    write_frame(root / "i-LIDS-VID" / "sequences" / "cam2" / "person005" / "cam2_person006_9.png")
    with pytest.raises(DataError, match=r"cam2/person005 holds cam2_person006_9\.png"):
        read_split(root)


def test_ilids_vid_empty_folder_and_missing_sequences_are_named(tmp_path: Path):
    root = write_ilids_vid(tmp_path)
    folder = root / "i-LIDS-VID" / "sequences" / "cam2" / "person005"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="cam2/person005 holds no frames"):
        read_split(root)
    (root / "i-LIDS-VID" / "sequences").rename(root / "elsewhere")
    with pytest.raises(DataError, match="sequences is missing; unpack"):
        read_split(root)


# ---------------------------------------------------------------- PRID-2011


def test_prid2011_keeps_people_with_27_frames_in_both_cameras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = write_prid2011(tmp_path, pids=(1, 2, 3, 4, 5), frames={3: 26})
    split = read_prid2011(root)
    assert sorted(pids(split.train) + pids(split.query)) == [1, 2, 4, 5]
    assert pids(split.query) == pids(split.gallery)
    assert {t.camid for t in split.query} == {1}
    assert {t.camid for t in split.gallery} == {2}
    monkeypatch.setattr("intraclip.data.readers.prid2011.MIN_FRAMES", 20)
    split = read_prid2011(root)
    assert sorted(pids(split.train) + pids(split.query)) != [1, 2, 4, 5]


def test_prid2011_splits_come_from_the_file(tmp_path: Path):
    names = [f"person_{pid:04d}" for pid in (1, 2, 3, 4)]
    root = write_prid2011(
        tmp_path, splits=[{"train": names[:2], "test": names[2:]}, {"train": names[2:], "test": names[:2]}]
    )
    assert num_splits(root) == 2
    assert pids(read_prid2011(root, split=0).query) == [3, 4]
    assert pids(read_split(root / "prid_2011", split=1).query) == [1, 2]


def test_prid2011_computed_splits_are_the_same_everywhere(tmp_path: Path):
    root = write_prid2011(tmp_path, pids=range(1, 9))
    tests = [pids(read_prid2011(root, split=i).query) for i in range(10)]
    assert len({tuple(test) for test in tests}) > 5
    assert all(len(test) == 4 for test in tests)
    assert tests[:2] == [[1, 2, 3, 6], [1, 3, 4, 8]]


def test_prid2011_rendered_copy_may_be_shorter(tmp_path: Path):
    root = write_prid2011(tmp_path, frames=3)
    with pytest.raises(DataError, match="0 people have at least 27 frames"):
        read_prid2011(root)
    (root / "benchmark.json").write_text("{}")
    assert len(read_prid2011(root).query) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "truncated or no JSON"),
        ("{}", "expected a list"),
        ('[{"train": ["person_0001"]}]', "split 0: expected"),
        ('[{"train": ["person_0001"], "test": ["person_0001"]}]', "named twice: person_0001"),
        ('[{"train": ["person_0001"], "test": ["person_0077"]}]', "cam_a/person_0077 is missing"),
    ],
)
def test_prid2011_wrong_split_file_is_explained(text: str, words: str, tmp_path: Path):
    root = write_prid2011(tmp_path)
    (root / "splits_prid2011.json").write_text(text)
    with pytest.raises(DataError, match=words):
        read_prid2011(root)


def test_prid2011_missing_camera_is_named(tmp_path: Path):
    root = write_prid2011(tmp_path)
    (root / "prid_2011" / "multi_shot" / "cam_b").rename(root / "cam_b")
    with pytest.raises(DataError, match="cam_b missing"):
        read_split(root)
    with pytest.raises(DataError, match=r"unpack prid_2011\.zip"):
        read_prid2011(tmp_path / "nowhere")


# ---------------------------------------------------------------- LS-VID


def test_lsvid_counts_people_from_one_and_keeps_training_and_test_apart(tmp_path: Path):
    split = read_lsvid(write_lsvid(tmp_path))
    assert pids(split.train) == [1, 2]
    assert pids(split.query) == pids(split.gallery) == [10_001, 10_002]
    assert [t.camid for t in split.query] == [1, 1]
    assert [t.camid for t in split.gallery] == [15, 15]
    assert split.train[0].name == "tracklet_train/0000/0000_1_01"


def test_lsvid_prefix_does_not_take_frames_of_a_longer_number(tmp_path: Path):
    root = write_lsvid(tmp_path, cameras=(1,))
    write_frame(root / "tracklet_test" / "0000" / "0000_1_012_000001.jpg")
    (split,) = (t for t in read_lsvid(root).query if t.pid == 10_001)
    assert len(split) == 3


def test_lsvid_without_training_list_can_be_tested_on(tmp_path: Path):
    split = read_lsvid(write_lsvid(tmp_path, train_list=False))
    assert split.train == ()
    assert len(split.query) == 2


def test_lsvid_missing_files_are_named(tmp_path: Path):
    root = write_lsvid(tmp_path)
    (root / "test" / "data" / "info_test.mat").unlink()
    (root / "list_sequence" / "list_seq_test.txt").unlink()
    with pytest.raises(DataError) as error:
        read_split(root)
    assert "list_seq_test.txt is missing" in message(error)
    assert "info_test.mat is missing" in message(error)


def test_lsvid_wrong_lines_are_named(tmp_path: Path):
    root = write_lsvid(tmp_path)
    path = root / "list_sequence" / "list_seq_test.txt"
    path.write_text(path.read_text() + "tracklet_test/0000/0000_1_01\ntracklet_test/0007/0007_1_01 7\n")
    write_frame(root / "tracklet_train" / "0005" / "0005_9.jpg")
    train = root / "list_sequence" / "list_seq_train.txt"
    train.write_text(train.read_text() + "tracklet_train/0005/0005_ 5\n")
    with pytest.raises(DataError) as error:
        read_lsvid(root)
    assert "list_seq_test.txt, line 5" in message(error)
    assert "list_seq_test.txt, line 6: no frame" in message(error)
    assert (
        "list_seq_train.txt, line 5: the frames tracklet_train/0005/0005_* do not name one camera"
        in message(error)
    )


@pytest.mark.parametrize(
    ("rows", "queries", "words"),
    [
        ([(1, 3, 0, 1)], [1], "1 tracklets, the test list has 4"),
        ([(1, 3, 0, 15), (4, 6, 0, 1), (7, 9, 1, 1), (10, 12, 1, 15)], [1], "2 rows have a camera"),
        ([(1, 3, 0, 1), (4, 6, 1, 15), (7, 9, 1, 1), (10, 12, 1, 15)], [1], "other people"),
        ([(1, 3, 0, 1), (4, 6, 0, 15), (7, 9, 1, 1), (10, 12, 1, 15)], [9], "queries 9 are no row"),
        ([(1, 3, 0, 1), (4, 6, 0, 15), (7, 9, 1, 1), (10, 12, 1, 15)], [1, 1], "a query twice"),
    ],
)
def test_lsvid_table_is_held_against_the_list(rows, queries, words: str, tmp_path: Path):
    root = write_lsvid(tmp_path)
    savemat(
        root / "test" / "data" / "info_test.mat", {"info_test": np.array(rows), "query": np.array([queries])}
    )
    with pytest.raises(DataError, match=words):
        read_lsvid(root)


def test_lsvid_matlab_73_needs_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = write_lsvid(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (root / "test" / "data" / "info_test.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    with pytest.raises(
        MissingExtraError, match=r"info_test\.mat is a MATLAB 7\.3 file: .*intraclip\[lsvid\]"
    ):
        read_lsvid(root)


def test_lsvid_matlab_73_is_read_with_h5py(tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    root = write_lsvid(tmp_path)
    path = root / "test" / "data" / "info_test.mat"
    expected, content = read_lsvid(root), loadmat(path)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name in ("info_test", "query"):
            file[name] = content[name].T.astype(np.float64)
    with path.open("r+b") as start:
        start.write(b"MATLAB 7.3 MAT-file".ljust(128))
    assert read_lsvid(root) == expected
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match="truncated or damaged"):
        read_lsvid(root)


# ---------------------------------------------------------------- tracklets of one's own


@pytest.mark.parametrize(
    ("pid_prefix", "cam_prefix"), [("", ""), ("pid", "cam"), ("person_", "cam_"), ("000", "c0")]
)
def test_folder_tree(pid_prefix: str, cam_prefix: str, tmp_path: Path):
    split = read_folder(write_folder_tree(tmp_path, pid_prefix=pid_prefix, cam_prefix=cam_prefix))
    assert pids(split.train) == [1, 2]
    assert [(t.pid, t.camid) for t in split.query] == [(3, 1), (4, 1)]
    assert [(t.pid, t.camid) for t in split.gallery] == [(3, 2), (4, 2)]
    assert [Path(f).name for f in split.query[0].frames] == ["8.jpg", "9.jpg", "10.jpg"]
    assert split.query[0].name == f"query/{pid_prefix}3/{cam_prefix}1/t1"


def test_folder_tree_problems_are_listed_together(tmp_path: Path):
    root = write_folder_tree(tmp_path)
    write_frame(root / "train" / "bob" / "1" / "t1" / "1.jpg")
    write_frame(root / "train" / "0" / "1" / "t1" / "1.jpg")
    write_frame(root / "query" / "3" / "left" / "t1" / "1.jpg")
    write_frame(root / "gallery" / "3" / "2" / "t9" / "readme.png")
    (root / "gallery" / "3" / "2" / "t9" / "readme.png").unlink()
    write_frame(root / "gallery" / "8" / "2" / "1.jpg")
    with pytest.raises(DataError) as error:
        read_folder(root)
    text = message(error)
    for words in (
        "train/bob does not name a pid",
        "train/0/1: pid 0 in training; number people from 1",
        "query/3/left does not name a camid",
        "gallery/3/2/t9 holds no frames",
        "gallery/8/2: frames lie beside",
        "5 problems",
    ):
        assert words in text


def test_manifest(tmp_path: Path):
    split = read_folder(write_manifest(tmp_path))
    assert [t.name for t in split.train] == ["a1", "a2"]
    assert [t.name for t in split.query] == ["q1"]
    assert [(t.name, t.pid) for t in split.gallery] == [("g1", 2), ("u1", UNKNOWN_PID)]
    assert split.query[0].frames == ("tracklets/q1/998.jpg", "tracklets/q1/999.jpg", "tracklets/q1/1000.jpg")


def test_manifest_with_more_columns_and_a_byte_order_mark(tmp_path: Path):
    rows = [{**row, "camera": "door, left", "num_frames": 3} for row in DEFAULT_ROWS]
    path = write_manifest(tmp_path, rows) / "tracklets.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_folder(tmp_path).test) == 3


def test_manifest_lists_all_bad_rows_with_their_lines(tmp_path: Path):
    bad = [
        {"tracklet": "a1", "pid": 1, "camid": 1, "subset": "train"},
        {"tracklet": "b2", "pid": "x", "camid": "", "subset": "test"},
        {"tracklet": "b3", "pid": "", "camid": 1, "subset": "train"},
        {"tracklet": "b4", "pid": 3, "camid": -4, "subset": "", "folder": "nowhere"},
        {"tracklet": "b5", "pid": 3, "camid": 1, "subset": "", "folder": "../elsewhere"},
        {"tracklet": "b6", "pid": 0, "camid": 1, "subset": "query"},
        {"tracklet": "", "pid": -7, "camid": 1, "subset": "", "folder": "tracklets/q1"},
    ]
    root = write_manifest(tmp_path, [*DEFAULT_ROWS, *bad])
    with pytest.raises(DataError) as error:
        read_folder(root)
    text = message(error)
    for words in (
        "line 7: tracklet 'a1' is already in line 2",
        "line 8: subset 'test', expected train, query, gallery or nothing; pid 'x' is no whole number; camid ''",
        "line 9: pid is unknown in training; number people from 1",
        "line 10: camid -4, expected 0 or more; folder 'nowhere' is missing",
        "line 11: folder '../elsewhere', expected a path inside",
        "line 12: pid 0 as a query",
        "line 13: no name under tracklet; pid -7",
        "folder 'tracklets/q1' already belongs to line 4",
        "7 problems",
    ):
        assert words in text


def test_manifest_shows_ten_problems_and_counts_the_rest(tmp_path: Path):
    rows = [
        {"tracklet": f"t{i}", "pid": i, "camid": 1, "subset": "", "folder": f"no{i}"} for i in range(1, 24)
    ]
    with pytest.raises(DataError) as error:
        read_folder(write_manifest(tmp_path, rows))
    assert "23 problems" in message(error)
    assert "and 13 more" in message(error)
    assert "no10" in message(error)
    assert "no11" not in message(error)


def test_manifest_without_columns_or_rows_is_explained(tmp_path: Path):
    path = tmp_path / "tracklets.csv"
    path.write_text("tracklet;folder;pid;camid;subset\n")
    with pytest.raises(DataError, match="missing columns: tracklet, folder, pid, camid, subset"):
        read_folder(tmp_path)
    path.write_text("")
    with pytest.raises(DataError, match="first line has nothing"):
        read_folder(tmp_path)
    path.write_text("tracklet,folder,pid,camid,subset\n")
    with pytest.raises(DataError, match="holds no tracklets"):
        read_folder(tmp_path)
    path.write_bytes(b"tracklet,folder,pid,camid,subset\n\xff\xfe,,,,\n")
    with pytest.raises(DataError, match="no CSV file in UTF-8"):
        read_folder(tmp_path)


def test_manifest_row_with_too_few_or_too_many_values(tmp_path: Path):
    root = write_manifest(tmp_path)
    path = root / "tracklets.csv"
    path.write_text(path.read_text() + "t,f\n" + "t2,f2,1,1,train,extra,more\n")
    with pytest.raises(DataError) as error:
        read_folder(root)
    assert "line 7: camid '' is no whole number; folder 'f' is missing" in message(error)
    assert "line 8: folder 'f2' is missing" in message(error)


def test_parquet_manifest_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    modules = __import__("sys").modules
    monkeypatch.setitem(modules, "pyarrow", None)
    monkeypatch.setitem(modules, "pyarrow.parquet", None)
    (tmp_path / "tracklets.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"reading tracklets\.parquet"):
        read_split(tmp_path)


def test_parquet_manifest_is_read_with_pyarrow(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    root = write_manifest(tmp_path)
    expected = read_folder(root)
    (root / "tracklets.csv").unlink()
    rows = [
        {
            **row,
            "folder": f"tracklets/{row['tracklet']}",
            "pid": row["pid"] or None,
            "subset": row["subset"] or None,
        }
        for row in DEFAULT_ROWS
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), root / "tracklets.parquet")
    assert read_folder(root) == expected


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_pids_that_a_table_wrote_as_floats_are_whole_numbers(suffix: str, tmp_path: Path):
    """pandas makes a column of floats of whole numbers with gaps."""
    root = write_manifest(tmp_path)
    expected = read_folder(root)
    rows = [
        {**row, "folder": f"tracklets/{row['tracklet']}", "pid": float(row["pid"]) if row["pid"] else None}
        for row in DEFAULT_ROWS
    ]
    if suffix == "csv":
        write_manifest(tmp_path, [{**row, "camid": f"{row['camid']}.0"} for row in rows], images=False)
    else:
        (root / "tracklets.csv").unlink()
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        table = pyarrow.Table.from_pylist(rows)
        values = [float("nan") if row["pid"] is None else row["pid"] for row in rows]
        table = table.set_column(table.column_names.index("pid"), "pid", pyarrow.array(values))
        parquet.write_table(table, root / "tracklets.parquet")
    assert read_folder(root) == expected


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("pid", "99999999999999999999", "pid '99999999999999999999' is too large, expected at most"),
        ("pid", "9" * 400, r"pid '9+\.\.\. \(402 characters\) is too large"),
        ("pid", "9" * 5000, r"pid '9+\.\.\. \(5,002 characters\) is no whole number"),
        ("pid", "1e300", "pid '1e300' is no whole number"),
        ("pid", "1.5", "pid '1.5' is no whole number"),
        ("pid", "nan", "pid 'nan' is no whole number"),
        ("camid", "inf", "camid 'inf' is no whole number"),
        ("camid", str(2**53), "camid '9007199254740992' is too large"),
        ("start_s", "soon", "start_s 'soon' is no number of seconds"),
        ("end_s", "-inf", "end_s '-inf' is no number of seconds"),
        ("folder", "a\0b", "cannot be listed: embedded null byte"),
        ("folder", "/etc", "folder '/etc', expected a path inside"),
        ("folder", "tracklets//q1/", r"folder 'tracklets/q1' already belongs to line 4"),
        ("folder", "./tracklets/./q1", r"folder 'tracklets/q1' already belongs to line 4"),
        ("tracklet", "g\0 1", "characters that cannot be printed"),
    ],
)
def test_cells_without_a_meaning_are_refused(column: str, value: str, message: str, tmp_path: Path):
    rows = [dict(row) for row in DEFAULT_ROWS]
    rows[3] |= {"folder": "tracklets/g1", "start_s": "", "end_s": "", column: value}
    root = write_manifest(tmp_path, rows)
    with pytest.raises(DataError, match=message):
        read_folder(root)
    assert not check_dataset(root).ok


def test_a_folder_may_be_spelled_as_people_spell_it(tmp_path: Path):
    rows = [{**row, "folder": f"./tracklets//{row['tracklet']}/"} for row in DEFAULT_ROWS]
    expected = read_folder(write_manifest(tmp_path))
    root = write_manifest(tmp_path, rows)
    assert read_folder(root) == expected
    assert check_dataset(root).ok


def test_what_systems_leave_behind_is_no_content(tmp_path: Path):
    """A folder that was packed on a Mac and lay on a disk station."""
    root = write_folder_tree(tmp_path / "set")
    expected = read_split(root)
    folder = expected.train[0].frame_path(0).parent
    for name in ("._001.jpg", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"Mac OS X")
    for place in (root, root / "train", folder.parent, tmp_path):
        for name in ("__MACOSX", "@eaDir"):
            (place / name / "train").mkdir(parents=True)
            (place / name / "train" / "._001.jpg").write_bytes(b"Mac OS X")
    assert read_split(root) == expected
    assert read_split(tmp_path) == expected
    assert check_dataset(root).ok


def test_a_name_that_is_no_utf8_is_refused(tmp_path: Path):
    root = write_folder_tree(tmp_path / os.fsdecode(b"set \xe9"))
    split = read_split(root)
    path = split.train[0].frame_path(0)
    path.rename(path.with_name(os.fsdecode(b"\xe9.jpg")))
    with pytest.raises(DataError, match=r"holds b'\\xe9\.jpg', whose name is not UTF-8; rename it"):
        read_split(root)


@pytest.mark.parametrize("number", [2**53, 10**30])
def test_a_number_in_a_folders_name_may_be_too_large(number: int, tmp_path: Path):
    root = write_folder_tree(tmp_path)
    next((root / "train").iterdir()).rename(root / "train" / str(number))
    with pytest.raises(DataError, match="too large, expected at most"):
        read_split(root)
    with pytest.raises(DataError, match="the largest number is"):
        Tracklet(name="t", root=root, frames=("a.jpg",), pid=number, camid=1)


@pytest.mark.parametrize("compressed", [False, True])
def test_number_arrays_of_matlab_files_are_those_that_scipy_reads(compressed: bool, tmp_path: Path):
    arrays = {
        "few": np.array([[1, 2], [3, 4]], np.uint8),
        "wide": np.arange(24.0).reshape(2, 3, 4) - 5,
        "negative": np.arange(-3, 3, dtype=np.int16)[None],
        "large": np.array([[2**40, -(2**40)]], np.int64),
        "single": np.array([[0.5, -1e30]], np.float32),
        "none": np.zeros((0, 3)),
    }
    others = {"text": "hello", "cell": np.array([[1, "a"]], dtype=object), "complex": np.array([[1j]])}
    savemat(tmp_path / "a.mat", {**arrays, **others}, do_compression=compressed)
    found = load_mat(tmp_path / "a.mat")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_matlab_file_is_read_or_refused(compressed: bool, tmp_path: Path):
    """At some of these scipy ends the process."""
    path = tmp_path / "a.mat"
    savemat(path, {"ls_set": np.arange(1, 61).reshape(6, 10)}, do_compression=compressed)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.integers(120, len(data), 2):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(100, len(data) + 1)] if rng.random() < 0.3 else data)
        try:
            load_mat(path)
        except DataError:
            refused += 1
    assert refused > 50


def test_person_trained_on_and_queried_is_refused(tmp_path: Path):
    rows = [*DEFAULT_ROWS, {"tracklet": "x", "pid": 1, "camid": 3, "subset": "query"}]
    with pytest.raises(DataError, match=r"pids \[1\] are both trained on and queried"):
        read_folder(write_manifest(tmp_path, rows))


def test_splits_are_plain_values(tmp_path: Path):
    split = read_split(write_manifest(tmp_path))
    assert isinstance(split, Split)
    assert replace(split, index=3).index == 3
    assert json.dumps([t.name for t in split.test]) == '["q1", "g1", "u1"]'
