"""Optical flow: what is searched is where pixels went; the network that predicts it learns that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from intraclip.models.backbones.amoc import AMOCBody, AMOCBodySettings
from intraclip.models.backbones.motion import MotionNetwork, flow_loss, searched_flow
from plain_extraction import one_thread  # noqa: F401 - autouse


def moved_pictures(count: int, *, seed: int = 0, farthest: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft patterns ``[count, 2, 3, 64, 32]`` before and after a move of whole pixels, and the moves ``[count, 2]``."""
    rng = np.random.default_rng(seed)
    moves = torch.from_numpy(rng.integers(-farthest, farthest + 1, (count, 2)))
    coarse = torch.from_numpy(rng.standard_normal((count, 3, 20, 12))).float()
    large = F.interpolate(coarse, size=(80, 48), mode="bicubic", align_corners=False)
    before = large[:, :, 8:72, 8:40]
    after = torch.stack(
        [
            picture[:, 8 - y : 72 - y, 8 - x : 40 - x]
            for picture, (x, y) in zip(large, moves.tolist(), strict=True)
        ]
    )
    return torch.stack([before, after], dim=1), moves.float()


def test_searched_flow_is_how_far_the_picture_moved():
    pictures, moves = moved_pictures(12)
    full = searched_flow(pictures[:, 0], pictures[:, 1], (64, 32))
    inner = full[:, :, 12:-12, 8:-8].mean(dim=(2, 3))
    assert (inner - moves).abs().max() < 0.5
    half = searched_flow(pictures[:, 0], pictures[:, 1], (32, 16))
    assert torch.allclose(half, F.avg_pool2d(full, 2) / 2, atol=1e-5)


def test_searched_flow_of_a_still_or_empty_picture_is_nothing():
    pictures, _ = moved_pictures(2)
    assert searched_flow(pictures[:, 0], pictures[:, 0], (32, 16)).abs().max() < 0.05
    empty = torch.zeros(1, 3, 64, 32)
    assert searched_flow(empty, empty, (32, 16)).abs().max() < 0.05


@pytest.mark.parametrize(("height", "width"), [(64, 32), (57, 31), (16, 16)])
def test_three_predictions_at_half_a_quarter_and_an_eighth_of_the_frame(height, width):
    flows = MotionNetwork(width=0.1)(torch.randn(2, 6, height, width))
    sides = [(-(-height // n), -(-width // n)) for n in (2, 4, 8)]
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, *side) for side in sides]


def test_flow_loss_is_huber_at_every_resolution_over_valid_pairs():
    target = torch.randn(3, 2, 8, 4)
    exact = [F.adaptive_avg_pool2d(target, size) for size in ((8, 4), (4, 2), (2, 1))]
    valid = torch.tensor([True, False, True])
    assert float(flow_loss(exact, target, valid)) == 0
    wrong = [exact[0] + 3, exact[1] - 0.5, exact[2]]
    assert float(flow_loss(wrong, target, valid)) == pytest.approx(2.5 + 0.125, rel=1e-5)
    other = [torch.where(valid.view(-1, 1, 1, 1), flow, 99.0) for flow in exact]
    assert float(flow_loss(other, target, valid)) == 0
    assert float(flow_loss(wrong, target, torch.zeros(3, dtype=torch.bool))) == 0


def test_the_motion_network_learns_where_pictures_went():
    """From searched flow alone; measured against the true moves of new pictures."""
    torch.manual_seed(0)
    network = MotionNetwork(width=0.25)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(100):
        pictures, _ = moved_pictures(8, seed=step)
        target = searched_flow(pictures[:, 0], pictures[:, 1], (32, 16))
        loss = flow_loss(network(pictures.flatten(1, 2)), target, torch.ones(8, dtype=torch.bool))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pictures, moves = moved_pictures(64, seed=1000)
    with torch.no_grad():
        found = network(pictures.flatten(1, 2))[0].mean(dim=(2, 3))
    wrong = (2 * found - moves).norm(dim=1).mean()
    assert wrong < 0.6 * moves.norm(dim=1).mean()  # 0.33 of it


def test_the_loss_on_flow_is_that_of_the_pairs_inside_the_clips():
    torch.manual_seed(0)
    body = AMOCBody(AMOCBodySettings(width=0.25)).train()
    pictures, _ = moved_pictures(3)
    mask = torch.tensor([[1, 1], [1, 1], [1, 0]]).bool()
    maps, loss = body.learn(pictures, mask)
    assert torch.allclose(maps, body(pictures, mask), atol=1e-6)
    pairs = pictures[:2].flatten(1, 2)
    target = searched_flow(pairs[:, :3], pairs[:, 3:], (32, 16))
    expected = flow_loss(body.motion(pairs), target, torch.ones(2, dtype=torch.bool))
    assert torch.allclose(loss, expected, rtol=1e-4)
    body.flow_weight = 0.0
    assert body.learn(pictures, mask)[1] is None


def test_motion_tells_clips_apart_that_show_the_same_pictures():
    """Two people walk the same way to and fro: the maps of a clip and of its mirror in time differ by motion alone."""
    torch.manual_seed(0)
    body = AMOCBody(AMOCBodySettings(width=0.25)).eval()
    pictures, _ = moved_pictures(1)
    there = torch.cat([pictures, pictures[:, :1]], dim=1)  # a b a
    maps = body(there).unflatten(0, (1, 3))
    assert not torch.allclose(maps[:, 0], maps[:, 2], atol=1e-4)
