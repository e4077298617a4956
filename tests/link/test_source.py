"""Which recording a tracklet is from, by its name and its video."""

from __future__ import annotations

import pytest

from intraclip.ingest.cameras import view_names
from intraclip.link.source import kept_apart, recordings


def test_names_of_ingest_tell_the_videos_of_a_camera_apart():
    views = view_names([1, 1, 1, 12])
    names = [f"{view}_t{track:04d}{part}" for view in views for track, part in ((3, ""), (10_000, "p2"))]
    found = recordings(names)
    assert len(set(found)) == len(views)
    assert all(found[i] == found[i + 1] for i in range(0, len(found), 2))
    assert recordings([f"monday/{names[0]}"]) != recordings([f"tuesday/{names[0]}"])


@pytest.mark.parametrize(
    "name", ["", "t001", "cam1_0007", "cam1v2", "cam1_person001", "c1_t0001", "cam1_t0001x"]
)
def test_other_names_say_nothing(name: str):
    assert recordings([name]) == ("",)


def test_the_video_counts_and_so_does_the_name_beside_it():
    assert recordings(["a", "b", "c"], ["x.mp4", "x.mp4", ""]) == ("x.mp4", "x.mp4", "")
    # Two days, one file name.
    first, second = recordings(["cam1_t0001", "cam1v2_t0001"], ["cam1.mp4", "cam1.mp4"])
    assert first != second


def test_unknown_recordings_are_all_different():
    found = kept_apart(["cam1", "", "cam1", ""])
    assert found[0] == found[2] == "cam1"
    assert len(set(found)) == 3
