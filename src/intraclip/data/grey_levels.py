"""Grey levels and floats: a table of 256 values, on threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

Channels = tuple[float, float, float]


Array = npt.NDArray[Any]


def empty_channels_last(
    shape: tuple[int, ...] | torch.Size, *, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """New ``[..., 3, H, W]`` whose memory is ``[..., H, W, 3]``; its values are whatever was there."""
    *lead, channels, height, width = shape
    return torch.empty((*lead, height, width, channels), dtype=dtype, device=device).movedim(-1, -3)


def grey_levels(mean: Channels, std: Channels, dtype: torch.dtype) -> Array:
    """Normalised value of every grey level, ``[1, 256, 3]``, or ``[1, 256]`` (twice as fast) if channels agree.

    16-bit floats are held as integers of the same bits: NumPy and OpenCV copy them without knowing bfloat16.
    """
    levels = torch.arange(256, dtype=torch.float32)[:, None]
    values = (levels - torch.tensor(mean) * 255) / (torch.tensor(std) * 255)
    table = as_integers(values.to(dtype)[None])
    return table if len(set(zip(mean, std, strict=True))) > 1 else np.ascontiguousarray(table[..., 0])


def as_integers(values: torch.Tensor) -> Array:
    """The same memory as a NumPy array; 16-bit floats as integers. 0 stays 0."""
    return values.view(torch.int16).numpy() if values.element_size() == 2 else values.numpy()


def interleaved(image: Array, scratch: Array) -> Array:
    """A frame ``[H, W, 3]`` whose pixels lie one after another: itself, or copied into `scratch`."""
    if image.strides[1:] == (3, 1):
        return image
    return cv2.merge([image[..., channel] for channel in range(3)], dst=scratch)


def share_between_threads(work: Callable[[Iterator[int]], None], count: int) -> None:
    """Call `work` on as many threads as torch uses; the numbers below `count` are shared between the calls."""
    waiting = deque(range(count))

    def numbers() -> Iterator[int]:
        while True:
            try:
                yield waiting.popleft()
            except IndexError:
                return

    workers = min(torch.get_num_threads(), count)
    if workers <= 1:
        work(numbers())
        return
    # Starting two threads takes 0.1 ms. Threads kept between calls would not survive the fork of a loader's workers.
    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(work, numbers()) for _ in range(workers)]:
            future.result()
