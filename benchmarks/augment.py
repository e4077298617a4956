"""Milliseconds of Synchronous Data Augmentation, uint8 frames to a normalised float32 batch; all sides in turn.

Run: python benchmarks/augment.py [--rounds 15] [--threads 2] [--size CLIPS FRAMES HEIGHT WIDTH]

The side of kornia (Apache-2.0) is left out where it is not installed, as intraclip itself does not want it.

Sides, in one process, each once a round, each round with another draw:

- copy: uint8 -> float32 into an existing tensor of the same layout. The limit: every side must at least do this.
- ours: `intraclip.data.augment.apply` into a reused buffer; `new memory`: without one; `planar`: of frames with
  planar memory; `bfloat16`: into half the memory.
- torchvision functional: the functions of transforms.v2, clip by clip, with the very draw that ours gets.
- torchvision: transforms.v2 objects, clip by clip, drawing for themselves with the same probabilities and ranges.
- kornia: VideoSequential(same_on_frame=True), likewise.

Frames have channels-last memory for ours and the copy, planar memory for torchvision and kornia, which are faster so.
Agreement is printed too: ours against torchvision functional, in grey levels. On a machine that others use as well,
look at the CPU time with --threads 1: a side that waits for a core, or whose threads spin for one, looks slow.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from intraclip.config import AugmentConfig
from intraclip.data.augment import AugmentParameters, apply, draw
from intraclip.data.augment_kernels import Channels

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
CONFIGS = {
    "default probabilities (0.5 each, no rotation)": AugmentConfig(),
    "crop, flip and erase in every clip": AugmentConfig(
        crop_probability=1, flip_probability=1, erase_probability=1
    ),
    "crop, flip, rotation and erase in every clip": AugmentConfig(
        crop_probability=1, flip_probability=1, rotate_probability=1, erase_probability=1
    ),
}
ALONE: dict[str, AugmentConfig] = {
    "normalise only": AugmentConfig(mode="none"),
    "and crop": AugmentConfig(crop_probability=1, flip_probability=0, erase_probability=0),
    "and flip": AugmentConfig(crop_probability=0, flip_probability=1, erase_probability=0),
    "and erase": AugmentConfig(crop_probability=0, flip_probability=0, erase_probability=1),
    "and rotation": AugmentConfig(
        crop_probability=0, flip_probability=0, erase_probability=0, rotate_probability=1
    ),
}

Side = Callable[[AugmentParameters], torch.Tensor]
Times = dict[str, list[float]]


def torchvision_functional(frames: torch.Tensor, parameters: AugmentParameters) -> torch.Tensor:
    """The same draw through torchvision's functions, clip by clip."""
    height, width = frames.shape[-2:]
    batch = []
    for i, clip in enumerate(frames):
        crop, erase = parameters.crop[i, 0].tolist(), parameters.erase[i, 0].tolist()
        image = clip
        if crop != [0, 0, height, width]:
            image = F.resized_crop(image, *crop, size=[height, width], antialias=True)
        if parameters.flip[i, 0]:
            image = F.horizontal_flip(image)
        if angle := parameters.angle[i, 0].item():
            image = F.rotate(image, angle, interpolation=v2.InterpolationMode.BILINEAR)
        image = F.normalize(F.to_dtype(image, torch.float32, scale=True), MEAN, STD)
        if erase[2]:
            image = F.erase(image, *erase, v=torch.zeros(()))
        batch.append(image)
    return torch.stack(batch)


def torchvision_objects(config: AugmentConfig, height: int, width: int) -> Callable[[torch.Tensor], Any]:
    """The same operations as transform objects of torchvision."""
    crop = v2.RandomResizedCrop(
        (height, width),
        scale=(config.crop_scale[0] ** 2, config.crop_scale[1] ** 2),
        ratio=(width / height,) * 2,
        antialias=True,
    )
    rotate = v2.RandomRotation(config.rotate_degrees, interpolation=v2.InterpolationMode.BILINEAR)
    transform: Callable[[torch.Tensor], Any] = v2.Compose(
        [
            v2.RandomApply([crop], config.crop_probability),
            v2.RandomHorizontalFlip(config.flip_probability),
            *([v2.RandomApply([rotate], config.rotate_probability)] if config.rotate_probability else []),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
            v2.RandomErasing(config.erase_probability, config.erase_area, config.erase_aspect),
        ]
    )
    return transform


def kornia_video(config: AugmentConfig, height: int, width: int) -> Callable[[torch.Tensor], Any]:
    """The same operations in kornia's container for video."""
    import kornia.augmentation as K

    transform: Callable[[torch.Tensor], Any] = K.VideoSequential(
        K.RandomResizedCrop(
            (height, width),
            scale=(config.crop_scale[0] ** 2, config.crop_scale[1] ** 2),
            ratio=(width / height,) * 2,
            p=config.crop_probability,
        ),
        K.RandomHorizontalFlip(p=config.flip_probability),
        *(
            [K.RandomRotation(config.rotate_degrees, p=config.rotate_probability)]
            if config.rotate_probability
            else []
        ),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
        K.RandomErasing(config.erase_area, config.erase_aspect, p=config.erase_probability),
        data_format="BTCHW",
        same_on_frame=True,
    )
    return transform


def in_turn(
    sides: dict[str, Side], draws: list[AugmentParameters]
) -> tuple[Times, Times, dict[str, torch.Tensor]]:
    """Wall and CPU milliseconds of every side in every round, and the last results; a first round does not count."""
    wall: Times = {name: [] for name in sides}
    cpu: Times = {name: [] for name in sides}
    results: dict[str, torch.Tensor] = {}
    for parameters in [draws[-1], *draws]:
        for name, side in sides.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            results[name] = side(parameters)
            wall[name].append((time.perf_counter() - start) * 1000)
            cpu[name].append((time.process_time() - cpu_start) * 1000)
    for values in (*wall.values(), *cpu.values()):
        del values[0]
    return wall, cpu, results


def ratio(times: Times, name: str, base: str) -> float:
    """Median, over the rounds, of one side's time over another's."""
    return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))


def drawn(config: AugmentConfig, shape: torch.Size, rounds: int) -> list[AugmentParameters]:
    """One draw a round."""
    clips, frames, _, height, width = shape
    return [
        draw(
            config,
            clips=clips,
            frames=frames,
            height=height,
            width=width,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in range(rounds)
    ]


def compare(title: str, config: AugmentConfig, frames: torch.Tensor, rounds: int) -> None:
    """Medians, and medians of the ratios within a round."""
    height, width = frames.shape[-2:]
    planar = frames.contiguous()
    out = torch.zeros_like(frames, dtype=torch.float32)
    half = torch.zeros_like(frames, dtype=torch.bfloat16)
    copy = torch.zeros_like(out)
    objects = torchvision_objects(config, height, width)
    sides: dict[str, Side] = {
        "copy": lambda _: copy.copy_(frames),
        "ours": lambda p: apply(frames, p, mean=MEAN, std=STD, out=out),
        "ours, new memory": lambda p: apply(frames, p, mean=MEAN, std=STD),
        "ours, planar": lambda p: apply(planar, p, mean=MEAN, std=STD, out=out),
        "ours, bfloat16": lambda p: apply(frames, p, mean=MEAN, std=STD, out=half),
        "torchvision functional": lambda p: torchvision_functional(planar, p),
        "torchvision": lambda _: torch.stack([objects(clip) for clip in planar]),
    }
    try:
        video = kornia_video(config, height, width)
        sides["kornia"] = lambda _: video(planar.to(torch.float32) / 255)
    except ModuleNotFoundError:
        print("kornia is not installed and left out; run: pip install kornia")
    wall, cpu, results = in_turn(sides, drawn(config, frames.shape, rounds))
    head = (
        f"{'':24}{'wall ms':>9}{'least':>8}{'x ours':>8}{'copies':>8}{'CPU ms':>9}{'x ours':>8}{'copies':>8}"
    )
    print(f"\n{title}\n  {head}")
    for name in sides:
        row = f"  {name:24}{statistics.median(wall[name]):9.1f}{min(wall[name]):8.1f}"
        row += f"{ratio(wall, name, 'ours'):8.2f}{ratio(wall, name, 'copy'):8.1f}"
        row += f"{statistics.median(cpu[name]):9.1f}{ratio(cpu, name, 'ours'):8.2f}{ratio(cpu, name, 'copy'):8.1f}"
        print(row)
    difference = (results["ours, planar"] - results["torchvision functional"]).abs() * STD[0] * 255
    print(
        f"  ours differs from torchvision functional by at most {difference.max():.2f} grey levels, "
        f"by {difference.mean():.3f} on average"
    )


def stages(frames: torch.Tensor, rounds: int) -> None:
    """What each operation costs when every clip gets it and nothing else."""
    out = torch.zeros_like(frames, dtype=torch.float32)

    def side(mean: Channels, std: Channels) -> Side:
        return lambda parameters: apply(frames, parameters, mean=mean, std=std, out=out)

    print(f"\nours by operation, every clip\n  {'':24}{'wall ms':>9}{'CPU ms':>9}")
    imagenet = (
        "normalise, by channel",
        AugmentConfig(mode="none"),
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    )
    for name, config, mean, std in [*((name, config, MEAN, STD) for name, config in ALONE.items()), imagenet]:
        wall, cpu, _ = in_turn({"": side(mean, std)}, drawn(config, frames.shape, rounds))
        print(f"  {name:24}{statistics.median(wall['']):9.1f}{statistics.median(cpu['']):9.1f}")
    start = time.perf_counter()
    drawn(AugmentConfig(), frames.shape, rounds)
    print(f"  {'draw':24}{(time.perf_counter() - start) * 1000 / rounds:9.1f}")


def pictures(clips: int, length: int, height: int, width: int) -> torch.Tensor:
    """Smooth pictures with some noise, as a camera's are: white noise would show rounding at its worst.

    uint8 ``[B, T, 3, H, W]``, in memory ``[B, T, H, W, 3]``.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(clips * length, 3, height // 16, width // 16, generator=generator) * 255
    smooth = F.resize(coarse, [height, width], interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
    noise = 4 * torch.randn(smooth.shape, generator=generator)
    planar = (smooth + noise).clamp(0, 255).to(torch.uint8).view(clips, length, 3, height, width)
    return planar.movedim(2, -1).contiguous().movedim(-1, 2)


def main() -> None:
    """Compare under each configuration, then take ours apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--size", type=int, nargs=4, default=(32, 4, 256, 128), metavar=("B", "T", "H", "W"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", category=FutureWarning)
    clips, length, height, width = arguments.size
    frames = pictures(clips, length, height, width)
    print(
        f"{clips} clips x {length} frames x 3 x {height} x {width}, {arguments.threads} threads, "
        f"torch {torch.__version__}"
    )
    for title, config in CONFIGS.items():
        compare(title, config, frames, arguments.rounds)
    stages(frames, arguments.rounds)


if __name__ == "__main__":
    main()
