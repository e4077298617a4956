"""What the trained networks see: Grad-CAM on the same training clips, and frame features of test people on a plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from intraclip.core.film_strip import film_strip
from intraclip.data.normalise import normalise
from intraclip.data.test_clips import tracklet_clips
from intraclip.errors import DataError
from intraclip.models.checkpoint import load_model, model_file, read_checkpoint
from intraclip.models.embedder import ClipEmbedder
from intraclip.report import gradcam, plots, strips, tsne
from intraclip.report.html import Shown
from intraclip.report.records import RunRecord
from intraclip.report.sections.tiles import describe, different_people, picture_tile, short_clip
from intraclip.types import Split

CAM_CLIPS = 3
CAM_SCORED_CLIPS = 24
"""Clips over which the share of activation on the person is averaged; three alone would be an anecdote."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A run's network, in evaluation mode."""

    run: RunRecord
    model: ClipEmbedder
    pids: tuple[int, ...]


def load_networks(runs: Sequence[RunRecord], device: torch.device) -> list[Loaded]:
    """Load the network of every run."""
    loaded = []
    for run in runs:
        checkpoint = read_checkpoint(model_file(run.folder))
        loaded.append(Loaded(run=run, model=load_model(checkpoint, device=device), pids=checkpoint.pids))
    return loaded


def cams(networks: Sequence[Loaded], split: Split, *, seed: int) -> Shown:
    """Grad-CAM of every run on the same training clips, for the logit of the true person.

    Raises:
        DataError: the runs share no training people with the data.
    """
    known = set.intersection(*(set(network.pids) for network in networks))
    train = tuple(t for t in split.train if t.pid in known)
    if not train:
        raise DataError("the people these networks were trained on are not in the data")
    rng = np.random.default_rng([seed, 15])
    drawn = different_people(replace(split, train=train), 2 * CAM_SCORED_CLIPS, rng)
    # A person who stands behind a pillar says nothing about where a network looks.
    outlined = ((t, gradcam.silhouettes_of(split.root, t)) for t in drawn)
    seen = [(t, s) for t, s in outlined if gradcam.is_visible(s)][:CAM_SCORED_CLIPS]
    if not seen:
        raise DataError("no training person that was drawn is visible enough in every frame of a tracklet")
    chosen, people = [t for t, _ in seen], [s for _, s in seen]
    scored = [i for i, found in enumerate(people) if found is not None]
    needed = sorted({*range(min(CAM_CLIPS, len(chosen))), *scored})

    originals: dict[int, Shown] = {}
    rows: dict[int, list[Shown]] = {i: [] for i in needed[:CAM_CLIPS]}
    grids, inside = [], []
    for network in networks:
        recipe = network.run.recipe
        height, width = recipe.input.height, recipe.input.width
        config = replace(short_clip(recipe.clip), test_sampling="even")
        shares, areas = [], []
        for i in needed:
            tracklet = chosen[i]
            clip = tracklet_clips(len(tracklet), config)[0]
            frames = strips.load_frames(tracklet, clip.indices.tolist(), height=height, width=width)
            tensor = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).unsqueeze(0)
            maps = gradcam.activation_maps(
                network.model,
                normalise(tensor, mean=recipe.input.mean, std=recipe.input.std),
                torch.from_numpy(clip.mask).unsqueeze(0),
                torch.tensor([network.pids.index(tracklet.pid)]),
            )[0]
            share = float("nan")
            found = people[i]
            if found is not None:
                mask = gradcam.resize_masks(found[clip.indices], height, width)
                share = gradcam.share_inside(maps, mask)
                if np.isfinite(share):
                    shares.append(share)
                areas.append(float(mask.mean()))
            if i in rows:
                # repeated frames of a short tracklet would only say the same again
                valid = int(clip.mask.sum())
                originals.setdefault(
                    i, picture_tile(film_strip(frames[:valid]), alt=f"Frames of {tracklet.name}.")
                )
                rows[i].append(
                    {
                        "name": network.run.name,
                        "tile": picture_tile(
                            film_strip(gradcam.overlay(frames[:valid], maps[:valid])),
                            alt=f"Where {network.run.name} looks in the frames of {tracklet.name}.",
                        ),
                        "inside": f"{100 * share:.0f} % on the person" if np.isfinite(share) else "",
                    }
                )
        rows_of_map, columns_of_map = gradcam.grid(network.model, height, width)
        grids.append(f"{network.run.name} {rows_of_map} × {columns_of_map}")
        if shares:
            inside.append(
                {
                    "run": network.run.name,
                    "share": f"{100 * np.mean(shares):.0f} %",
                    "area": f"{100 * np.mean(areas):.0f} %",
                }
            )
    return {
        "clips": tuple(
            (
                f"{chosen[i].name} ({describe(chosen[i])})",
                ({"name": "Frames", "tile": originals[i], "inside": ""}, *rows[i]),
            )
            for i in rows
        ),
        "grids": "; ".join(grids),
        "inside": tuple(inside),
        "scored": len(scored),
    }


def planes(networks: Sequence[Loaded], split: Split, *, seed: int) -> Shown:
    """Frame features of test people, laid on a plane by t-SNE.

    Raises:
        DataError: fewer than three test people have two clips.
    """
    clips = tsne.choose_clips(split.test, seed=seed)
    pids = np.array([c.tracklet.pid for c in clips for _ in c.frames], dtype=np.int64)
    numbers = np.array([c.clip for c in clips for _ in c.frames], dtype=np.int64)
    people = len(np.unique(pids))
    if people < 3:
        raise DataError(f"{people} test people have two clips; a picture of groups needs three")
    found = []
    for network in networks:
        features = tsne.frame_features(network.model, clips, network.run.recipe.input)
        figure = plots.feature_scatter(tsne.project(features, seed=seed), pids, numbers)
        label = f"t-SNE of {len(pids)} frames of {people} people under {network.run.name}."
        found.append(
            {
                "run": network.run.name,
                "figure": plots.svg(figure, label=label),
                "separation": f"{tsne.separation(features, pids):.2f}".replace("-", "−"),
            }
        )
    return {"planes": tuple(found), "people": people, "frames": len(pids)}
