"""Frames a second into the training batch: packs against Pillow on loose files, in turn.

Run: python benchmarks/pack.py [DATA] [--rounds 5] [--workers 2] [--batches 40]. Without DATA a small benchmark is
rendered first. Both sides draw the same clips, run the same number of workers, and are timed from the first batch
that has arrived to the last. A pack is opened once: its checksums are compared in the first round, which is not
counted, as in the first epoch of a training. The Pillow side is what public video code does: a data set of clips, each
frame opened, converted and resized by Pillow, turned into a tensor by torchvision, and put together by torch's own
collate function; it stops at uint8, as ours does, though that code goes on to floats. Every file is in the page cache:
disks are not measured.
"""
# ruff: noqa: E402 - `tune` must run before torch is imported

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from intraclip.process import tune

tune()  # before torch is imported, as the command line does

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import pil_to_tensor

from extract import cpu_seconds
from intraclip.config import Recipe
from intraclip.data.batches import iterate
from intraclip.data.dataset import TrainingBatches
from intraclip.data.pack.format import PackSettings
from intraclip.data.pack.write import write_pack
from intraclip.data.readers import read_split
from intraclip.studio import make_benchmark
from intraclip.studio.config import BenchmarkConfig
from intraclip.types import Split

TARGETS = {"pack, JPEG bytes kept": 1.8, "pack, raw frames": 5.0}


class PillowClips(Dataset[tuple[torch.Tensor, int]]):
    """One clip an item, an item being a tracklet's number and its frames."""

    def __init__(self, split: Split, recipe: Recipe) -> None:
        self.split, self.size = split, (recipe.input.width, recipe.input.height)

    def __getitem__(self, item: tuple[int, list[int]]) -> tuple[torch.Tensor, int]:
        owner, indices = item
        tracklet = self.split.train[owner]
        frames = [
            pil_to_tensor(
                Image.open(tracklet.frame_path(i)).convert("RGB").resize(self.size, Image.Resampling.BILINEAR)
            )
            for i in indices
        ]
        return torch.stack(frames), tracklet.pid


def batches_of(split: Split, recipe: Recipe, count: int) -> TrainingBatches:
    """The first `count` training batches."""
    return TrainingBatches(split.train, recipe, stop=count)


def ours(split: Split, recipe: Recipe, count: int) -> Iterator[torch.Tensor]:
    """Batches as training gets them."""
    batches = batches_of(split, recipe, count)
    for loaded in iterate(batches, workers=recipe.data.workers, prefetch=recipe.data.prefetch):
        yield loaded.frames


def pillow(split: Split, recipe: Recipe, count: int) -> Iterator[torch.Tensor]:
    """The same clips through Pillow."""
    drawn = batches_of(split, recipe, count)
    chosen = [[(owner, clip.indices.tolist()) for owner, clip in drawn.choose(i)] for i in range(count)]
    loader = DataLoader(
        PillowClips(split, recipe), batch_sampler=chosen, num_workers=recipe.data.workers, prefetch_factor=2
    )
    for frames, _ in loader:
        yield frames


def frames_a_second(
    batches: Iterator[torch.Tensor], touch: Callable[[torch.Tensor], object]
) -> tuple[float, float]:
    """Frames a second after the first batch, which waits for the workers to start; and a second of processor time.

    The latter is of all processes and all batches.
    """
    before = cpu_seconds()  # workers have ended when their batches are read
    first = next(batches)
    touch(first)
    began, frames = time.perf_counter(), 0
    for batch in batches:
        touch(batch)
        frames += batch.shape[0] * batch.shape[1]
    wall = time.perf_counter() - began
    every = frames + first.shape[0] * first.shape[1]
    return frames / wall, every / (cpu_seconds() - before)


def first_pixels(batch: torch.Tensor) -> int:
    """Read something of every frame in the main process."""
    return int(batch[:, :, :, 0, 0].sum())


def main() -> None:
    """Print frames a second of every side and round, medians, and ratios against Pillow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, help="data folder with JPEG frames")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=40)
    args = parser.parse_args()
    recipe = Recipe()
    recipe = replace(recipe, data=replace(recipe.data, workers=args.workers))
    with tempfile.TemporaryDirectory() as folder:
        data = args.data
        if data is None:
            data = Path(folder) / "data"
            make_benchmark(data, BenchmarkConfig(identities=12, cameras=4, layout="mars"))
        packs = {kind: Path(folder) / kind for kind in ("keep", "raw")}
        size = {"height": recipe.input.height, "width": recipe.input.width}
        for kind, out in packs.items():
            made = write_pack(data, out, settings=PackSettings(frames=kind, **size))
            print(
                f"{kind}: {made.frames:,} frames, {made.bytes / 1e6:,.0f} MB, packed in {made.seconds:.1f} s"
            )
        opened = {kind: read_split(out) for kind, out in packs.items()}
        batch = recipe.batch.identities * recipe.batch.clips
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(
            f"batches of {batch} clips of {recipe.clip.num_frames} frames, {recipe.input.height} x "
            f"{recipe.input.width}, {args.workers} workers, page cache warm; frames/s"
        )
        sides: dict[str, Callable[[], Iterator[torch.Tensor]]] = {
            "Pillow, loose files": lambda: pillow(read_split(data), recipe, args.batches),
            "intraclip, loose files": lambda: ours(read_split(data), recipe, args.batches),
            "pack, JPEG bytes kept": lambda: ours(opened["keep"], recipe, args.batches),
            "pack, raw frames": lambda: ours(opened["raw"], recipe, args.batches),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for number in range(args.rounds + 1):  # the first round warms the page cache and is not counted
            for name, start in sides.items():
                speeds = frames_a_second(start(), first_pixels)
                if number:
                    found[name].append(speeds)
                    print(f"round {number}  {name}: {speeds[0]:,.0f}, a processor second {speeds[1]:,.0f}")
    medians = {
        name: [statistics.median(s[i] for s in rounds) for i in (0, 1)] for name, rounds in found.items()
    }
    base = medians["Pillow, loose files"]
    for name, (speed, each) in medians.items():
        target = f", target {TARGETS[name]}" if name in TARGETS else ""
        print(
            f"median  {name}: {speed:,.0f} frames/s, {speed / base[0]:.2f} times Pillow{target}; a processor second "
            f"{each:,.0f}, {each / base[1]:.2f} times"
        )


if __name__ == "__main__":
    main()
