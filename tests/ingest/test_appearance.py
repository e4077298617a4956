"""Tracks that change from one person to another are divided; the encoder here sees colour alone."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ingest.synthetic import BOX_HEIGHT, BOX_WIDTH
from intraclip.arrays import unit
from intraclip.errors import DataError, OutputError
from intraclip.ingest import IngestConfig, ingest
from intraclip.ingest.appearance import LEAST, MOST, AppearanceSampler, find_cuts, similarity_limit
from intraclip.ingest.frame_source import VideoFrame
from intraclip.ingest.gates import Observations

CONFIG = IngestConfig(
    quality="full", min_height=40, min_width=16, min_frames=5, margin=0.0, appearance_seconds=0.2
)
COLOURS = ((0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 255, 0))
FRAMES = 40


class Colour:
    """Vectors are mean colours, as RGB."""

    fingerprint = "colour"
    height, width = 64, 32

    def __init__(self) -> None:
        self.pictures = 0

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        assert frames.dtype == torch.uint8
        assert frames.shape[1:] == (3, self.height, self.width)
        self.pictures += len(frames)
        return frames.float().mean(dim=(2, 3)) - 30


class Broken(Colour):
    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        return super().encode(frames) * float("nan")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Five people stand side by side; half way through the tracks of the first two are exchanged."""
    folder = tmp_path_factory.mktemp("crowd")
    writer = cv2.VideoWriter(str(folder / "cam1.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (256, 128))
    lines = []
    for frame in range(FRAMES):
        image = np.full((128, 256, 3), 60, np.uint8)
        for person, colour in enumerate(COLOURS):
            left, top = 10 + 48 * person, 30 + frame % 8
            image[top : top + BOX_HEIGHT, left : left + BOX_WIDTH] = colour
            track = 1 - person if frame >= FRAMES // 2 and person < 2 else person
            lines.append(f"{frame + 1},{track + 1},{left},{top},{BOX_WIDTH},{BOX_HEIGHT},1")
        writer.write(image)
    writer.release()
    (folder / "cam1.txt").write_text("\n".join(lines))
    return folder / "cam1.avi", folder / "cam1.txt"


def run(crowd: tuple[Path, Path], out: Path, encoder: Colour | None, **options: bool) -> list[dict[str, str]]:
    summary = ingest(
        [crowd[0]], detector=None, out=out, settings=CONFIG, tracks=[crowd[1]], encoder=encoder, **options
    )
    assert summary.videos[0].switches == (2 if encoder else 0)
    assert ("after 2 cuts between people" in str(summary)) == (encoder is not None)
    with (out / "tracklets.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_tracks_are_cut_where_people_change(crowd: tuple[Path, Path], tmp_path: Path) -> None:
    assert len(run(crowd, tmp_path / "without", None)) == 5
    encoder = Colour()
    rows = run(crowd, tmp_path / "with", encoder)
    assert [(r["tracklet"], r["first_frame"], r["last_frame"]) for r in rows] == [
        ("cam1_t0001", "0", "19"),
        ("cam1_t0002", "0", "19"),
        ("cam1_t0003", "0", "39"),
        ("cam1_t0004", "0", "39"),
        ("cam1_t0005", "0", "39"),
        ("cam1_t0006", "20", "39"),
        ("cam1_t0007", "20", "39"),
    ]
    assert encoder.pictures == 5 * FRAMES // 2  # every other frame
    for row in rows:
        colours = [
            unit(cv2.imread(str(f)).reshape(-1, 3).mean(0).astype(np.float32))  # type: ignore[union-attr]
            for f in sorted((tmp_path / "with" / row["folder"]).iterdir())
        ]
        assert min(float(colours[0] @ c) for c in colours) > 0.95


def test_resuming_with_another_encoder_is_refused(crowd: tuple[Path, Path], tmp_path: Path) -> None:
    run(crowd, tmp_path / "out", Colour())
    with pytest.raises(OutputError, match='encoder: "colour" -> null'):
        run(crowd, tmp_path / "out", None, resume=True)


def test_encoder_that_answers_nan(crowd: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="vectors of frame 0 are not finite"):
        run(crowd, tmp_path / "out", Broken())


def person(number: int, count: int, *, seed: int = 0, noise: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(100 * number + seed)
    return unit((np.eye(8)[number] + noise * rng.normal(size=(count, 8))).astype(np.float32))


def test_cuts_of_a_track_with_three_people_and_a_mixture_between() -> None:
    mixed = unit(person(0, 2, seed=1) + person(1, 2, seed=2))
    vectors = np.concatenate([person(0, 8), mixed, person(1, 8), person(2, 7)])
    first, second = find_cuts(vectors, 0.5)
    assert 8 <= first <= 10
    assert second == 18


def test_one_person_and_passers_by_are_not_cut() -> None:
    assert find_cuts(person(0, 30), 0.5) == []
    vectors = person(0, 30)
    vectors[[9, 10, 22]] = person(1, 3)  # two pictures at most: somebody walks past
    assert find_cuts(vectors, 0.5) == []
    assert find_cuts(person(0, 5), 0.5) == []


def test_limit_lies_between_one_person_and_two() -> None:
    tracks = {n: (np.arange(12), person(n, 12)) for n in range(5)}
    limit = similarity_limit(tracks)
    assert limit is not None
    assert 0.3 < limit < 0.7
    # Nobody meets anybody: nothing to compare with, and no one to change to.
    assert similarity_limit({n: (np.arange(12) + 100 * n, person(n, 12)) for n in range(5)}) is None


def test_network_that_tells_nobody_apart_divides_nothing() -> None:
    alike = np.tile(person(0, 1), (12, 1))
    assert similarity_limit({n: (np.arange(12), alike) for n in range(5)}) is None


def limit_over_all_pairs(tracks: dict[int, tuple[np.ndarray, np.ndarray]]) -> float:
    """As `similarity_limit` is defined, every pair of tracks written out."""
    same, different = [], []
    for _, v in tracks.values():
        for i in range(0, len(v) - 2 * LEAST + 1, LEAST):
            same.append(unit(v[i : i + LEAST].mean(0)) @ unit(v[i + LEAST : i + 2 * LEAST].mean(0)))
    for (frames_a, a), (frames_b, b) in combinations(tracks.values(), 2):
        first, last = max(frames_a[0], frames_b[0]), min(frames_a[-1], frames_b[-1])
        a, b = (v[(f >= first) & (f <= last)][:MOST] for f, v in ((frames_a, a), (frames_b, b)))
        if min(len(a), len(b)) >= LEAST:
            different.append(unit(a.mean(0)) @ unit(b.mean(0)))
    return float((np.median(same) + np.median(different)) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_limit_is_that_of_all_pairs_of_tracks_that_share_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracks = {}
    for number in rng.permutation(30).tolist():
        count = int(rng.integers(1, 15))
        frames = int(rng.integers(0, 80)) + int(rng.integers(3, 8)) * np.arange(count)
        tracks[number] = (frames, person(number % 8, count, seed=number))
    assert similarity_limit(tracks) == pytest.approx(limit_over_all_pairs(tracks), abs=1e-6)


@pytest.mark.parametrize("people", [10, 20])
def test_work_grows_with_tracks_not_with_their_pairs(people: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody is there all the time, the worst case: ten pictures a track."""
    sampler = AppearanceSampler(Colour(), CONFIG)
    rng = np.random.default_rng(0)
    left = 20.0 * np.arange(people)
    boxes = np.stack([left, 0 * left, left + 20, 0 * left + 50], axis=1).astype(np.float32)
    image = rng.integers(0, 255, (50, 20 * people, 3), dtype=np.uint8)
    zeros = np.zeros(people, np.float32)
    parts = []
    for frame in range(10):
        here = Observations(
            frame=np.full(people, frame),
            time_s=np.full(people, float(frame)),
            track=np.arange(people),
            boxes=boxes,
            score=zeros,
            overlap=zeros,
            sharpness=zeros,
        )
        sampler.look(VideoFrame(index=frame, time_s=float(frame), image=image), here)
        parts.append(here)
    names = ("frame", "time_s", "track", "boxes", "score", "overlap", "sharpness")
    seen = Observations(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
    calls = {"stack": 0, "unit": 0}

    def counted(name: str, function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def count(*args: object, **options: object) -> np.ndarray:
            calls[name] += 1
            return function(*args, **options)

        return count

    monkeypatch.setattr("numpy.stack", counted("stack", np.stack))
    monkeypatch.setattr("intraclip.ingest.appearance.unit", counted("unit", unit))
    monkeypatch.setattr("intraclip.ingest.appearance.find_cuts", lambda vectors, limit: [])
    sampler.divide(seen)
    assert calls["stack"] == 1
    assert people <= calls["unit"] <= 5 * people
