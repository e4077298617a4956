from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ingest.synthetic import constant_network, red_box_detector
from intraclip.errors import DataError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Detections, suppress
from intraclip.ingest.detector import Detector, open_detector
from intraclip.ingest.tiling import Tile, TilesTrial, detect_tiled, tiles_of
from intraclip.ingest.yolox import decode_yolox, grid_of, letterbox


def detector(path: Path) -> Detector:
    return open_detector(path, IngestConfig())


def people(*rows: tuple[float, float, float, float, float]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(boxes=table[:, :4], scores=table[:, 4])


def test_decoding_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    height, width = 64, 96
    rows = sum((height // s) * (width // s) for s in (8, 16, 32))
    output = rng.normal(0, 1, (rows, 85)).astype(np.float32)
    output[:, 4:] = rng.random((rows, 81))
    expected, row = [], 0
    for stride in (8, 16, 32):
        for gy in range(height // stride):
            for gx in range(width // stride):
                x, y, w, h, objectness = (float(v) for v in output[row, :5])
                score = objectness * float(output[row, 5 + 2])
                if score >= 0.3:
                    cx, cy = (x + gx) * stride, (y + gy) * stride
                    w, h = math.exp(w) * stride, math.exp(h) * stride
                    expected.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, score])
                row += 1
    found = decode_yolox(output, *grid_of(height, width), person_class=2, min_score=0.3)
    assert len(found) == len(expected) > 10
    np.testing.assert_allclose(np.column_stack([found.boxes, found.scores]), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(540, 960), (960, 540), (100, 50), (128, 128)])
def test_letterbox_keeps_proportions_and_pads_below_and_right(height: int, width: int) -> None:
    image = np.full((height, width, 3), (10, 20, 30), np.uint8)
    pixels, scale = letterbox(image, 128, 128)
    assert pixels.shape == (1, 3, 128, 128)
    assert pixels.dtype == np.float32
    inner_h, inner_w = round(height * scale), round(width * scale)
    assert max(inner_h, inner_w) == 128
    np.testing.assert_array_equal(
        pixels[0, :, :inner_h, :inner_w],
        np.array([10, 20, 30])[:, None, None] + np.zeros((3, inner_h, inner_w)),
    )
    assert (pixels[0, :, inner_h:] == 114).all()
    assert (pixels[0, :, :, inner_w:] == 114).all()


def test_boxes_come_back_in_pixels_of_the_image(tmp_path: Path) -> None:
    # Twice the network's input: the box is twice as large in the image, and found in half its pixels.
    image = np.zeros((256, 200, 3), np.uint8)
    image[80:176, 72:120] = (0, 0, 255)
    found = detector(red_box_detector(tmp_path / "d.onnx"))(image)
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], [72, 80, 120, 176], atol=1)
    assert found.scores[0] > 0.95


def test_suppression_keeps_the_best_of_overlapping_boxes() -> None:
    found = suppress(people((0, 0, 10, 20, 0.5), (1, 0, 11, 20, 0.9), (20, 0, 30, 20, 0.4)), iou=0.45)
    np.testing.assert_allclose(found.scores, [0.9, 0.4])


def test_suppression_lets_a_dropped_box_drop_nothing() -> None:
    # The second overlaps the first and the third; the first and the third do not overlap enough.
    found = suppress(people((0, 0, 10, 10, 0.9), (4, 0, 14, 10, 0.8), (8, 0, 18, 10, 0.7)), iou=0.4)
    np.testing.assert_allclose(found.scores, [0.9, 0.7])


def test_suppression_of_nothing_is_nothing() -> None:
    assert len(suppress(people(), iou=0.5)) == 0


@pytest.mark.parametrize(("height", "width"), [(540, 960), (416, 416), (300, 2000), (1080, 1920), (417, 417)])
def test_tiles_cover_the_frame_and_overlap_enough(height: int, width: int) -> None:
    tiles = tiles_of(height, width, tile_height=416, tile_width=416, overlap=0.25)
    covered = np.zeros((height, width), bool)
    for tile in tiles:
        covered[tile.top : tile.bottom, tile.left : tile.right] = True
        assert tile.right <= width
        assert tile.bottom <= height
    assert covered.all()
    lefts = sorted({t.left for t in tiles})
    assert all(a + 416 - b >= 104 for a, b in itertools.pairwise(lefts))


def test_box_cut_by_an_inner_tile_border_is_dropped_and_one_at_the_image_border_kept() -> None:
    frame = np.zeros((100, 180, 3), np.uint8)
    tiles = [Tile(0, 0, 100, 100), Tile(80, 0, 180, 100)]
    answers = iter(
        [people(), people((0, 10, 20, 60, 0.9), (70, 10, 99, 60, 0.8)), people((30, 10, 100, 60, 0.7))]
    )
    found = detect_tiled(frame, lambda _image: next(answers), tiles, nms_iou=0.5)
    np.testing.assert_allclose(found.boxes, [[0, 10, 20, 60], [110, 10, 180, 60]])


def test_person_seen_whole_by_two_tiles_and_the_frame_counts_once() -> None:
    frame = np.zeros((100, 180, 3), np.uint8)
    tiles = [Tile(0, 0, 100, 100), Tile(60, 0, 160, 100)]
    answers = iter(
        [people((71, 11, 91, 61, 0.6)), people((70, 10, 90, 60, 0.9)), people((10, 10, 30, 60, 0.8))]
    )
    found = detect_tiled(frame, lambda _image: next(answers), tiles, nms_iou=0.45)
    np.testing.assert_allclose(found.boxes, [[70, 10, 90, 60]])


def test_tiles_pay_only_when_they_find_clearly_more(tmp_path: Path) -> None:
    network = detector(red_box_detector(tmp_path / "d.onnx"))
    image = np.zeros((128, 256, 3), np.uint8)
    tiles = tiles_of(128, 256, tile_height=128, tile_width=128, overlap=0.25)

    def decide(*images: np.ndarray) -> tuple[bool, int, int]:
        with_tiles = partial(detect_tiled, detect=network, tiles=tiles, nms_iou=0.45)
        trial = TilesTrial(network, with_tiles, score=0.4, gain=1.3)
        for image in images:
            trial.add(image)
        return trial.pays, trial.few, trial.many

    assert decide(image) == (False, 0, 0)
    assert decide() == (False, 0, 0)
    small = image.copy()
    small[40:88, 52:76] = (0, 0, 255)
    assert decide(small, small) == (True, 0, 2)
    assert decide(small, image, image) == (False, 0, 1)


def test_the_engine_reports_to_nobody(tmp_path: Path) -> None:
    path = red_box_detector(tmp_path / "d.onnx")
    code = (
        "from pathlib import Path; from intraclip.ingest.config import IngestConfig; from intraclip.ingest.detector "
        f"import open_detector; print(open_detector(Path({str(path)!r}), IngestConfig()).name)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
    )
    assert done.stdout == "yolox\n"
    # ONNX Runtime keeps a number of the machine in the user's cache where it collects what is done.
    assert not [*tmp_path.glob("cache/**/deviceid"), *tmp_path.glob("home/**/deviceid")]


def test_missing_detector(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no detector"):
        detector(tmp_path / "none.onnx")


def test_file_that_is_no_onnx(tmp_path: Path) -> None:
    path = tmp_path / "d.onnx"
    path.write_bytes(b"this is a text file" * 10)
    with pytest.raises(DataError, match=r"d\.onnx \(190 bytes\) is no ONNX network"):
        detector(path)


@pytest.mark.parametrize(
    ("shape", "output", "message"),
    [
        ([1, 3, 64], (1, 84, 85), r"\[1, 3, 64\].*one input \[1, 3, height, width\]"),
        ([1, 4, 64, 64], (1, 84, 85), "with 4 channels"),
        ([8, 3, 64, 64], (1, 84, 85), r"\[8, 3, 64, 64\]"),
        ([1, 3, 60, 64], (1, 84, 85), "multiples of 32"),
        ([1, 3, 2**40, 2**40], (1, 84, 85), "height and width from 32 to 8192"),
        ([1, 3, "h", "w"], (1, 84, 85), "fixed input size"),
        ([1, 3, 64, 64], (1, 84, 84, 1), r"\[\[1, 84, 84, 1\]\].*\[1, 84, 5 \+ classes\]"),
        ([1, 3, 64, 64], (1, 85, 84), r"\[\[1, 85, 84\]\].*\[1, 84, 5 \+ classes\]"),
        ([1, 3, 64, 64], (1, 84, 5), r"\[1, 84, 5\] is 5 wide, class 0 needs at least 6"),
    ],
)
def test_network_of_another_layout(
    tmp_path: Path, shape: list[int | str], output: tuple[int, ...], message: str
) -> None:
    path = constant_network(tmp_path / "d.onnx", input_shape=shape, output=np.zeros(output, np.float32))
    with pytest.raises(DataError, match=message):
        detector(path)


def test_network_that_answers_nan(tmp_path: Path) -> None:
    path = constant_network(
        tmp_path / "d.onnx", input_shape=[1, 3, 64, 64], output=np.full((1, 84, 6), np.nan, np.float32)
    )
    with pytest.raises(DataError, match="NaN"):
        detector(path)
