"""Searching for uploaded pictures and clips: what is taken, what is refused, and when."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from intraclip.core.media import read_picture
from intraclip.serve.decoding import KEPT_SIDE, UndecodableError, is_clip, read_pictures
from intraclip.serve.settings import DecodeLimits
from serve.serve_world import client, frame, jpeg, log, png

URL = "/api/v1/search/upload"


def upload(api, *contents, **params):
    return api.post(
        URL, files=[("files", (f"{i}.jpg", c, "image/jpeg")) for i, c in enumerate(contents)], params=params
    )


def video(folder: Path, person: int = 3, frames: int = 30, suffix: str = ".avi", fps: float = 10.0) -> bytes:
    path = folder / f"clip{suffix}"
    codec = cv2.VideoWriter_fourcc(*("MJPG" if suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, fps, (64, 128))
    for t in range(frames):
        writer.write(np.ascontiguousarray(frame(person, t, height=128, width=64)[..., ::-1]))
    writer.release()
    return path.read_bytes()


def bomb() -> bytes:
    """A PNG of 40,000 x 40,000 pixels in a few kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(2**20)))
        + chunk(b"IEND", b"")
    )


# -- what is taken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encode", [jpeg, png], ids=["jpeg", "png"])
def test_a_person_on_pictures_is_found(api, encode):
    answer = upload(api, encode(frame(5, 1)), encode(frame(5, 2)), k=3)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert {m["tracklet"]["id"] for m in found["matches"]} == {"p5_gate", "p5_hall", "p5_yard"}
    assert (found["query"], found["pictures"]) == (None, 2)
    assert found["matches"][0]["probability"] > 0.7


def test_filters_hold_for_uploads(api):
    found = upload(api, jpeg(frame(5)), camera="yard", k=1, false_match_rate=0.1).json()
    assert found["matches"][0]["tracklet"]["id"] == "p5_yard"
    assert found["matches"][0]["passes"]
    assert upload(api, jpeg(frame(5)), camrea="yard").status_code == 422


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_person_in_a_clip_is_found(api, tmp_path, suffix):
    answer = upload(api, video(tmp_path, 3, suffix=suffix), k=3)
    assert answer.status_code == 200, answer.text
    assert {m["tracklet"]["id"] for m in answer.json()["matches"]} == {"p3_gate", "p3_hall", "p3_yard"}
    assert answer.json()["pictures"] == 30


def test_a_clip_leaves_no_file_behind(api, tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    clip = video(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert upload(api, clip).status_code == 200
    assert upload(api, clip[:2000]).status_code == 400
    assert not list(folder.iterdir())


def test_the_log_tells_how_many_and_not_what(api, gallery):
    upload(api, jpeg(frame(5)), k=2)
    (entry,) = log(gallery)
    assert (entry.action, entry.actor) == ("search-upload", "alice")
    assert entry.detail == {"files": 1, "pictures": 1, "k": 2}


def test_large_pictures_are_made_smaller_and_turned_upright():
    picture = Image.fromarray(frame(2, height=2000, width=1000))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    data = io.BytesIO()
    picture.save(data, "JPEG", exif=exif)
    (found,) = read_pictures([data.getvalue()], DecodeLimits())
    assert max(found.shape) <= KEPT_SIDE
    assert found.shape[1] == 2 * found.shape[0]


def test_transparent_grey_and_palette_pictures_become_rgb():
    for mode in ("RGBA", "L", "P", "LA"):
        data = io.BytesIO()
        Image.fromarray(frame(2)).convert("RGB").convert("L" if mode == "LA" else mode).convert(mode).save(
            data, "PNG"
        )
        (found,) = read_pictures([data.getvalue()], DecodeLimits())
        assert found.shape == (64, 32, 3)
        assert found.dtype == np.uint8


@pytest.mark.parametrize("kind", ["transparent", "CMYK", "16 bit", "turned"])
def test_an_upload_is_seen_as_a_file_on_the_disk(kind, tmp_path):
    image = Image.fromarray(frame(2))
    if kind == "transparent":
        image.putalpha(Image.fromarray(np.linspace(0, 255, 64 * 32).reshape(64, 32).astype(np.uint8)))
    elif kind == "CMYK":
        image = image.convert("CMYK")
    elif kind == "16 bit":
        image = Image.fromarray(np.linspace(0, 65_535, 64 * 32).reshape(64, 32).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6 if kind == "turned" else 1
    path = tmp_path / ("a.jpg" if kind in ("CMYK", "turned") else "a.png")
    image.save(path, exif=exif)
    (found,) = read_pictures([path.read_bytes()], DecodeLimits())
    assert np.array_equal(found, read_picture(path))


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status", "word"),
    [
        (b"this is no picture, whatever its name says\n" * 50, 415, "not a picture"),
        (b"", 400, "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not a picture"),
        (b"GIF89a" + bytes(100), 415, "not a picture"),
        (b"\xff\xd8\xff\xe0" + bytes(200), 400, "damaged"),
        (jpeg(frame(1, height=256, width=128))[:900], 400, "damaged"),
        (png(np.random.default_rng(0).integers(0, 256, (99, 99, 3)).astype(np.uint8))[:900], 400, "damaged"),
        (bytes(4) + b"ftypisom" + bytes(500), 400, "damaged"),
        (b"\x1a\x45\xdf\xa3" + bytes(500), 400, "damaged"),
    ],
    ids=["text", "empty", "svg", "gif", "jpeg start", "cut jpeg", "cut png", "mp4 start", "mkv start"],
)  # fmt: skip
def test_what_is_no_whole_picture_is_refused_by_its_content(api, gallery, content, status, word):
    answer = upload(api, content)
    assert answer.status_code == status
    assert word in answer.json()["message"]
    assert not log(gallery)


def test_a_bomb_is_not_decoded(api):
    assert len(bomb()) < 10_000
    answer = upload(api, bomb())
    assert answer.status_code in (413, 415)
    settings = DecodeLimits(image_pixels=500)
    with pytest.raises(UndecodableError, match="32 x 64 pixels") as caught:
        read_pictures([jpeg(frame(1))], settings)
    assert caught.value.status == 413


def test_playlists_never_reach_the_video_decoder(api, tmp_path):
    secret = tmp_path / "secret.avi"
    secret.write_bytes(video(tmp_path))
    for text in (
        f"ffconcat version 1.0\nfile '{secret}'\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n",
    ):
        assert not is_clip(text.encode())
        assert upload(api, text.encode()).status_code == 415


def test_clips_have_limits_too(tmp_path):
    clip = video(tmp_path, frames=30, fps=10.0)
    with pytest.raises(UndecodableError, match="longer than 1 s") as caught:
        read_pictures([clip], DecodeLimits(clip_s=1.0))
    assert caught.value.status == 413
    with pytest.raises(UndecodableError, match="pixels"):
        read_pictures([clip], DecodeLimits(image_pixels=1000))
    with pytest.raises(UndecodableError, match="on its own"):
        read_pictures([clip, jpeg(frame(1))], DecodeLimits())


def test_no_file_and_too_many_are_refused(api):
    assert api.post(URL).status_code == 422
    assert upload(api, *[jpeg(frame(1))] * 17).status_code == 400
    assert api.post(URL, content=b"x", headers={"Content-Type": "image/jpeg"}).status_code == 422
    with pytest.raises(UndecodableError, match="no file"):
        read_pictures([], DecodeLimits())


def test_without_a_model_the_reason_is_given(gallery):
    with client(gallery, uploads=False) as api:
        answer = upload(api, jpeg(frame(1)))
        assert answer.status_code == 409
        assert "--model" in answer.json()["message"]
        assert not api.get("/api/v1/stats").json()["uploads"]


# -- size --------------------------------------------------------------------------------------------------


class Endless:
    """A body without announced length that counts what was taken of it."""

    def __init__(self, total: int) -> None:
        self.left, self.taken = total, 0

    def __iter__(self):
        head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        yield head
        while self.left:
            self.left -= 2**16
            self.taken += 2**16
            yield bytes(2**16)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_cut_off(gallery, announced):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    if announced:
        headers["Content-Length"] = str(2 * 2**30)
    with client(gallery, max_upload_bytes=2**20) as api:
        answer = api.post(URL, content=iter(Endless(2**22)), headers=headers)
        assert answer.status_code == 413
        assert answer.json()["error"] == "too_large"
        assert "1 MiB" in answer.json()["message"]


def test_other_requests_are_bounded_too(api):
    as_many_as_fit = {"ids": [f"{i:04}" + "x" * 508 for i in range(1000)]}
    assert api.post("/api/v1/deletions", json=as_many_as_fit).status_code == 404
    answer = api.post("/api/v1/deletions", json={"ids": ["x" * 500] * 4000})
    assert answer.status_code == 413
    chunks = (b" " * 10_000 for _ in range(200))
    assert (
        api.post("/api/v1/search", content=chunks, headers={"Content-Type": "application/json"}).status_code
        == 413
    )
