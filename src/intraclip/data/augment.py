"""Synchronous Data Augmentation (paper, section 2.1): draw parameters once a clip, apply them to every frame.

Drawing and applying are apart, so that one draw can be looked at, replayed on other frames, or tested::

    parameters = draw(config, clips=32, frames=4, height=256, width=128, generator=generator)
    batch = apply(frames, parameters, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

Parameters have shape ``[B, U]``: one draw a clip in the synchronous mode (equation 2, ``U = 1``), one a frame in the
asynchronous one (equation 1, ``U = T``).

Order of operations: crop, flip, rotate, colour (`intraclip.data.augment_colour`), normalise, erase. What is erased is 0
*after* normalisation.

Frames are fastest with channels-last memory, a permuted view of ``[B, T, H, W, 3]``; any layout works. How the pixels
are touched: `intraclip.data.augment_kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import increment_version

from intraclip.config import AugmentConfig
from intraclip.data.augment_kernels import Channels, Draws, augment_units, empty_channels_last

ERASE_ATTEMPTS = 10
"""Rectangles drawn until one fits into the frame; torchvision's number. If none fits, nothing is erased."""


FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types of a normalised batch."""


@dataclass(frozen=True, kw_only=True)
class AugmentParameters:
    """One draw for a batch: everything that `apply` needs.

    Attributes:
        crop: int64 ``[B, U, 4]``: top, left, height, width of the kept box in pixels; the whole frame where
            the operation is left out.
        flip: bool ``[B, U]``.
        angle: float ``[B, U]``, counter-clockwise degrees; 0 where left out.
        erase: int64 ``[B, U, 4]``: top, left, height, width of the erased box in pixels; height 0 where left out.
        colour: float32 ``[B, U, 9]``, see `intraclip.data.augment_colour`; None where no colours change.
    """

    crop: torch.Tensor
    flip: torch.Tensor
    angle: torch.Tensor
    erase: torch.Tensor
    colour: torch.Tensor | None = None

    def __post_init__(self) -> None:
        there = {f.name: getattr(self, f.name) for f in fields(self)}
        shapes = {name: tuple(found.shape) for name, found in there.items() if found is not None}
        lead = shapes["flip"]
        wanted = {"crop": (*lead, 4), "flip": lead, "angle": lead, "erase": (*lead, 4)}
        if self.colour is not None:
            wanted["colour"] = (*lead, 9)
        if len(lead) != 2 or shapes != wanted:
            raise ValueError(f"parameters want [B, U] with boxes [B, U, 4], got {shapes}")

    def by_unit(self) -> Draws:
        """The draw of B x U units, for the kernels."""
        return Draws(*(getattr(self, name).flatten(0, 1) for name in Draws._fields))

    def of_clips(self, start: int, stop: int) -> AugmentParameters:
        """The draw of the clips from `start` up to, not including, `stop`: one process's share of a batch."""
        own: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: v[start:stop] for name, v in own.items() if v is not None})


def draw(
    config: AugmentConfig, *, clips: int, frames: int, height: int, width: int, generator: torch.Generator
) -> AugmentParameters:
    """Draw the augmentation of a batch of B `clips` of T `frames` each; `generator` is on the CPU.

    Each operation has a coin of its own, so a clip may be left wholly unchanged (paper, section 2.1).

    Returns:
        Parameters with ``U = 1`` in the modes ``synchronous`` and ``none``, ``U = T`` in ``asynchronous``.
    """
    units = frames if config.mode == "asynchronous" else 1
    shape = (clips, units)

    def uniform(low: float, high: float, *extra: int) -> torch.Tensor:
        return low + (high - low) * torch.rand((*shape, *extra), generator=generator)

    def coin(probability: float) -> torch.Tensor:
        heads = torch.rand(shape, generator=generator) < probability
        return heads if config.mode != "none" else torch.zeros_like(heads)

    def place(size: torch.Tensor, limit: int) -> torch.Tensor:
        """Even draw of an offset in 0..limit - size."""
        room = (limit - size + 1).to(torch.float32)
        return (torch.rand(size.shape, generator=generator) * room).to(torch.int64).clamp_max(limit - 1)

    def placed(box_height: torch.Tensor, box_width: torch.Tensor) -> torch.Tensor:
        """Boxes somewhere in the frame: top, left, height, width."""
        return torch.stack(
            [place(box_height, height), place(box_width, width), box_height, box_width], dim=-1
        )

    scale = uniform(*config.crop_scale)
    cropped = coin(config.crop_probability)
    crop_height = torch.where(cropped, (scale * height).round().clamp(1, height), height).to(torch.int64)
    crop_width = torch.where(cropped, (scale * width).round().clamp(1, width), width).to(torch.int64)
    crop = placed(crop_height, crop_width)

    flip = coin(config.flip_probability)

    angle = uniform(-config.rotate_degrees, config.rotate_degrees)
    angle = torch.where(coin(config.rotate_probability), angle, torch.zeros(()))

    area = uniform(*config.erase_area, ERASE_ATTEMPTS) * height * width
    low, high = np.log(config.erase_aspect)
    aspect = uniform(float(low), float(high), ERASE_ATTEMPTS).exp()
    erase_height = (area * aspect).sqrt().round().to(torch.int64)
    erase_width = (area / aspect).sqrt().round().to(torch.int64)
    fits = (erase_height < height) & (erase_width < width)
    first = fits.to(torch.int64).argmax(dim=-1, keepdim=True)
    erased = coin(config.erase_probability) & fits.any(dim=-1)
    erase_height = torch.where(erased, erase_height.gather(-1, first).squeeze(-1), 0)
    erase_width = torch.where(erased, erase_width.gather(-1, first).squeeze(-1), 0)
    erase = placed(erase_height, erase_width)

    # Last: a recipe that changes no colours draws what it always drew.
    colour = None
    chances = (config.colour_probability, config.blur_probability, config.noise_probability)
    if config.mode != "none" and any(chances):
        from intraclip.data.augment_colour import draw_colour

        colour = draw_colour(config, shape, generator)
    return AugmentParameters(crop=crop, flip=flip, angle=angle, erase=erase, colour=colour)


def apply(
    frames: torch.Tensor,
    parameters: AugmentParameters,
    *,
    mean: Channels,
    std: Channels,
    out: torch.Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Apply one draw to a batch of clips and normalise it, on the device where the frames are.

    Crops are resized bilinearly, on the CPU within 1 grey level of torchvision's `resized_crop`. Rotation there takes
    positions in steps of 1/32 pixel: within 1 level and 1/32 of the largest difference between neighbours. Other
    devices interpolate in float32 and do not round; they agree with the CPU as closely as torchvision does.

    Frames that share a draw are treated alike, to the bit. On the CPU the bytes of the result depend on frames and draw
    alone, not on the number of threads, which is torch's (`torch.set_num_threads`).

    A new result of this size costs several times the conversion itself, in page faults: a loop should pass the result
    of its last call as `out` once the backward pass is through with it.

    Args:
        frames: uint8 ``[B, T, 3, H, W]``.
        parameters: drawn for the same B, H and W, and for the same T if asynchronous; on the CPU, as `draw`
            returns them, wherever the frames are. A synchronous draw can be replayed on clips of any length.
        mean: of red, green and blue in 0..1, subtracted.
        std: likewise, divides.
        out: overwritten and returned; of the frames' shape and device, floating, with channels-last memory.
        dtype: of a new result; without effect if `out` is given. float16 and bfloat16 are the float32 values, rounded:
            half the memory for a network under autocast.

    Returns:
        ``[B, T, 3, H, W]`` with channels-last memory: `out`, or new.

    Raises:
        ValueError: the shapes do not belong together, a box leaves the frame, or `out` does not fit.
    """
    frames = torch.as_tensor(frames)
    if frames.ndim != 5 or frames.shape[2] != 3 or frames.dtype != torch.uint8:
        raise ValueError(
            f"augmentation wants uint8 [B, T, 3, H, W], got {frames.dtype} {tuple(frames.shape)}"
        )
    clips, length, _, height, width = frames.shape
    drawn_clips, units = parameters.flip.shape
    if drawn_clips != clips or units not in (1, length):
        raise ValueError(
            f"parameters drawn for {drawn_clips} clips with {units} draws each do not fit frames {tuple(frames.shape)}"
        )
    _require_inside(parameters.crop, height, width, operation="crop", smallest=1)
    _require_inside(parameters.erase, height, width, operation="erase", smallest=0)
    out = _result(frames, out, dtype)
    if not frames.numel():
        return out
    # One unit is a run of frames that share a draw: the clip when synchronous, else the single frame.
    shape = (clips * units, length // units, 3, height, width)
    augment_units(frames.reshape(shape), parameters.by_unit(), mean=mean, std=std, out=out.view(shape))
    if parameters.colour is not None:
        from intraclip.data.augment_colour import change_normalised

        change_normalised(out.view(shape), parameters.colour, parameters.erase, mean=mean, std=std)
    return out


def _result(frames: torch.Tensor, out: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    """`out` if it fits the frames, or new memory; ValueError where it does not fit."""
    wanted = dtype if out is None else out.dtype
    if wanted not in FLOATS:
        raise ValueError(f"the result can be {', '.join(map(str, FLOATS))}, not {wanted}")
    if out is None:
        return empty_channels_last(frames.shape, dtype=dtype, device=frames.device)
    if out.shape != frames.shape or out.device != frames.device:
        raise ValueError(
            f"out wants shape {tuple(frames.shape)} on {frames.device}, got {tuple(out.shape)} on {out.device}"
        )
    if not out.movedim(-3, -1).is_contiguous():
        raise ValueError(
            f"out wants channels-last memory, such as the result of an earlier call; its strides are {out.stride()}"
        )
    if not out.is_inference():  # OpenCV writes behind autograd's back
        increment_version(out)
    return out


def _require_inside(boxes: torch.Tensor, height: int, width: int, *, operation: str, smallest: int) -> None:
    """Refuse boxes ``[B, U, 4]`` that leave the frame: they were drawn for frames of another size."""
    # By NumPy, whose operations on a few numbers cost a fraction of torch's: this is in every step.
    rows = boxes.numpy()
    inside = (rows >= (0, 0, smallest, smallest)) & (rows[..., :2] + rows[..., 2:] <= (height, width)).repeat(
        2, -1
    )
    if not inside.all():
        clip, unit = np.argwhere(~inside.all(axis=-1))[0].tolist()
        raise ValueError(
            f"the {operation} box {boxes[clip, unit].tolist()} (top, left, height, width) of clip {clip} leaves "
            f"frames of {height} x {width}; draw for frames of this size"
        )
