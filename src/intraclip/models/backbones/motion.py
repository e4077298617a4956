"""Optical flow between neighbouring frames of clips: a network that predicts it, and where its targets come from."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SLOPE = 0.1
"""Of the activations, below 0."""


class MotionNetwork(nn.Module):
    """Two neighbouring frames -> the flow between them at three resolutions.

    A contracting half of strided convolutions and an expanding one, which predicts the flow at 1/8, 1/4 and 1/2 of the
    frame. A prediction goes into the next one, with the features of its size from the way down.

    Source: public notes on AMOC (Liu et al., IEEE TCSVT 2018) for pairs of frames, three predictions, and half of the
    frame as the finest of them; the shape is that of FlowNetS (Dosovitskiy et al., ICCV 2015, section 3) cut to
    these sizes. **Not known**: the widths of AMOC's layers; here they are about half of FlowNetS's.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        a, b, c, d = (max(4, round(width * size)) for size in (32, 64, 128, 256))
        self.down1 = _convolution(6, a, 7, stride=2)
        self.down2 = _convolution(a, b, 5, stride=2)
        self.down3 = nn.Sequential(_convolution(b, c, 5, stride=2), _convolution(c, c, 3))
        self.down4 = nn.Sequential(_convolution(c, d, 3, stride=2), _convolution(d, d, 3))
        self.up3, self.up2, self.up1 = _enlarging(d, c), _enlarging(2 * c, b), _enlarging(2 * b + 2, a)
        self.flow3, self.flow2, self.flow1 = _flow(2 * c), _flow(2 * b + 2), _flow(2 * a + 2)

    def forward(self, pairs: torch.Tensor) -> list[torch.Tensor]:
        """Flow of pairs ``[N, 6, H, W]`` from the earlier frame, which comes first, to the later one.

        Finest first: ``[N, 2, h, w]`` at 1/2, 1/4 and 1/8 of the frame, x before y, all in pixels of the finest one.
        """
        at2 = self.down1(pairs)
        at4 = self.down2(at2)
        at8 = self.down3(at4)
        joined = torch.cat([at8, _like(self.up3(self.down4(at8)), at8)], dim=1)
        coarse = self.flow3(joined)
        joined = torch.cat([at4, _like(self.up2(joined), at4), _twice(coarse, at4)], dim=1)
        middle = self.flow2(joined)
        joined = torch.cat([at2, _like(self.up1(joined), at2), _twice(middle, at2)], dim=1)
        return [self.flow1(joined), middle, coarse]


def flow_loss(flows: list[torch.Tensor], target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Smooth L1 distance (Huber with threshold 1 pixel) to a target, summed over the resolutions.

    Args:
        flows: what `MotionNetwork` gives for N pairs.
        target: float ``[N, 2, h, w]`` at the finest resolution, in its pixels; averaged to the others.
        valid: bool ``[N]``; pairs that count.

    Returns:
        Scalar: per resolution the mean over the positions of the valid pairs; 0 without valid pairs.
    """
    total = target.new_zeros(())
    for flow in flows:
        wanted = F.adaptive_avg_pool2d(target, (flow.shape[2], flow.shape[3]))
        wrong = F.smooth_l1_loss(flow.float(), wanted, reduction="none").mean(dim=(1, 2, 3))
        total = total + (wrong * valid).sum() / valid.sum().clamp_min(1)
    return total


@torch.compiler.disable  # type: ignore[untyped-decorator]
@torch.no_grad()
def searched_flow(earlier: torch.Tensor, later: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Flow from one frame to another by dense inverse search (Kroeger et al., ECCV 2016; OpenCV's).

    It compares pixels alone, so frames may be augmented, as long as both are in the same way. Runs on the CPU, about
    1 ms a pair of 128 x 64.

    Args:
        earlier: float ``[N, 3, H, W]``, on any device, of any range.
        later: the same.
        size: height and width of the result, at most those of the frames.

    Returns:
        float32 ``[N, 2, *size]`` on the frames' device, x before y, in pixels of the result.
    """
    both = torch.stack([earlier, later], dim=1).detach().float().mean(dim=2)
    lowest, highest = both.amin(dim=(1, 2, 3), keepdim=True), both.amax(dim=(1, 2, 3), keepdim=True)
    grey = (255 * (both - lowest) / (highest - lowest).clamp_min(1e-6)).round().byte().cpu().numpy()
    search = _search()
    found = np.empty((len(grey), *grey.shape[2:], 2), np.float32)
    threads = cv2.getNumThreads()
    # frames this small lose more to waiting threads than they gain, above all beside other work
    cv2.setNumThreads(1)
    try:
        for row, (before, after) in enumerate(grey):
            found[row] = search.calc(np.ascontiguousarray(before), np.ascontiguousarray(after), None)
    finally:
        cv2.setNumThreads(threads)
    flow = torch.from_numpy(found).permute(0, 3, 1, 2).to(earlier.device)
    scale = torch.tensor([size[1] / flow.shape[3], size[0] / flow.shape[2]], device=flow.device)
    return F.adaptive_avg_pool2d(flow, size) * scale.view(1, 2, 1, 1)


@cache
def _search() -> Any:
    opencv: Any = cv2  # whose stubs leave it out
    search = opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)  # people are small here
    return search


def _convolution(inputs: int, outputs: int, size: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2), nn.LeakyReLU(SLOPE)
    )


def _enlarging(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE))


def _flow(inputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, 2, 3, padding=1)


def _like(large: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Without the row or column that doubling has too many where a side was odd."""
    return large[:, :, : maps.shape[2], : maps.shape[3]]


def _twice(flow: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    return _like(flow.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), maps)
