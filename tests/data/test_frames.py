from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from intraclip.data.frames import read_frame, read_frames, resize_frame
from intraclip.errors import FrameError


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
