"""Queries from pictures, clips and boxes in videos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from intraclip.core.media import read_picture
from intraclip.errors import DataError, FrameError
from intraclip.gallery import queries
from intraclip.gallery.queries import read_box, read_clip


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Thirty frames of 64 x 48; a red square moves a pixel to the right with each."""
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for i in range(30):
        frame = np.full((48, 64, 3), 90, np.uint8)
        frame[16:32, i : i + 16] = (0, 0, 250)  # BGR
        writer.write(frame)
    writer.release()
    return path


def test_a_box_is_cut_out_of_its_frame_in_rgb(video):
    (found,) = read_box(video, frame=20, box=(20, 16, 16, 16))
    assert found.shape == (16, 16, 3)
    assert np.abs(found[4:12, 4:12].astype(int) - (250, 0, 0)).max() < 40
    (other,) = read_box(video, frame=0, box=(40, 16, 16, 16))
    assert np.abs(other.astype(int) - 90).max() < 40
    (edge,) = read_box(video, frame=0, box=(56, 40, 30, 30))
    assert edge.shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("frame", "box", "message"),
    [
        (30, (1, 1, 9, 9), "has no frame 30; it is shorter"),
        (-1, (1, 1, 9, 9), "counted from 0"),
        (3, (64, 1, 9, 9), "does not lie in the frames .* 64 x 48"),
        (3, (1, 1, 0, 9), "does not lie"),
        (3, (float("nan"), 1, 9, 9), "does not lie"),
    ],
)
def test_boxes_that_are_not_there_are_refused(video, frame, box, message):
    with pytest.raises(DataError, match=message):
        read_box(video, frame=frame, box=box)


def test_a_clip_gives_frames_spread_over_its_length(video, monkeypatch):
    assert len(read_clip(video)) == 30
    monkeypatch.setattr(queries, "MAX_FRAMES", 4)
    found = read_clip(video)
    lefts = [int(np.flatnonzero(f[24, :, 0] > 170)[0]) for f in found]
    assert lefts == sorted(lefts)
    assert lefts[0] <= 1
    assert lefts[-1] >= 23
    assert len(found) == 4


def test_frames_of_a_clip_are_kept_small(video, monkeypatch):
    (height, width) = read_clip(video)[0].shape[:2]
    monkeypatch.setattr(queries, "KEPT_SIDE", max(height, width) // 2)
    assert read_clip(video)[0].shape[:2] == (height // 2, width // 2)


def test_a_picture_that_a_camera_stored_lying_stands_upright(tmp_path):
    lying = np.zeros((8, 16, 3), np.uint8)
    lying[:, :8] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter to the right
    Image.fromarray(lying).save(tmp_path / "a.png", exif=exif)
    found = read_picture(tmp_path / "a.png")
    assert found.shape == (16, 8, 3)
    assert (found[:8] == (255, 0, 0)).all()
    assert not found[8:].any()


def test_what_is_no_picture_and_no_video_is_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(FrameError, match=r"text.jpg: no image"):
        read_picture(tmp_path / "text.jpg")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(DataError, match=r"text.mp4"):
        read_clip(tmp_path / "text.mp4")
