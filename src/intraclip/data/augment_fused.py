"""Augmentation on a CUDA device in one pass over the memory, by a Triton kernel.

Apart from rotation, a pixel of the result is a weighted mean of four pixels of the frame, so crop, resize, flip,
normalisation and erasing need one reading of the uint8 frames and one writing of the floats: little more than a copy.
As separate tensor operations (`intraclip.data.augment_device.augment_vectorised`) the floats cross it seven times.

Triton comes with torch's CUDA builds for Linux. This module is imported only where it is there.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

ROWS, BLOCK, WARPS = 4, 512, 4
"""Rows of a frame and values of a row that one program makes, and its warps; the fastest of the shapes that
`benchmarks/gpu.py` tries: on an H100, 0.053 ms for 32 x 4 frames of 256 x 128, half the time of (16, 128, 8)."""


@triton.jit  # type: ignore[untyped-decorator]
def _augment(  # type: ignore[no-untyped-def]
    frames,
    draw,
    scale,
    offset,
    out,
    length,
    height,
    from_unit,
    from_frame,
    from_channel,
    from_row,
    from_column,
    WIDTH: tl.constexpr,
    VALUES: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    image = tl.program_id(0)
    unit = image // length
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    # Of a row of the result: pixel after pixel, and each of them channel after channel.
    value = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    column, channel = value // 3, value % 3
    wanted = (row < height)[:, None] & (value < VALUES)[None, :]

    drawn = draw + unit * 10
    top, left = tl.load(drawn), tl.load(drawn + 1)
    kept_height, kept_width = tl.load(drawn + 2), tl.load(drawn + 3)
    flipped = tl.load(drawn + 8)
    # Where each pixel comes from: see `augment_device._box_positions`.
    x = tl.where(flipped > 0, WIDTH - 1 - column, column)
    x = (x + 0.5) * (kept_width / WIDTH) - 0.5
    x = tl.minimum(tl.maximum(x, 0.0), kept_width - 1) + left
    y = (row + 0.5) * (kept_height / height) - 0.5
    y = tl.minimum(tl.maximum(y, 0.0), kept_height - 1) + top
    x0, y0 = x.to(tl.int32), y.to(tl.int32)
    x1, y1 = tl.minimum(x0 + 1, WIDTH - 1), tl.minimum(y0 + 1, height - 1)
    right, below = (x - x0)[None, :], (y - y0)[:, None]

    start = frames + unit.to(tl.int64) * from_unit + (image % length).to(tl.int64) * from_frame
    if (kept_width != WIDTH) | (kept_height != height) | (flipped > 0):
        west = (x0 * from_column + channel * from_channel)[None, :]
        east = (x1 * from_column + channel * from_channel)[None, :]
        north, south = (y0 * from_row)[:, None], (y1 * from_row)[:, None]
        north_west = tl.load(start + north + west, mask=wanted, other=0).to(tl.float32)
        north_east = tl.load(start + north + east, mask=wanted, other=0).to(tl.float32)
        south_west = tl.load(start + south + west, mask=wanted, other=0).to(tl.float32)
        south_east = tl.load(start + south + east, mask=wanted, other=0).to(tl.float32)
        upper = north_west + (north_east - north_west) * right
        lower = south_west + (south_east - south_west) * right
        grey = upper + (lower - upper) * below
    else:
        # By number, not by x and y: a GPU divides with an error, 33 / 33 may be just below 1, and rounding down what
        # comes of it would give the neighbour. Between two pixels such an error does not show.
        here = (row * from_row)[:, None] + (column * from_column + channel * from_channel)[None, :]
        grey = tl.load(start + here, mask=wanted, other=0).to(tl.float32)
    normal = grey * tl.load(scale + channel)[None, :] + tl.load(offset + channel)[None, :]

    box_top, box_left = tl.load(drawn + 4), tl.load(drawn + 5)
    in_rows = (row >= box_top) & (row < box_top + tl.load(drawn + 6))
    in_columns = (column >= box_left) & (column < box_left + tl.load(drawn + 7))
    normal = tl.where(in_rows[:, None] & in_columns[None, :], 0.0, normal)
    target = out + image.to(tl.int64) * height * VALUES + row[:, None] * VALUES + value[None, :]
    tl.store(target, normal.to(out.dtype.element_ty), mask=wanted)


def augment_fused(
    frames: torch.Tensor, draw: torch.Tensor, *, scale: torch.Tensor, offset: torch.Tensor, out: torch.Tensor
) -> None:
    """Crop, resize, flip, normalise and erase units on their device; no rotation.

    Args:
        frames: uint8 ``[N, F, 3, H, W]``, any layout.
        draw: float32 ``[N, 10]``: crop (top, left, height, width), erased box (likewise), flip, and an angle that is
            not looked at.
        scale: float32 ``[3, 1, 1]``; ``grey * scale + offset`` is normalised.
        offset: likewise.
        out: float32, float16 or bfloat16 ``[N, F, 3, H, W]``, channels-last memory; overwritten.
    """
    units, length, _, height, width = frames.shape
    from_unit, from_frame, from_channel, from_row, from_column = frames.stride()
    _augment[units * length, triton.cdiv(height, ROWS), triton.cdiv(3 * width, BLOCK)](
        frames,
        draw,
        scale,
        offset,
        out,
        length,
        height,
        from_unit,
        from_frame,
        from_channel,
        from_row,
        from_column,
        WIDTH=width,
        VALUES=3 * width,
        BLOCK=BLOCK,
        ROWS=ROWS,
        num_warps=WARPS,
    )
