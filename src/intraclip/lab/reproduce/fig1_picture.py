"""The picture of Fig. 1: frames on top, the activation of each kind of run below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.core.film_strip import film_strip
from intraclip.data.clips import Clip
from intraclip.lab.reproduce.figures import DPI, INK, MUTED
from intraclip.report import gradcam, plots, strips
from intraclip.types import Tracklet

HEIGHT, WIDTH = 256, 128
"""Pixels of a frame in the picture."""
FRAMES = 4
"""Frames shown of a clip, at most."""
FRAME_INCHES = 0.62
"""Width of a frame on the page."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One clip with its maps.

    Attributes:
        frames: uint8 ``[T, HEIGHT, WIDTH, 3]``.
        kept: which of the clip's valid frames are shown.
        outline: bool ``[T, HEIGHT, WIDTH]``, or None.
        strips: kind of run -> frames with activation, uint8 ``[T, HEIGHT, WIDTH, 3]``.
        shares: kind of run -> share of the activation on the person; nan where unknown.
    """

    title: str
    frames: strips.Picture
    kept: tuple[int, ...]
    outline: npt.NDArray[np.bool_] | None
    strips: dict[str, strips.Picture] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, tracklet: Tracklet, clip: Clip, outline: npt.NDArray[np.bool_] | None) -> Column:
        """Read the frames of a clip; `outline` is ``[T, H, W]`` of its frames."""
        valid = clip.indices[clip.mask]
        kept = strips.evenly_spaced(len(valid), FRAMES)
        frames = strips.load_frames(tracklet, valid[kept].tolist(), height=HEIGHT, width=WIDTH)
        if outline is not None:
            outline = gradcam.resize_masks(outline[clip.mask][kept], HEIGHT, WIDTH)
        return cls(
            title=f"person {tracklet.pid}, camera {tracklet.camid}",
            frames=frames,
            kept=tuple(kept),
            outline=outline,
        )

    def add(self, kind: str, maps: npt.NDArray[np.float32], share: float) -> None:
        """Lay the maps ``[T, H, W]`` of a clip's valid frames over its frames."""
        large = np.stack(
            [cv2.resize(maps[i], (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for i in self.kept]
        )
        self.strips[kind] = gradcam.overlay(self.frames, large)
        self.shares[kind] = float(share)


def picture(columns: Sequence[Column], kinds: Sequence[str]) -> strips.Picture:
    """All clips side by side, at most two in a row of the page; uint8 ``[H, W, 3]``."""
    across = min(2, len(columns))
    down = -(-len(columns) // across)
    strip, tall, gap, label = FRAMES * FRAME_INCHES, 2 * FRAME_INCHES, 0.16, 0.14
    block = 0.2 + tall + len(kinds) * (label + tall) + 0.16
    wide, high = 0.85 + across * (strip + gap), down * block + 0.45
    figure = plots.blank((wide, high), purpose="the picture of Fig. 1", facecolor="white", dpi=DPI)
    for number, column in enumerate(columns):
        left = 0.85 + (number % across) * (strip + gap)
        top = high - (number // across) * block - 0.2
        figure.text(left / wide, (top + 0.05) / high, column.title, fontsize=8, color=INK, parse_math=False)
        for line, kind in enumerate(["", *kinds]):
            bottom = top - tall - line * (tall + label)
            shown = column.strips[kind] if kind else column.frames
            inches = strip * len(shown) / FRAMES
            axes = figure.add_axes((left / wide, bottom / high, inches / wide, tall / high))
            _strip(axes, shown, column.outline if kind else None)
            if number % across == 0:
                figure.text(
                    0.78 / wide, (bottom + tall / 2) / high, kind or "frames", fontsize=9, color=INK,
                    ha="right", va="center", parse_math=False,
                )  # fmt: skip
            if kind and np.isfinite(column.shares[kind]):
                figure.text(
                    left / wide, (bottom + tall + 0.035) / high, f"{100 * column.shares[kind]:.0f} % on the person",
                    fontsize=6.5, color=MUTED,
                )  # fmt: skip
    _scale(figure, wide, high, outlined=any(column.outline is not None for column in columns))
    return plots.drawn(figure)


def _strip(axes: Any, frames: strips.Picture, outline: npt.NDArray[np.bool_] | None) -> None:
    axes.imshow(film_strip(frames, gap=0), aspect="auto", interpolation="lanczos")
    for t in range(1, len(frames)):
        axes.axvline(t * WIDTH - 0.5, color="white", linewidth=1.2)
    for t, mask in enumerate(outline if outline is not None else ()):
        if mask.any() and not mask.all():
            smooth = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5)
            across = np.arange(WIDTH) + t * WIDTH
            axes.contour(across, np.arange(HEIGHT), smooth, levels=[0.5], colors="white", linewidths=0.7)
    axes.set_axis_off()


def _scale(figure: Any, wide: float, high: float, *, outlined: bool) -> None:
    """What the colours mean."""
    levels = np.linspace(0, 1, 256, dtype=np.float32)[None, None]
    bar = gradcam.overlay(np.full((1, 1, 256, 3), 128, dtype=np.uint8), levels)[0]
    axes = figure.add_axes((0.85 / wide, 0.22 / high, 1.2 / wide, 0.1 / high))
    axes.imshow(bar, aspect="auto", extent=(0, 1, 0, 1))
    axes.set_yticks([])
    axes.set_xticks([0, 1], ["0", "largest of the clip"], fontsize=6.5, color=MUTED)
    axes.tick_params(length=0, pad=2)
    for side in axes.spines.values():
        side.set_visible(False)
    words = "activation (Grad-CAM)" + ("; white line: true silhouette" if outlined else "")
    figure.text(2.6 / wide, 0.27 / high, words, fontsize=7, color=MUTED, va="center")
