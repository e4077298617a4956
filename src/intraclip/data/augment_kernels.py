"""How a draw reaches the pixels on the CPU; on accelerators it is `intraclip.data.augment_device`.

Both take *units*: runs of frames that share a draw, ``[N, F, 3, H, W]``; N is B with F = T when synchronous, B x T
with F = 1 when asynchronous. Both write into ``out``, whose memory is channels-last (`empty_channels_last`).

`augment_threaded` takes frame by frame through crop-and-resize, flip and rotation in grey levels, and turns
grey levels into normalised floats by a table of 256 values. A frame stays in a core's cache from its first to its last
operation, and pays only for what was drawn for it. OpenCV does the work outside Python's global lock, so threads share
the units. No arithmetic crosses a frame: the bytes of the result do not depend on the number of threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

Channels = tuple[float, float, float]
Array = npt.NDArray[Any]


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


def empty_channels_last(
    shape: tuple[int, ...] | torch.Size, *, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """New ``[..., 3, H, W]`` whose memory is ``[..., H, W, 3]``; its values are whatever was there."""
    *lead, channels, height, width = shape
    return torch.empty((*lead, height, width, channels), dtype=dtype, device=device).movedim(-1, -3)


def augment_units(
    frames: torch.Tensor, drawn: Draws, *, mean: Channels, std: Channels, out: torch.Tensor
) -> None:
    """Augment units on the device where they are."""
    kernel = augment_threaded
    if frames.device.type != "cpu":
        from intraclip.data.augment_device import augment_vectorised

        kernel = augment_vectorised
    kernel(frames, drawn, mean=mean, std=std, out=out)


def augment_threaded(
    frames: torch.Tensor, drawn: Draws, *, mean: Channels, std: Channels, out: torch.Tensor
) -> None:
    """Augment units on the CPU, on as many threads as torch uses (`torch.get_num_threads`).

    Channels-last memory of `frames` is read in place; other layouts cost a copy of each frame, made on the way.
    """
    units, _, _, height, width = frames.shape
    table = _grey_levels(mean, std, out.dtype)
    source: Array = frames.movedim(-3, -1).numpy()
    target = _as_integers(out.movedim(-3, -1))
    draws = list(zip(*(part.tolist() for part in drawn), strict=True))

    waiting = iter(range(units))  # shared: a thread takes the next unit when it is through with one

    def work() -> None:
        scratch = np.empty((2, height, width, 3), dtype=np.uint8)
        for unit in waiting:
            box, (top, left, box_height, box_width), flipped, degrees = draws[unit]
            for image, result in zip(source[unit], target[unit], strict=True):
                moved = _move(image, box, flipped=flipped, degrees=degrees, scratch=scratch)
                cv2.LUT(moved, table, dst=result)
                if box_height:
                    result[top : top + box_height, left : left + box_width] = 0

    threads = min(torch.get_num_threads(), units)
    if threads <= 1:
        work()
        return
    # Starting two threads takes 0.1 ms. Threads kept between calls would not survive the fork of a loader's workers.
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()


def _move(image: Array, box: list[int], *, flipped: bool, degrees: float, scratch: Array) -> Array:
    """Crop, flip and rotate one uint8 frame ``[H, W, 3]``; the result is `image` itself or lies in `scratch`."""
    height, width, _ = image.shape
    here, there = scratch
    image, here, there = _interleaved(image, here), there, here
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


def _grey_levels(mean: Channels, std: Channels, dtype: torch.dtype) -> Array:
    """Normalised value of every grey level, ``[1, 256, 3]``, or ``[1, 256]`` (twice as fast) if channels agree.

    16-bit floats are held as integers of the same bits: NumPy and OpenCV copy them without knowing bfloat16.
    """
    levels = torch.arange(256, dtype=torch.float32)[:, None]
    values = (levels - torch.tensor(mean) * 255) / (torch.tensor(std) * 255)
    table = _as_integers(values.to(dtype)[None])
    return table if len(set(zip(mean, std, strict=True))) > 1 else np.ascontiguousarray(table[..., 0])


def _as_integers(values: torch.Tensor) -> Array:
    """The same memory as a NumPy array; 16-bit floats as integers. 0 stays 0."""
    return values.view(torch.int16).numpy() if values.element_size() == 2 else values.numpy()


def _interleaved(image: Array, scratch: Array) -> Array:
    """A frame ``[H, W, 3]`` whose pixels lie one after another: itself, or copied into `scratch`."""
    if image.strides[1:] == (3, 1):
        return image
    return cv2.merge([image[..., channel] for channel in range(3)], dst=scratch)
