from __future__ import annotations

import csv
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ingest.synthetic import BOX_HEIGHT, BOX_WIDTH, nobody, red_box_detector, two_walkers, write_video
from intraclip.data.readers.folder import read_folder
from intraclip.errors import DataError, MissingExtraError, OutputError
from intraclip.ingest import IngestConfig, IngestSummary, ingest
from intraclip.ingest.video import Video
from real_data import real_data

SMALL = IngestConfig(quality="full", min_height=40, min_width=16, min_frames=5, margin=0.0)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return red_box_detector(tmp_path_factory.mktemp("detector") / "red.onnx")


@pytest.fixture(scope="session")
def walkers(tmp_path_factory: pytest.TempPathFactory, network: Path) -> tuple[Path, IngestSummary]:
    folder = tmp_path_factory.mktemp("walkers")
    video = write_video(folder / "cam3.avi", two_walkers, frames=18)
    return folder / "out", ingest([video], detector=network, out=folder / "out", settings=SMALL)


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "tracklets.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_onnx_detector_needs_no_torch(network: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "cam1.avi", two_walkers, frames=6)
    program = (
        "import sys; from pathlib import Path; from intraclip.ingest import IngestConfig, ingest; "
        f"ingest([{str(video)!r}], detector={str(network)!r}, out={str(tmp_path / 'out')!r}); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_two_people_give_two_tracklets_with_their_frames(walkers: tuple[Path, IngestSummary]) -> None:
    out, summary = walkers
    # A track counts from its third frame on.
    assert rows_of(out) == [
        {
            "tracklet": f"cam3_t000{n}", "folder": f"tracklets/cam3_t000{n}", "pid": "", "camid": "3", "subset": "",
            "camera": "cam3", "video": "cam3.avi", "start_s": f"{first / 10:.3f}", "end_s": f"{last / 10:.3f}",
            "first_frame": str(first), "last_frame": str(last), "num_frames": str(last - first + 1),
            "track": str(n),
        }
        for n, first, last in ((1, 2, 11), (2, 6, 15))
    ]  # fmt: skip
    assert summary.tracklets == summary.videos[0].tracks == 2
    assert not summary.notes


def test_crops_show_the_person_at_native_size(walkers: tuple[Path, IngestSummary]) -> None:
    files = sorted((walkers[0] / "tracklets" / "cam3_t0001").iterdir())
    assert [f.name for f in files] == [f"{n:06d}.jpg" for n in range(2, 12)]
    for file in files:
        crop = cv2.imread(str(file))
        assert crop is not None
        assert crop.shape == (BOX_HEIGHT, BOX_WIDTH, 3)
        np.testing.assert_allclose(crop.mean(axis=(0, 1)), [0, 0, 255], atol=25)


def test_tracks_file_is_motchallenge(walkers: tuple[Path, IngestSummary]) -> None:
    table = np.loadtxt(walkers[0] / "tracks" / "cam3.txt", delimiter=",")
    assert table.shape == (20, 10)
    first = table[table[:, 1] == 1]
    np.testing.assert_array_equal(first[:, 0], np.arange(3, 13))  # frames are counted from 1 there
    np.testing.assert_allclose(first[0, 2:6], [16 + 16 - 12, 8, 24, 48], atol=0.5)
    assert (table[:, 7:] == -1).all()


def test_boxes_of_every_crop_are_listed(walkers: tuple[Path, IngestSummary]) -> None:
    out = walkers[0]
    with (out / "boxes" / "cam3.csv").open(newline="") as file:
        boxes = list(csv.DictReader(file))
    assert [(b["tracklet"], b["file"]) for b in boxes] == [
        (f.parent.name, f.name) for f in sorted((out / "tracklets").glob("*/*.jpg"))
    ]
    followed = {
        (int(frame) - 1, int(track)): box
        for frame, track, *box in np.loadtxt(out / "tracks" / "cam3.txt", delimiter=",")
    }
    for row in boxes:
        assert float(row["time_s"]) == pytest.approx(int(row["frame"]) / 10)
        expected = followed[int(row["frame"]), int(row["tracklet"][-4:])]
        found = [float(row[k]) for k in ("left", "top", "width", "height", "score")]
        np.testing.assert_allclose(found, expected[:5])


def test_summary_says_where_the_time_went(walkers: tuple[Path, IngestSummary]) -> None:
    summary = walkers[1]
    shares = summary.shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
    assert "frames/s" in str(summary)
    assert re.search(
        r"time: decode \d+%, detect \d+%, track \d+%, crop \d+%; what makes it faster: \S", str(summary)
    )


def test_long_tracks_are_divided(tmp_path: Path, network: Path) -> None:
    video = write_video(tmp_path / "cam1.avi", two_walkers, frames=18)
    config = dataclasses.replace(SMALL, split_seconds=0.5)
    summary = ingest([video], detector=network, out=tmp_path / "out", settings=config)
    rows = rows_of(tmp_path / "out")
    assert [(r["tracklet"], r["track"], r["start_s"], r["end_s"], r["num_frames"]) for r in rows] == [
        ("cam1_t0001p1", "1", "0.200", "0.600", "5"),
        ("cam1_t0001p2", "1", "0.700", "1.100", "5"),
        ("cam1_t0002p1", "2", "0.600", "1.000", "5"),
        ("cam1_t0002p2", "2", "1.100", "1.500", "5"),
    ]
    assert (summary.videos[0].tracks, summary.tracklets) == (2, 4)
    assert len(read_folder(tmp_path / "out").gallery) == 4


def test_record_and_contact_sheet(walkers: tuple[Path, IngestSummary]) -> None:
    out, summary = walkers
    record = json.loads((out / "ingest.json").read_text())
    assert record["job"]["config"]["min_frames"] == 5
    assert len(record["detector"]["sha256"]) == 64
    assert record["versions"]["trackers"]
    view = record["videos"][0]
    assert (view["frames"], view["frames_used"], view["tracks"], view["tracklets"], view["crops"]) == (
        18,
        18,
        2,
        2,
        20,
    )
    assert view["detections"] == 24
    assert set(view["seconds"]) == {"decode", "detect", "track", "crop"}
    assert cv2.imread(str(out / "contact_sheets" / "cam3.jpg")) is not None
    assert not list(out.rglob("*.partial"))
    assert "2 tracklets of 1 camera" in str(summary)


def test_the_folder_reader_reads_it(walkers: tuple[Path, IngestSummary]) -> None:
    split = read_folder(walkers[0])
    tracklets = [*split.train, *split.test]
    assert [(t.name, t.camid, len(t)) for t in tracklets] == [("cam3_t0001", 3, 10), ("cam3_t0002", 3, 10)]


@pytest.mark.parametrize("tracker", ["bytetrack", "ocsort"])
def test_every_tracker_follows_both(tmp_path: Path, network: Path, tracker: str) -> None:
    video = write_video(tmp_path / "cam1.avi", two_walkers, frames=18)
    config = IngestConfig(quality="full", min_height=40, min_frames=5, tracker=tracker)  # type: ignore[arg-type]
    assert ingest([video], detector=network, out=tmp_path / "out", settings=config).tracklets == 2


def test_small_people_switch_tiles_on(tmp_path: Path, network: Path) -> None:
    def walk(number: int) -> list[tuple[int, int]]:
        return [(16 + 8 * number, 32)]

    video = write_video(tmp_path / "cam1.avi", walk, frames=24, width=256)
    tiled = ingest([video], detector=network, out=tmp_path / "a", settings=SMALL).videos[0]
    assert tiled.tiled
    assert tiled.probe == (0, 8)
    assert (tiled.tracks, tiled.detections) == (1, 24)  # one track, although it crosses every tile
    config = IngestConfig(quality="full", min_height=40, min_frames=5, tiling="off")
    assert ingest([video], detector=network, out=tmp_path / "b", settings=config).videos[0].detections == 0


def test_video_without_people_gives_an_empty_manifest_and_says_so(tmp_path: Path, network: Path) -> None:
    video = write_video(tmp_path / "cam1.avi", nobody, frames=5)
    summary = ingest([video], detector=network, out=tmp_path / "out", settings=SMALL)
    assert summary.tracklets == 0
    assert rows_of(tmp_path / "out") == []
    assert (
        (tmp_path / "out" / "tracklets.csv")
        .read_text()
        .startswith("tracklet,folder,pid,camid,subset,camera,")
    )
    assert summary.notes[0] == "cam1.avi: no people found"
    assert "no tracklets were written" in summary.notes[1]


def test_video_cut_off_midway_is_kept_with_a_note(tmp_path: Path, network: Path) -> None:
    video = write_video(tmp_path / "cam1.avi", two_walkers, frames=18)
    data = video.read_bytes()
    video.write_bytes(data[: int(len(data) * 0.75)])
    summary = ingest([video], detector=network, out=tmp_path / "out", settings=SMALL)
    assert summary.tracklets >= 1
    assert "announces 18 frames" in summary.notes[0]
    assert summary.videos[0].frames < 16


def test_video_whose_frame_rate_varies_is_not_called_damaged(
    tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matroska has no number of frames: duration and highest frame rate are all that there is to go by."""

    opened = Video.__init__

    def guessed(self: Video, path: Path, config: IngestConfig) -> None:
        opened(self, path, config)
        self.info = dataclasses.replace(self.info, fps=20.0, announced_frames=36)

    video = write_video(tmp_path / "cam1.avi", two_walkers, frames=18)
    monkeypatch.setattr(Video, "__init__", guessed)
    summary = ingest([video], detector=network, out=tmp_path / "out", settings=SMALL)
    assert summary.notes[0] == (
        "cam1.avi: its header announces 36 frames, 18 were read, to its end; its frame rate varies, or frames are "
        "missing"
    )


def test_sampled_video_keeps_source_frame_numbers_and_times(tmp_path: Path, network: Path) -> None:
    def slow(number: int) -> list[tuple[int, int]]:
        return [(16 + 8 * (number // 3), 32)] if number < 36 else []

    video = write_video(tmp_path / "cam1.avi", slow, frames=36, fps=30)
    config = IngestConfig(quality="full", min_height=40, min_frames=5, frame_stride=3)
    ingest([video], detector=network, out=tmp_path / "out", settings=config)
    row = rows_of(tmp_path / "out")[0]
    assert (row["first_frame"], row["last_frame"], row["num_frames"], row["start_s"]) == (
        "6",
        "33",
        "10",
        "0.200",
    )


def test_two_videos_of_one_camera_and_progress(tmp_path: Path, network: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "cam1.avi", two_walkers, frames=18)
    videos = [tmp_path / "a" / "cam1.avi", tmp_path / "b" / "cam1.avi"]
    with pytest.raises(DataError, match="same camera number"):
        ingest(videos, detector=network, out=tmp_path / "out", settings=SMALL)
    config = IngestConfig(quality="full", min_height=40, min_frames=5, same_camera=True)
    calls: list[tuple[int, int]] = []
    ingest(
        videos,
        detector=network,
        out=tmp_path / "out",
        settings=config,
        progress=lambda *now: calls.append(now),
    )
    assert [r["tracklet"] for r in rows_of(tmp_path / "out")] == [
        "cam1_t0001", "cam1_t0002", "cam1v2_t0001", "cam1v2_t0002"
    ]  # fmt: skip
    assert len(read_folder(tmp_path / "out").gallery) == 4
    # After each frame in which people are looked for, and each that somebody is cut out of.
    assert calls == [
        *((n, 36) for n in range(1, 19)), *[(18, 36)] * 14, *((n, 36) for n in range(19, 37)), *[(36, 36)] * 14
    ]  # fmt: skip


def test_non_empty_folder_is_refused(tmp_path: Path, network: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    video = write_video(tmp_path / "cam1.avi", nobody, frames=3)
    for resume in (False, True):
        with pytest.raises(OutputError, match=r"not empty and holds mine\.txt, no ingest"):
            ingest([video], detector=network, out=tmp_path / "out", settings=SMALL, resume=resume)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_bad_input_leaves_no_folder(tmp_path: Path, network: Path) -> None:
    good = write_video(tmp_path / "cam1.avi", nobody, frames=3)
    bad = tmp_path / "cam2.avi"
    bad.write_bytes(b"x" * 100)
    with pytest.raises(DataError, match=r"cam2\.avi"):
        ingest([good, bad], detector=network, out=tmp_path / "out", settings=SMALL)
    with pytest.raises(DataError, match="no videos"):
        ingest([], detector=network, out=tmp_path / "out", settings=SMALL)
    assert not (tmp_path / "out").exists()


def test_missing_extra_is_named(tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write_video(tmp_path / "cam1.avi", nobody, frames=3)
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'intraclip\[ingest\]'"):
        ingest([video], detector=network, out=tmp_path / "out", settings=SMALL)


def test_config_imports_nothing_heavy() -> None:
    code = (
        "import sys; from intraclip.ingest import IngestConfig; IngestConfig();"
        "print([m for m in ('cv2', 'numpy', 'torch', 'onnxruntime', 'trackers') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.real_data
def test_real_detector_follows_people_in_a_real_view(tmp_path: Path) -> None:
    source = cv2.VideoCapture(str(real_data("video/four-views/cam1-source.webm")))
    network = real_data("models/detector/yolox_nano.onnx")
    short = tmp_path / "cam1.avi"
    writer = cv2.VideoWriter(str(short), cv2.VideoWriter_fourcc(*"MJPG"), 10, (960, 540))
    for _ in range(20):
        writer.write(source.read()[1])
    writer.release()
    summary = ingest([short], detector=network, out=tmp_path / "out", settings=IngestConfig())
    assert summary.videos[0].tiled
    assert 4 <= summary.tracklets <= 12
    shapes = [cv2.imread(str(f)).shape for f in (tmp_path / "out").rglob("tracklets/*/*.jpg")]  # type: ignore[union-attr]
    ratios = [h / w for h, w, _ in shapes]
    assert 1.5 < float(np.median(ratios)) < 4


def test_one_video_needs_no_list(network: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "cam1.avi", two_walkers, frames=12)
    summary = ingest(str(video), detector=network, out=tmp_path / "out", settings=SMALL)
    assert [found.video.name for found in summary.videos] == ["cam1.avi"]
