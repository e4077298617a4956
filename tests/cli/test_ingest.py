from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.synthetic import red_box_detector, two_walkers, write_video
from intraclip.cli.main import main

FLAGS = ["--min-height", "40", "--min-frames", "5", "--no-camera-motion"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    red_box_detector(tmp_path / "red.onnx")
    (tmp_path / "videos").mkdir()
    for name in ("cam1", "cam2"):
        write_video(tmp_path / "videos" / f"{name}.avi", two_walkers, frames=18)
    return tmp_path


def ingest(folder: Path, *more: str) -> int:
    return main(["ingest", str(folder / "videos"), "--out", str(folder / "out"), *FLAGS, *more])


def with_detector(folder: Path, *more: str) -> int:
    return ingest(folder, "--detector", str(folder / "red.onnx"), *more)


def test_folder_of_videos_to_a_summary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_detector(folder) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith(
        "cam1 (cam1.avi): 18 of 18 frames, 24 detections, 2 tracks, 2 tracklets with 20 frames"
    )
    assert "frames/s" in lines[0]
    assert lines[-2].startswith("time: decode ")
    assert lines[-1] == f"4 tracklets of 2 cameras in {folder / 'out'}"
    assert "contact_sheets" in err


def test_json_holds_the_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_detector(folder, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tracklets"] == 4
    assert set(found["shares_of_time"]) == {"decode", "detect", "track", "crop"}
    assert [v["view"] for v in found["videos"]] == ["cam1", "cam2"]


def test_resume(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_detector(folder, "--resume") == 0
    assert with_detector(folder) == 2
    assert "holds a finished ingest" in capsys.readouterr().err
    assert with_detector(folder, "--resume") == 0
    assert "was finished already" in capsys.readouterr().out
    assert with_detector(folder, "--resume", "--max-frames", "9") == 2
    assert "config.max_frames: 128 -> 9" in capsys.readouterr().err


def test_tracks_instead_of_a_detector(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_detector(folder) == 0
    tracks = [str(folder / "out" / "tracks" / f"cam{n}.txt") for n in (2, 1)]
    again = ["ingest", str(folder / "videos"), "--out", str(folder / "again"), *FLAGS, "--tracks", *tracks]
    assert main(again) == 0
    assert (folder / "again" / "tracklets.csv").read_bytes() == (
        folder / "out" / "tracklets.csv"
    ).read_bytes()
    capsys.readouterr()


def test_neither_detector_nor_tracks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest(folder) == 2
    assert capsys.readouterr().err == "error: give a detector, or tracks in MOTChallenge format instead\n"


def test_encoder_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_detector(folder, "--encoder", str(folder / "none.toml")) == 2
    assert "none.toml" in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "red.onnx").write_text("no network"), "is no ONNX network that can be run"),
        (lambda f: (f / "videos" / "cam2.avi").write_text("no video"), "is no video that can be read"),
        (lambda f: (f / "videos" / "cam2.avi").rename(f / "videos" / "c1_b.avi"), "same camera number"),
    ],
)
def test_bad_input_is_one_error_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], message: str
) -> None:
    spoil(folder)
    assert with_detector(folder) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert not (folder / "out").exists()
