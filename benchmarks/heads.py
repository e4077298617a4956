"""What every head costs: parameters, operations, time and memory of a clip.

Run: python benchmarks/heads.py [--features 2048] [--frames 4] [--height 8] [--width 4] [--clips 32] [--rounds 5]
     [--device cpu] [--head NAME ...]

Maps are those of ResNet50 at 256 x 128 unless said otherwise. Printed as a Markdown table:

- parameters, and GFLOP a clip (two a multiplication and addition, as `torch.utils.flop_counter` counts them; it counts
  products and convolutions only), of the head alone;
- ms a clip at test (no gradients) and in training (forward and backward), for batches of --clips clips:
  the median over the rounds of the best of three, the heads in turn;
- MB a clip that the forward pass of training keeps for the backward pass, weights left out: saved tensors, each
  storage once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import intraclip.process

intraclip.process.tune()

import torch  # noqa: E402  OpenMP reads its settings once
from torch import nn  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from intraclip.config import ModelConfig  # noqa: E402
from intraclip.models.embedder import build_head  # noqa: E402
from intraclip.models.heads import HEADS  # noqa: E402
from intraclip.models.heads.base import Head  # noqa: E402


def clips_of(args: argparse.Namespace, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps ``[B, T, F, h, w]`` as a backbone gives them, not negative and channels-last, and their mask."""
    size = (count, args.frames, args.height, args.width, args.features)
    maps = torch.randn(size, generator=torch.Generator().manual_seed(0)).relu().permute(0, 1, 4, 2, 3)
    return maps.to(args.device), torch.ones(size[:2], dtype=torch.bool, device=args.device)


def flops_of_a_clip(head: Head, args: argparse.Namespace) -> int:
    """Operations of one clip at test."""
    maps, mask = clips_of(args, 1)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        head.eval()(maps, mask)
    # The counter does not know torch's LSTM. Each of its weights is used once a frame.
    layers = [module for module in head.modules() if isinstance(module, nn.LSTM)]
    weights = sum(w.numel() for layer in layers for name, w in layer.named_parameters() if "weight" in name)
    return int(counter.get_total_flops()) + 2 * args.frames * weights


def kept_megabytes(head: Head, args: argparse.Namespace) -> float:
    """MB a clip that training keeps between the forward and the backward pass, the maps themselves left out."""
    maps, mask = clips_of(args, args.clips)
    maps.requires_grad_()
    known = {p.untyped_storage().data_ptr() for p in head.parameters()}
    known |= {maps.untyped_storage().data_ptr(), mask.untyped_storage().data_ptr()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = head.train()(maps, mask)
    total = sum(t.untyped_storage().nbytes() for address, t in kept.items() if address not in known)
    del out
    return total / args.clips / 1e6


def seconds(work: Callable[[], Any], device: str) -> float:
    """Best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def test_pass(head: Head, maps: torch.Tensor, mask: torch.Tensor) -> None:
    """Forward, without gradients."""
    with torch.inference_mode():
        head.eval()(maps, mask)


def training_pass(head: Head, maps: torch.Tensor, mask: torch.Tensor) -> None:
    """Forward and backward, down to the maps."""
    out = head.train()(maps.detach().requires_grad_(), mask)
    loss = out.embedding.float().mean()
    (loss if out.auxiliary_loss is None else loss + out.auxiliary_loss).backward()
    head.zero_grad()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in {
        "features": 2048,
        "frames": 4,
        "height": 8,
        "width": 4,
        "clips": 32,
        "rounds": 5,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--head", nargs="*", default=list(HEADS), choices=list(HEADS))
    args = parser.parse_args()

    torch.manual_seed(0)
    heads = {
        name: build_head(args.features, ModelConfig(head=name)).to(
            args.device, memory_format=torch.channels_last
        )
        for name in args.head
    }
    maps, mask = clips_of(args, args.clips)
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in heads}
    for head in heads.values():
        test_pass(head, maps, mask)
        training_pass(head, maps, mask)
    for _ in range(args.rounds):
        for name, head in heads.items():
            times[name][0].append(seconds(lambda h=head: test_pass(h, maps, mask), args.device))
            times[name][1].append(seconds(lambda h=head: training_pass(h, maps, mask), args.device))

    device = (
        torch.cuda.get_device_name() if args.device != "cpu" else f"CPU, {torch.get_num_threads()} threads"
    )
    print(
        f"F = {args.features}, T = {args.frames}, maps {args.height} x {args.width}, batches of {args.clips} clips, "
        f"torch {torch.__version__}, {device}\n"
    )
    print(
        "| head | D | parameters, M | GFLOP a clip | ms a clip, test | ms a clip, training | MB a clip kept |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, head in heads.items():
        parameters = sum(p.numel() for p in head.parameters()) / 1e6
        at_test, in_training = (1e3 * statistics.median(t) / args.clips for t in times[name])
        print(
            f"| {name} | {head.embedding_size} | {parameters:.2f} | {flops_of_a_clip(head, args) / 1e9:.3f} | "
            f"{at_test:.2f} | {in_training:.2f} | {kept_megabytes(head, args):.2f} |"
        )


if __name__ == "__main__":
    main()
