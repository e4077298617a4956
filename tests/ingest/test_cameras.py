from __future__ import annotations

from pathlib import Path

import pytest

from intraclip.errors import ConfigError, DataError
from intraclip.ingest.cameras import assign_cameras, camid_of, view_names
from intraclip.ingest.config import IngestConfig


@pytest.mark.parametrize(
    ("name", "camid"),
    [
        ("cam3.mp4", 3),
        ("cam3-source.webm", 3),
        ("c3.avi", 3),
        ("C3.avi", 3),
        ("camera_3.mkv", 3),
        ("Camera 12 north.mp4", 12),
        ("site2_cam-07_2024.mp4", 7),
        ("c4_cam1.mp4", 1),
        ("cam0.mp4", 0),
        ("music3.mp4", None),
        ("scam3.mp4", None),
        ("2024-01-02.mp4", None),
        ("cam.mp4", None),
    ],
)
def test_camera_number_in_a_file_name(name: str, camid: int | None) -> None:
    assert camid_of(Path("cam9") / name) == camid


def assign(*names: str, same_camera: bool = False, **mapping: int) -> tuple[list[int], list[str]]:
    named = {f"{name}.mp4": camid for name, camid in mapping.items()}
    return assign_cameras([Path(n) for n in names], mapping=named, same_camera=same_camera)


def test_files_without_a_number_get_the_free_ones_in_order_and_a_note() -> None:
    camids, notes = assign("lobby.mp4", "cam2.mp4", "yard.mp4", "hall.mp4", hall=7)
    assert camids == [1, 2, 3, 7]
    assert len(notes) == 2
    assert notes[1].startswith("yard.mp4 has no camera number")


def test_videos_of_the_same_camera_are_listed() -> None:
    with pytest.raises(DataError, match=r"camera 1: a/cam1\.mp4, b/cam1\.mp4.*same_camera"):
        assign("a/cam1.mp4", "b/cam1.mp4", "cam2.mp4")
    assert assign("a/cam1.mp4", "b/cam1.mp4", same_camera=True)[0] == [1, 1]
    assert view_names([1, 1]) == ["cam1", "cam1v2"]


def test_a_video_given_twice() -> None:
    with pytest.raises(DataError, match="given twice"):
        assign("lobby.mp4", "./lobby.mp4", same_camera=True)


def test_mapping_of_an_unknown_file() -> None:
    with pytest.raises(ConfigError, match=r"hall\.mp4 is not among the videos; they are lobby\.mp4"):
        assign("lobby.mp4", hall=2)


def test_config_lists_all_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        IngestConfig(
            tracker="deepsort",
            nms_iou=2,
            max_aspect=1,
            track_score=0.05,
            max_frames=2,
            cameras={"a": -1, "b": 2**53},
            max_fps=float("nan"),  # type: ignore[arg-type]
        )
    for part in (
        "tracker",
        "nms_iou: 2",
        "max_aspect",
        "track_score: 0.05",
        "max_frames: 2",
        "'a': -1",
        "'b': 9007199254740992",
        "max_fps",
    ):
        assert part in str(caught.value)
