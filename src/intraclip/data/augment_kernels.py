"""How a draw reaches the pixels on the CPU; on accelerators it is `intraclip.data.augment_device`.

Both take *units*: runs of frames that share a draw, ``[N, F, 3, H, W]``; N is B with F = T when synchronous, B x T
with F = 1 when asynchronous. Both write into ``out``, whose memory is channels-last.

`augment_threaded` takes frame by frame through crop-and-resize, flip and rotation in grey levels, and turns
grey levels into normalised floats by a table of 256 values. A frame stays in a core's cache from its first to its last
operation, the batch crosses the memory once, and a frame pays only for what was drawn for it. OpenCV does the work
outside Python's global lock, so threads share the units. No arithmetic crosses a frame: the bytes of the result do
not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch

from intraclip.data.grey_levels import (
    Array,
    Channels,
    as_integers,
    grey_levels,
    interleaved,
    share_between_threads,
)


class Draws(NamedTuple):
    """What was drawn for N units, on the CPU.

    Attributes:
        crop: int64 ``[N, 4]``: top, left, height, width of the kept box.
        erase: int64 ``[N, 4]``: likewise of the erased one.
        flip: bool ``[N]``.
        angle: float ``[N]``, counter-clockwise degrees.
    """

    crop: torch.Tensor
    erase: torch.Tensor
    flip: torch.Tensor
    angle: torch.Tensor


def augment_threaded(
    frames: torch.Tensor, drawn: Draws, *, mean: Channels, std: Channels, out: torch.Tensor
) -> None:
    """Augment units on the CPU, on as many threads as torch uses (`torch.get_num_threads`).

    Channels-last memory of `frames` is read in place; other layouts cost a copy of each frame, made on the way.
    """
    units, _, _, height, width = frames.shape
    table = grey_levels(mean, std, out.dtype)
    source: Array = frames.movedim(-3, -1).numpy()
    target = as_integers(out.movedim(-3, -1))
    draws = list(zip(*(part.tolist() for part in drawn), strict=True))

    def work(numbers: Iterator[int]) -> None:
        scratch = np.empty((2, height, width, 3), dtype=np.uint8)
        for unit in numbers:
            box, (top, left, box_height, box_width), flipped, degrees = draws[unit]
            for image, result in zip(source[unit], target[unit], strict=True):
                moved = _move(image, box, flipped=flipped, degrees=degrees, scratch=scratch)
                cv2.LUT(moved, table, dst=result)
                if box_height:
                    result[top : top + box_height, left : left + box_width] = 0

    share_between_threads(work, units)


def _move(image: Array, box: list[int], *, flipped: bool, degrees: float, scratch: Array) -> Array:
    """Crop, flip and rotate one uint8 frame ``[H, W, 3]``; the result is `image` itself or lies in `scratch`."""
    height, width, _ = image.shape
    here, there = scratch
    image, here, there = interleaved(image, here), there, here
    if box != [0, 0, height, width]:
        top, left, box_height, box_width = box
        kept = image[top : top + box_height, left : left + box_width]
        image = cv2.resize(kept, (width, height), dst=here, interpolation=cv2.INTER_LINEAR)
        here, there = there, here
    if flipped:
        image = cv2.flip(image, 1, dst=here)
        here, there = there, here
    if degrees:
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
        image = cv2.warpAffine(image, matrix, (width, height), dst=here, flags=cv2.INTER_LINEAR)
    return image
