"""From grey levels to the floats of a network: on the CPU by a table of 256 values, on threads.

Frames are fastest with channels-last memory, a permuted view of ``[..., H, W, 3]``; any layout works.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from intraclip.data.grey_levels import (
    Array,
    Channels,
    as_integers,
    empty_channels_last,
    grey_levels,
    interleaved,
    share_between_threads,
)


def normalise(frames: torch.Tensor, *, mean: Channels, std: Channels) -> torch.Tensor:
    """Scale uint8 frames ``[..., 3, H, W]`` to 0..1, subtract the mean, divide by the deviation.

    With mean and deviation of 0.5 the result lies in [-1, 1] (paper, section 3.2).

    Args:
        frames: uint8, on any device.
        mean: of red, green and blue in 0..1.
        std: likewise.

    Returns:
        float32 of the frames' shape with channels-last memory.
    """
    frames = torch.as_tensor(frames)
    if frames.ndim < 3 or frames.shape[-3] != 3 or frames.dtype != torch.uint8:
        raise ValueError(
            f"normalisation wants uint8 [..., 3, H, W], got {frames.dtype} {tuple(frames.shape)}"
        )
    out = empty_channels_last(frames.shape, dtype=torch.float32, device=frames.device)
    height, width = frames.shape[-2:]
    images, results = frames.reshape(-1, 3, height, width), out.view(-1, 3, height, width)
    if not len(images):
        return out
    if frames.device.type != "cpu":
        from intraclip.data.augment_device import augment_vectorised
        from intraclip.data.augment_kernels import Draws

        none = torch.zeros(len(images), 1)
        crop = torch.tensor([0, 0, height, width]).expand(len(images), 4)
        unchanged = Draws(crop, erase=none.expand(-1, 4), flip=none[:, 0], angle=none[:, 0])
        augment_vectorised(images[:, None], unchanged, mean=mean, std=std, out=results[:, None])
        return out
    table = grey_levels(mean, std, out.dtype)
    source: Array = images.movedim(-3, -1).numpy()
    target = as_integers(results.movedim(-3, -1))

    def work(numbers: Iterator[int]) -> None:
        scratch = np.empty((height, width, 3), dtype=np.uint8)
        for number in numbers:
            cv2.LUT(interleaved(source[number], scratch), table, dst=target[number])

    share_between_threads(work, len(source))
    return out
