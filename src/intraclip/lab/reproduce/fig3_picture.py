"""The picture of Fig. 3: one plane of frame features for each kind of run, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.extras import require_extra
from intraclip.lab.reproduce.figures import DPI, INK, MUTED
from intraclip.report import plots
from intraclip.report.strips import Picture

COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777",
)  # fmt: skip
"""Paul Tol's qualitative scheme "muted" with a grey, for colour-blind readers. Each person is numbered too."""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Frame features of one run on a plane.

    Attributes:
        points: float ``[N, 2]``, frames of a clip in order.
        pids: int64 ``[N]``.
        clips: int64 ``[N]``, 0 or 1 within a person.
    """

    title: str
    points: npt.NDArray[np.float64]
    pids: npt.NDArray[np.int64]
    clips: npt.NDArray[np.int64]
    note: str


def picture(planes: Sequence[Plane]) -> Picture:
    """All planes side by side with one legend; uint8 ``[H, W, 3]``."""
    size = (3.7 * len(planes), 4.3)
    figure = plots.blank(size, purpose="the picture of Fig. 3", facecolor="white", dpi=DPI)
    figure.subplots_adjust(left=0.012, right=0.988, top=0.925, bottom=0.125, wspace=0.035)
    for axes, plane in zip(np.ravel(figure.subplots(1, len(planes), squeeze=False)), planes, strict=True):
        _scatter(axes, plane)
    lines = require_extra("matplotlib.lines", extra="report", purpose="the picture of Fig. 3")
    styles = {"linestyle": "none", "color": MUTED, "markersize": 5}
    figure.legend(
        handles=[
            lines.Line2D([], [], marker="o", label="frame of the first clip", **styles),
            lines.Line2D([], [], marker="^", markerfacecolor="none", label="frame of the second clip", **styles),
            lines.Line2D([], [], color=MUTED, linewidth=0.8, alpha=0.6, label="next frame of the clip"),
        ],
        loc="lower center", ncols=3, frameon=False, fontsize=8, labelcolor=INK, columnspacing=1.6,
    )  # fmt: skip
    return plots.drawn(figure)


def _scatter(axes: Any, plane: Plane) -> None:
    effects = require_extra("matplotlib.patheffects", extra="report", purpose="the picture of Fig. 3")
    halo = [effects.withStroke(linewidth=2, foreground="white")]
    people = np.unique(plane.pids)
    for number, pid in enumerate(people):
        colour = COLOURS[number % len(COLOURS)]
        for clip, marker in enumerate(("o", "^")):
            points = plane.points[(plane.pids == pid) & (plane.clips == clip)]
            if not len(points):
                continue
            axes.plot(points[:, 0], points[:, 1], color=colour, linewidth=0.8, alpha=0.45, zorder=1)
            axes.scatter(
                points[:, 0], points[:, 1], s=24 if clip == 0 else 20, marker=marker, zorder=2,
                linewidths=0.5 if clip == 0 else 1.0, edgecolors="white" if clip == 0 else colour,
                facecolors=colour if clip == 0 else "white",
            )  # fmt: skip
            # The frame in the middle of the clip, not the mean: between two halves there would be nobody.
            middle = points[np.abs(points - np.median(points, axis=0)).sum(axis=1).argmin()]
            axes.annotate(
                str(number + 1), middle, xytext=(7, 5), textcoords="offset points", ha="center", va="center",
                fontsize=8, fontweight="bold", color=INK, zorder=3, path_effects=halo,
            )  # fmt: skip
    axes.set_title(plane.title, fontsize=10, color=INK, loc="left", parse_math=False)
    axes.set_xlabel(plane.note, fontsize=8, color=MUTED)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.07)
    for side in axes.spines.values():
        side.set_color(MUTED)
        side.set_alpha(0.4)
