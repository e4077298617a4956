"""Tracks of an ingest against the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import intraclip as ic
from ingest.synthetic import BOX_HEIGHT, BOX_WIDTH, red_box_detector, two_walkers, write_video
from intraclip.cli.main import main
from intraclip.errors import DataError
from intraclip.ingest import IngestConfig

pytest.importorskip("trackers")

SETTINGS = IngestConfig(min_height=40, min_frames=5, camera_motion=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for name in ("cam1", "cam2"):
        write_video(tmp_path / "videos" / f"{name}.avi", two_walkers, frames=18)
        write_truth(tmp_path / "truth" / f"{name}.txt")
    return tmp_path


def write_truth(
    path: Path, *, frames: range = range(18), who: Callable[[int, int], int] = lambda _frame, x: x
) -> Path:
    """Every walker's box; `who` gives the id by frame and place in the list."""
    path.parent.mkdir(exist_ok=True)
    lines = [
        f"{f + 1},{who(f, 1 + (y > 64))},{x - BOX_WIDTH // 2},{y - BOX_HEIGHT // 2},{BOX_WIDTH},{BOX_HEIGHT},1,1,1\n"
        for f in frames
        for x, y in two_walkers(f)
    ]
    path.write_text("".join(lines))
    return path


def ingested(folder: Path, truth: Path, **options: object) -> ic.IngestSummary:
    return ic.ingest(
        [folder / "videos"],
        out=folder / "out",
        truth=truth,
        **{"settings": SETTINGS, "tracks": [folder / "truth" / f"cam{n}.txt" for n in (1, 2)], **options},  # type: ignore[arg-type]
    )


def test_the_truth_as_tracks_is_right_in_every_frame_that_is_used(folder: Path):
    """Also where frames are left out: nobody can be missed there."""
    for stride in (1, 2):
        settings = IngestConfig(min_height=40, min_frames=4, camera_motion=False, frame_stride=stride)
        found = ingested(folder, folder / "truth", settings=settings, resume=False)
        assert found.scores is not None
        assert found.scores.across is None  # ids are each camera's own
        for scores in (found.scores.within, *found.scores.cameras.values()):
            assert (scores.hota, scores.mota, scores.idf1, scores.switches) == pytest.approx((1, 1, 1, 0))
        (folder / "out").rename(folder / f"out{stride}")


def test_an_id_that_goes_over_to_another_person_counts_within_its_camera(folder: Path):
    swapped = folder / "swapped" / "cam1.txt"
    write_truth(swapped, who=lambda frame, person: person if frame < 8 else 3 - person)
    found = ingested(folder, folder / "truth", tracks=[swapped, folder / "truth" / "cam2.txt"])
    assert found.scores is not None
    assert found.scores.cameras[1].switches == 2
    assert found.scores.cameras[1].idf1 < 0.9
    assert found.scores.cameras[1].deta == pytest.approx(1)
    assert found.scores.cameras[2].idf1 == pytest.approx(1)
    assert found.scores.within.switches == 2


def test_the_command_prints_a_table_and_scores_what_is_finished(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    red_box_detector(folder / "red.onnx")
    argv = [
        "ingest",
        str(folder / "videos"),
        "--out",
        str(folder / "out"),
        "--detector",
        str(folder / "red.onnx"),
    ]
    argv += ["--min-height", "40", "--min-frames", "5", "--no-camera-motion"]
    assert main(argv) == 0
    assert "against the truth" not in capsys.readouterr().out
    assert main([*argv, "--resume", "--truth", str(folder / "truth")]) == 0
    out = capsys.readouterr().out
    assert "boxes against the truth, %" in out
    assert "within cameras" in out
    assert "across" not in out
    assert main([*argv, "--resume", "--truth", str(folder / "truth"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert set(scores["cameras"]) == {"1", "2"}
    # The first frames of a track are not confirmed yet, so some boxes are missed, and none is wrong.
    assert 0.7 < scores["within"]["mota"] < 1
    assert scores["within"]["switches"] == 0


def test_cameras_that_only_one_side_has_are_named_and_not_scored(folder: Path):
    (folder / "truth" / "cam2.txt").rename(folder / "truth" / "cam7.txt")
    found = ingested(
        folder, folder / "truth", tracks=[folder / "truth" / "cam1.txt", write_truth(folder / "cam2.txt")]
    )
    assert found.scores is not None
    assert list(found.scores.cameras) == [1]
    assert "not scored: cameras 2, of which there is no truth" in found.notes
    assert "not scored: cameras 7, of which there is no video" in found.notes


def test_truth_after_the_last_frame_is_left_out_and_told(folder: Path):
    with (folder / "truth" / "cam1.txt").open("a") as file:
        file.write("19,5,1,1,24,48,1,1,1\n")
    tracks = [write_truth(folder / "tracks" / f"cam{n}.txt") for n in (1, 2)]
    found = ingested(folder, folder / "truth", tracks=tracks)
    assert found.scores is not None
    assert found.scores.within.mota == pytest.approx(1)
    assert any("1 boxes after the last of 18 frames" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("cam9.txt", "1,1,1,1,24,48,1,1,1\n", "holds no boxes of the cameras of the videos: it is of 9"),
        ("cam1.txt", "1,-1,1,1,24,48,1,1,1\n", "its lines have no ids"),
        ("cam1.txt", "1,1,x\n", "line 1"),
        ("notes.md", "", "holds no tracks"),
    ],
)
def test_a_truth_that_cannot_be_used_is_refused_before_any_work(
    folder: Path, name: str, text: str, words: str
):
    (folder / "other").mkdir()
    (folder / "other" / name).write_text(text)
    with pytest.raises(DataError, match=words):
        ingested(folder, folder / "other")
    assert not (folder / "out").exists()


def test_two_recordings_of_a_scored_camera_are_refused(folder: Path):
    settings = IngestConfig(min_height=40, camera_motion=False, same_camera=True, cameras={"cam2.avi": 1})
    with pytest.raises(DataError, match="camera 1 has several recordings"):
        ingested(folder, folder / "truth", settings=settings)
    assert not (folder / "out").exists()
