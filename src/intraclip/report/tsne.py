"""Frame features on a plane by t-SNE (van der Maaten & Hinton 2008), as in Fig. 3 of the paper."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from intraclip.config import InputConfig
from intraclip.core.extras import require_extra
from intraclip.data.normalise import normalise
from intraclip.models.embedder import ClipEmbedder
from intraclip.report.strips import load_frames
from intraclip.types import Tracklet

ITERATIONS = 500
FRAMES_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class FeatureClip:
    """One of the two clips of a person.

    Attributes:
        tracklet: where the frames come from.
        frames: frame numbers, consecutive.
        clip: 0 or 1.
    """

    tracklet: Tracklet
    frames: tuple[int, ...]
    clip: int


def choose_clips(
    tracklets: Sequence[Tracklet], *, identities: int = 10, frames: int = 12, seed: int
) -> list[FeatureClip]:
    """Draw people, and two clips of each.

    Tracklets that are long enough come first. Among them the two clips come from different cameras where a person
    has several, else from different tracklets; a person with one tracklet gives its two halves. Each clip is the
    middle run of consecutive frames.
    """
    by_pid: dict[int, list[Tracklet]] = defaultdict(list)
    for tracklet in tracklets:
        if tracklet.pid > 0:
            by_pid[tracklet.pid].append(tracklet)
    rng = np.random.default_rng([seed, 13])
    chosen: list[FeatureClip] = []
    people = 0
    for pid in rng.permutation(sorted(by_pid)).tolist():
        if people == identities:
            break
        shuffled = [by_pid[pid][i] for i in rng.permutation(len(by_pid[pid]))]
        first, *rest = sorted(shuffled, key=lambda t: len(t) < frames)  # stable: the random order stays
        others = sorted(rest, key=lambda t: (len(t) < frames, t.camid == first.camid))
        if others:
            pair = [(first, 0, len(first)), (others[0], 0, len(others[0]))]
        elif len(first) >= 4:
            half = len(first) // 2
            pair = [(first, 0, half), (first, half, len(first))]
        else:
            continue
        for clip, (tracklet, low, high) in enumerate(pair):
            count = min(frames, high - low)
            start = low + (high - low - count) // 2
            chosen.append(
                FeatureClip(tracklet=tracklet, frames=tuple(range(start, start + count)), clip=clip)
            )
        people += 1
    return chosen


@torch.inference_mode()
def frame_features(
    model: ClipEmbedder, clips: Sequence[FeatureClip], input_config: InputConfig
) -> npt.NDArray[np.float32]:
    """Spatial mean of the backbone's maps of each frame; float32 ``[N, F]``, clip after clip."""
    images = np.concatenate(
        [
            load_frames(c.tracklet, c.frames, height=input_config.height, width=input_config.width)
            for c in clips
        ]
    )
    device = next(model.parameters()).device
    features = []
    for start in range(0, len(images), FRAMES_AT_ONCE):
        part = torch.from_numpy(images[start : start + FRAMES_AT_ONCE]).permute(0, 3, 1, 2).to(device)
        maps = model.maps(normalise(part, mean=input_config.mean, std=input_config.std).unsqueeze(0))
        features.append(maps[0].mean(dim=(2, 3)).float().cpu())
    return torch.cat(features).numpy()


def project(features: npt.NDArray[np.float32], *, seed: int) -> npt.NDArray[np.float64]:
    """Lay features ``[N, F]`` on a plane ``[N, 2]`` so that near ones stay near."""
    manifold = require_extra("sklearn.manifold", extra="report", purpose="t-SNE")
    spread = features.std()
    if not spread > 0:  # a collapsed network: every frame is the same point
        return np.zeros((len(features), 2))
    method = manifold.TSNE(
        n_components=2,
        perplexity=min(20.0, (len(features) - 1) / 3),
        init="pca",
        learning_rate="auto",
        max_iter=ITERATIONS,
        random_state=seed % 2**32,
    )
    # t-SNE does not care about the scale of the features, its start does.
    # One thread: so few points gain nothing from more, and on a busy machine threads that wait for each other made
    # it twenty times slower. It also keeps the picture the same on every number of cores.
    threads = require_extra("threadpoolctl", extra="report", purpose="t-SNE")
    with threads.threadpool_limits(limits=1):
        points = method.fit_transform((features - features.mean(axis=0)) / spread)
    return np.asarray(points, dtype=np.float64)


def separation(features: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """Mean silhouette coefficient (Rousseeuw 1987) by person or clip, -1..1, of features ``[N, F]``.

    1: every frame is close to its own group and far from the others; 0: groups overlap; below 0: frames are nearer
    to another one. Measured in the feature space, not on the plane.
    """
    metrics = require_extra("sklearn.metrics", extra="report", purpose="t-SNE")
    if not features.std() > 0:
        return 0.0
    return float(metrics.silhouette_score(features, labels))
