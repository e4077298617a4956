"""Curves and scatter plots as matplotlib figures, and figures as inline SVG.

Figures are made by the object interface alone: pyplot's global state stays untouched, so that a report can be
written inside another program. Lines and text that should follow the page's colour are drawn in `INK`.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from intraclip.core.extras import require_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#4d5159"
"""Axes and text; `svg` turns it into the colour of the surrounding text."""

COLOURS = ("#2f7fd1", "#dd7a1f", "#1f9d74", "#a25bc4", "#c94b5d", "#8a8f2a")
"""Colours of runs, legible on white and on near-black."""

DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.6)), (0, (6, 1.5, 1.5, 1.5)), (0, (2.5, 1.5)))
"""Line styles of runs, so that colour is not the only difference."""

BASELINE_COLOUR = "#8b8f98"
BASELINE_DASHES: tuple[Any, ...] = ((0, (1, 1.6)), (0, (1, 3.2)), (0, (4, 2, 1, 2)))

IDENTITY_COLOURS = (
    "#2f7fd1", "#dd7a1f", "#1f9d74", "#c94b5d", "#a25bc4", "#8c6a54", "#e06fb5", "#8b8f98", "#a5a623", "#22adc2",
)  # fmt: skip
MARKERS = ("o", "^")

MAX_RANK = 20
"""The last one of a CMC that is drawn."""


def style_of(number: int, *, baseline: bool = False) -> dict[str, Any]:
    """Colour and line style of run (or baseline) `number`, counted from 0."""
    if baseline:
        return {"color": BASELINE_COLOUR, "linestyle": BASELINE_DASHES[number % len(BASELINE_DASHES)]}
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def training_curve(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    key: str,
    title: str,
    share: bool = False,
) -> Figure:
    """One logged value over the epochs, runs overlaid."""
    figure, axes = _axes(title, xlabel="epoch")
    for number, (name, entries) in enumerate(curves.items()):
        found = [entry for entry in entries if key in entry]
        if not found:
            continue
        values = [float(entry[key]) * (100 if share else 1) for entry in found]
        few: dict[str, Any] = {"marker": "o", "markersize": 3} if len(found) < 4 else {}
        axes.plot([entry["epoch"] for entry in found], values, label=name, **style_of(number), **few)
    if share:
        axes.set_ylim(-2, 102)
        axes.set_yticks(range(0, 101, 20))
        axes.yaxis.set_major_formatter("{x:.0f} %")
    else:
        axes.set_ylim(bottom=0)
    ticker = require_extra("matplotlib.ticker", extra="report", purpose="plots")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=6, integer=True))
    return figure


def cmc_curve(
    runs: Mapping[str, Sequence[float]],
    *,
    baselines: Mapping[str, Sequence[float]],
) -> Figure:
    """Cumulative matching characteristic: share of queries whose first right answer has rank k or better.

    Curves are shares ``[>= 20]`` of 0..1, entry 0 is rank 1; those of baselines are grey and dotted.
    """
    figure, axes = _axes("CMC: right answer among the first k", xlabel="k")
    for group, baseline in ((runs, False), (baselines, True)):
        for number, (name, curve) in enumerate(group.items()):
            shown = 100 * np.asarray(curve[:MAX_RANK], dtype=np.float64)
            ranks = np.arange(1, len(shown) + 1)
            axes.plot(ranks, shown, label=name, **style_of(number, baseline=baseline))
    axes.set_xticks([1, *range(5, MAX_RANK + 1, 5)])
    lowest = min((line.get_ydata().min() for line in axes.lines), default=0.0)  # type: ignore[union-attr]
    axes.set_ylim(max(-2.0, 10 * np.floor(lowest / 10) - 10), 102)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 100])
    axes.yaxis.set_major_formatter("{x:.0f} %")
    return figure


def feature_scatter(
    points: npt.NDArray[np.float64],
    pids: npt.NDArray[np.int64],
    clips: npt.NDArray[np.int64],
) -> Figure:
    """Points ``[N, 2]`` on a plane: colour by identity, marker by clip, 0 or 1."""
    figure, axes = _axes("", xlabel="", size=(4.4, 4.0))
    for number, pid in enumerate(np.unique(pids)):
        for clip, marker in enumerate(MARKERS):
            chosen = points[(pids == pid) & (clips == clip)]
            axes.scatter(
                chosen[:, 0],
                chosen[:, 1],
                s=20,
                marker=marker,
                color=IDENTITY_COLOURS[number % len(IDENTITY_COLOURS)],
                # The second clip is hollow too: a triangle among discs is easily missed at this size.
                facecolors=None if clip == 0 else "none",
                linewidths=1.0,
                alpha=0.9,
            )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(True)
        side.set_alpha(0.35)
    axes.margins(0.06)
    return figure


def svg(figure: Figure, *, label: str) -> str:
    """A figure as an ``<svg>`` element to stand inside a page: no outside names, colour of the text around it.

    Text becomes outlines, so the figure looks the same everywhere. The same figure gives the same bytes.
    """
    matplotlib = require_extra("matplotlib", extra="report", purpose="plots")
    buffer = io.StringIO()
    # The salt makes names of clip paths; two figures on one page must not share them.
    with matplotlib.rc_context({"svg.hashsalt": label, "svg.fonttype": "path", "path.simplify": True}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    # Numbers of a path to a hundredth of a point: finer than any screen shows. Scales keep their digits.
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path.group(0)), text)
    text = text.replace(INK, "currentColor")
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    attributes = box.group(0) if box else ""
    return f'<svg {attributes} role="img" aria-label="{html.escape(label)}">{body.strip()}'


def drawn(figure: Figure) -> npt.NDArray[np.uint8]:
    """A figure as a picture, uint8 ``[H, W, 3]``."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]


def blank(size: tuple[float, float], *, purpose: str = "plots", **options: Any) -> Figure:
    """An empty figure of a size in inches, on a canvas of its own."""
    module = require_extra("matplotlib.figure", extra="report", purpose=purpose)
    backend = require_extra("matplotlib.backends.backend_agg", extra="report", purpose=purpose)
    figure: Figure = module.Figure(figsize=size, **options)
    backend.FigureCanvasAgg(figure)
    return figure


def _axes(title: str, *, xlabel: str, size: tuple[float, float] = (3.2, 2.35)) -> tuple[Figure, Axes]:
    figure = blank(size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10, color=INK, parse_math=False)
    axes.set_xlabel(xlabel, fontsize=9, color=INK)
    axes.tick_params(colors=INK, labelsize=8.5, length=3)
    axes.grid(True, axis="y", color=INK, alpha=0.18, linewidth=0.7)
    axes.set_axisbelow(True)
    for name, side in axes.spines.items():
        side.set_visible(name in ("left", "bottom"))
        side.set_color(INK)
        side.set_alpha(0.5)
    return figure, axes
