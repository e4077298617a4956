from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intraclip.errors import DataError
from intraclip.ingest.mot import read_mot


def mot(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "tracks.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_results_of_a_tracker(tmp_path: Path) -> None:
    file = read_mot(
        mot(
            tmp_path,
            "2,7,10,20,30,60,0.8,-1,-1,-1",
            "1,7,8.5,20,30,60,0.9,-1,-1,-1",
            "",
            "1 3 100 20 30 60 1 -1 -1 -1",
            "1.000e+00,9,0,0,5,5,-1,",
            "4,7,10,20,30,60",
        )
    )
    assert file.followed
    assert file.frame.tolist() == [0, 0, 0, 1, 3]
    assert file.track.tolist() == [3, 7, 9, 7, 7]
    assert file.line.tolist() == [4, 2, 5, 1, 6]
    np.testing.assert_allclose(file.boxes[1], [8.5, 20, 38.5, 80])
    np.testing.assert_allclose(file.score, [1, 0.9, 1, 0.8, 1])
    assert not file.hidden.any()
    assert file.track[file.rows_of(0)].tolist() == [3, 7, 9]
    assert len(file.track[file.rows_of(2)]) == 0


def test_ground_truth_counts_visible_pedestrians_that_are_not_flagged(tmp_path: Path) -> None:
    file = read_mot(
        mot(
            tmp_path,
            "1,1,10,20,30,60,1,1,0.75",
            "1,2,10,20,30,60,0,1,1",  # flagged: does not count
            "1,3,10,20,30,60,1,3,1",  # a car
            "1,4,-90,20,30,60,1,1,0",  # outside the picture, nothing of it is seen
            "2,1,10,20,30,60,1,1,-1",
        )
    )
    assert file.track.tolist() == [1, 1]
    np.testing.assert_allclose(file.hidden, [0.25, 0])
    assert file.ignored == {"confidence 0": 1, "class 3": 1, "visibility 0": 1}
    assert file.inside(height=100, width=100) is file


def test_world_coordinates_are_no_classes(tmp_path: Path) -> None:
    assert len(read_mot(mot(tmp_path, "1,1,10,20,30,60,1,3.5,2.0,0"))) == 1


def test_detections_have_no_ids(tmp_path: Path) -> None:
    file = read_mot(mot(tmp_path, "1,-1,10,20,30,60,0.9,-1,-1,-1", "1,-1,12,20,30,60,0.3,-1,-1,-1"))
    assert not file.followed
    np.testing.assert_allclose(file.score, [0.9, 0.3])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("frame,id,x,y,w,h,conf", r"line 2: frame 'frame' is no number"),
        ("1,7,ten,20,30,60,1", r"line 2: left 'ten' is no number"),
        ("1,7,10,20,30,60,nan", r"line 2: column 7 is nan"),
        ("inf,7,10,20,30,60,1", r"line 2: column 1 is inf"),
        ("1,7,10,20,30", r"line 2: 5 values, at least 6 are needed"),
        ("0,7,10,20,30,60,1", r"line 2: frame 0 is no whole number of at least 1"),
        ("1.5,7,10,20,30,60,1", r"line 2: frame 1\.5 is no whole number"),
        ("1,-2,10,20,30,60,1", r"line 2: id -2 is no whole number of at least -1"),
        ("1,7,10,20,30,60,54.2", r"line 2: confidence 54\.2 is not in 0\.\.1"),
        ("1,7,10,20,30,60,1,1,1.5", r"line 2: visibility 1\.5 is not in 0\.\.1"),
        ("1,1,10,20,30,60,1", r"line 2: id 1 is in frame 1 already, in line 1"),
    ],
)
def test_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mot(mot(tmp_path, "1,1,10,20,30,60,1", line))


def test_many_wrong_lines_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1: .*line 5: .*; and 7 more; a line is frame, id, left"):
        read_mot(mot(tmp_path, *["x"] * 12))


def test_a_file_in_which_no_line_counts_is_that_of_a_camera_that_saw_nobody(tmp_path: Path) -> None:
    for lines in ([], [""], ["1,1,10,20,30,60,1,3,1"]):
        file = read_mot(mot(tmp_path, *lines))
        assert len(file) == 0
        assert file.followed
        assert file.rows_of(0) == slice(0, 0)
        assert file.inside(height=10, width=10) is file
        assert file.within(3, Path("v.mp4")) is file
    assert file.ignored == {"class 3": 1}
    assert len(read_mot(mot(tmp_path, "1,1,10,20,30,60,1,3,1"), person_class=3)) == 1


BOX = "{},1,10,20,30,60,1"


@pytest.mark.parametrize("box", ["10,20,0,60", "10,20,-3,60", "10,20,30,nan", "inf,20,30,60"])
def test_a_box_without_size_is_left_out_and_most_of_them_are_refused(tmp_path: Path, box: str) -> None:
    wrong = f"9,1,{box},1"
    file = read_mot(mot(tmp_path, BOX.format(1), wrong, BOX.format(2)))
    assert file.frame.tolist() == [0, 1]
    assert file.ignored == {"a box without size": 1}
    with pytest.raises(DataError, match=r"line 1: the box .* has no size; a line is frame, id, left"):
        read_mot(mot(tmp_path, wrong, BOX.format(2)))


def test_scores_beyond_0_to_1_keep_their_order(tmp_path: Path) -> None:
    """Lines of MOT17's public detections of DPM."""
    file = read_mot(
        mot(
            tmp_path,
            "1,-1,1359.1,413.27,120.26,362.77,2.3092,-1,-1,-1",
            "1,-1,571.03,402.13,104.56,315.68,1.5028,-1,-1,-1",
            "1,-1,650.8,455.86,63.98,193.94,-0.36,-1,-1,-1",
            "1,-1,721.23,446.86,41.871,127.61,0,-1,-1,-1",
            "2,-1,721.23,446.86,41.871,127.61,-1,-1,-1,-1",
        )
    )
    assert file.is_scored
    np.testing.assert_allclose(file.score, [0.9096, 0.8180, 0.4110, 1], atol=1e-4)
    assert not read_mot(mot(tmp_path, "1,-1,10,20,30,60,0.9", "1,-1,10,20,30,60,-1")).is_scored


def test_tracks_and_detections_mixed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"some lines have an id and some have -1, such as line 2"):
        read_mot(mot(tmp_path, "1,1,10,20,30,60,1", "1,-1,50,20,30,60,1"))


def test_file_that_is_no_text_or_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match=r"a\.txt cannot be read: it is no text"):
        read_mot(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"b\.txt cannot be read: No such file"):
        read_mot(tmp_path / "b.txt")


def test_boxes_outside_the_picture_are_left_out_and_most_of_them_are_refused(tmp_path: Path) -> None:
    edges = ["1,1,-20,20,30,60,1", "2,1,190,20,30,60,1"]
    file = read_mot(mot(tmp_path, *edges, "3,1,200,20,30,60,1"))
    assert file.inside(height=100, width=201) is file
    smaller = file.inside(height=100, width=200)
    assert smaller.frame.tolist() == [0, 1]
    assert smaller.ignored == {"a box outside the picture of 200 x 100 pixels": 1}
    far = read_mot(mot(tmp_path, *edges, "3,1,1e300,20,30,60,1", "3,2,10,-1e300,30,60,1"))
    with pytest.raises(
        DataError,
        match=r"line 3: box outside the picture of 200 x 100 pixels \(frame 3, id 1, box 1e\+06, 20",
    ):
        far.inside(height=100, width=200)


def test_frames_beyond_the_video_are_left_out_and_most_of_them_are_refused(tmp_path: Path) -> None:
    file = read_mot(mot(tmp_path, "18,1,10,20,30,60,1", "20,1,10,20,30,60,1", "19,1,10,20,30,60,1"))
    assert file.within(20, Path("v.mp4")) is file
    assert file.within(19, Path("v.mp4")).frame.tolist() == [17, 18]
    with pytest.raises(DataError, match=r"line 2: frame beyond the 18 frames of v\.mp4 \(frame 20.*line 3"):
        file.within(18, Path("v.mp4"))
