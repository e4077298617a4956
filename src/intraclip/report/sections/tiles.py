"""What the sections with pictures share: inlined strips, and which tracklets to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from intraclip.config import ClipConfig
from intraclip.core.film_strip import film_strip
from intraclip.errors import DataError
from intraclip.report import strips
from intraclip.report.html import Shown
from intraclip.types import DISTRACTOR_PID, Split, Tracklet

STRIP_HEIGHT, STRIP_WIDTH = 128, 64
MAX_CLIP_FRAMES = 8
"""Frames shown of a clip; a recipe with longer clips shows shorter ones here."""


def picture_tile(
    picture: strips.Picture, *, alt: str, correct: bool = True, caption: Sequence[str] = ()
) -> Shown:
    """Inline a picture ``[H, W, 3]`` with what is read aloud in its place and short lines below it.

    `correct` is for answers: whether it is the right person.
    """
    height, width = picture.shape[:2]
    image = strips.jpeg_uri(picture)
    return {
        "image": image, "width": width, "height": height, "alt": alt, "correct": correct, "caption": caption
    }  # fmt: skip


def tracklet_tile(tracklet: Tracklet, count: int, **shown: Any) -> Shown:
    """Inline `count` evenly spaced frames of a tracklet, fewer if it is shorter; `shown` as of `picture_tile`."""
    frames = strips.load_frames(
        tracklet, strips.evenly_spaced(len(tracklet), count), height=STRIP_HEIGHT, width=STRIP_WIDTH
    )
    return picture_tile(film_strip(frames), **shown)


def describe(tracklet: Tracklet) -> str:
    """Who is on a tracklet, and where."""
    person = "distractor" if tracklet.pid == DISTRACTOR_PID else f"person {tracklet.pid}"
    return f"{person}, camera {tracklet.camid}"


def short_clip(config: ClipConfig) -> ClipConfig:
    """The clip settings of a recipe, cut to what a page can show; short tracklets are shown all the same."""
    short = "repeat_last" if config.short == "error" else config.short
    return replace(config, num_frames=min(config.num_frames, MAX_CLIP_FRAMES), short=short)


def different_people(split: Split, count: int, rng: np.random.Generator) -> list[Tracklet]:
    """Training tracklets of different people, in random order."""
    if not split.train:
        raise DataError(f"the data in {split.root} holds no training tracklets")
    chosen: dict[int, Tracklet] = {}
    for index in rng.permutation(len(split.train)).tolist():
        chosen.setdefault(split.train[index].pid, split.train[index])
        if len(chosen) == count:
            break
    return list(chosen.values())
