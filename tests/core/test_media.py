from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from intraclip.core.media import (
    Limits,
    NoPictureError,
    PictureTooLargeError,
    decode_jpeg_into,
    decode_picture,
    read_picture,
)
from intraclip.core.other_pictures import is_ordinary_jpeg
from intraclip.errors import FrameError

SIZE = (24, 40)  # height, width: no square, so that a turn shows


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    return cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_LINEAR)


def encoded(
    picture: np.ndarray, kind: str, *, orientation: int = 1, mode: str = "RGB", **options
) -> np.ndarray:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).convert(mode).save(file, kind, exif=exif, **options)
    return np.frombuffer(file.getvalue(), np.uint8)


def differ(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


LOSSLESS = {"JPEG": {"quality": 98, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright_whatever_its_format(picture: np.ndarray, kind: str, orientation: int):
    data = encoded(picture, kind, orientation=orientation, **LOSSLESS[kind])
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = Image.fromarray(picture)
    turned.info["exif"] = exif.tobytes()
    wanted = np.asarray(ImageOps.exif_transpose(turned))
    found = decode_picture(data, "a")
    assert differ(found, wanted) < 3
    assert found.flags.c_contiguous
    assert wanted.shape == (picture.shape if orientation < 5 else (SIZE[1], SIZE[0], 3))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_orientation_is_found_in_either_byte_order_and_any_integer_type(
    picture: np.ndarray, order: str, kind: int
):
    code = {1: "B", 3: "H", 4: "I"}[kind]
    value = struct.pack(order + code, 6).ljust(4, b"\0")
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 2)
    tiff += struct.pack(order + "HHI", 0x010F, 2, 4) + b"abc\0"
    tiff += struct.pack(order + "HHI", 0x0112, kind, 1) + value
    plain = simplejpeg.encode_jpeg(picture, quality=95)
    block = b"Exif\0\0" + tiff
    # Another block before it, fill bytes between: markers are followed, not guessed at.
    other = b"\xff\xe1" + struct.pack(">H", 8) + b"http:\0"
    exif = b"\xff\xff\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    data = plain[:2] + other + exif + plain[2:]
    assert decode_picture(np.frombuffer(data, np.uint8), "a").shape == (40, 24, 3)
    assert not is_ordinary_jpeg(np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_exif_that_is_cut_short_turns_nothing(picture: np.ndarray, cut: int):
    plain = simplejpeg.encode_jpeg(picture, quality=95)
    whole = b"Exif\0\0II*\0" + struct.pack("<IHHHI", 8, 1, 0x0112, 3, 1) + struct.pack("<I", 6)
    block = whole[: max(6, len(whole) - cut)]
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
    found = decode_picture(np.frombuffer(data, np.uint8), "a")
    assert found.shape == ((*SIZE, 3) if cut > 2 else (40, 24, 3))  # its last two bytes are padding


def test_a_jpeg_goes_straight_to_its_place_only_if_it_is_upright_and_of_this_size(picture: np.ndarray):
    out = np.zeros((*SIZE, 3), np.uint8)
    upright = encoded(picture, "JPEG", quality=95)
    assert decode_jpeg_into(upright, "a", out)
    assert np.array_equal(out, decode_picture(upright, "a"))
    assert is_ordinary_jpeg(upright)
    # Upside down: the size agrees, the pixels do not.
    assert not decode_jpeg_into(encoded(picture, "JPEG", orientation=3), "a", out)
    assert not decode_jpeg_into(encoded(picture, "PNG"), "a", out)
    assert not decode_jpeg_into(upright, "a", out[:, :-1].copy())


def test_cmyk_pictures_become_rgb_and_leave_the_fast_path(picture: np.ndarray):
    data = encoded(picture, "JPEG", mode="CMYK", quality=98, subsampling=0)
    assert differ(decode_picture(data, "a"), picture) < 4
    assert not decode_jpeg_into(data, "a", np.zeros((*SIZE, 3), np.uint8))
    assert not is_ordinary_jpeg(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_grey_pictures_have_three_equal_channels(picture: np.ndarray, kind: str):
    found = decode_picture(encoded(picture, kind, mode="L"), "a")
    assert found.shape == (*SIZE, 3)
    assert (found == found[..., :1]).all()
    assert differ(found[..., 0], np.asarray(Image.fromarray(picture).convert("L"))) < 4


def test_what_is_transparent_shows_white(picture: np.ndarray):
    layer = np.dstack([picture, np.full(SIZE, 255, np.uint8)])
    layer[:, :20, 3] = 0
    file = io.BytesIO()
    Image.fromarray(layer).save(file, "PNG")
    found = decode_picture(np.frombuffer(file.getvalue(), np.uint8), "a")
    assert (found[:, :20] == 255).all()
    assert np.array_equal(found[:, 20:], picture[:, 20:])


def test_transparent_colour_of_a_palette_shows_white():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((0, 0), 0)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0)
    found = decode_picture(np.frombuffer(file.getvalue(), np.uint8), "a")
    assert found[0, 0].tolist() == [255] * 3
    assert found[1, 1].tolist() == [10, 20, 30]


def test_a_picture_that_is_transparent_everywhere_is_refused(picture: np.ndarray):
    layer = np.dstack([picture, np.zeros(SIZE, np.uint8)])
    file = io.BytesIO()
    Image.fromarray(layer).save(file, "PNG")
    with pytest.raises(FrameError, match="transparent"):
        decode_picture(np.frombuffer(file.getvalue(), np.uint8), "a")


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_their_upper_eight_and_are_refused_where_these_are_black(
    picture: np.ndarray, suffix: str, channels: int
):
    deep = (picture[..., :channels].astype(np.uint16) << 8) + 77
    ok, full = cv2.imencode(f".{suffix}", deep[..., ::-1])
    assert ok
    found = decode_picture(full, "a")
    assert np.array_equal(found, np.broadcast_to(picture[..., :channels], (*SIZE, 3)))
    ok, dark = cv2.imencode(f".{suffix}", deep >> 4)
    assert ok
    with pytest.raises(FrameError, match="16 bits a channel"):
        decode_picture(dark, "a")


def test_pixels_without_a_scale_are_refused(picture: np.ndarray):
    for values in (picture[..., 0] / np.float32(255), picture[..., 0].astype(np.int32) * 1_000_000):
        file = io.BytesIO()
        Image.fromarray(values).save(file, "TIFF")
        with pytest.raises(FrameError, match="scale is nowhere stated"):
            decode_picture(np.frombuffer(file.getvalue(), np.uint8), "a")


def png_header(width: int, height: int) -> np.ndarray:
    """A PNG whose header promises a size; nothing follows it."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return np.frombuffer(
        data + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")), np.uint8
    )


@pytest.mark.parametrize(
    ("width", "height"), [(1, 39_000_000), (40_000, 10), (9_000, 9_000), (30_000, 30_000)]
)
def test_a_huge_picture_is_refused_by_its_header(width: int, height: int):
    with pytest.raises(PictureTooLargeError, match="pixels"):
        decode_picture(png_header(width, height), "a")


def test_a_huge_jpeg_is_refused_by_its_header(picture: np.ndarray):
    data = bytearray(simplejpeg.encode_jpeg(picture, quality=90))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 65_000, 65_000)
    with pytest.raises(PictureTooLargeError, match="65,000 x 65,000"):
        decode_picture(np.frombuffer(bytes(data), np.uint8), "a")


def test_a_progressive_jpeg_that_repeats_its_last_scan_is_refused():
    file = io.BytesIO()
    Image.new("RGB", (1000, 1000), (90, 60, 30)).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    decode_picture(np.frombuffer(whole, np.uint8), "a")
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    data = np.frombuffer(whole[:-2] + 2_000 * scan + whole[-2:], np.uint8)
    with pytest.raises(PictureTooLargeError, match="scans"):
        decode_picture(data, "a")
    with pytest.raises(PictureTooLargeError, match="scans"):
        decode_jpeg_into(data, "a", np.zeros((1000, 1000, 3), np.uint8))
    assert not is_ordinary_jpeg(data)


def test_limits_formats_and_a_fraction_of_the_size_are_the_callers_choice(picture: np.ndarray):
    large = cv2.resize(picture, (800, 480))
    jpeg = np.frombuffer(simplejpeg.encode_jpeg(large, quality=95), np.uint8)
    with pytest.raises(PictureTooLargeError, match="800 x 480"):
        decode_picture(jpeg, "a", limits=Limits(pixels=800 * 480 - 1))
    assert decode_picture(jpeg, "a", limits=Limits(pixels=800 * 480)).shape == (480, 800, 3)
    assert decode_picture(jpeg, "a", enough=100).shape == (120, 200, 3)
    assert decode_picture(jpeg, "a", enough=481).shape == (480, 800, 3)
    with pytest.raises(NoPictureError):
        decode_picture(encoded(picture, "TIFF"), "a", formats=("JPEG", "PNG"))


def test_what_is_no_ordinary_file_is_refused(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.png").write_bytes(encoded(picture, "PNG").tobytes())
    assert np.array_equal(read_picture(tmp_path / "a.png"), picture)
    os.mkfifo(tmp_path / "pipe.png")
    for name in (".", "pipe.png", "none.png", "nul\0.png"):
        with pytest.raises(FrameError):
            read_picture(tmp_path / name)
    monkeypatch.setattr("intraclip.core.media.FILE_BYTES", 10)
    with pytest.raises(PictureTooLargeError, match="bytes"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_damaged_picture_is_decoded_or_refused_by_one_error(picture: np.ndarray, kind: str):
    """Flipped bytes, cuts and doubled parts: nothing but `FrameError` comes out, and whole pictures of sane size."""
    rng = np.random.default_rng([7, *kind.encode()])
    whole = encoded(picture, kind, orientation=6)
    for _ in range(60):
        data = whole.copy()
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        if rng.random() < 0.2:
            data = data[: rng.integers(0, len(data))]
        try:
            found = decode_picture(data, "a")
        except FrameError:
            continue
        assert found.dtype == np.uint8
        assert found.shape[2] == 3


def test_jpeg_and_png_come_back_as_rgb(tmp_path: Path, picture: np.ndarray):
    (tmp_path / "a.jpg").write_bytes(simplejpeg.encode_jpeg(picture, quality=98))
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png"), picture)
    assert abs(read_picture(tmp_path / "a.jpg").astype(int) - picture).mean() < 4


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_truncated_image_is_refused_by_name(tmp_path: Path, picture: np.ndarray, kind: str):
    path = tmp_path / f"frame.{kind}"
    Image.fromarray(picture).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FrameError, match=rf"cannot read the frame .*frame\.{kind}"):
        read_picture(path)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"hello, no image", "no image"), (None, "No such")]
)
def test_files_that_are_no_images_are_refused(tmp_path: Path, content: bytes | None, reason: str):
    path = tmp_path / "frame.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FrameError, match=reason) as caught:
        read_picture(path)
    assert caught.value.path == path
