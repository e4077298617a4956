"""Fig. 3: frame features of ten people on a plane, asynchronous against synchronous augmentation.

The paper shows one t-SNE picture of each (ten identities, two clips of twelve frames) and calls the first scattered,
its clips mixed with others, and the second clustered, its frames keeping "more clip-level information". A plane drawn
once proves little: t-SNE invents and hides groups. So the same claim is measured on the features themselves, over many
draws of people. The first number, the silhouette coefficient by clip, is the one to judge by.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.devices import choose_device
from intraclip.core.extras import require_extra
from intraclip.errors import DataError
from intraclip.lab.reproduce.figures import (
    DPI,
    INK,
    MUTED,
    SEED,
    FigureResult,
    Kinds,
    Measure,
    Numbers,
    measure,
    open_runs,
    seeds_of,
    verdict,
)
from intraclip.models.checkpoint import load_model
from intraclip.report import plots, strips, tsne
from intraclip.types import Split

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

UNIT = "draws that share nobody"
LEAST_PEOPLE = 3
"""Fewer groups make no picture of groups."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Some people, two clips of each.

    Attributes:
        clips: two of every person, one after the other.
        apart: it shares no person with the draws before it.
    """

    clips: tuple[tsne.FeatureClip, ...]
    apart: bool

    @property
    def pids(self) -> Labels:
        """Person of every frame, ``[N]``."""
        return np.array([c.tracklet.pid for c in self.clips for _ in c.frames], dtype=np.int64)

    @property
    def numbers(self) -> Labels:
        """Clip of every frame, 0 or 1, ``[N]``."""
        return np.array([c.clip for c in self.clips for _ in c.frames], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The frame features of a draw under one run, on a plane: points float ``[N, 2]``, with a line below."""

    title: str
    draw: Draw
    points: npt.NDArray[np.float64]
    note: str


def draw(
    runs: Mapping[str, Sequence[Path]],
    split: Split,
    out: Path,
    *,
    identities: int = 10,
    frames: int = 12,
    draws: int = 20,
) -> FigureResult:
    """Draw Fig. 3 from two kinds of run, a run folder a seed, and measure it.

    Frame features are spatial means of the backbone's maps, before any head.
    People of test are shuffled and cut into `draws` of at most `identities` people, with clips of at most `frames`
    consecutive frames; when all were used they are shuffled again. Every run sees the same draws. The comparison over
    draws uses those of the first shuffle alone: they share nobody, so they are independent. Pictured, in `fig3.png`,
    are the first draw and one seed of each kind of run.

    All numbers are measured in feature space, none on the plane:

    - *silhouette coefficient* (Rousseeuw 1987) by clip and by person, -1..1;
    - *normalised mutual information* of k-means with clips and with people, k being their number, 0..1;
    - *scatter inside clips*: share of the total variance, 0..1.
    """
    kinds = open_runs(runs, split)
    chosen = draw_people(split, identities=identities, frames=frames, draws=draws)
    device = choose_device("auto")
    found: dict[str, dict[str, list[list[float]]]] = {key: defaultdict(list) for key in NUMBERS}
    planes = []
    for kind, seeds in kinds.items():
        for place, run in enumerate(seeds):
            model = load_model(run, device=device)
            features = [tsne.frame_features(model, d.clips, run.recipe.input) for d in chosen]
            scores = [clustering(f, d.pids, d.numbers) for f, d in zip(features, chosen, strict=True)]
            for key, by_kind in found.items():
                by_kind[kind].append([score[key] for score in scores])
            if place == 0:
                planes.append(
                    Plane(
                        title=kind,
                        draw=chosen[0],
                        points=tsne.project(features[0], seed=SEED),
                        note=f"silhouette by clip {scores[0]['clip.silhouette']:.2f}, by person "
                        f"{scores[0]['person.silhouette']:.2f}".replace("-", "−"),
                    )
                )
    apart = sum(d.apart for d in chosen)
    measures = [
        measure(
            key,
            name,
            {kind: np.array(values) for kind, values in found[key].items()},
            seeds_of(kinds),
            claimed=claimed,
            percent=percent,
            tested=slice(apart),
        )
        for key, (name, claimed, percent) in NUMBERS.items()
    ]
    path = out / "fig3.png"
    strips.write_picture(path, picture(planes))
    people = len(np.unique(chosen[0].pids))
    return FigureResult(
        name="fig3",
        title="Fig. 3: frame features of test people (t-SNE)",
        pictures=(path,),
        measures=tuple(measures),
        caption=_caption(kinds, chosen, measures, people=people, frames=frames),
        unit=UNIT,
        settings={
            "data": split.dataset,
            "split": split.index,
            "seed": SEED,
            "seeds": seeds_of(kinds),
            "identities": people,
            "frames": frames,
            "draws": len(chosen),
            "draws_that_share_nobody": apart,
            "shorter_clips": sum(len(c.frames) < frames for d in chosen for c in d.clips),
            "pictured_pids": sorted(set(chosen[0].pids.tolist())),
        },
    )


def draw_people(split: Split, *, identities: int, frames: int, draws: int) -> list[Draw]:
    """Shuffle people of test, cut them into draws, and again until there are enough.

    Raises:
        DataError: fewer than three people of test have two clips.
    """
    chosen: list[Draw] = []
    shuffle = 0
    while len(chosen) < draws:
        # Asked for everybody, it gives all people of whom there are two clips, in the order of its draw.
        clips = tsne.choose_clips(
            split.test, identities=len(split.test) + 1, frames=frames, seed=SEED + shuffle
        )
        people = len(clips) // 2
        if people < LEAST_PEOPLE:
            raise DataError(
                f"{people} people of test in {split.root} have two clips; a picture of groups needs {LEAST_PEOPLE}"
            )
        size = min(identities, people)
        for group in range(min(people // size, draws - len(chosen))):
            part = clips[2 * size * group : 2 * size * (group + 1)]
            chosen.append(Draw(clips=tuple(part), apart=shuffle == 0))
        shuffle += 1
    return chosen


# -- numbers -----------------------------------------------------------------------------------------------

NUMBERS: Numbers = {
    "clip.silhouette": ("silhouette coefficient by clip", "higher", False),
    "person.silhouette": ("silhouette coefficient by person", "higher", False),
    "clip.nmi": ("normalised mutual information of k-means with clips", "higher", False),
    "person.nmi": ("normalised mutual information of k-means with people", "higher", False),
    "clip.scatter": ("scatter inside clips, share of the variance", "lower", True),
}


def clustering(features: Features, pids: Labels, clips: Labels) -> dict[str, float]:
    """How well frames ``[N, F]`` group by clip (int64 ``[N]``, 0 or 1 within a person) and by person, in feature space.

    None of the numbers, those of `NUMBERS`, changes when features are moved, turned, or scaled all alike. A network
    that gives one vector for everything has silhouettes and mutual information 0 and no number for the scatter (nan).
    """
    own_clip = 2 * np.unique(pids, return_inverse=True)[1].astype(np.int64) + clips
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    total = float((centred**2).sum())
    scale = float(np.abs(features).max(initial=0))
    if total <= len(centred) * centred.shape[1] * (1e-6 * scale) ** 2:  # nothing but rounding
        return {key: float("nan") if key == "clip.scatter" else 0.0 for key in NUMBERS}
    inside = sum(
        float(((centred[own_clip == c] - centred[own_clip == c].mean(axis=0)) ** 2).sum())
        for c in np.unique(own_clip)
    )
    centred /= np.sqrt(total / len(centred))
    return {
        "clip.silhouette": tsne.separation(centred, own_clip),
        "person.silhouette": tsne.separation(centred, pids),
        "clip.nmi": _mutual_information(centred, own_clip),
        "person.nmi": _mutual_information(centred, pids),
        "clip.scatter": inside / total,
    }


def _mutual_information(features: npt.NDArray[np.float64], labels: Labels) -> float:
    cluster = require_extra("sklearn.cluster", extra="report", purpose="the numbers of Fig. 3")
    errors = require_extra("sklearn.exceptions", extra="report", purpose="the numbers of Fig. 3")
    metrics = require_extra("sklearn.metrics", extra="report", purpose="the numbers of Fig. 3")
    threads = require_extra("threadpoolctl", extra="report", purpose="the numbers of Fig. 3")
    method = cluster.KMeans(n_clusters=len(np.unique(labels)), n_init=10, random_state=SEED)
    with threads.threadpool_limits(limits=1), warnings.catch_warnings():
        # A network may give fewer different vectors than there are groups; the number shows it.
        warnings.simplefilter("ignore", errors.ConvergenceWarning)
        groups = method.fit_predict(features)
    return float(metrics.normalized_mutual_info_score(labels, groups))


def _caption(
    kinds: Kinds, chosen: Sequence[Draw], measures: Sequence[Measure], *, people: int, frames: int
) -> tuple[str, ...]:
    first, second = kinds
    apart = sum(d.apart for d in chosen)
    sentences = [
        f"Frame features (spatial means of the backbone's maps) of {people} people of test, two clips of up to "
        f"{frames} consecutive frames each, on a plane by t-SNE: {', '.join(kinds)}, trained with seed "
        f"{kinds[first][0].recipe.seed}.",
        "One colour and number is one person; filled discs are one clip, hollow triangles the other, of another camera "
        "where there is one; lines follow the order of frames.",
        f"The numbers are measured on the features, not on the plane, over {len(chosen)} draws of people"
        + (
            f"; {apart} of them share nobody and carry the comparison over draws."
            if apart > 1
            else ", which share people, so there is no test over draws."
        ),
    ]
    for_claim = [m for m in measures if m.towards]
    sentences += [
        verdict(measures[0], unit=UNIT),
        f"{len(for_claim)} of the {len(measures)} numbers point the way the paper claims for {second}"
        + (f": {'; '.join(m.name for m in for_claim)}." if 0 < len(for_claim) < len(measures) else "."),
    ]
    return tuple(sentences)


# -- the picture -----------------------------------------------------------------------------------------


COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777",
)  # fmt: skip
"""Paul Tol's qualitative scheme "muted" with a grey, for colour-blind readers. Each person is numbered too."""


def picture(planes: Sequence[Plane]) -> strips.Picture:
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
    for number, pid in enumerate(np.unique(plane.draw.pids)):
        colour = COLOURS[number % len(COLOURS)]
        for clip, marker in enumerate(("o", "^")):
            points = plane.points[(plane.draw.pids == pid) & (plane.draw.numbers == clip)]
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
