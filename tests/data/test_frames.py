from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from intraclip.core.media import read_picture
from intraclip.data.frames import (
    encoded_frame,
    read_tracklet_frame,
    read_tracklet_frame_into,
    resize_frame,
)
from intraclip.errors import FrameError
from intraclip.types import Tracklet


@pytest.fixture
def picture() -> np.ndarray:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 4, 3), dtype=np.uint8))
    return np.asarray(image.resize((32, 64), Image.Resampling.BICUBIC))


def test_resizing_keeps_the_mean_colour(picture: np.ndarray):
    for height, width in ((16, 8), (128, 64), (256, 128)):
        resized = resize_frame(picture, height, width)
        assert resized.shape == (height, width, 3)
        assert abs(resized.mean(axis=(0, 1)) - picture.mean(axis=(0, 1))).max() < 3


@pytest.fixture
def tracklet(tmp_path: Path, picture: np.ndarray) -> Tracklet:
    """Frame 0 is a JPEG, frame 1 a PNG, frame 2 is cut off, frame 3 is missing."""
    data = simplejpeg.encode_jpeg(picture, quality=98)
    (tmp_path / "a.jpg").write_bytes(data)
    Image.fromarray(picture).save(tmp_path / "b.png")
    (tmp_path / "c.jpg").write_bytes(data[:-20])
    names = ("a.jpg", "b.png", "c.jpg", "d.jpg")
    return Tracklet(name="t", root=tmp_path, frames=names, pid=1, camid=1)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("height", "width"), [(64, 32), (32, 16), (50, 31), (128, 64)])
def test_a_frame_reaches_its_place_in_a_batch_as_if_read_and_resized(
    tracklet: Tracklet, index: int, height: int, width: int
):
    batch = np.zeros((3, height, width, 3), dtype=np.uint8)
    read_tracklet_frame_into(tracklet, index, batch[1])
    wanted = resize_frame(read_picture(tracklet.frame_path(index)), height, width)
    assert np.array_equal(batch[1], wanted)
    assert not batch[0].any()
    assert not batch[2].any()
    assert np.array_equal(resize_frame(read_tracklet_frame(tracklet, index), height, width), wanted)


@pytest.mark.parametrize("index", [2, 3])
def test_an_unreadable_frame_of_a_tracklet_is_named(tracklet: Tracklet, index: int):
    out = np.empty((64, 32, 3), dtype=np.uint8)
    for read in (
        lambda: read_tracklet_frame(tracklet, index),
        lambda: read_tracklet_frame_into(tracklet, index, out),
    ):
        with pytest.raises(FrameError) as caught:
            read()
        assert caught.value.path == tracklet.frame_path(index)


def test_encoded_frames_are_the_bytes_of_the_files(tracklet: Tracklet):
    data = encoded_frame(tracklet, 0)
    assert data.tobytes() == tracklet.frame_path(0).read_bytes()


def save_lying(picture: np.ndarray, path: Path) -> None:
    """Store a picture as a camera that was turned to the left does: lying, with a note to turn it to the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(picture)).save(
        path, exif=exif, **({"quality": 98} if path.suffix == ".jpg" else {})
    )


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("size", [(64, 32), (32, 64), (50, 31)])
def test_frames_are_upright_in_a_batch(tmp_path: Path, picture: np.ndarray, kind: str, size: tuple[int, int]):
    save_lying(picture, tmp_path / f"a.{kind}")
    lying = Tracklet(name="t", root=tmp_path, frames=(f"a.{kind}",), pid=1, camid=1)
    out = np.empty((*size, 3), np.uint8)  # also of the size that the file states
    read_tracklet_frame_into(lying, 0, out)
    assert abs(out.astype(int) - resize_frame(picture, *size)).mean() < 4
    assert abs(read_tracklet_frame(lying, 0).astype(int) - picture).mean() < 4
