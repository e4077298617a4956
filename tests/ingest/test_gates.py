from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from intraclip.core.spread import evenly
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.crops import crop_box
from intraclip.ingest.gates import Observations, Selection, overlap_in_front, select, sharpness, truncation

SIZE = {"height": 400, "width": 600}


def track(boxes: list[tuple[float, float, float, float]], **columns: list[float]) -> Observations:
    n = len(boxes)
    return Observations(
        frame=np.arange(n),
        time_s=np.arange(n) / 10,
        track=np.ones(n, np.int64),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        score=np.array(columns.get("score", [0.9] * n), np.float32),
        overlap=np.array(columns.get("overlap", [0.0] * n), np.float32),
        sharpness=np.array(columns.get("sharpness", [np.inf] * n), np.float32),
    )


WALK = [(100.0 + 4 * i, 100.0, 140.0 + 4 * i, 200.0) for i in range(12)]


def kept(selection: Selection) -> Observations:
    (part,) = selection.parts.values()
    return part


def test_good_track_is_kept_whole() -> None:
    selection = select(track(WALK), IngestConfig(), **SIZE)
    assert not selection.reasons
    assert not selection.divided
    assert len(kept(selection)) == 12
    assert not selection.dropped_frames


@pytest.mark.parametrize(
    ("gate", "box"),
    [
        ("too_small", (100, 100, 120, 140)),
        ("too_small", (100, 100, 110, 150)),
        ("aspect", (100, 100, 200, 200)),
        ("aspect", (100, 100, 117, 200)),
        ("truncated", (-20, 100, 20, 200)),
        ("truncated", (560, 350, 600, 400)),
    ],
)
def test_gate_drops_the_frame_and_keeps_the_track(gate: str, box: tuple[float, float, float, float]) -> None:
    selection = select(track([*WALK, box]), IngestConfig(), **SIZE)
    assert selection.dropped_frames == {gate: 1}
    assert kept(selection).frame.tolist() == list(range(12))


def test_frame_behind_another_person_and_blurred_frame_are_dropped() -> None:
    config = IngestConfig(min_sharpness=40)
    seen = track(WALK, overlap=[0.6] + [0.1] * 11, sharpness=[90.0] * 11 + [5.0])
    selection = select(seen, config, **SIZE)
    assert selection.dropped_frames == {"overlapped": 1, "blurred": 1}
    assert kept(selection).frame.tolist() == list(range(1, 11))


def test_short_track_is_dropped() -> None:
    assert select(track(WALK[:7]), IngestConfig(), **SIZE).reasons == {"short": 1}


def test_doubtful_track_is_dropped() -> None:
    assert select(track(WALK, score=[0.45] * 12), IngestConfig(), **SIZE).reasons == {"doubtful": 1}


def test_track_is_dropped_under_the_gate_that_took_most() -> None:
    boxes = [*WALK[:5], *[(100.0, 100.0, 120.0, 140.0)] * 6, (100.0, 100.0, 200.0, 200.0)]
    selection = select(track(boxes), IngestConfig(), **SIZE)
    assert selection.reasons == {"too_small": 1}
    assert not selection.parts


def test_long_track_is_thinned_evenly() -> None:
    selection = select(track(WALK), IngestConfig(min_frames=2, max_frames=4), **SIZE)
    assert kept(selection).frame.tolist() == [0, 4, 7, 11]


def test_track_that_lasts_too_long_is_divided_into_parts_of_equal_duration() -> None:
    # 1.1 seconds in parts of at most half a second: three, of 0.37 seconds each.
    selection = select(track(WALK), IngestConfig(min_frames=2, split_seconds=0.5), **SIZE)
    assert selection.divided
    assert {n: p.frame.tolist() for n, p in selection.parts.items()} == {
        1: [0, 1, 2, 3],
        2: [4, 5, 6, 7],
        3: [8, 9, 10, 11],
    }
    assert not select(track(WALK), IngestConfig(split_seconds=1.2), **SIZE).divided


def test_part_with_too_few_good_frames_is_dropped_and_the_others_keep_their_numbers() -> None:
    boxes = [*WALK[:4], *[(100.0, 100.0, 120.0, 140.0)] * 4, *WALK[8:]]
    selection = select(track(boxes), IngestConfig(min_frames=3, split_seconds=0.5), **SIZE)
    assert sorted(selection.parts) == [1, 3]
    assert selection.reasons == {"too_small": 1}


def test_gap_in_a_divided_track_is_no_dropped_part() -> None:
    seen = track([*WALK, *WALK])
    times = np.concatenate([np.arange(12) / 10, 10 + np.arange(12) / 10])
    gap = dataclasses.replace(seen, time_s=times)
    selection = select(gap, IngestConfig(min_frames=2, split_seconds=2), **SIZE)
    assert sorted(selection.parts) == [1, 6]
    assert not selection.reasons


@pytest.mark.parametrize(("length", "count"), [(1, 1), (5, 1), (7, 3), (100, 8), (128, 128), (129, 128)])
def test_evenly_gives_different_indices_in_order(length: int, count: int) -> None:
    indices = evenly(length, count)
    assert len(indices) == min(length, count)
    assert (np.diff(indices) > 0).all()
    assert indices[0] == 0


def test_truncation_is_measured_against_the_size_nearby() -> None:
    # The person comes nearer, grows, and leaves through the bottom: half of the last box is gone.
    boxes = [(100, 100, 140, 200), (100, 150, 160, 300), (100, 180, 160, 330), (100, 325, 160, 400)]
    shares = truncation(np.array(boxes, np.float32), **SIZE)
    np.testing.assert_allclose(shares, [0, 0, 0, 0.5], atol=1e-6)


def test_track_that_always_touches_the_border_only_loses_what_lies_beyond() -> None:
    boxes = np.array([(0, 100, 40, 200), (-10, 100, 30, 200)], np.float32)
    np.testing.assert_allclose(truncation(boxes, **SIZE), [0, 0.25])


def test_only_the_person_behind_is_overlapped() -> None:
    boxes = np.array([(0, 0, 10, 20), (5, 5, 15, 25), (100, 0, 110, 20)], np.float32)
    np.testing.assert_allclose(overlap_in_front(boxes), [5 * 15 / 200, 0, 0])
    assert overlap_in_front(np.zeros((0, 4), np.float32)).shape == (0,)


def test_blur_lowers_sharpness_at_any_size() -> None:
    rng = np.random.default_rng(0)
    for scale in (4, 8):
        coarse = rng.integers(0, 256, (16, 8, 3), dtype=np.uint8)
        crisp = np.kron(coarse, np.ones((scale, scale, 1), np.uint8))
        soft = np.broadcast_to(np.linspace(50, 200, 16 * scale)[:, None, None], crisp.shape).astype(np.uint8)
        assert sharpness(crisp) > 50 > sharpness(soft)


@pytest.mark.parametrize(
    "box", [(-50, -50, -10, -10), (590, 390, 700, 500), (10, 10, 10, 10), (700, 500, 800, 600)]
)
def test_crop_always_holds_a_pixel_of_the_image(box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = crop_box(np.array(box, np.float32), margin=0.1, **SIZE)
    assert 0 <= left < right <= 600
    assert 0 <= top < bottom <= 400
