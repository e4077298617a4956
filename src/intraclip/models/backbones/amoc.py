"""Two-stream backbone of accumulative motion context (Liu et al., IEEE TCSVT 2018, arXiv 1701.00193)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from intraclip.models.backbones.motion import MotionNetwork, flow_loss, searched_flow
from intraclip.models.backbones.settings import AMOCBodySettings
from intraclip.models.clip_network import ClipNetwork, Run
from intraclip.models.network import Stage


class AMOCBody(ClipNetwork):
    """Appearance from frames, motion from a network that learns optical flow, joined at the second max-pooling.

    Spatial stream: frames at half size, 5 x 5 convolution to 16 with tanh and 2 x 2 max-pooling, then the same to 32.
    Motion stream: `MotionNetwork` predicts the flow from the frame before to this one (from a clip's first frame to
    itself), at half of the frame; two such convolutions of its own read it. The two are joined, and a third convolution
    to 32 with tanh and max-pooling follows. The head ``amoc_rnn`` accumulates what comes out.

    Own loss, in training: smooth L1 between the three predictions and the flow that dense inverse search finds between
    the frames, in place of the authors' EpicFlow. They train the motion network on it first and then all of it end to
    end; docs/heads.md has the two commands.

    Source: public notes on the paper for the two streams, the input sizes (flow from 128 x 64, appearance at 64 x 32),
    the loss, and the place and way of joining; the convolutions are those of the network that it builds on (McLaughlin
    et al., CVPR 2016, authors' code). **Not known**: whether the original changed their widths.
    """

    Settings = AMOCBodySettings
    same_weights = ("flow_weight",)
    min_size = 16
    own_loss = True

    def __init__(self, settings: AMOCBodySettings) -> None:
        super().__init__()
        width = settings.width
        a, b = (max(4, round(width * size)) for size in (16, 32))
        self.flow_weight = settings.flow_weight
        self.motion = MotionNetwork(width=width)
        self.spatial1, self.spatial2 = _reading(3, a), _reading(a, b)
        self.temporal1, self.temporal2 = _reading(2, a), _reading(a, b)
        self.join = _reading(2 * b, b)
        self.num_features = b

    def stages(self) -> list[Stage]:
        """One: the streams run side by side."""
        return [tuple(self.children())]

    def runs(self) -> list[Run]:
        """See `ClipNetwork.runs`."""
        return [lambda frames, mask: self._maps(frames, self.motion(_pairs(frames, mask))[0])]

    def learn(self, frames: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """See `ClipNetwork.learn`: maps, and the weighted loss on flow."""
        if self.flow_weight == 0:
            return self(frames, mask), None
        flat = frames.flatten(0, 1)
        pairs = _pairs(flat, mask)
        flows = self.motion(pairs)
        size = (flows[0].shape[2], flows[0].shape[3])
        # The first frame of a clip is paired with itself, which teaches nothing.
        first = torch.arange(mask.shape[1], device=mask.device) == 0
        valid = (mask & ~first).flatten()
        loss = flow_loss(flows, searched_flow(pairs[:, :3], pairs[:, 3:], size), valid)
        return self._maps(flat, flows[0]), self.flow_weight * loss

    def _maps(self, frames: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        small = F.adaptive_avg_pool2d(frames, (flow.shape[2], flow.shape[3]))
        streams = [self.spatial2(self.spatial1(small)), self.temporal2(self.temporal1(flow))]
        maps: torch.Tensor = self.join(torch.cat(streams, dim=1))
        return maps


def _reading(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 5, padding=2), nn.Tanh(), nn.MaxPool2d(2))


def _pairs(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Each frame behind the one before it: ``[B T, 3, H, W]`` -> ``[B T, 6, H, W]``."""
    clips = frames.reshape(*mask.shape, *frames.shape[1:])
    before = torch.cat([clips[:, :1], clips], dim=1)[:, :-1]
    return torch.cat([before, clips], dim=2).flatten(0, 1)
