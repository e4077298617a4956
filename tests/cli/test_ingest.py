from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
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
        "cam1 (cam1.avi): 18 of 18 frames, 20 detections, 2 tracks, 2 tracklets with 21 frames"
    )
    assert "frames/s" in lines[0]
    assert lines[-2].startswith("time: decode ")
    assert lines[-1] == f"4 tracklets of 2 cameras in {folder / 'out'}"
    assert "contact_sheets" in err


def test_the_next_command_can_be_pasted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "my tracks"
    detector = ["--detector", str(folder / "red.onnx")]
    assert main(["ingest", str(folder / "videos"), "--out", str(out), *FLAGS, *detector]) == 0
    hint = capsys.readouterr().err.strip().splitlines()[-1]
    words = shlex.split(hint.partition("then: ")[2])
    assert words == ["intraclip", "gallery", "add", "GALLERY", "--data", str(out), "--model", "MODEL"]
    assert shlex.split(hint.removeprefix("look at "))[0] == f"{out / 'contact_sheets'},"


def test_videos_whose_names_are_no_text(folder: Path) -> None:
    """In a process of its own: OpenCV ended it, and standard output is that of a shell."""
    odd = [os.fsdecode(b"cam1_entr\xe9e.avi"), "cam2 [b].avi"]
    for name, other in zip(("cam1.avi", "cam2.avi"), odd, strict=True):
        (folder / "videos" / name).rename(folder / "videos" / other)
    (folder / "red.onnx").rename(folder / os.fsdecode(b"r\xe9d.onnx"))
    command = [
        sys.executable, "-m", "intraclip", "ingest", str(folder / "videos"), "--out", str(folder / "out"), *FLAGS,
        "--detector", str(folder / os.fsdecode(b"r\xe9d.onnx")),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    with (folder / "out" / "tracklets.csv").open(encoding="utf-8", newline="") as file:
        assert [row["video"] for row in csv.DictReader(file)][1:3] == ["cam1_entr\\udce9e.avi", odd[1]]
    record = json.loads((folder / "out" / "ingest.json").read_text(encoding="utf-8"))
    assert [Path(v["video"]).name for v in record["videos"]] == odd
    assert b"cam1_entr\\udce9e.avi" in done.stdout


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
    assert with_detector(folder, "--model", str(folder / "none.toml")) == 2
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
