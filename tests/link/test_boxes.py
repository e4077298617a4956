"""Where every person was: tracks with people as ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intraclip.errors import DataError
from intraclip.ingest.camera_tracks import read_tracks
from intraclip.link.boxes import by_camera, person_tracks, write_tracks
from intraclip.link.evidence import Evidence
from intraclip.link.people import link


def folder(tmp_path: Path, views: tuple[str, ...] = ("cam1", "cam2")) -> Path:
    """Track 5 of each view is there from frame 0 to 9, track 6 was dropped."""
    (tmp_path / "data" / "tracks").mkdir(parents=True)
    for view in views:
        lines = [f"{f + 1},{t},{10 * t},5,20,40,1,-1,-1,-1\n" for f in range(10) for t in (5, 6)]
        (tmp_path / "data" / "tracks" / f"{view}.txt").write_text("".join(lines))
    return tmp_path / "data"


def row(camid: int, first: int, last: int) -> dict[str, str]:
    return {"track": "5", "first_frame": str(first), "last_frame": str(last), "camid": str(camid)}


MANIFEST = {
    "cam1_t0005": row(1, 0, 3),  # the track changes from one person to another between frames 3 and 6
    "cam1_t0005p2": row(1, 6, 9),
    "cam2_t0005": row(2, 2, 7),
}


def test_people_are_the_ids_of_the_boxes_in_every_view(tmp_path: Path):
    names = tuple(MANIFEST)
    features = np.array([[1, 0], [0, 1], [0.9, 0.1]], dtype=np.float32)
    people = link(Evidence(features=features, camids=np.array([1, 1, 2])), names, threshold=1.0)
    assert people.person.tolist() == [1, 2, 1]
    views = person_tracks(folder(tmp_path), MANIFEST, people)
    assert views["cam1"][1].track.tolist() == [1] * 5 + [2] * 5
    assert views["cam2"][1].track.tolist() == [1] * 10
    write_tracks(tmp_path / "out", views)
    for path in (tmp_path / "out" / "tracks", tmp_path / "out" / "ai_city.txt"):
        read = read_tracks(path)
        assert {c: t.track.tolist() for c, t in read.items()} == {1: [1] * 5 + [2] * 5, 2: [1] * 10}
        assert read[1].boxes[0].tolist() == [50, 5, 70, 45]


def test_two_recordings_of_a_camera_have_no_common_frames(tmp_path: Path):
    manifest = {"cam1_t0005": row(1, 0, 9), "cam1v2_t0005": row(1, 0, 9)}
    people = link(
        Evidence(features=np.eye(2, dtype=np.float32), camids=np.array([1, 1])),
        tuple(manifest),
        threshold=0.1,
    )
    views = person_tracks(folder(tmp_path, ("cam1", "cam1v2")), manifest, people)
    assert sorted(views) == ["cam1", "cam1v2"]
    with pytest.raises(DataError, match="camera 1 has several recordings"):
        by_camera(views)
    write_tracks(tmp_path / "out", views)
    assert not (tmp_path / "out" / "ai_city.txt").exists()


def test_tracklets_of_another_system_have_no_tracks(tmp_path: Path):
    people = link(
        Evidence(features=np.eye(2, dtype=np.float32), camids=np.array([1, 2])), ("a", "b"), threshold=0.1
    )
    assert person_tracks(tmp_path, {}, people) == {}
