"""Tracks or detections of somebody else instead of a detector."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ingest.synthetic import red_box_detector, two_walkers, write_video
from intraclip.errors import ConfigError, DataError
from intraclip.ingest import IngestConfig, IngestSummary, ingest

SMALL = IngestConfig(
    quality="full", min_height=40, min_width=16, min_frames=5, margin=0.0, camera_motion=False
)


@pytest.fixture(scope="module")
def detected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detected")
    video = write_video(folder / "cam3.avi", two_walkers, frames=18)
    ingest([video], detector=red_box_detector(folder / "red.onnx"), out=folder / "out", settings=SMALL)
    return folder


def from_tracks(folder: Path, tracks: Path, out: Path, config: IngestConfig = SMALL) -> IngestSummary:
    return ingest([folder / "cam3.avi"], detector=None, out=out, settings=config, tracks=[tracks])


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_own_tracks_given_back_make_the_same_tracklets(detected: Path, tmp_path: Path) -> None:
    summary = from_tracks(detected, detected / "out" / "tracks" / "cam3.txt", tmp_path / "out")
    for name in ("tracklets.csv", "boxes/cam3.csv", "tracks/cam3.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (detected / "out" / name).read_bytes(), name
    for picture in (detected / "out" / "tracklets").rglob("*.jpg"):
        again = tmp_path / "out" / picture.relative_to(detected / "out")
        assert again.read_bytes() == picture.read_bytes()
    assert summary.videos[0].seconds["detect"] == 0


def test_detections_without_ids_are_followed(detected: Path, tmp_path: Path) -> None:
    table = np.loadtxt(detected / "out" / "tracks" / "cam3.txt", delimiter=",")
    # The first frames of a track count once it is confirmed; give them twice as often here.
    table[:, 1] = -1
    np.savetxt(tmp_path / "det.txt", table, delimiter=",", fmt="%.4f")
    summary = from_tracks(detected, tmp_path / "det.txt", tmp_path / "out")
    assert [
        (r["tracklet"], r["first_frame"], r["last_frame"]) for r in rows_of(tmp_path / "out/tracklets.csv")
    ] == [
        ("cam3_t0001", "4", "11"),
        ("cam3_t0002", "8", "15"),
    ]
    assert summary.videos[0].detections == 20


def test_visibility_counts_as_overlap_and_ids_name_tracklets(detected: Path, tmp_path: Path) -> None:
    lines = [f"{frame},41,{8 * frame},8,24,48,1,1,{0.2 if frame < 4 else 0.9}" for frame in range(1, 13)]
    (tmp_path / "cam3.txt").write_text("\n".join([*lines, "1,5,8,8,24,48,1,8,1"]))
    summary = from_tracks(detected, tmp_path / "cam3.txt", tmp_path / "out")
    (row,) = rows_of(tmp_path / "out" / "tracklets.csv")
    assert (row["tracklet"], row["first_frame"], row["num_frames"]) == ("cam3_t0041", "3", "9")
    assert summary.videos[0].frames_dropped == {"overlapped": 3}
    assert {r["overlap"] for r in rows_of(tmp_path / "out" / "boxes" / "cam3.csv")} == {"0.100"}
    assert "1 with class 8" in summary.notes[0]


def test_tracks_that_do_not_fit_the_video_leave_no_folder(detected: Path, tmp_path: Path) -> None:
    file = tmp_path / "cam3.txt"
    file.write_text("18,1,10,20,24,48,1\n19,1,10,20,24,48,1\n")
    with pytest.raises(DataError, match=r"line 2: frame beyond the 18 frames of .*cam3\.avi"):
        from_tracks(detected, file, tmp_path / "out")
    file.write_text("18,1,128,20,24,48,1\n")
    with pytest.raises(DataError, match=r"line 1: box outside the picture of 128 x 128"):
        from_tracks(detected, file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_video_that_is_cut_off_before_the_tracks_end(detected: Path, tmp_path: Path) -> None:
    data = (detected / "cam3.avi").read_bytes()
    video = tmp_path / "cam3.avi"
    video.write_bytes(data[: int(len(data) * 0.75)])
    (tmp_path / "t.txt").write_text("17,1,10,20,24,48,1\n")
    with pytest.raises(DataError, match=r"line 1: frame beyond the \d+ frames of .*or the video is cut off"):
        ingest([video], detector=None, out=tmp_path / "out", settings=SMALL, tracks=[tmp_path / "t.txt"])


def test_a_camera_that_saw_nobody_does_not_stop_the_others(detected: Path, tmp_path: Path) -> None:
    videos = []
    for name in ("cam1", "cam2"):
        videos.append(tmp_path / f"{name}.avi")
        videos[-1].write_bytes((detected / "cam3.avi").read_bytes())
    tracks = [tmp_path / "cam1.txt", tmp_path / "cam2.txt"]
    tracks[0].write_text("")
    tracks[1].write_text((detected / "out" / "tracks" / "cam3.txt").read_text() + "3,99,500,20,24,48,1\n")
    summary = ingest(videos, detector=None, out=tmp_path / "out", settings=SMALL, tracks=tracks)
    assert [v.tracklets for v in summary.videos] == [0, 2]
    assert summary.notes == (
        "cam1.avi: no people found",
        "cam1.txt: no line counts; mot_class says which class is a person",
        "cam2.txt: lines that do not count were left out: 1 with a box outside the picture of 128 x 128 pixels",
    )


def test_public_detections_with_scores_beyond_0_to_1_are_followed(detected: Path, tmp_path: Path) -> None:
    table = np.loadtxt(detected / "out" / "tracks" / "cam3.txt", delimiter=",")
    table[:, 1], table[:, 6] = -1, 2.3
    np.savetxt(tmp_path / "det.txt", table, delimiter=",", fmt="%.4f")
    summary = from_tracks(detected, tmp_path / "det.txt", tmp_path / "out")
    assert summary.tracklets == 2
    assert "confidences beyond 0..1 are taken as scores" in summary.notes[0]


def test_sampling_leaves_out_tracks_of_other_frames(detected: Path, tmp_path: Path) -> None:
    lines = [f"{frame},1,{8 * frame},8,24,48,1" for frame in range(1, 13)]
    (tmp_path / "cam3.txt").write_text("\n".join(lines))
    config = IngestConfig(min_height=40, min_frames=5, frame_stride=2)
    from_tracks(detected, tmp_path / "cam3.txt", tmp_path / "out", config)
    assert [r["frame"] for r in rows_of(tmp_path / "out" / "boxes" / "cam3.csv")] == [
        "0",
        "2",
        "4",
        "6",
        "8",
        "10",
    ]


def test_detector_or_tracks_one_of_them(detected: Path, tmp_path: Path) -> None:
    video = detected / "cam3.avi"
    with pytest.raises(ConfigError, match="give a detector, or tracks"):
        ingest([video], detector=None, out=tmp_path / "out", settings=SMALL)
    with pytest.raises(ConfigError, match="both were given"):
        ingest(
            [video],
            detector=detected / "red.onnx",
            out=tmp_path / "out",
            settings=SMALL,
            tracks=[tmp_path / "t.txt"],
        )
