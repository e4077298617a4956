from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from intraclip.core.utf8 import utf8_path
from intraclip.core.video import open_video, writing_video
from intraclip.errors import DataError, OutputError

NO_TEXT = os.fsdecode(b"cam1_entr\xe9e [b].mp4")


def film(path: Path, frames: int = 6) -> Path:
    rng = np.random.default_rng(0)
    with writing_video(path, codec="mp4v", fps=5, width=64, height=48) as writer:
        for _ in range(frames):
            writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    return path


def count(path: Path) -> int:
    capture = open_video(path)
    found = 0
    while capture.read()[0]:
        found += 1
    capture.release()
    return found


@pytest.mark.parametrize("name", ["cam1.mp4", NO_TEXT, "Kamera ö 名.mp4"])
def test_a_video_may_be_called_anything(tmp_path: Path, name: str):
    folder = tmp_path / os.fsdecode(b"folder \xff")
    folder.mkdir()
    path = film(folder / name)
    assert path.stat().st_size > 1000
    assert count(path) == 6
    assert [entry.name for entry in folder.iterdir()] == [name]


def test_a_link_keeps_the_ending_and_what_lies_beside(tmp_path: Path):
    for ending in ("xml", "bin"):
        (tmp_path / os.fsdecode(b"n\xe9t.%s" % ending.encode())).write_text(ending)
    with utf8_path(tmp_path / os.fsdecode(b"n\xe9t.xml"), beside=(".bin",)) as name:
        assert name.endswith(".xml")
        assert Path(name).read_text() == "xml"
        assert Path(name).with_suffix(".bin").read_text() == "bin"
    assert not Path(name).parent.exists()


def test_a_link_to_a_folder_shows_what_lies_beside_whatever_its_name(tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"mod\xe8les")
    folder.mkdir()
    (folder / "net.onnx.data").write_text("weights")
    with utf8_path(folder / "net.onnx") as name:
        assert Path(name).with_name("net.onnx.data").read_text() == "weights"
        Path(name).write_text("new")
    assert (folder / "net.onnx").read_text() == "new"


def test_libraries_say_nothing_about_a_damaged_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    path = film(tmp_path / "a.mp4", frames=30)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for place in rng.integers(2000, len(data) - 2000, 60):
        data[place] ^= 255
    path.write_bytes(data)
    count(path)
    (tmp_path / "b.mp4").write_bytes(data[:3000])
    (tmp_path / "c.avi").write_bytes(b"RIFF....AVI " + bytes(500))
    for name in ("b.mp4", "c.avi"):
        with pytest.raises(DataError, match="no video that can be read"):
            open_video(tmp_path / name)
    with (
        pytest.raises(OutputError, match="cannot be written"),
        writing_video(tmp_path / "none" / "a.mp4", codec="mp4v", fps=5, width=64, height=48),
    ):
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n",
        "\ufeff#EXTM3U\n{}",
        "ffconcat version 1.0\nfile {}\n",
    ],
)
def test_a_playlist_is_refused(tmp_path: Path, text: str):
    film(tmp_path / "real.mp4")
    (tmp_path / "cam1.mp4").write_text(text.format("real.mp4"))
    with pytest.raises(DataError, match="is a playlist"):
        open_video(tmp_path / "cam1.mp4")


def test_a_video_held_upright_is_turned(tmp_path: Path):
    capture = open_video(film(tmp_path / "a.mp4"))
    assert capture.get(cv2.CAP_PROP_ORIENTATION_AUTO) == 1
    capture.release()
