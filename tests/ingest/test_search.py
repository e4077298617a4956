"""Which frames are searched, how, and where people are put who were there in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from ingest.synthetic import BOX_HEIGHT, BOX_WIDTH, nobody, red_box_detector, two_walkers, write_video
from intraclip.ingest import IngestConfig, ingest
from intraclip.ingest.detections import Detections
from intraclip.ingest.frame_source import VideoFrame
from intraclip.ingest.gates import Observations
from intraclip.ingest.search import STILL_SECONDS, Cadence, Still, filled, finder, with_overlap

NOBODY = np.zeros((0, 4), np.float32)
BALANCED = IngestConfig(quality="balanced")


def box(x: float, *, width: float = 20, top: float = 0) -> list[float]:
    return [x, top, x + width, top + 50]


def walk(cadence: Cadence, speed: float, *, frames: int, fps: float = 10) -> list[int]:
    """Frames that are searched while somebody walks, in widths a second."""
    searched = []
    for number in range(frames):
        if cadence.due(number / fps):
            at = np.array([box(20 * speed * number / fps)], np.float32)
            cadence.searched(number / fps, np.array([1]), at, at)
            searched.append(number)
    return searched


@pytest.mark.parametrize(
    ("speed", "step"),
    [
        (0.0, 3),  # 0.3 s is the longest
        (2.4, 2),  # 0.48 of a width in two frames, 0.72 in three
        (4.0, 1),
        (9.0, 1),
    ],
)
def test_frames_are_passed_over_while_nobody_moves_far(speed: float, step: int) -> None:
    searched = walk(Cadence(BALANCED, fps=10), speed, frames=40)
    assert set(np.diff(searched[3:]).tolist()) == {step}


def test_full_searches_every_frame() -> None:
    assert walk(Cadence(IngestConfig(quality="full"), fps=10), 0.0, frames=10) == list(range(10))


def test_fast_takes_longer_steps() -> None:
    searched = walk(Cadence(IngestConfig(quality="fast"), fps=10), 0.0, frames=40)
    assert set(np.diff(searched[3:]).tolist()) == {4}


def test_who_jumps_too_far_for_the_tracker_is_looked_for_in_the_next_frame() -> None:
    cadence = Cadence(BALANCED, fps=10)
    cadence.searched(0.0, np.zeros(0, np.int64), NOBODY, np.array([box(0)], np.float32))
    assert not cadence.due(0.1)  # a walker may be waited for
    cadence.searched(0.2, np.zeros(0, np.int64), NOBODY, np.array([box(25)], np.float32))
    assert cadence.due(0.3)


def test_a_camera_that_turns_makes_nobody_fast() -> None:
    def count(shift: float) -> int:
        """Searches of 30 frames in which somebody moves on by 15 pixels a frame, and the camera's share is `shift`."""
        cadence, last, done = Cadence(BALANCED, fps=10), 0, 0
        for frame in range(30):
            if cadence.due(frame / 10):
                people = np.array([box(15.0 * frame)], np.float32)
                motion = np.array([[1.0, 0.0, shift * (frame - last)], [0.0, 1.0, 0.0]])
                cadence.searched(frame / 10, np.array([1]), people, people, motion=motion)
                last, done = frame, done + 1
        return done

    assert count(15.0) < 15
    assert count(0.0) > 25


def test_a_clock_that_jumps_back_begins_anew() -> None:
    cadence = Cadence(BALANCED, fps=10)
    walk(cadence, 0.0, frames=20)
    assert cadence.due(0.5)


def test_somebody_counts_after_the_same_time_however_often_is_searched() -> None:
    cadence = Cadence(BALANCED, fps=10)
    assert cadence.confirm == 3
    walk(cadence, 0.0, frames=20)
    assert cadence.confirm == 2  # of three frames each


def seen(rows: list[tuple[int, int, float]], *, fps: float = 10, sharpness: float = np.inf) -> Observations:
    """Frame, track, left edge."""
    frame, track, left = (np.array(column) for column in zip(*rows, strict=True))
    return Observations(
        frame=frame.astype(np.int64),
        time_s=frame / fps,
        track=track.astype(np.int64),
        boxes=np.array([box(x) for x in left], np.float32),
        score=np.full(len(frame), 0.5, np.float32),
        overlap=np.zeros(len(frame), np.float32),
        sharpness=np.full(len(frame), sharpness, np.float32),
    )


def fill(people: Observations, searched: list[int], *, frames: int) -> list[tuple[int, int, float]]:
    index = np.arange(frames)
    found = filled(people, index, index / 10, np.isin(index, searched))
    assert not np.isnan(found.sharpness).any()
    return [
        (int(f), int(t), round(float(b[0]), 3))
        for f, t, b in zip(found.frame, found.track, found.boxes, strict=True)
    ]


def test_people_are_put_on_the_way_between_two_searches() -> None:
    people = seen([(0, 1, 0), (0, 2, 100), (3, 1, 30), (3, 2, 94)])
    assert fill(people, [0, 3], frames=5) == [
        (0, 1, 0), (0, 2, 100), (1, 1, 10), (1, 2, 98), (2, 1, 20), (2, 2, 96), (3, 1, 30), (3, 2, 94)
    ]  # fmt: skip


def test_one_search_may_miss_somebody_and_two_may_not() -> None:
    assert fill(seen([(0, 1, 0), (4, 1, 40)]), [0, 2, 4], frames=5) == [(n, 1, 10 * n) for n in range(5)]
    people = [(0, 1, 0), (6, 1, 60)]
    assert fill(seen(people), [0, 2, 4, 6], frames=7) == people


def test_measured_sharpness_is_carried_too() -> None:
    index = np.arange(3)
    found = filled(seen([(0, 1, 0), (2, 1, 2)], sharpness=70.0), index, index / 10, index % 2 == 0)
    assert found.sharpness.tolist() == [70, 70, 70]


def test_who_is_put_between_hides_others_and_is_hidden() -> None:
    people = seen([(0, 1, 0), (0, 2, 10), (2, 1, 0), (2, 2, 10)])
    people.boxes[1::2, 3] += 5  # the second stands in front
    index = np.arange(3)
    found = with_overlap(filled(people, index, index / 10, index % 2 == 0))
    np.testing.assert_allclose(found.overlap[found.frame == 1], [0.5, 0.0], atol=1e-5)


def frames_of(images: list[np.ndarray], *, step: float = 0.1) -> list[VideoFrame]:  # type: ignore[type-arg]
    return [VideoFrame(index=i, time_s=i * step, image=image) for i, image in enumerate(images)]


def searches(frames: list[VideoFrame]) -> list[int]:
    asked: list[int] = []

    def find(frame: VideoFrame) -> Detections:
        asked.append(frame.index)
        return Detections(boxes=np.array([box(frame.index)], np.float32), scores=np.ones(1, np.float32))

    still = Still(find)
    answers = [still(frame).boxes[0, 0] for frame in frames]
    assert answers == [max(n for n in asked if n <= frame.index) for frame in frames]
    return asked


def test_a_frame_in_which_nothing_moved_is_not_searched_again() -> None:
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 180, (96, 128, 3))
    noisy = [(ground + rng.normal(0, 6, ground.shape)).clip(0, 255).astype(np.uint8) for _ in range(6)]
    brighter = [np.asarray(image + 20, np.uint8) for image in noisy[:2]]
    assert searches(frames_of(noisy + brighter)) == [0]  # neither noise nor light is movement
    moved = noisy[3].copy()
    moved[40:64, 40:52] = (0, 0, 255)
    assert searches(frames_of([*noisy[:3], moved, moved, noisy[4]])) == [0, 3, 5]


def test_who_is_as_bright_as_the_wall_is_seen_to_move() -> None:
    wall = np.full((96, 128, 3), 90, np.uint8)
    walk = [wall.copy() for _ in range(4)]
    for step, image in enumerate(walk):
        image[32:80, 16 + 16 * step : 40 + 16 * step] = (40, 40, 210)  # red, about as bright as grey 90
    assert searches(frames_of(walk)) == [0, 1, 2, 3]


def test_a_still_scene_is_searched_now_and_then() -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    assert searches(frames_of([image] * 7, step=STILL_SECONDS / 3)) == [0, 3, 6]


def test_a_detector_that_can_be_resized_searches_a_frame_in_one_piece(tmp_path: Path) -> None:
    class Sized:
        name, sha256, height, width = "sized", "", 64, 64

        def __init__(self) -> None:
            self.asked: list[tuple[int, ...]] = []

        def __call__(self, image: np.ndarray) -> Detections:  # type: ignore[type-arg]
            self.asked.append((64, 64, *image.shape[:2]))
            return Detections.join([])

        def sized(self, height: int, width: int):  # type: ignore[no-untyped-def]
            return lambda image: self.asked.append((height, width, *image.shape[:2])) or Detections.join([])

    image = np.zeros((90, 160, 3), np.uint8)
    for quality, expected in {
        "balanced": [(90, 160, 90, 160)],
        "fast": [(68, 120, 90, 160)],
        "full": [(64, 64, 90, 160), *[(64, 64, 64, 64)] * 6],
    }.items():
        network = Sized()
        find = finder(network, IngestConfig(quality=quality), height=90, width=160, small=True)  # type: ignore[arg-type]
        find(image)
        assert network.asked == expected


def test_quality_that_saves_finds_the_same_people(tmp_path: Path) -> None:
    network = red_box_detector(tmp_path / "red.onnx")
    for name in ("cam1", "cam2", "cam3"):
        write_video(tmp_path / f"{name}.avi", two_walkers if name != "cam2" else nobody, frames=18)
    videos = sorted(tmp_path.glob("*.avi"))
    config = IngestConfig(quality="balanced", min_height=40, min_width=16, min_frames=5, margin=0.0)
    summary = ingest(videos, detector=network, out=tmp_path / "out", settings=config)
    assert [v.tracklets for v in summary.videos] == [2, 0, 2]
    table = np.loadtxt(tmp_path / "out/tracks/cam1.txt", delimiter=",")
    for number in (1, 2):
        track = table[table[:, 1] == number]
        # Every frame from the first to the last that was searched, on a straight way.
        assert np.diff(track[:, 0]).tolist() == [1] * (len(track) - 1)
        np.testing.assert_allclose(np.abs(np.diff(track[:, 2])), 8, atol=0.5)
        np.testing.assert_allclose(track[:, 4:6], [[BOX_WIDTH, BOX_HEIGHT]] * len(track), atol=0.5)
        assert len(track) >= 9


def test_a_network_that_cannot_be_resized_is_asked_on_tiles(tmp_path: Path) -> None:
    from intraclip.ingest.detector import open_detector

    path = red_box_detector(tmp_path / "red.onnx")
    detector = open_detector(path, BALANCED)
    assert detector.sized(256, 256) is None  # type: ignore[attr-defined]
    network = onnx.load(path)
    assert network.graph.initializer  # its shapes stand inside
