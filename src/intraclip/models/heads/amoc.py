"""Accumulative motion context (Liu et al., IEEE TCSVT 2018, arXiv 1701.00193), approximated on feature maps."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import Head, HeadOutput, masked_mean
from intraclip.models.heads.sequence import accumulate, pack_maps


class AMOC(Head):
    """Appearance and motion of each frame, fused and accumulated by a recurrent network.

    **An approximation.** The original has a second network that predicts optical flow from pixels, trained on flow
    first, and joins it with the appearance network at the second max-pooling. Here motion is the difference of
    the feature maps of neighbouring frames, ``x_t - x_(t-1)``, with 0 for the first frame.

    Appearance: 1 x 1 convolution F -> 256; motion: 3 x 3 convolution F -> 256; both BN and ReLU; joined, 3 x 3
    convolution 512 -> 256, BN, ReLU; mean over space; ``o_t = W c_t + U tanh(o_(t-1))``; the embedding is the mean
    of o, D = 128. Streams and embedding have at most F features.

    Source: text (two streams, joined by concatenation, recurrence without gates, mean over time); sizes and the form
    of the recurrence from memory. Left out: the flow network and its loss on flow, the Siamese loss (the recipe's
    triplet takes its place), 16 frames a clip. No auxiliary loss. Reads maps in the order of their frames; any T.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.embedding_size = min(128, num_features)
        stream = min(256, num_features)
        self.appearance = _convolution(num_features, stream, 1)
        self.motion = _convolution(num_features, stream, 3)
        self.fuse = _convolution(2 * stream, stream, 3)
        self.read = nn.Linear(stream, self.embedding_size)
        self.recall = nn.Linear(self.embedding_size, self.embedding_size, bias=False)

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`."""
        maps, mask = pack_maps(maps, mask)
        before = torch.cat([maps[:, :1], maps], dim=1)[:, :-1]
        streams = [self.appearance(maps.flatten(0, 1)), self.motion((maps - before).flatten(0, 1))]
        context = self.fuse(torch.cat(streams, dim=1)).mean(dim=(2, 3)).unflatten(0, mask.shape)
        read = self.read(context)
        embedding = masked_mean(accumulate(read, self.recall), mask)
        return HeadOutput(embedding, masked_mean(maps.mean(dim=(3, 4)), mask))


def _convolution(inputs: int, outputs: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
