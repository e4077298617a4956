"""A tiny world of coloured people, and two trained and scored runs on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg

from intraclip.config import (
    AugmentConfig,
    BatchConfig,
    ClipConfig,
    DataConfig,
    InputConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    RunConfig,
)
from intraclip.embed.evaluate import evaluate
from intraclip.train.loop import train
from intraclip.types import Split, Tracklet

HEIGHT, WIDTH = 64, 32
HOSTILE = "<script>alert('x')</script>"
"""A tracklet name that must not become markup."""


def make_tracklet(
    root: Path, rng: np.random.Generator, *, name: str, pid: int, camid: int, length: int
) -> Tracklet:
    """A block with the colours of its pid that sways over noise."""
    colours = np.random.default_rng(pid).integers(30, 256, (2, 3))
    folder = root / f"{pid:04d}c{camid}"
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for t in range(length):
        picture = rng.integers(60, 110, (HEIGHT, WIDTH, 3))
        left = 9 + round(3 * np.sin(t))
        picture[8:34, left : left + 14] = colours[0]
        picture[34:60, left : left + 14] = colours[1]
        picture = np.clip(picture + 12 * camid + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)
        file = folder / f"{t:03d}.jpg"
        file.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=90))
        frames.append(f"{folder.name}/{file.name}")
    return Tracklet(name=name, root=root, frames=tuple(frames), pid=pid, camid=camid)


def make_split(root: Path) -> Split:
    """Four training people, six test people in two cameras, one distractor; one query has a hostile name."""
    rng = np.random.default_rng(5)

    def one(pid: int, camid: int, name: str = "", length: int = 14) -> Tracklet:
        return make_tracklet(
            root, rng, name=name or f"{pid:04d}C{camid}", pid=pid, camid=camid, length=length
        )

    train_set = tuple(one(pid, camid) for pid in (1, 2, 3, 4) for camid in (1, 2))
    query = tuple(one(pid, 1, name=HOSTILE if pid == 11 else "") for pid in range(11, 17))
    gallery = tuple(one(pid, 2, length=3 if pid == 12 else 14) for pid in range(11, 17))
    return Split(
        dataset="toy",
        root=root,
        train=train_set,
        query=query,
        gallery=(*gallery, one(0, 2)),
        protocol="cross-camera",
    )


def make_recipe(**model: object) -> Recipe:
    return Recipe(
        description="A toy run.",
        device="cpu",
        input=InputConfig(height=HEIGHT, width=WIDTH),
        clip=ClipConfig(num_frames=3),
        batch=BatchConfig(identities=4, clips=2),
        model=ModelConfig(backbone="small", weights="", **model, backbone_settings={"width": 0.5}),  # type: ignore[arg-type]
        optimizer=OptimizerConfig(epochs=2),
        data=DataConfig(workers=0),
        run=RunConfig(tensorboard=False),
    )


class World(NamedTuple):
    split: Split
    runs: dict[str, Path]


def make_world(folder: Path) -> World:
    split = make_split(folder / "data")
    tap = replace(make_recipe(head="tap"), augment=AugmentConfig(mode="asynchronous"))
    ica = make_recipe(head="ica")
    runs = {"Model 1: TAP, asynchronous": folder / "tap", "Model 4: ICA, synchronous": folder / "ica"}
    for recipe, run in zip((tap, ica), runs.values(), strict=True):
        train(recipe, data=split, out=run)
        evaluate(run, data=split)
    return World(split, runs)
