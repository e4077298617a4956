"""One clip, untouched and augmented in both ways (paper, section 2.1, equations 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from intraclip.config import AugmentConfig, InputConfig
from intraclip.data.augment import AugmentParameters, apply, draw
from intraclip.report.strips import Picture


@dataclass(frozen=True, kw_only=True)
class AugmentedClip:
    """A clip as the network would see it.

    Attributes:
        parameters: the draw, for a batch of one clip.
    """

    frames: Picture
    parameters: AugmentParameters


def visible(config: AugmentConfig) -> AugmentConfig:
    """The same augmentation with every operation it uses likely enough to be seen in a few clips.

    Operations that the config leaves out stay out. Flips keep a chance of one half, else nobody could tell that
    frames are flipped apart from each other.
    """

    def raised(probability: float, to: float) -> float:
        return to if probability > 0 else 0.0

    return replace(
        config,
        crop_probability=raised(config.crop_probability, 1.0),
        flip_probability=raised(config.flip_probability, 0.5),
        rotate_probability=raised(config.rotate_probability, 1.0),
        erase_probability=raised(config.erase_probability, 1.0),
    )


def augmented_clip(
    frames: Picture, config: AugmentConfig, *, input_config: InputConfig, generator: torch.Generator
) -> AugmentedClip:
    """Draw once, apply, and turn the network's input back into a picture.

    Frames are uint8 ``[T, H, W, 3]``.
    """
    count, height, width, _ = frames.shape
    parameters = draw(config, clips=1, frames=count, height=height, width=width, generator=generator)
    batch = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).unsqueeze(0)
    seen = apply(batch, parameters, mean=input_config.mean, std=input_config.std)[0]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (input_config.mean, input_config.std))
    shown = ((seen * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return AugmentedClip(frames=shown.permute(0, 2, 3, 1).numpy(), parameters=parameters)


def describe_draw(parameters: AugmentParameters, unit: int, *, height: int, width: int) -> list[str]:
    """One draw in words, one short line an operation; "unchanged" when there is none.

    `unit` is 0 for a synchronous draw, the frame number for an asynchronous one.
    """
    top, left, box_height, box_width = parameters.crop[0, unit].tolist()
    lines = []
    if (box_height, box_width) != (height, width):
        lines.append(f"crop {box_height}×{box_width} at {top}, {left}")
    if bool(parameters.flip[0, unit]):
        lines.append("flip")
    angle = float(parameters.angle[0, unit])
    if angle:
        lines.append(f"rotate {angle:+.1f}°")
    top, left, box_height, box_width = parameters.erase[0, unit].tolist()
    if box_height and box_width:
        lines.append(f"erase {box_height}×{box_width} at {top}, {left}")
    return lines or ["unchanged"]
