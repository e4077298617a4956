"""Synchronous Data Augmentation (paper, section 2.1): draw parameters once a clip, apply them to every frame.

Drawing and applying are apart, so that one draw can be looked at, replayed on other frames, or tested::

    parameters = draw(config, clips=32, frames=4, height=256, width=128, generator=generator)
    batch = apply(frames, parameters, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

The synchronous mode (equation 2) and the asynchronous one (equation 1) are the same code: the synchronous mode
draws one column of parameters a clip, the asynchronous one draws T. Parameters therefore have shape ``[B, U]``
with ``U = 1`` or ``U = T``.

Order of operations: crop, flip, rotate, normalise, erase. What is erased is 0 *after* normalisation.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from intraclip.config import AugmentConfig

ERASE_ATTEMPTS = 10
"""Rectangles drawn until one fits into the frame; torchvision's number. If none fits, nothing is erased."""


@dataclass(frozen=True, kw_only=True)
class AugmentParameters:
    """One draw for a batch: everything that `apply` needs.

    Every tensor is ``[B, U, ...]`` with ``U = 1`` (all frames of a clip share it) or ``U = T``.

    Attributes:
        crop: int64 ``[B, U, 4]``: top, left, height, width of the kept box in pixels; the whole frame where
            the operation is left out.
        flip: bool ``[B, U]``.
        angle: float ``[B, U]``, counter-clockwise degrees; 0 where left out.
        erase: int64 ``[B, U, 4]``: top, left, height, width of the erased box in pixels; height 0 where left out.
    """

    crop: torch.Tensor
    flip: torch.Tensor
    angle: torch.Tensor
    erase: torch.Tensor

    def __post_init__(self) -> None:
        shapes = {f.name: tuple(getattr(self, f.name).shape) for f in fields(self)}
        lead = shapes["flip"]
        if len(lead) != 2 or shapes != {"crop": (*lead, 4), "flip": lead, "angle": lead, "erase": (*lead, 4)}:
            raise ValueError(f"parameters want [B, U] with boxes [B, U, 4], got {shapes}")

    @property
    def synchronous(self) -> bool:
        """Whether every clip has one draw for all of its frames."""
        return self.flip.shape[1] == 1

    def clip(self, index: int) -> AugmentParameters:
        """The draw of one clip, as a batch of one: to replay or to print."""
        return AugmentParameters(
            crop=self.crop[index : index + 1],
            flip=self.flip[index : index + 1],
            angle=self.angle[index : index + 1],
            erase=self.erase[index : index + 1],
        )


def draw(
    config: AugmentConfig, *, clips: int, frames: int, height: int, width: int, generator: torch.Generator
) -> AugmentParameters:
    """Draw the augmentation of a batch.

    Each operation has a coin of its own, so a clip may be left wholly unchanged (paper, section 2.1).

    Args:
        config: mode, probabilities and ranges.
        clips: B.
        frames: T.
        height: frame height in pixels.
        width: frame width in pixels.
        generator: source of the draw, on the CPU.

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

    scale = uniform(*config.crop_scale)
    cropped = coin(config.crop_probability)
    crop_height = torch.where(cropped, (scale * height).round().clamp(1, height), height).to(torch.int64)
    crop_width = torch.where(cropped, (scale * width).round().clamp(1, width), width).to(torch.int64)
    crop = torch.stack(
        [place(crop_height, height), place(crop_width, width), crop_height, crop_width], dim=-1
    )

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
    erase = torch.stack(
        [place(erase_height, height), place(erase_width, width), erase_height, erase_width], dim=-1
    )

    return AugmentParameters(crop=crop, flip=flip, angle=angle, erase=erase)


def normalise(
    frames: torch.Tensor, *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> torch.Tensor:
    """Scale uint8 frames ``[..., 3, H, W]`` to 0..1, subtract the mean, divide by the deviation.

    With mean and deviation of 0.5 the result lies in [-1, 1] (paper, section 3.2).
    """
    offset = torch.tensor(mean, device=frames.device).view(3, 1, 1) * 255
    scale = torch.tensor(std, device=frames.device).view(3, 1, 1) * 255
    return (frames.to(torch.float32) - offset) / scale


def apply(
    frames: torch.Tensor,
    parameters: AugmentParameters,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> torch.Tensor:
    """Apply one draw to a batch of clips and normalise it.

    Args:
        frames: uint8 ``[B, T, 3, H, W]``.
        parameters: drawn for the same B, and for the same T if asynchronous. A synchronous draw can be
            replayed on clips of any length.
        mean: see `normalise`.
        std: see `normalise`.

    Returns:
        float32 ``[B, T, 3, H, W]``, new memory.

    Raises:
        ValueError: the shapes do not belong together.
    """
    if frames.ndim != 5 or frames.dtype != torch.uint8:
        raise ValueError(
            f"augmentation wants uint8 [B, T, 3, H, W], got {frames.dtype} {tuple(frames.shape)}"
        )
    clips, length, _, height, width = frames.shape
    drawn_clips, units = parameters.flip.shape
    if drawn_clips != clips or units not in (1, length):
        raise ValueError(
            f"parameters drawn for {drawn_clips} clips with {units} draws each do not fit frames {tuple(frames.shape)}"
        )
    # One unit is a run of frames that share a draw: the clip when synchronous, else the single frame.
    unit_frames = frames.reshape(clips * units, length // units, *frames.shape[2:])
    crops = parameters.crop.reshape(-1, 4).tolist()
    flips = parameters.flip.reshape(-1).tolist()
    angles = parameters.angle.reshape(-1).tolist()
    erases = parameters.erase.reshape(-1, 4).tolist()

    moved = unit_frames.clone()
    for unit, (crop, flip, angle) in enumerate(zip(crops, flips, angles, strict=True)):
        image = unit_frames[unit]
        if crop != [0, 0, height, width]:
            image = F.resized_crop(image, *crop, size=[height, width], antialias=True)
        if flip:
            image = F.horizontal_flip(image)
        if angle:
            image = F.rotate(image, angle, interpolation=InterpolationMode.BILINEAR)
        moved[unit] = image

    result = normalise(moved, mean=mean, std=std)
    for unit, (top, left, box_height, box_width) in enumerate(erases):
        result[unit, ..., top : top + box_height, left : left + box_width] = 0.0
    return result.reshape(frames.shape)


def lift(
    transform: Callable[[torch.Tensor], torch.Tensor], *, synchronous: bool = True
) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
    """Make a clip transform of any image transform.

    Works for every transform that draws from the global random state of Python, NumPy or torch, such as those of
    torchvision: its draw is replayed for each frame. Frames of the result may have any shape, the same for all.

    Args:
        transform: takes and returns one image, ``[C, H, W]`` as a rule.
        synchronous: one draw for all frames (SDA), or one for each.

    Returns:
        A function of a clip ``[T, C, H, W]`` and a generator; the global random states are left as they were.
    """

    def lifted(clip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seeds = torch.randint(0, 2**31, (1 if synchronous else len(clip),), generator=generator).tolist()
        images = []
        for t, image in enumerate(clip):
            with _global_seed(seeds[t % len(seeds)]):
                images.append(transform(image))
        return torch.stack(images)

    return lifted


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002  a guest transform may use it
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
