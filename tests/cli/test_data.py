"""`intraclip data pack` and what the other data commands say about a pack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.miniature import write_ilids_vid
from intraclip.cli.main import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_ilids_vid(tmp_path / "set")


def test_packing_says_what_it_wrote_and_checks_it(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "packed"
    assert main(["data", "pack", str(root), "--out", str(out), "--verify", "--workers", "1"]) == 0
    said = capsys.readouterr().err
    assert "24 frames of 8 tracklets" in said
    assert "2 splits" in said
    assert "frames/s" in said
    assert "all checksums are right" in said
    assert main(["data", "check", str(out)]) == 0
    found = capsys.readouterr().out
    assert found.startswith(f"pack in {out}, split 0 of 2")
    assert found.endswith("\n1 warning.\n")  # eight people are not the published data set


def test_packing_prints_json(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = [
        "data",
        "pack",
        str(root),
        "--out",
        str(tmp_path / "packed"),
        "--frames",
        "raw",
        "--json",
        "--workers",
        "1",
    ]
    assert main([*command, "--height", "6", "--width", "4", "--verify"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["tracklets"], found["splits"]) == (24, 8, 2)
    assert found["frames_written"] == 24
    assert found["problems"] == found["unreadable"] == []


def test_packing_again_is_quick_and_damage_is_an_exit_code(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "packed"
    command = ["data", "pack", str(root), "--out", str(out), "--workers", "1"]
    assert main(command) == 0
    assert main(command) == 0
    assert "24 frames were there from an earlier run" in capsys.readouterr().err
    shard = out / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    assert main([*command, "--verify"]) == 1
    assert "damaged: " in capsys.readouterr().err
    assert main(["data", "check", str(out)]) == 1
    assert "shard-00000.safetensors is damaged" in capsys.readouterr().out


def test_unreadable_frames_are_listed_or_stop_the_command(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    frame = root / "i-LIDS-VID/sequences/cam1/person001/cam1_person001_8.png"
    frame.write_bytes(b"")
    command = ["data", "pack", str(root), "--out", str(tmp_path / "packed"), "--workers", "1"]
    assert main(command) == 2
    assert "cam1_person001_8.png: the file is empty" in capsys.readouterr().err
    assert main([*command, "--on-unreadable", "skip"]) == 0
    assert "unreadable: cam1_person001, frame 0: the file is empty" in capsys.readouterr().err


def test_an_unknown_data_command_lists_those_there_are(capsys: pytest.CaptureFixture[str]):
    assert main(["data", "unpack"]) == 2
    assert "there are make, make-videos, pack, check" in capsys.readouterr().err
