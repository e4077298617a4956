"""A small world for the tests of `link`: people, cameras and times that are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from intraclip.link.evidence import Evidence
from intraclip.metrics.embeddings import Embeddings

CAMERAS = 5


@dataclass(frozen=True, kw_only=True)
class World:
    names: tuple[str, ...]
    pids: np.ndarray
    evidence: Evidence

    def evidence_with(self, **changes: Any) -> Evidence:
        return Evidence(
            **{
                "features": self.evidence.features,
                "camids": self.evidence.camids,
                "times": self.evidence.times,
                **changes,
            }
        )

    @property
    def embeddings(self) -> Embeddings:
        return Embeddings(
            features=self.evidence.features,
            pids=self.pids,
            camids=self.evidence.camids,
            is_query=np.zeros(len(self.pids), dtype=bool),
            names=self.names,
        )


def make_world(*, people: int = 12, cameras: int = 3, noise: float = 0.35, seed: int = 0) -> World:
    """Everybody walks once through every camera; two people are never seen by a camera at once by themselves."""
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(1, people + 1), cameras)
    camids = np.tile(np.arange(1, cameras + 1), people)
    features = rng.normal(size=(people, 8))[pids - 1] + noise * rng.normal(size=(len(pids), 8))
    starts = 10.0 * pids + 100.0 * camids + rng.uniform(0, 15, size=len(pids))
    return World(
        names=tuple(f"t{row:03d}" for row in range(len(pids))),
        pids=pids,
        evidence=Evidence(
            features=features.astype(np.float32), camids=camids, times=np.stack([starts, starts + 12], axis=1)
        ),
    )


def walks(
    seed: int, *, people: int = 40, noise: float = 1.5, span: float = 240.0, beside: bool = False
) -> tuple[Evidence, np.ndarray]:
    """People who walk through three of five cameras, 6 to 12 seconds apart; with `beside`, 1 and 2 film one place."""
    rng = np.random.default_rng(seed)
    look = rng.normal(size=(people, 32))
    looks, camids, times, pids = [], [], [], []
    for pid in range(people):
        clock, start = float(rng.uniform(0, span)), 0.0
        route = (rng.permutation(CAMERAS)[:3] + 1).tolist()
        for number, camera in enumerate(route):
            if beside and {camera, route[number - 1]} == {1, 2} and number:
                clock = start + float(rng.uniform(-1, 1))
            elif number:
                clock += float(rng.uniform(6, 12))
            start, clock = clock, clock + float(rng.uniform(4, 8))
            looks.append(look[pid] + 0.3 * noise * rng.normal(size=32))
            camids.append(camera)
            times.append((start, clock))
            pids.append(pid + 1)
    return (
        Evidence(
            features=np.array(looks, dtype=np.float32),
            camids=np.array(camids),
            metric="cosine",
            times=np.array(times),
        ),
        np.array(pids),
    )
