"""Frame features of test people on a plane, under each run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from intraclip.errors import DataError
from intraclip.report import plots, tsne
from intraclip.report.html import Shown
from intraclip.report.sections.networks import Loaded
from intraclip.types import Split


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
