"""The same training clips untouched, augmented frame by frame, and augmented as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from intraclip.config import Recipe
from intraclip.data.clips import training_clip
from intraclip.report import strips
from intraclip.report.augmented import augmented_clip, describe_draw, visible
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
            seen = augmented_clip(
                frames,
                replace(config, mode=mode),  # type: ignore[arg-type]
                input_config=recipe.input,
                generator=generator,
            )
            units = seen.parameters.flip.shape[1]
            drawn = [
                describe_draw(seen.parameters, unit, height=height, width=width) for unit in range(units)
            ]
            rows.append(
                {
                    "mode": title,
                    "tiles": tuple(
                        picture_tile(
                            frame,
                            alt=f"Frame {t + 1} of the clip, {mode} augmentation: {', '.join(drawn[t % units])}.",
                            caption=tuple(map(_kept_together, drawn[t])) if units > 1 else (),
                        )
                        for t, frame in enumerate(seen.frames)
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


def _kept_together(line: str) -> str:
    """Keep a place on one line: captions are as narrow as a frame."""
    return line.replace("at ", "at\u00a0").replace(", ", ",\u00a0")
