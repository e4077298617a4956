"""A training step with TAP: ours against the loop of public video code, both sides in turn in one process.

Run: python benchmarks/step.py [--torchreid FOLDER] [--backbone resnet50] [--identities 4] [--clips 2] [--frames 4]
     [--rounds 3] [--device cpu] [--precision bf16] [--compile]
     python benchmarks/step.py --scaling [...]

Sides, with the same network, weights and batch:

- public: network and batch as torch makes them (NCHW), augmentation left out (public code does it frame by frame in
  its data loader), the losses, the optimizer and the `.item()` calls of torchreid's engine. The losses come from
  FOLDER when it is given, else they are written here the same way: mining by a Python loop over anchors.
- ours: `TrainingStep`, from uint8 to updated weights, SDA included; in fp32, and in --precision and --compile if given.

The share of the device's peak is that of a large matrix product in the same precision, measured here.

--scaling prints time and memory of a step for T = 4, 8, 16, 32 and for larger P x K, each in a process of its own
(memory is the process's peak, on a GPU the allocator's), also with `step.pieces` and `step.recompute`.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import intraclip.process

intraclip.process.tune()

import torch  # noqa: E402  OpenMP reads its settings once
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from intraclip.config import BatchConfig, ClipConfig, InputConfig, ModelConfig, Recipe, StepConfig  # noqa: E402
from intraclip.core.devices import choose_device  # noqa: E402
from intraclip.core.distributed import World  # noqa: E402
from intraclip.data.clip_batch import ClipBatch  # noqa: E402
from intraclip.data.normalise import normalise  # noqa: E402
from intraclip.models.embedder import build_embedder, triplet_vector  # noqa: E402
from intraclip.train.gpu import backend_settings  # noqa: E402
from intraclip.train.step import Done, TrainingStep, autocast  # noqa: E402
from intraclip.train.throughput import peak_memory  # noqa: E402

IDENTITIES_IN_TRAINING = 625  # MARS


def batch_of(recipe: Recipe, device: torch.device) -> ClipBatch:
    """Noise as uint8 clips; what a frame shows does not change the time of a step."""
    b, t = recipe.batch.identities * recipe.batch.clips, recipe.clip.num_frames
    size = (b, t, recipe.input.height, recipe.input.width, 3)
    frames = torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(recipe.batch.identities).repeat_interleave(recipe.batch.clips)
    return ClipBatch(
        frames=frames.permute(0, 1, 4, 2, 3),
        mask=torch.ones(b, t, dtype=torch.bool),
        pids=labels + 1,
        camids=labels % 2,
        labels=labels,
        owners=torch.arange(b),
    ).to(device)


class LoopTriplet(nn.Module):
    """Batch-hard triplet as public code writes it: a Python loop over the anchors."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.ranking = nn.MarginRankingLoss(margin=margin)

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of ``[B, D]``."""
        distances = torch.cdist(features, features, compute_mode="use_mm_for_euclid_dist")
        same = labels[:, None] == labels[None, :]
        positive = torch.stack([distances[i][same[i]].max() for i in range(len(labels))])
        negative = torch.stack([distances[i][~same[i]].min() for i in range(len(labels))])
        loss: torch.Tensor = self.ranking(negative, positive, torch.ones_like(positive))
        return loss


def public_losses(folder: Path | None) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Triplet and cross-entropy: torchreid's own modules if FOLDER holds them."""
    if folder is None:
        return LoopTriplet(0.3), nn.CrossEntropyLoss()
    found: dict[str, Any] = {}
    for name in ("hard_mine_triplet_loss", "cross_entropy_loss"):
        spec = importlib.util.spec_from_file_location(name, folder / "torchreid" / "losses" / f"{name}.py")
        if spec is None or spec.loader is None:
            raise SystemExit(f"{folder} holds no torchreid/losses/{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= vars(module)
    entropy = found["CrossEntropyLoss"](
        IDENTITIES_IN_TRAINING, use_gpu=torch.cuda.is_available(), label_smooth=False
    )
    return found["TripletLoss"](margin=0.3), entropy


def public_step(
    recipe: Recipe, batch: ClipBatch, device: torch.device, folder: Path | None
) -> Callable[[], None]:
    """The loop of public code on normalised NCHW frames."""
    model = build_embedder(recipe.model, recipe.input, num_classes=IDENTITIES_IN_TRAINING, seed=0)
    model.to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, weight_decay=5e-4)
    triplet, entropy = public_losses(folder)
    frames = normalise(batch.frames, mean=recipe.input.mean, std=recipe.input.std).contiguous()

    def step() -> None:
        with autocast(recipe.step, device):
            maps = model.backbone(frames.flatten(0, 1))
            pooled = F.adaptive_avg_pool2d(maps, 1).flatten(1)
            clips = model.head.from_mean(pooled.view(*frames.shape[:2], -1).mean(1))
            features = clips.embedding if triplet_vector(recipe.model) == "embedding" else clips.pooled
            logits = model.classifier(clips.embedding)
        loss = triplet(features.float(), batch.labels) + entropy(logits.float(), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        (logits.argmax(1) == batch.labels).float().mean().item()

    return step


def our_step(recipe: Recipe, batch: ClipBatch, device: torch.device) -> Callable[[], None]:
    """`TrainingStep`, its metrics read as the training loop does: with a GPU, those of the step before."""
    model = build_embedder(recipe.model, recipe.input, num_classes=IDENTITIES_IN_TRAINING, seed=0)
    training = TrainingStep(model.to(device), recipe, World(rank=0, size=1, device=device))
    number = iter(range(10**9))
    pending: deque[Done] = deque()

    def step() -> None:
        pending.append(training(batch, step=next(number)))
        if device.type == "cpu" or len(pending) > 1:
            pending.popleft().read()

    return step


def seconds(step: Callable[[], None], device: torch.device, repeats: int) -> float:
    """Seconds a step."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def flops_of(recipe: Recipe) -> float:
    """Floating point operations of forward and backward of a batch, a multiplication and an addition being two.

    Counted by shapes alone (device ``meta``), of convolutions and matrix products.
    """
    model = build_embedder(recipe.model, recipe.input, num_classes=IDENTITIES_IN_TRAINING, seed=0).to("meta")
    clips, length = recipe.batch.identities * recipe.batch.clips, recipe.clip.num_frames
    frames = torch.empty(clips, length, 3, recipe.input.height, recipe.input.width, device="meta")
    mask = torch.ones(clips, length, dtype=torch.bool, device="meta")
    with FlopCounterMode(display=False) as counter:
        model.train()(frames, mask).logits.sum().backward()
    return float(counter.get_total_flops())


def peak_flops(recipe: Recipe, device: torch.device) -> float:
    """Operations a second of a large matrix product in the step's precision."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)

    def product() -> None:
        with autocast(recipe.step, device):
            torch.mm(a, b)

    if recipe.step.precision in ("bf16", "fp16"):
        dtype = torch.bfloat16 if recipe.step.precision == "bf16" else torch.float16
        a, b = a.to(dtype), b.to(dtype)
    product()
    return 2 * size**3 / min(seconds(product, device, 5) for _ in range(3))


def compare(args: argparse.Namespace, recipe: Recipe, device: torch.device) -> None:
    """Both sides in turn."""
    batch = batch_of(recipe, device)
    recipes = {"ours fp32": recipe}
    if args.precision != "fp32":
        recipes[f"ours {args.precision}"] = replace(recipe, step=StepConfig(precision=args.precision))
    if args.compile:
        recipes[f"ours {args.precision}, compiled"] = replace(
            recipe, step=StepConfig(precision=args.precision, compile=True)
        )
    sides = {"public fp32": (recipe, public_step(recipe, batch, device, args.torchreid))}
    sides |= {name: (r, our_step(r, batch, device)) for name, r in recipes.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    repeats = 20 if device.type == "cuda" else 1
    for used, step in sides.values():  # first steps allocate, tune and compile
        with backend_settings(used.step, device):
            seconds(step, device, 3 if device.type == "cuda" else 1)
    for _ in range(args.rounds):
        for name, (used, step) in sides.items():
            with backend_settings(used.step, device):
                times[name].append(seconds(step, device, repeats))
    work = flops_of(recipe)
    base = statistics.median(times["public fp32"])
    clips, frames = batch.frames.shape[:2]
    print(f"{args.backbone}, TAP, {clips} clips x {frames} frames, {work / 1e12:.2f} TFLOP a step, {device}")
    for name, (used, _) in sides.items():
        median = statistics.median(times[name])
        peak = peak_flops(used, device)
        print(
            f"{name:24} {median:8.4f} s  {clips / median:8.1f} clips/s  {base / median:5.2f} x public  "
            f"{work / median / peak:5.1%} of a product's {peak / 1e12:.2f} TFLOP/s"
        )


def one(recipe: Recipe, device: torch.device) -> None:
    """Time and peak memory of one configuration; for a process of its own."""
    batch = batch_of(recipe, device)
    before = peak_memory()
    with backend_settings(recipe.step, device):
        step = our_step(recipe, batch, device)
        step()
        took = min(seconds(step, device, 1) for _ in range(2))
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory() - before
    print(f"{took} {memory / 2**30}")


def scaling(args: argparse.Namespace) -> None:
    """T, P x K, pieces and recomputation, each in a process of its own."""
    rows = [(4, 2, t, 1, False) for t in (4, 8, 16, 32)]
    rows += [(p, k, 4, 1, False) for p, k in ((4, 4), (4, 8), (8, 4), (16, 4))]
    rows += [(4, 2, 16, 1, True), (4, 2, 16, 4, False), (16, 4, 4, 8, False), (16, 4, 4, 8, True)]
    print(f"{args.backbone}, {args.device}, {args.precision}: seconds a step, GiB of memory for it")
    for p, k, t, pieces, recompute in rows:
        flags = ["--identities", p, "--clips", k, "--frames", t, "--pieces", pieces]
        same = ["--backbone", args.backbone, "--device", args.device, "--precision", args.precision]
        command = [sys.executable, __file__, "--one", *map(str, flags), *same]
        done = subprocess.run(
            command + ["--recompute"] * recompute, capture_output=True, text=True, check=False
        )
        name = f"P {p:2} K {k} T {t:2}" + f", {pieces} pieces" * (pieces > 1) + ", recompute" * recompute
        if done.returncode:
            print(f"{name:36} failed: {done.stderr.strip().splitlines()[-1] if done.stderr else 'killed'}")
            continue
        took, memory = map(float, done.stdout.split())
        print(f"{name:36} {took:8.3f} s  {p * k * t / took:8.1f} frames/s  {memory:6.2f} GiB", flush=True)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--torchreid", type=Path)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--identities", type=int, default=4)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--pieces", type=int, default=1)
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "tf32", "bf16", "fp16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    recipe = Recipe(
        input=InputConfig(),
        clip=ClipConfig(num_frames=args.frames),
        batch=BatchConfig(identities=args.identities, clips=args.clips),
        model=ModelConfig(backbone=args.backbone, head="tap", weights=""),
    )
    device = choose_device(args.device)
    if args.scaling:
        scaling(args)
    elif args.one:
        settings = StepConfig(precision=args.precision, pieces=args.pieces, recompute=args.recompute)
        one(replace(recipe, step=settings), device)
    else:
        compare(args, recipe, device)


if __name__ == "__main__":
    main()
