"""Fig. 1: where the networks look, and whether that is the body.

The paper shows Grad-CAM pictures of TAP and of ICA, and calls the first scattered and the second concentrated on the
body. It names neither the number that Grad-CAM explains nor the layer. Both are asked two ways here:

- *People of training*: the logit of the true person, as Grad-CAM is usually drawn.
- *People of test*: no class is theirs. The number is the score of a nearest-mean classifier (Mensink et al. 2013) in
  embedding space: how much nearer the clip is to the person's mean embedding from *other* tracklets (of other cameras
  where there are some) than to the average person's. Its gradient is a fixed direction, like a class logit's, so TAP
  and ICA are treated alike; cosine similarity is not used because its gradient forces a linear head's maps to cancel.
- The *layer* is the last stage of the backbone whose maps have at least 8 x 4 positions, as the paper's ResNet50 has
  for frames of 256 x 128. Where that is not the last stage of all, the last one is measured too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from intraclip.core.devices import choose_device
from intraclip.core.film_strip import film_strip
from intraclip.data.clips import Clip
from intraclip.lab.reproduce.fig1_scenes import GRID, Scene, explained, layers, make_scenes, maps_of, pictured
from intraclip.lab.reproduce.figures import (
    DPI,
    INK,
    MUTED,
    SEED,
    FigureResult,
    Kinds,
    Measure,
    Numbers,
    mean_of,
    measure,
    open_runs,
    seeds_of,
    verdict,
)
from intraclip.models.checkpoint import load_model
from intraclip.report import gradcam, plots, strips
from intraclip.types import Split, Tracklet

NUMBERS: Numbers = {
    "inside": ("activation on the person", "higher", True),
    "half": ("area that holds half of the activation", "lower", True),
    "evenness": ("evenness of the maps (relative entropy)", "lower", False),
}
PICTURED = 4
"""Clips in the picture."""
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


def draw(
    runs: Mapping[str, Sequence[Path]],
    split: Split,
    out: Path,
    *,
    measured: int = 100,
) -> FigureResult:
    """Draw Fig. 1 from two kinds of run, a run folder a seed, and measure it.

    Pictured, in `fig1.png`, are the first clips of the measured ones whose
    person is to be seen, for people of test, under one seed of each kind of run: nobody chose them. Measured are
    `measured` clips of test and as many of training (fewer where there are fewer), each the middle run of T consecutive
    frames of its tracklet; people count equally.

    - *activation on the person*: share of a clip's activation inside the silhouette; rendered data only. Beside it
      stand an even map (the silhouette's area), a map that is always the average silhouette (a network that only
      knows that people stand in the middle), and the silhouette itself at the resolution of the maps.
    - *area that holds half of the activation*, and *evenness* (relative entropy): how concentrated maps are, wherever.
    """
    kinds = open_runs(runs, split)
    device = choose_device("auto")
    scenes = make_scenes(kinds, split, measured=measured)
    grids = layers(next(iter(kinds.values()))[0])
    judged = next(iter(grids))

    found: dict[tuple[str, str], dict[str, list[npt.NDArray[np.float64]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    shown = pictured(scenes[0], PICTURED)
    columns = [Column.of(scenes[0].tracklets[i], scenes[0].clips[i], scenes[0].outlines[i]) for i in shown]
    for kind, seeds in kinds.items():
        for number, run in enumerate(seeds):
            model = load_model(run, device=device)
            for scene in scenes:
                directions = explained(model, run, scene)
                for name in grids:
                    maps = maps_of(model, run, scene, directions, name)
                    found[scene.people, name][kind].append(_numbers(maps, scene))
                    if number == 0 and scene is scenes[0] and name == judged:
                        for column, i in zip(columns, shown, strict=True):
                            column.add(kind, maps[i], found[scene.people, name][kind][0][0, i])
            del model

    measures = [
        m
        for scene in scenes
        for name in grids
        for m in _measures(found[scene.people, name], kinds, scene, name, grids[name])
    ]
    missing = {
        f"{people}, {name or 'last maps'}, {kind}": int(sum(np.isnan(run[1]).sum() for run in values))
        for (people, name), by_kind in found.items()
        for kind, values in by_kind.items()
    }
    path = out / "fig1.png"
    strips.write_picture(path, picture(columns, list(kinds)))
    return FigureResult(
        name="fig1",
        title="Fig. 1: where the networks look (Grad-CAM)",
        pictures=(path,),
        measures=tuple(measures),
        caption=_caption(kinds, scenes, grids, measures, missing),
        unit="people",
        settings={
            "data": split.dataset,
            "split": split.index,
            "seed": SEED,
            "seeds": seeds_of(kinds),
            "layers": [name or "last maps" for name in grids],
            "grids": {name or "last maps": list(g) for name, g in grids.items()},
            "clips": {scene.people: len(scene.clips) for scene in scenes},
            "people": {scene.people: len({t.pid for t in scene.tracklets}) for scene in scenes},
            "frames": scenes[0].config.num_frames,
            "pictured": [column.title for column in columns],
            "clips_without_activation": missing,
        },
    )


def _numbers(maps: Sequence[npt.NDArray[np.float32]], scene: Scene) -> npt.NDArray[np.float64]:
    """`NUMBERS` of every clip, ``[3, clips]``; nan where unknown."""
    found = np.full((len(NUMBERS), len(maps)), np.nan)
    for i, clip in enumerate(maps):
        outline = scene.outline(i, *clip.shape[1:])
        if outline is not None:
            found[0, i] = gradcam.share_inside(clip, outline)
        found[1, i], found[2, i] = gradcam.area_of_half(clip), gradcam.evenness(clip)
    return found


def _measures(
    found: Mapping[str, Sequence[npt.NDArray[np.float64]]],
    kinds: Kinds,
    scene: Scene,
    layer: str,
    grid: tuple[int, int],
) -> list[Measure]:
    """Numbers of one scene and layer; the first is the one to judge by."""
    pids = np.array([t.pid for t in scene.tracklets])
    people = np.unique(pids)
    where = f"{'people of test' if scene.people == 'test' else 'people of training'}, {layer or 'last maps'}"
    size = next(iter(kinds.values()))[0].recipe.input
    known = any(outline is not None for outline in scene.outlines)
    references: dict[str, Mapping[str, float]] = {
        "inside": _references(scene, grid, size.height, size.width) if known else {},
        "half": {"even map": 0.5},
        "evenness": {"even map": 1.0},
    }
    measures = []
    for number, (key, (name, claimed, percent)) in enumerate(NUMBERS.items()):
        if key == "inside" and not known:
            continue
        values = {
            kind: np.stack([_by_person(run[number], pids, people) for run in by_seed])
            for kind, by_seed in found.items()
        }
        measures.append(
            measure(
                f"{scene.people}.{layer or 'last'}.{key}",
                f"{name} ({where})",
                values,
                seeds_of(kinds),
                claimed=claimed,
                percent=percent,
                references=references[key],
            )
        )
    return measures


def _by_person(
    values: npt.NDArray[np.float64], pids: npt.NDArray[np.int64], people: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Mean of the clips ``[clips]`` of each person; nan for one without a number."""
    return np.array([mean_of(values[pids == person], axis=0) for person in people])


def _references(scene: Scene, grid: tuple[int, int], height: int, width: int) -> dict[str, float]:
    """Share on the person of maps that know nothing, only the middle, or everything that their grid can hold."""
    numbers = [i for i, outline in enumerate(scene.outlines) if outline is not None]
    outlines = [o for i in numbers if (o := scene.outline(i, height, width)) is not None]
    middle = _coarse(np.mean([o.mean(axis=0) for o in outlines], axis=0).astype(np.float32)[None], grid)
    shares: dict[str, list[float]] = defaultdict(list)
    for outline in outlines:
        shares["even map"].append(float(outline.mean()))
        shares["always the average silhouette"].append(
            gradcam.share_inside(np.broadcast_to(middle, outline.shape), outline)
        )
        shares["the silhouette at this resolution"].append(
            gradcam.share_inside(_coarse(outline.astype(np.float32), grid), outline)
        )
    pids = np.array([scene.tracklets[i].pid for i in numbers])
    people = np.unique(pids)
    return {
        name: float(np.nanmean(_by_person(np.array(found), pids, people))) for name, found in shares.items()
    }


def _coarse(maps: npt.NDArray[np.float32], grid: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Maps ``[T, H, W]`` as a network with maps of `grid` could show them at best."""
    small = F.interpolate(torch.from_numpy(maps)[:, None], size=grid, mode="area")
    large = F.interpolate(small, size=maps.shape[1:], mode="bilinear", align_corners=False)
    return np.asarray(large[:, 0].numpy(), dtype=np.float32)


def _caption(
    kinds: Kinds,
    scenes: Sequence[Scene],
    grids: Mapping[str, tuple[int, int]],
    measures: Sequence[Measure],
    missing: Mapping[str, int],
) -> tuple[str, ...]:
    first, second = kinds
    test = scenes[0]
    layer, (rows, columns) = next(iter(grids.items()))
    sentences = [
        f"Frames of people of test, and below them Grad-CAM of {first} and of {second}, of seed "
        f"{kinds[first][0].recipe.seed}; the clips are the first of a random order whose person is to be seen.",
        "What the maps explain is how much nearer the clip is to the person's mean embedding from other tracklets "
        "than to the average person's; for people of training it is the logit of their class.",
        f"Maps of {layer or 'the last stage'}, {rows} x {columns} positions; the paper names no layer, the last maps "
        f"of its ResNet50 have {GRID[0]} x {GRID[1]}.",
        f"Measured on {len(test.clips)} clips of {len({t.pid for t in test.tracklets})} people of test"
        + (
            f" and {len(scenes[1].clips)} of {len({t.pid for t in scenes[1].tracklets})} people of training."
            if len(scenes) > 1
            else "; the runs share no people of training with this data."
        ),
    ]
    judged = measures[0]
    if not judged.key.endswith(".inside"):
        sentences.append(
            "This data has no silhouettes, so nothing says whether the activation lies on the body; how concentrated "
            "it is says nothing about where."
        )
    sentences.append(verdict(judged, unit="people"))
    if judged.key.endswith(".inside"):
        sentences.append("The other half of the claim, that the maps are concentrated, wherever that is:")
        sentences.append(verdict(measures[1], unit="people"))
    if judged.references:
        said = ", ".join(f"{name} {judged.text(value)}" for name, value in judged.references.items())
        sentences.append(f"For comparison, {judged.name}: {said}.")
    alike = [m for m in measures if m.key.split(".")[-1] == judged.key.split(".")[-1]]
    if len({float(np.sign(m.difference)) for m in alike}) > 1:
        sentences.append(
            f"The sign of {second} against {first} changes with the layer or the people (table): the picture alone "
            "proves nothing."
        )
    if any(missing.values()):
        total = sum(len(scene.clips) for scene in scenes) * len(grids) * sum(len(s) for s in kinds.values())
        sentences.append(f"{sum(missing.values())} of {total} maps hold no activation and are left out.")
    return tuple(sentences)


# -- the picture -----------------------------------------------------------------------------------------


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
