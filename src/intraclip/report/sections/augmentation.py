"""The same training clips untouched, augmented frame by frame, and as one (paper, section 2.1, equations 1 and 2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from intraclip.config import AugmentConfig, InputConfig, Recipe
from intraclip.data.augment import AugmentParameters, apply, draw
from intraclip.data.clips import training_clip
from intraclip.report import strips
from intraclip.report.html import Shown
from intraclip.report.sections.tiles import describe, different_people, picture_tile, short_clip
from intraclip.types import Split

AUGMENTED_CLIPS = 3


def augmented(split: Split, recipe: Recipe, *, seed: int) -> Shown:
    """The same training clips untouched, augmented frame by frame, and augmented as one."""
    config = visible(recipe.augment)
    height, width = recipe.input.height, recipe.input.width
    rng = np.random.default_rng([seed, 14])
    clips = []
    for number, tracklet in enumerate(different_people(split, AUGMENTED_CLIPS, rng)):
        clip = training_clip(len(tracklet), short_clip(recipe.clip), rng)
        frames = strips.load_frames(tracklet, clip.indices.tolist(), height=height, width=width)
        rows = [
            {
                "mode": "Untouched",
                "tiles": tuple(
                    picture_tile(frame, alt=f"Frame {index + 1} of {tracklet.name}, untouched.")
                    for index, frame in zip(clip.indices.tolist(), frames, strict=True)
                ),
                "caption": "",
            }
        ]
        for mode, title in (
            ("asynchronous", "Asynchronous: one draw a frame"),
            ("synchronous", "Synchronous: one draw a clip"),
        ):
            # Both modes start from the same seed: the first draw is the same kind of dice, thrown T times or once.
            generator = torch.Generator().manual_seed(1000 * seed + number)
            seen, parameters = augmented_clip(
                frames,
                replace(config, mode=mode),  # type: ignore[arg-type]
                input_config=recipe.input,
                generator=generator,
            )
            units = parameters.flip.shape[1]
            drawn = [describe_draw(parameters, unit, height=height, width=width) for unit in range(units)]
            rows.append(
                {
                    "mode": title,
                    "tiles": tuple(
                        picture_tile(
                            frame,
                            alt=f"Frame {t + 1} of the clip, {mode} augmentation: {', '.join(drawn[t % units])}.",
                            caption=tuple(map(_kept_together, drawn[t])) if units > 1 else (),
                        )
                        for t, frame in enumerate(seen)
                    ),
                    "caption": f"all frames: {', '.join(drawn[0])}" if units == 1 else "",
                }
            )
        clips.append((f"{tracklet.name} ({describe(tracklet)})", tuple(rows)))
    chances = {
        "crop": config.crop_probability,
        "flip": config.flip_probability,
        "rotation": config.rotate_probability,
        "erasing": config.erase_probability,
    }
    return {
        "chances": ", ".join(f"{name} {100 * chance:.0f} %" for name, chance in chances.items() if chance),
        "clips": tuple(clips),
    }


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
    frames: strips.Picture, config: AugmentConfig, *, input_config: InputConfig, generator: torch.Generator
) -> tuple[strips.Picture, AugmentParameters]:
    """Draw once, apply, and turn the network's input back into a picture.

    Frames are uint8 ``[T, H, W, 3]``; the parameters are those of a batch of one clip.
    """
    count, height, width, _ = frames.shape
    parameters = draw(config, clips=1, frames=count, height=height, width=width, generator=generator)
    batch = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).unsqueeze(0)
    seen = apply(batch, parameters, mean=input_config.mean, std=input_config.std)[0]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (input_config.mean, input_config.std))
    shown = ((seen * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return shown.permute(0, 2, 3, 1).numpy(), parameters


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


def _kept_together(line: str) -> str:
    """Keep a place on one line: captions are as narrow as a frame."""
    return line.replace("at ", "at\u00a0").replace(", ", ",\u00a0")
