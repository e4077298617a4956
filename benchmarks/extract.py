"""Extraction against the plain loop and against the bare network, by engine; and peak memory by length.

Run: python benchmarks/extract.py [--networks resnet50 resnet18 small] [--rounds 3] [--frames 300] [--engines torch]

Tracklets are ragged: 1 to 60 frames, most of them short. Sides, in turn, each round, with one network (weights random,
TAP), clips of 4 frames, and as many decoding processes:

- ours: `FrameExtractor`, by engine.
- clip by clip: as public video code does it. A data loader decodes one tracklet after the other with Pillow, pads its
  last clip, and hands over floats; the network, in its default memory layout, sees one clip at a time.
- tracklet by tracklet: the same, but all clips of a tracklet go through the network at once.
- bare: the backbone alone in channels-last memory on frames that are in memory as floats, at its best batch size.
- bare, folded: the same with batch normalisation folded into convolutions, as ours runs it, in batches of 16.

Memory: the largest resident size of a process that extracts one tracklet of 10, 100, 1,000 or 5,000 frames, each in a
process of its own without decoding processes, ours and tracklet by tracklet (Linux).
Under other load, seconds say little and seconds of CPU more: both are printed, the latter with those of the decoding
processes.
"""

# ruff: noqa: E402 - `tune` must run before torch is imported

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from intraclip.process import tune

tune()  # before torch is imported, as the command line does

import cv2
import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from intraclip.config import ClipConfig, InputConfig, ModelConfig, Recipe
from intraclip.data.test_clips import tracklet_clips
from intraclip.embed.encoders import open_encoder
from intraclip.embed.encoders.torch_encoder import TorchEncoder
from intraclip.embed.extract import extractor_of
from intraclip.embed.extractors import ExtractSettings, FrameExtractor
from intraclip.errors import IntraclipError
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.heads.tap import TAP
from intraclip.models.saving import save_checkpoint
from intraclip.types import Tracklet

CLIP = ClipConfig(num_frames=4)
NETWORKS = {
    "resnet50": (ModelConfig(backbone="resnet50", head="tap", weights=""), InputConfig()),
    "resnet18": (
        ModelConfig(backbone="resnet18", head="tap", weights="", backbone_settings={"width": 0.5}),
        InputConfig(height=128, width=64),
    ),
    "small": (ModelConfig(backbone="small", head="tap", weights=""), InputConfig(height=128, width=64)),
}
MEMORY_LENGTHS = (10, 100, 1000, 5000)

Side = Callable[[], "np.ndarray[tuple[int, int], np.dtype[np.float32]]"]


def build(name: str) -> ClipEmbedder:
    """One of the networks, in evaluation mode."""
    config, size = NETWORKS[name]
    return build_embedder(config, size, num_classes=2, seed=0).eval()


def write_frames(folder: Path, count: int) -> tuple[str, ...]:
    """JPEG files of 256 x 128 with the detail of a photograph rather than of noise."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, size=(32, 16, 3), dtype=np.uint8)
        frame = cv2.resize(coarse, (128, 256), interpolation=cv2.INTER_CUBIC)
        (folder / f"{number:03d}.jpg").write_bytes(
            simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=90)
        )
    return tuple(f"{number:03d}.jpg" for number in range(count))


def ragged(folder: Path, frames: int) -> list[Tracklet]:
    """Tracklets of 1 to 60 frames, even on a logarithmic scale, `frames` in all."""
    files, rng, left = write_frames(folder, 200), np.random.default_rng(1), frames
    tracklets: list[Tracklet] = []
    while left > 0:
        length = min(left, int(np.exp(rng.uniform(0, np.log(61)))))
        tracklets.append(tracklet(folder, files, length, len(tracklets) + 1))
        left -= length
    return tracklets


def tracklet(folder: Path, files: Sequence[str], length: int, number: int = 1) -> Tracklet:
    """One tracklet of the given files, over and over."""
    chosen = tuple(files[(number + i) % len(files)] for i in range(length))
    return Tracklet(name=f"t{number}", root=folder, frames=chosen, pid=number, camid=1)


class PaddedTracklets(Dataset["tuple[torch.Tensor, torch.Tensor]"]):
    """Item i: the clips of tracklet i as floats ``[n, T, 3, H, W]``, the last one padded, and their mask; Pillow."""

    def __init__(self, tracklets: Sequence[Tracklet], size: InputConfig) -> None:
        self.tracklets, self.size = tracklets, size

    def __len__(self) -> int:
        return len(self.tracklets)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.tracklets[item]
        clips = tracklet_clips(len(found), CLIP)
        frames = [torch.stack([self._frame(found.frame_path(i)) for i in clip.indices]) for clip in clips]
        return torch.stack(frames), torch.from_numpy(np.stack([clip.mask for clip in clips]))

    def _frame(self, path: Path) -> torch.Tensor:
        with Image.open(path) as image:
            resized = image.convert("RGB").resize(
                (self.size.width, self.size.height), Image.Resampling.BILINEAR
            )
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255
        return (pixels - 0.5) / 0.5


@torch.inference_mode()
def plain(
    model: ClipEmbedder, tracklets: Sequence[Tracklet], workers: int, *, at_once: bool
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The plain loop: batch size 1 tracklet; its clips one by one, or at once."""
    rows = []
    device = next(model.parameters()).device
    loader = DataLoader(PaddedTracklets(tracklets, model.input_config), batch_size=1, num_workers=workers)
    for (clips,), (masks,) in loader:
        step = len(clips) if at_once else 1
        pieces = zip(clips.split(step), masks.split(step), strict=True)
        found = [model.embed(part.to(device), mask.to(device)) for part, mask in pieces]
        rows.append(torch.cat(found).mean(dim=0).cpu())
    return torch.stack(rows).numpy()


def ours(extractor: FrameExtractor, tracklets: Sequence[Tracklet], workers: int) -> Side:
    """Extraction as users run it."""
    settings = ExtractSettings(clip=CLIP, workers=workers)

    def side() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        found = [f.embedding for f in extractor.embed(tracklets, settings)]
        return np.stack([e for e in found if e is not None])

    return side


@torch.inference_mode()
def bare(model: ClipEmbedder, frames: int, batch: int) -> None:
    """The backbone and the spatial mean alone."""
    size, device = model.input_config, next(model.parameters()).device
    pixels = torch.randn(batch, 3, size.height, size.width, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    for _ in range(frames // batch):
        model.backbone(pixels).mean(dim=(2, 3))


class Speeds:
    """Frames a second of wall time and of CPU time, round by round."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def run(self, frames: int, work: Callable[[], object]) -> None:
        """Time some work on so many frames."""
        wall, cpu = time.perf_counter(), cpu_seconds()
        work()
        self.wall.append(frames / (time.perf_counter() - wall))
        self.cpu.append(frames / (cpu_seconds() - cpu))

    def __str__(self) -> str:
        return (
            f"{statistics.median(self.wall):8.1f} frames/s, {statistics.median(self.cpu):7.1f} a CPU second"
        )

    def over(self, other: Speeds) -> str:
        """This speed in parts of another: medians of the ratios round by round, as load comes and goes."""
        found = [
            statistics.median(x / y for x, y in zip(a, b, strict=True))
            for a, b in ((self.wall, other.wall), (self.cpu, other.cpu))
        ]
        return f"{found[0]:.2f} (by CPU time {found[1]:.2f})"


def cpu_seconds() -> float:
    """Of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """All sides on one network."""
    model, reference = build(name), build(name)
    model.backbone.to(memory_format=torch.channels_last)
    # Small networks are a hundred times as fast: as many frames would measure the start of the processes.
    frames = arguments.frames * (1 if name == "resnet50" else 30)
    with tempfile.TemporaryDirectory() as folder:
        tracklets = ragged(Path(folder), frames)
        sides: dict[str, Side] = {}
        for engine in dict.fromkeys(["torch", *arguments.engines]):
            try:
                extractor = (
                    frame_extractor(model) if engine == "torch" else on_engine(name, engine, Path(folder))
                )
            except IntraclipError as error:
                print(f"{name}: engine {engine} left out: {error}")
                continue
            sides[f"ours, {engine}"] = ours(extractor, tracklets, arguments.workers)
        for label, at_once in (("clip by clip", False), ("tracklet by tracklet", True)):
            sides[label] = partial(plain, reference, tracklets, arguments.workers, at_once=at_once)
        made = {side: run() for side, run in sides.items()}  # warms up
        speeds = {side: Speeds() for side in sides}
        bares, folded = {batch: Speeds() for batch in (8, 16, 32)}, Speeds()
        network = TorchEncoder(model).model
        for _ in range(arguments.rounds):
            for side, run in sides.items():
                speeds[side].run(frames, run)
            for batch, found in bares.items():
                passes = max(1, frames // 2 // batch)
                found.run(passes * batch, partial(bare, model, passes * batch, batch))
            passes = max(1, frames // 2 // 16)
            folded.run(passes * 16, partial(bare, network, passes * 16, 16))
    size = model.input_config
    print(
        f"{name} at {size.height} x {size.width}: {frames:,} frames in {len(tracklets)} tracklets, clips of "
        f"{CLIP.num_frames}, {arguments.rounds} rounds, {arguments.workers} decoding processes, "
        f"{torch.get_num_threads()} threads"
    )
    mine = speeds["ours, torch"]
    batch, best = max(bares.items(), key=lambda item: statistics.median(item[1].wall))
    print(f"  {f'bare, batches of {batch}':22} {best}; ours (torch) makes {mine.over(best)} of it")
    print(f"  {'bare, folded, of 16':22} {folded}; {folded.over(bares[16])} times as fast as not folded")
    for side, found in speeds.items():
        error = np.abs(made[side] - made["ours, torch"]).max()
        ratio = (
            f"{found.over(mine)} times ours (torch)"
            if side.startswith("ours")
            else f"ours is {mine.over(found)} times as fast"
        )
        print(f"  {side:22} {found}; {ratio}; embeddings differ by {error:.1e}", flush=True)


def frame_extractor(model: ClipEmbedder) -> FrameExtractor:
    """The extractor of a network with TAP."""
    found = extractor_of(model)
    assert isinstance(found, FrameExtractor)
    return found


def on_engine(name: str, engine: str, folder: Path) -> FrameExtractor:
    """The same network, run by another engine."""
    config, size = NETWORKS[name]
    path = folder / "run" / "model.safetensors"
    recipe = Recipe(model=config, input=size, device="cpu")
    save_checkpoint(path, build(name), recipe=recipe, pids=[1, 2], epoch=1, step=1)
    encoder = open_encoder(path.parent, engine=engine, device=None)
    return FrameExtractor(encoder, TAP(encoder.num_features))


def memory(name: str) -> None:
    """Peak memory by length, each in a process of its own."""
    print(f"{name}: largest resident size in MiB of a process that extracts one tracklet")
    print("  " + "".join(f"{f'{n:,} frames':>16}" for n in MEMORY_LENGTHS))
    for side in ("ours, dense", "ours, all", "tracklet by tracklet"):
        found = []
        for length in MEMORY_LENGTHS:
            command = [sys.executable, __file__, "--measure", name, side, str(length)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found.append(f"{json.loads(done.stdout):,.0f}" if done.returncode == 0 else "failed")
        print("  " + "".join(f"{value:>16}" for value in found) + f"   {side}")


def measure(name: str, side: str, length: int) -> float:
    """MiB of this process after extracting one tracklet."""
    model = build(name)
    with tempfile.TemporaryDirectory() as folder:
        one = [tracklet(Path(folder), write_frames(Path(folder), 20), length)]
        if side == "tracklet by tracklet":
            plain(model, one, 0, at_once=True)
        else:
            sampling = "all" if side.endswith("all") else "dense"
            clip = ClipConfig(num_frames=CLIP.num_frames, test_sampling=sampling)
            list(extractor_of(model).embed(one, ExtractSettings(clip=clip, workers=0)))
    # Not getrusage: its maximum is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Compare speeds, then memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    engines = ("torch", "onnxruntime", "openvino")
    parser.add_argument("--engines", nargs="*", default=[*engines], choices=engines, help="beside torch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--frames", type=int, default=300, help="frames for ResNet50; the others get 40 times as many"
    )
    parser.add_argument("--workers", type=int, default=2, help="decoding processes, of all sides")
    parser.add_argument(
        "--memory", default="small", choices=[*NETWORKS, "none"], help="network of the memory table"
    )
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, side, length = arguments.measure
        print(measure(name, side, int(length)))
        return
    print(f"{os.cpu_count()} cores, torch {torch.__version__}")
    for name in arguments.networks:
        compare(name, arguments)
    if arguments.memory != "none":
        memory(arguments.memory)


if __name__ == "__main__":
    main()
