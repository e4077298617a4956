from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from intraclip.models.checkpoint import load_model, model_file, read_checkpoint
from intraclip.report import plots, tsne
from intraclip.types import Tracklet
from report.report_world import World


def tracklet(pid: int, camid: int, length: int, number: int = 0) -> Tracklet:
    return Tracklet(
        name=f"{pid}-{camid}-{number}",
        root=Path("nowhere"),
        frames=tuple(f"{i}.jpg" for i in range(length)),
        pid=pid,
        camid=camid,
    )


def groups(spread: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(10), 24)
    centres = rng.normal(size=(10, 32))
    return (centres[pids] + spread * rng.normal(size=(240, 32))).astype(np.float32), pids


def test_ten_people_two_clips_of_twelve_frames() -> None:
    tracklets = [tracklet(pid, camid, 30) for pid in range(1, 16) for camid in (1, 2, 3)]
    clips = tsne.choose_clips(tracklets, seed=0)
    assert len({c.tracklet.pid for c in clips}) == 10
    assert len(clips) == 20
    for first, second in zip(clips[::2], clips[1::2], strict=True):
        assert first.tracklet.pid == second.tracklet.pid
        assert first.tracklet.camid != second.tracklet.camid
        assert (first.clip, second.clip) == (0, 1)
        for clip in (first, second):
            assert len(clip.frames) == 12
            assert np.diff(clip.frames).tolist() == [1] * 11
    assert clips == tsne.choose_clips(tracklets, seed=0)


def test_junk_and_distractors_are_no_people() -> None:
    assert tsne.choose_clips([tracklet(0, 1, 30), tracklet(0, 2, 30), tracklet(-1, 1, 30)], seed=0) == []


def test_short_tracklets_come_last_and_one_tracklet_is_halved() -> None:
    clips = tsne.choose_clips([tracklet(1, 1, 30), tracklet(1, 2, 3), tracklet(1, 1, 30, 1)], seed=0)
    assert [len(c.frames) for c in clips] == [12, 12]
    halves = tsne.choose_clips([tracklet(2, 1, 20)], seed=0)
    assert [len(c.frames) for c in halves] == [10, 10]
    assert not set(halves[0].frames) & set(halves[1].frames)
    assert tsne.choose_clips([tracklet(3, 1, 3)], seed=0) == []


def test_projection_keeps_groups_together_and_repeats_itself() -> None:
    features, pids = groups(spread=0.1)
    points = tsne.project(features, seed=4)
    assert points.shape == (240, 2)
    centres = np.stack([points[pids == pid].mean(axis=0) for pid in range(10)])
    nearest = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(axis=1)
    assert (nearest == pids).mean() > 0.98
    assert np.array_equal(points, tsne.project(features, seed=4))


def test_separation_orders_networks() -> None:
    tight, pids = groups(spread=0.1)
    loose, _ = groups(spread=2.0)
    assert tsne.separation(tight, pids) > 0.8 > 0.2 > tsne.separation(loose, pids)


def test_collapsed_network_is_a_point_and_no_crash() -> None:
    features, pids = np.ones((24, 4), dtype=np.float32), np.repeat(np.arange(4), 6)
    assert not tsne.project(features, seed=0).any()
    assert tsne.separation(features, pids) == 0


def test_frame_features_do_not_depend_on_the_neighbours(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = read_checkpoint(model_file(next(iter(world.runs.values()))))
    model = load_model(checkpoint, device=torch.device("cpu"))
    clips = tsne.choose_clips(world.split.test, seed=0)
    together = tsne.frame_features(model, clips, checkpoint.recipe.input)
    assert together.shape == (sum(len(c.frames) for c in clips), model.num_features)
    monkeypatch.setattr(tsne, "FRAMES_AT_ONCE", 5)
    np.testing.assert_allclose(
        tsne.frame_features(model, clips, checkpoint.recipe.input), together, atol=1e-5
    )


def test_scatter_has_a_group_for_every_person_and_clip() -> None:
    rng = np.random.default_rng(0)
    figure = plots.feature_scatter(
        rng.normal(size=(12, 2)), np.repeat([3, 7, 9], 4), np.tile([0, 0, 1, 1], 3)
    )
    assert len(figure.axes[0].collections) == 6
