from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from intraclip.data.frames import (
    decode_frame,
    encoded_frame,
    is_jpeg,
    read_frame,
    read_frames,
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


def test_jpeg_and_png_come_back_as_rgb(tmp_path: Path, picture: np.ndarray):
    (tmp_path / "a.jpg").write_bytes(simplejpeg.encode_jpeg(picture, quality=98))
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(read_frame(tmp_path / "a.png"), picture)
    assert abs(read_frame(tmp_path / "a.jpg").astype(int) - picture).mean() < 4


def test_grey_and_palette_images_become_rgb(tmp_path: Path, picture: np.ndarray):
    Image.fromarray(picture).convert("L").save(tmp_path / "grey.png")
    Image.fromarray(picture).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(picture).convert("L").save(tmp_path / "grey.jpg")
    for name in ("grey.png", "palette.png", "grey.jpg"):
        assert read_frame(tmp_path / name).shape == (64, 32, 3)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_truncated_image_is_refused_by_name(tmp_path: Path, picture: np.ndarray, kind: str):
    path = tmp_path / f"frame.{kind}"
    Image.fromarray(picture).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FrameError, match=rf"cannot read the frame .*frame\.{kind}"):
        read_frame(path)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"hello, no image", "no image"), (None, "No such")]
)
def test_files_that_are_no_images_are_refused(tmp_path: Path, content: bytes | None, reason: str):
    path = tmp_path / "frame.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FrameError, match=reason) as caught:
        read_frame(path)
    assert caught.value.path == path


def test_resizing_keeps_the_mean_colour(picture: np.ndarray):
    for height, width in ((16, 8), (128, 64), (256, 128)):
        resized = resize_frame(picture, height, width)
        assert resized.shape == (height, width, 3)
        assert abs(resized.mean(axis=(0, 1)) - picture.mean(axis=(0, 1))).max() < 3


def test_frames_are_stacked_channels_first(tmp_path: Path, picture: np.ndarray):
    for i in range(3):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    frames = read_frames([tmp_path / f"{i}.png" for i in range(3)], height=64, width=32)
    assert frames.shape == (3, 3, 64, 32)
    assert np.array_equal(frames[1], picture.transpose(2, 0, 1))


def test_sixteen_bit_images_are_scaled_not_clipped(tmp_path: Path):
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert (read_frame(tmp_path / "deep.png") == 40000 >> 8).all()


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
    wanted = resize_frame(read_frame(tracklet.frame_path(index)), height, width)
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


def test_encoded_frames_are_the_bytes_of_the_files(tracklet: Tracklet, picture: np.ndarray):
    data = encoded_frame(tracklet, 0)
    assert data.tobytes() == tracklet.frame_path(0).read_bytes()
    assert is_jpeg(data)
    assert not is_jpeg(encoded_frame(tracklet, 1))
    assert not is_jpeg(data[:1])
    assert np.array_equal(decode_frame(encoded_frame(tracklet, 1), "b.png"), picture)
    with pytest.raises(FrameError, match=r"cannot read the frame nothing\.jpg: the file is empty"):
        decode_frame(data[:0], "nothing.jpg")
