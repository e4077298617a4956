"""Frames a second of a frame encoder by engine, all sides in turn in one process.

Run: python benchmarks/engines.py [--backbone resnet50] [--batch 16] [--rounds 7] [--size 256 128] [--tuning]
[--no-compile]. With OMP_WAIT_POLICY=passive before it, threads sleep where they would spin, as under the command line.

Weights are random: speed does not depend on them. Every side takes the same uint8 frames and gives float32 vectors.
`eager` is what most public code does: the default memory layout, fp32. Agreement is the lowest cosine similarity to it.
int8 files are calibrated on noise here; what int8 costs in rank-1 and mAP is measured by `intraclip export --precision
int8` on a trained run (docs/export.md). --tuning adds variants of settings: what they gain or lose.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intraclip.config import InputConfig, ModelConfig, Recipe
from intraclip.export.compare import agreement
from intraclip.export.description import describe_network
from intraclip.export.engines import installed
from intraclip.export.formats import write_onnx
from intraclip.export.graph import FrameGraph, build_graph
from intraclip.export.networks import open_network
from intraclip.export.quantize import calibration_batches, quantize_onnx
from intraclip.models.embedder import build_embedder

Side = Callable[[], np.ndarray[Any, np.dtype[np.float32]]]


def torch_sides(graph: FrameGraph, frames: torch.Tensor, *, compiled: bool) -> dict[str, Side]:
    """Eager, channels-last, bf16 autocast, torch.compile, and torch.compile with frozen weights."""

    def side(run: Callable[[torch.Tensor], torch.Tensor], *, bf16: bool = False) -> Side:
        @torch.inference_mode()
        def once() -> np.ndarray[Any, np.dtype[np.float32]]:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return run(frames).float().numpy()

        return once

    channels_last = copy.deepcopy(graph).to(memory_format=torch.channels_last)
    laid = frames.contiguous(memory_format=torch.channels_last)
    sides = {
        "eager": side(graph),
        "channels-last": side(lambda _: channels_last(laid)),
        "channels-last, bf16": side(lambda _: channels_last(laid), bf16=True),
    }
    if compiled:
        sides["torch.compile"] = side(torch.compile(copy.deepcopy(graph)))
        both = torch.compile(copy.deepcopy(channels_last))
        sides["torch.compile, channels-last"] = side(lambda _: both(laid))
        frozen = torch.compile(copy.deepcopy(channels_last), options={"freezing": True})

        @torch.no_grad()  # freezing folds weights only where no inference-mode tensors are around
        def frozen_once() -> np.ndarray[Any, np.dtype[np.float32]]:
            return frozen(laid).numpy()

        sides["torch.compile, frozen weights"] = frozen_once
    return sides


def file_sides(graph: FrameGraph, recipe: Recipe, frames: torch.Tensor, folder: Path) -> dict[str, Side]:
    """ONNX Runtime and OpenVINO, fp32 and int8, as `intraclip` opens them."""
    array = np.ascontiguousarray(frames.numpy())
    model = build_embedder(recipe.model, recipe.input, num_classes=1, seed=0)
    description = describe_network(model, recipe, part="frame", precision="fp32", fingerprint="")
    fp32 = folder / "fp32.onnx"
    write_onnx(graph, description, fp32)
    noise = np.random.default_rng(1).integers(0, 256, (8, 1, *frames.shape[2:], 3), dtype=np.uint8)
    sides: dict[str, Side] = {}
    for engine in ("onnxruntime", "openvino"):
        if not installed(engine):
            continue
        int8 = folder / f"int8-{engine}.onnx"
        quantize_onnx(fp32, int8, calibration_batches(noise, part="frame"), target=engine)
        for name, path in (("fp32", fp32), ("int8", int8)):
            network = open_network(path, engine=engine)
            sides[f"{engine}, {name}"] = lambda network=network: network.run([array])
    return sides


def tuning_sides(frames: torch.Tensor, folder: Path) -> dict[str, Side]:
    """Other settings of the two engines, on the files that `file_sides` wrote."""
    import onnxruntime

    array = np.ascontiguousarray(frames.numpy())
    sides: dict[str, Side] = {}
    variants: dict[str, dict[str, Any]] = {
        "onnxruntime, no spinning": {"entries": {"session.intra_op.allow_spinning": "0"}},
        "onnxruntime, spinning": {},
        "onnxruntime, spinning within a batch": {"entries": {"session.force_spinning_stop": "1"}},
        "onnxruntime, 1 thread": {"threads": 1},
        "onnxruntime, own number of threads": {"threads": 0},
        "onnxruntime, extended optimisations": {
            "level": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        },
        "onnxruntime, no optimisations": {"level": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL},
    }
    for name, settings in variants.items():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.get("threads", torch.get_num_threads())
        if "level" in settings:
            options.graph_optimization_level = settings["level"]
        for key, value in settings.get("entries", {}).items():
            options.add_session_config_entry(key, value)
        session = onnxruntime.InferenceSession(str(folder / "fp32.onnx"), options)
        sides[name] = lambda session=session: session.run(None, {"frames": array})[0]
    if installed("openvino"):
        import openvino

        core = openvino.Core()
        for name, hints in (
            ("openvino, throughput hint", {"PERFORMANCE_HINT": "THROUGHPUT"}),
            ("openvino, no pinning", {"ENABLE_CPU_PINNING": False}),
        ):
            request = core.compile_model(folder / "fp32.onnx", "CPU", hints).create_infer_request()
            sides[name] = lambda request=request: np.array(request.infer({0: array}, share_inputs=True)[0])
    return sides


def main() -> None:
    """Print a line for every side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 128), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tuning", action="store_true")
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    recipe = Recipe(
        input=InputConfig(height=args.size[0], width=args.size[1]),
        model=ModelConfig(backbone=args.backbone, weights=""),
    )
    model = build_embedder(recipe.model, recipe.input, num_classes=1, seed=0).eval()
    graph = build_graph(model, recipe.input, "frame")
    assert isinstance(graph, FrameGraph)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (args.batch, 3, *args.size), generator=generator, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        sides = torch_sides(graph, frames, compiled=not args.no_compile)
        sides |= file_sides(graph, recipe, frames, Path(folder))
        if args.tuning:
            sides |= tuning_sides(frames, Path(folder))
        wanted = sides["eager"]()
        alike = {}
        for name, run in list(sides.items()):
            try:
                alike[name] = agreement(wanted, run()).cosine
                run()
            except Exception as error:  # torch.compile without a compiler, an engine without this processor
                print(f"{name}: left out, {str(error).strip().splitlines()[0][:160]}", file=sys.stderr)
                del sides[name]
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(args.rounds):
            for name, run in sides.items():
                began = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - began)
    print(
        f"{args.backbone}, {args.size[0]} x {args.size[1]}, batch {args.batch}, {torch.get_num_threads()} threads, "
        f"{args.rounds} rounds"
    )
    print(f"{'':<38} {'best ms':>8} {'median':>8} {'frames/s':>9} {'best x':>7} {'median x':>9}  cosine")
    base = times["eager"]
    for name, found in times.items():
        best, median = min(found), statistics.median(found)
        print(
            f"{name:<38} {1e3 * best:>8.0f} {1e3 * median:>8.0f} {args.batch / best:>9.1f} {min(base) / best:>7.2f} "
            f"{statistics.median(base) / median:>9.2f}  {alike[name]:.6f}"
        )


if __name__ == "__main__":
    main()
