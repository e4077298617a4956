"""Boxes of several cameras: layouts of MOTChallenge and the AI City Challenge, and scores equal to TrackEval's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intraclip.errors import DataError
from intraclip.ingest.camera_tracks import CameraTracks, ai_city_text, mot_text, read_tracks
from intraclip.ingest.track_scores import TrackScores, score_tracks


def tracks(rows: list[tuple[int, ...]]) -> CameraTracks:
    """Of rows frame, id, left, top; boxes of 20 x 40."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    corner = table[:, 2:].astype(np.float32)
    return CameraTracks(
        frame=table[:, 0],
        track=table[:, 1],
        boxes=np.concatenate([corner, corner + np.array([20, 40], dtype=np.float32)], axis=1),
    )


def two_cameras() -> tuple[dict[int, CameraTracks], dict[int, CameraTracks]]:
    """Five people in two cameras: missed boxes, shaken ones, an id that changes and one that is another elsewhere."""
    rng = np.random.default_rng(0)
    truth, found = {}, {}
    for camera in (1, 2):
        start, step = rng.integers(0, 200, (5, 2)), rng.integers(-3, 4, (5, 2))
        true, ours = [], []
        for frame in range(40):
            for person in range(5):
                if (frame + 7 * person) % 23 < 5:
                    continue
                x, y = (start[person] + frame * step[person]).tolist()
                true.append((frame, person + 1, x, y))
                if rng.random() < 0.85:
                    dx, dy = rng.integers(-4, 5, 2).tolist()
                    name = 31 if camera == 2 and person == 1 else person + 11
                    if frame > 25 and person == 3:
                        name = 14 if camera == 1 else 15
                    if (frame, name) not in {(f, n) for f, n, _, _ in ours}:
                        ours.append((frame, name, x + dx, y + dy))
        truth[camera], found[camera] = tracks(true), tracks(ours)
    return truth, found


def values(scores: TrackScores) -> list[float]:
    return [scores.hota, scores.deta, scores.assa, scores.mota, scores.idf1, scores.switches]


def test_scores_are_those_of_trackeval():
    # Computed once with TrackEval 1.3.0 (MIT) on the same boxes: HOTA, DetA, AssA, MOTA, IDF1, switches.
    pytest.importorskip("trackers")
    found = score_tracks(*two_cameras())
    assert values(found.cameras[1]) == pytest.approx(
        [0.5747621171983027, 0.5698897043945529, 0.5806058892387143, 0.8050314465408805, 0.89198606271777, 0],
        abs=1e-6,
    )
    assert values(found.cameras[2]) == pytest.approx(
        [
            0.5397010000186713,
            0.5808930087448975,
            0.501508857471097,
            0.7924528301886793,
            0.8181818181818182,
            1,
        ],
        abs=1e-6,
    )
    assert values(found.within) == pytest.approx(
        [0.557708979355411, 0.575243236313369, 0.5410046439560227, 0.7987421383647799, 0.8551483420593369, 1],
        abs=1e-6,
    )
    assert values(found.across) == pytest.approx(
        [
            0.5191154343490607,
            0.575243236313369,
            0.4687543162620937,
            0.7955974842767296,
            0.7643979057591623,
            2,
        ],
        abs=1e-6,
    )


def test_the_truth_itself_scores_one_and_nobody_scores_nothing():
    pytest.importorskip("trackers")
    truth, _ = two_cameras()
    assert values(score_tracks(truth, truth).across) == pytest.approx([1, 1, 1, 1, 1, 0])
    nobody = score_tracks({**truth, 7: tracks([])}, {**truth, 7: tracks([])})
    assert set(nobody.cameras) == set(truth)  # where nobody was, nothing can be said
    assert set(score_tracks({**truth, 7: tracks([])}, {**truth, 7: truth[1]}).cameras) == {*truth, 7}
    half = score_tracks(truth, {1: truth[1]})
    assert half.cameras[2].hota == 0
    assert half.across is not None
    assert half.across.mota == pytest.approx(len(truth[1]) / (len(truth[1]) + len(truth[2])))
    with pytest.raises(DataError, match="truth is of cameras 1, 2, the tracks are of 3"):
        score_tracks(truth, {3: truth[1]})
    with pytest.raises(DataError, match="holds no boxes"):
        score_tracks({1: tracks([])}, truth)


@pytest.mark.parametrize("layout", ["files", "sequences", "ai-city"])
def test_what_is_written_is_read(tmp_path: Path, layout: str):
    truth, _ = two_cameras()
    path = tmp_path
    for camera, one in truth.items():
        if layout == "files":
            (tmp_path / f"cam{camera}.txt").write_text(mot_text(one))
        elif layout == "sequences":
            (tmp_path / f"cam{camera}" / "gt").mkdir(parents=True)
            (tmp_path / f"cam{camera}" / "gt" / "gt.txt").write_text(mot_text(one))
    if layout == "ai-city":
        path = tmp_path / "track1.txt"
        path.write_text(ai_city_text(truth))
    read = read_tracks(path)
    assert sorted(read) == [1, 2]
    for camera, one in truth.items():
        np.testing.assert_array_equal(read[camera].frame, one.frame)
        np.testing.assert_array_equal(read[camera].track, one.track)
        np.testing.assert_array_equal(read[camera].boxes, one.boxes)


def test_bad_tracks_are_refused_by_line(tmp_path: Path):
    with pytest.raises(DataError, match="holds no tracks"):
        read_tracks(tmp_path)
    path = tmp_path / "answer.txt"
    path.write_text(
        "1 7 0 5 5 10 20 -1 -1\n1 7 0 6 6 10 20 -1 -1\n1 8 0 5 5 0 20 -1 -1\n1 x 0 5 5 9 20 -1 -1\n"
    )
    with pytest.raises(DataError, match=r"line 2: id 7 is in frame 0 already.*line 3: the box.*line 4"):
        read_tracks(path)
    (tmp_path / "lobby.txt").write_text("1,7,5,5,10,20,1,-1,-1,-1\n")
    with pytest.raises(DataError, match="no number of a camera"):
        read_tracks(tmp_path / "lobby.txt")
    (tmp_path / "cam1.txt").write_text("1,-1,5,5,10,20,1,-1,-1,-1\n")
    with pytest.raises(DataError, match="have no ids"):
        read_tracks(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_tracks(tmp_path / "absent.txt")
