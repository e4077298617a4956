"""One run on a GPU: tests, training step, augmentation, ranking, extraction, data path, several GPUs, tables.

Run: benchmarks/gpu.sh [--minutes 9] [--out gpu-results] [--parts NAME ...] [--rehearse]

The parts run most important first, each in a process of its own with a time limit; what one of them does, or fails to
do, does not end the others. `--minutes` bounds the whole: a part for which no time is left is left out, and says so.
Written as it goes, into the folder of --out:

- results.jsonl: one line a result, flushed at once; a part that is stopped keeps what it has measured.
- log.txt: everything the parts print, with the tracebacks of tests.

Parts:

- tests: those marked `cuda`.
- step: ResNet50 at 256 x 128, 32 clips x 4 frames, TAP and ICA, against the loop of public video code: fp32, tf32,
  bf16, compiled. Operations are counted by torch (a multiplication and an addition are two) for forward and backward;
  shares are of 989 TFLOP/s, the vendor's figure for dense bf16 on an H100 SXM or H200, and of a large matrix product.
- augment: Synchronous Data Augmentation against kornia and against a copy of the same bytes.
- ranking: 1,980 x 11,310 x 2,048 as on MARS, on the GPU and by numpy; the scores have to be equal.
- extract: frames a second from JPEG files to embeddings, against the bare network and against a plain loop.
- data: JPEG files to batches, by number of processes; and a training fed by them.
- nccl: two processes train as one does; wants two GPUs.
- tables: what two cores are too slow for, most important first (`TABLES`), eight runs side by side: they share the GPU.
  Begins with the runs in `results`, goes on from what an earlier call on the same machine left, and is stopped in time:
  what is finished then lies in the folder `tables`, a folder a scale, to be copied to `results`. Only with more than 8
  minutes, or alone. Wants timm and the packages of weights.

--rehearse runs every part at toy size on the CPU: it shows that the script works, and measures nothing.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import importlib.util
import io
import json
import os
import pstats
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PEAK_BF16 = 989e12
"""Operations a second, dense, by the datasheet of the H100 SXM and the H200."""


@dataclass(frozen=True)
class Part:
    """A part, and its limits.

    Attributes:
        run: measures; told what to do it with.
        seconds: at most.
        least: seconds below which it is not worth starting.
        from_minutes: of the whole run, below which it is left out unless it is all there is to do.
    """

    run: Callable[[Bench], None]
    seconds: float
    least: float = 15
    from_minutes: float = 0


class Bench:
    """What a part works with: where results go, how much time there is, and whether it is a rehearsal."""

    def __init__(self, part: str, out: Path, seconds: float, *, rehearse: bool) -> None:
        self.part, self.out, self.rehearse = part, out, rehearse
        self.until = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds of this part's time."""
        return self.until - time.monotonic()

    def record(self, name: str, **values: object) -> None:
        """Write a result, and print it."""
        write(self.out, {"part": self.part, "name": name, **values})

    def device(self) -> Any:
        """Where to measure."""
        import torch

        return torch.device("cpu" if self.rehearse else "cuda")

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """One measurement: its failure is recorded and does not end the part."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.record(name, failed=f"{type(error).__name__}: {str(error).strip()[:500]}")
        finally:
            free_memory()


def write(out: Path, line: dict[str, object]) -> None:
    """Append a result, flushed, and print it."""
    text = json.dumps({key: _rounded(value) for key, value in line.items()})
    with (out / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    print(text, flush=True)


def _rounded(value: object) -> object:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def free_memory() -> None:
    """Give back what the measurement before held."""
    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        sys.modules["torch"].cuda.empty_cache()


def milliseconds(work: Callable[[], object], device: Any, *, seconds: float, rounds: int = 5) -> float:
    """Median over rounds of a call's time when calls follow each other, by the GPU's own clock; warmed up."""
    import torch

    def once(repeats: int) -> float:
        if device.type == "cpu":
            started = time.perf_counter()
            for _ in range(repeats):
                work()
            return (time.perf_counter() - started) * 1000 / repeats
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        first.record()
        for _ in range(repeats):
            work()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / repeats

    once(1 if device.type == "cpu" else 3)
    if device.type == "cpu":
        seconds /= 10
    repeats = max(1, min(200, round(seconds * 1000 / rounds / max(once(2), 1e-3))))
    return statistics.median(once(repeats) for _ in range(rounds))


def kernel_milliseconds(work: Callable[[], object], device: Any, *, repeats: int = 10) -> float | None:
    """Time a call's kernels and copies take on the GPU, gaps left out; None on a CPU."""
    table = profile_of(work, device, repeats=repeats)
    return None if table is None else sum(t for t, _ in table.values()) / 1000 / repeats


def profile_of(
    work: Callable[[], object], device: Any, *, repeats: int
) -> dict[str, tuple[float, int]] | None:
    """Microseconds and number of every kernel and copy on the GPU over some calls."""
    import torch
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    if device.type == "cpu":
        return None
    work()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        for _ in range(repeats):
            work()
        torch.cuda.synchronize()
    table: dict[str, tuple[float, int]] = {}
    for event in found.key_averages():
        annotation = getattr(event, "is_user_annotation", False) or event.key.startswith("Optimizer.")
        if event.device_type == DeviceType.CUDA and event.self_device_time_total > 0 and not annotation:
            table[event.key] = (float(event.self_device_time_total), int(event.count))
    return table


def print_profile(
    title: str, table: dict[str, tuple[float, int]] | None, repeats: int, rows: int = 25
) -> None:
    """The kernels that take the most time, for the log."""
    if not table:
        return
    total = sum(t for t, _ in table.values())
    print(f"{title}: {total / 1000 / repeats:.3f} ms of kernels a call")
    for key, (used, count) in sorted(table.items(), key=lambda item: -item[1][0])[:rows]:
        print(f"  {used / total:6.1%} {used / 1000 / repeats:9.3f} ms {count / repeats:7.1f} x  {key[:130]}")


# ---------------------------------------------------------------- the parts


def tests(bench: Bench) -> None:
    """Run the tests marked `cuda`, quick ones first."""
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.cuda" in path.read_text("utf-8")]
    first = ("test_step", "test_losses", "test_augment", "test_blocks", "test_extract", "test_train")
    order = {name: i for i, name in enumerate(first)}
    files = sorted(marked, key=lambda path: order.get(path.stem, len(order)))
    for expression in ("cuda and not slow", "cuda and slow"):
        counts: dict[str, int] = {}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "--tb=long",
            "-p",
            "no:cacheprovider",
            "--durations=8",
        ]
        command += ["-o", "faulthandler_timeout=40"]  # says where a test hangs
        command += ["-o", "addopts=--import-mode=importlib --strict-markers", "-W", "default"]
        command += ["-m", expression, *map(str, files)]
        if importlib.util.find_spec("xdist"):
            command += ["-n", "4"]  # most of a test is the start of its kernels
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
        ) as running:
            assert running.stdout is not None
            try:
                for line in running.stdout:
                    print(line, end="", flush=True)
                    for outcome in ("PASSED", "FAILED", "ERROR", "SKIPPED"):
                        if f" {outcome}" in line and "::" in line and "%]" in line:
                            counts[outcome.lower()] = counts.get(outcome.lower(), 0) + 1
                            if outcome in ("FAILED", "ERROR"):
                                bench.record("failed test", test=next(w for w in line.split() if "::" in w))
            except KeyboardInterrupt:
                print(running.stdout.read(), flush=True)  # pytest was interrupted too and tells its failures
                bench.record("tests", **counts, stopped="time limit")
                raise
        bench.record(expression, rc=running.returncode, **counts)


def step(bench: Bench) -> None:
    """Time the training step of all sides, one after the other: together they would not fit into memory."""
    import torch

    import step as sides
    from intraclip.config import BatchConfig, ClipConfig, InputConfig, ModelConfig, Recipe, StepConfig
    from intraclip.train.gpu import backend_settings

    device = bench.device()
    toy = bench.rehearse
    recipe = Recipe(
        input=InputConfig(height=64, width=32) if toy else InputConfig(),
        clip=ClipConfig(num_frames=2 if toy else 4),
        batch=BatchConfig(identities=2 if toy else 8, clips=2 if toy else 4),
        model=ModelConfig(backbone="small" if toy else "resnet50", head="tap", weights=""),
    )
    ica = replace(recipe, model=replace(recipe.model, head="ica"))
    batch = sides.batch_of(recipe, device)
    frames = batch.frames.shape[0] * batch.frames.shape[1]
    work = {"tap": sides.flops_of(recipe), "ica": sides.flops_of(ica)}
    product = ceilings(bench, device)
    public: dict[str, float] = {}

    @contextmanager
    def as_published() -> Iterator[None]:
        """What public code sets: cuDNN's benchmark, and torch's own defaults otherwise (TF32 in convolutions)."""
        torch.backends.cudnn.benchmark = True
        yield

    def measure(name: str, used: Recipe, *, ours: bool, strict: bool = True) -> None:
        free_memory()  # of the side before, whose last references went when it returned
        with bench.attempt(name), backend_settings(used.step, device) if strict else as_published():
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            run = (
                sides.our_step(used, batch, device) if ours else sides.public_step(used, batch, device, None)
            )
            for _ in range(1 if toy else 4):
                run()
            warm = time.perf_counter() - started
            once = sides.seconds(run, device, 2)
            repeats = max(1, min(20, round(0.5 / once)))
            took = statistics.median(sides.seconds(run, device, repeats) for _ in range(1 if toy else 5))
            head = used.model.head
            if not ours:
                public[f"{head}, {'fp32' if strict else 'as published'}"] = took
            bench.record(
                name,
                head=head,
                seconds=took,
                frames_a_second=frames / took,
                tflops=work[head] / took / 1e12,
                share_of_bf16_peak=work[head] / took / PEAK_BF16,
                share_of_measured_product=work[head] / took / product if product else None,
                memory_gib=torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None,
                warm_up_seconds=warm,
                **{
                    f"times public {key.split(', ')[1]}": t / took for key, t in public.items() if head in key
                },
            )
            if ours and head == "tap" and bench.left > 20:
                print_profile(name, table := profile_of(run, device, repeats=3), 3)
                if table:
                    kernels = sum(t for t, _ in table.values()) / 3e6
                    bench.record(
                        f"kernels of {name}",
                        seconds=kernels,
                        kernels=sum(count for _, count in table.values()) / 3,
                        share_of_step=kernels / took,
                    )

    def with_step(base: Recipe, **settings: Any) -> Recipe:
        return replace(base, step=StepConfig(**settings))

    measure("public loop as published, tap", recipe, ours=False, strict=False)
    measure("public loop fp32, tap", recipe, ours=False)
    if not toy or shutil.which("g++"):
        measure("ours bf16 compiled, tap", with_step(recipe, precision="bf16", compile=True), ours=True)
    else:
        bench.record("ours bf16 compiled, tap", left_out="no C++ compiler")
    measure("ours tf32, tap", with_step(recipe, precision="tf32"), ours=True)
    measure("ours bf16, tap", with_step(recipe, precision="bf16"), ours=True)
    measure("public loop as published, ica", ica, ours=False, strict=False)
    measure("ours bf16, ica", with_step(ica, precision="bf16"), ours=True)
    if toy:
        return
    measure("ours bf16 compiled, ica", with_step(ica, precision="bf16", compile=True), ours=True)
    measure("ours fp16, tap", with_step(recipe, precision="fp16"), ours=True)
    measure("ours fp32, tap", recipe, ours=True)
    measure("public loop fp32, ica", ica, ours=False)
    if bench.left > 45:
        measure("ours tf32 compiled, tap", with_step(recipe, precision="tf32", compile=True), ours=True)


def ceilings(bench: Bench, device: Any) -> float:
    """Measured speed of a large bf16 product, in operations a second, and of a copy."""
    import torch

    size = 256 if bench.rehearse else 8192
    a, b = (torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2))
    took = milliseconds(lambda: torch.mm(a, b), device, seconds=0.5) / 1000
    bench.record("large bf16 product", size=size, tflops=2 * size**3 / took / 1e12)
    x = torch.randint(0, 256, (2**20 if bench.rehearse else 2**31,), dtype=torch.uint8, device=device)
    y = torch.empty_like(x)
    copied = milliseconds(lambda: y.copy_(x), device, seconds=0.3) / 1000
    bench.record(
        "copy on the device", gigabytes=x.numel() / 1e9, terabytes_a_second=2 * x.numel() / copied / 1e12
    )
    free_memory()
    return 2 * size**3 / took


def augment(bench: Bench) -> None:
    """Time our augmentation, kornia's, and a copy of the same bytes."""
    import torch

    import augment as sides
    from intraclip.data.augment import apply
    from intraclip.train.step import mix

    device = bench.device()
    shape = (2, 2, 64, 32) if bench.rehearse else (32, 4, 256, 128)
    frames = sides.pictures(*shape).to(device)
    planar = frames.contiguous()
    for title, config in list(sides.CONFIGS.items())[:3]:
        draws = sides.drawn(config, frames.shape, 16)
        turn = iter(range(10**9))
        for dtype in (torch.float32, torch.bfloat16):
            out = torch.zeros_like(frames, dtype=dtype)
            copy = torch.zeros_like(out)
            limit = milliseconds(lambda c=copy: c.copy_(frames), device, seconds=0.2)
            name = str(dtype).removeprefix("torch.")

            def ours(out: Any = out, draws: Any = draws, turn: Any = turn) -> object:
                return apply(frames, draws[next(turn) % 16], mean=sides.MEAN, std=sides.STD, out=out)

            with bench.attempt(f"ours, {name}: {title}"):
                took = milliseconds(ours, device, seconds=0.5)
                kernels = kernel_milliseconds(ours, device)
                bare = kernel_milliseconds(lambda c=copy: c.copy_(frames), device)
                bench.record(
                    f"ours, {name}: {title}",
                    milliseconds=took,
                    copy_milliseconds=limit,
                    copies=took / limit,
                    kernel_milliseconds=kernels,
                    kernel_copies=kernels / bare if kernels and bare else None,
                )
                if dtype == torch.float32:
                    print_profile(title, profile_of(ours, device, repeats=10), 10, rows=15)
        with bench.attempt(f"kornia: {title}"):
            video = sides.kornia_video(config, shape[2], shape[3])
            other = milliseconds(
                lambda v=video: v(planar.to(torch.float32) / 255), device, seconds=0.5, rounds=3
            )
            bench.record(f"kornia: {title}", milliseconds=other)
    if device.type == "cuda":
        with bench.attempt("shapes of the kernel's programs"):
            sweep(bench, frames)
    draw_ms = milliseconds(
        lambda: sides.drawn(sides.CONFIGS[next(iter(sides.CONFIGS))], frames.shape, 1),
        torch.device("cpu"),
        seconds=0.2,
    )
    bench.record("the draw, on the processor", milliseconds=draw_ms, seed=mix(0, 3, 0))


def sweep(bench: Bench, frames: Any) -> None:
    """Our kernel with other numbers of rows, values and warps a program; first as separate operations."""
    import torch

    import augment as sides
    from intraclip.data import augment_device, augment_fused
    from intraclip.data.augment import apply

    config = next(iter(sides.CONFIGS.values()))
    draws = sides.drawn(config, frames.shape, 16)
    turn = iter(range(10**9))
    out = torch.zeros_like(frames, dtype=torch.float32)

    def ours() -> object:
        return apply(frames, draws[next(turn) % 16], mean=sides.MEAN, std=sides.STD, out=out)

    kept, augment_device._fused = augment_device._fused, lambda device: None  # type: ignore[assignment]
    try:
        bench.record("as separate operations", kernel_milliseconds=kernel_milliseconds(ours, frames.device))
    finally:
        augment_device._fused = kept
    before = augment_fused.ROWS, augment_fused.BLOCK, augment_fused.WARPS
    for shape in ((4, 512, 4), (4, 512, 2), (2, 512, 4), (2, 512, 2), (8, 512, 4), (4, 256, 4), (8, 128, 4)):
        augment_fused.ROWS, augment_fused.BLOCK, augment_fused.WARPS = shape
        bench.record(
            "kernel", rows_values_warps=shape, kernel_milliseconds=kernel_milliseconds(ours, frames.device)
        )
    augment_fused.ROWS, augment_fused.BLOCK, augment_fused.WARPS = before


def ranking(bench: Bench) -> None:
    """Score features of MARS's size on the GPU and with numpy."""
    import torch

    import ranking as sides
    from intraclip.metrics.protocols import PROTOCOLS
    from intraclip.metrics.ranking import score

    size = (50, 300, 64) if bench.rehearse else (1980, 11310, 2048)
    embeddings = sides.random_embeddings(*size)
    found: dict[str, Any] = {}
    devices = {"numpy": None, "torch on this device": str(bench.device())}
    for name, device in reversed(devices.items()):
        with bench.attempt(name):
            times = []
            for _ in range(1 if name == "numpy" else 4):
                started = time.perf_counter()
                found[name] = score(embeddings, PROTOCOLS["cross-camera"], device=device)
                times.append(time.perf_counter() - started)
            bench.record(
                name,
                size=" x ".join(map(str, size)),
                seconds=times[-1] if len(times) == 1 else statistics.median(times[1:]),
                first_seconds=times[0],
                rank1=found[name].rank(1),
                mAP=found[name].mAP,
                threads=torch.get_num_threads(),
            )
    if len(found) == 2:
        one, other = found.values()
        bench.record("equal", equal=bool(one.mAP == other.mAP and (one.cmc == other.cmc).all()))
    profiler = cProfile.Profile()
    with bench.attempt("profile"):
        profiler.runcall(score, embeddings, PROTOCOLS["cross-camera"], device=str(bench.device()))
        text = io.StringIO()
        pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(18)
        print(text.getvalue())


def extract(bench: Bench) -> None:
    """Frames a second of extraction, of the bare network, and of a plain loop."""
    import numpy as np
    import torch

    import extract as sides
    from intraclip.embed.extractors import ExtractSettings

    device = bench.device()
    name = "small" if bench.rehearse else "resnet50"
    count, few = (200, 60) if bench.rehearse else (40_000, 4_000)
    workers = [2] if bench.rehearse else sorted({max(2, (os.cpu_count() or 2) - 2), 8})
    model = sides.build(name).to(device)
    with tempfile.TemporaryDirectory() as folder:
        tracklets = sides.ragged(Path(folder), count)
        extractor = sides.frame_extractor(model)

        def bare() -> None:
            sides.bare(model, 1024 if not bench.rehearse else 32, 256 if not bench.rehearse else 16)

        with bench.attempt("bare network"):
            took = milliseconds(bare, device, seconds=2) / 1000
            bench.record("bare network", frames_a_second=(32 if bench.rehearse else 1024) / took, batch=256)
        made: dict[str, Any] = {}
        for processes in workers:
            label = f"ours, {processes} decoding processes"
            with bench.attempt(label):
                settings = ExtractSettings(clip=sides.CLIP, workers=processes)
                list(extractor.embed(tracklets[:50], settings))  # warms up
                started = time.perf_counter()
                rows = [f.embedding for f in extractor.embed(tracklets, settings)]
                took = time.perf_counter() - started
                made["ours"] = np.stack(rows)
                bench.record(label, frames=count, seconds=took, frames_a_second=count / took)
        with bench.attempt("plain loop, tracklet by tracklet"):
            chosen, frames = [], 0
            for tracklet in tracklets:
                if frames < few:
                    chosen.append(tracklet)
                    frames += len(tracklet)
            started = time.perf_counter()
            made["plain"] = sides.plain(model, chosen, workers[-1], at_once=True)
            took = time.perf_counter() - started
            bench.record("plain loop, tracklet by tracklet", frames=frames, frames_a_second=frames / took)
        if len(made) == 2:
            error = np.abs(made["ours"][: len(made["plain"])] - made["plain"]).max()
            bench.record("agreement", largest_difference=float(error))
        with bench.attempt("against the processor"):
            few_frames = torch.randint(
                0, 256, (8, model.input_config.height, model.input_config.width, 3), dtype=torch.uint8
            )
            few_frames = few_frames.permute(0, 3, 1, 2)
            here = extractor.encoder.encode(few_frames)
            there = sides.frame_extractor(sides.build(name)).encoder.encode(few_frames)
            bench.record("against the processor", relative_error=float((here - there).norm() / there.norm()))


def data(bench: Bench) -> None:
    """Batches a second by number of processes, and a short training fed by them."""
    import extract
    import pack
    from intraclip.config import ModelConfig, OptimizerConfig, Recipe, RunConfig, StepConfig
    from intraclip.train.loop import train
    from intraclip.types import Split

    cores = os.cpu_count() or 2
    counts = [2] if bench.rehearse else sorted({1, 4, 8, cores - 1})
    with tempfile.TemporaryDirectory() as folder:
        files = extract.write_frames(Path(folder), 20 if bench.rehearse else 400)
        train_set = tuple(
            replace(
                extract.tracklet(Path(folder), files[i % 7 :], 16, i),
                pid=i // 2 + 1,
                camid=i % 2 + 1,
            )
            for i in range(16 if bench.rehearse else 128)
        )
        split = Split(
            dataset="mars", root=Path(folder), train=train_set, query=(), gallery=(), protocol="mars"
        )
        recipe = Recipe(model=ModelConfig(weights="", backbone="small" if bench.rehearse else "resnet50"))
        for processes in counts:
            with bench.attempt(f"ours, {processes} processes"):
                used = replace(recipe, data=replace(recipe.data, workers=processes))
                batches = 4 if bench.rehearse else 20 + 12 * processes
                speed, _ = pack.frames_a_second(pack.ours(split, used, batches), pack.first_pixels)
                bench.record(f"ours, {processes} processes", frames_a_second=speed, batches=batches)
        with bench.attempt("Pillow"):
            used = replace(recipe, data=replace(recipe.data, workers=counts[-1]))
            clips = pack.pillow(split, used, 4 if bench.rehearse else 100)
            speed, _ = pack.frames_a_second(clips, pack.first_pixels)
            bench.record(f"Pillow, {counts[-1]} processes", frames_a_second=speed)
        steps = 2 if bench.rehearse else 80  # an epoch has 2 or 16 batches
        with bench.attempt("training fed from files"):
            whole = replace(
                recipe,
                device=str(bench.device()),
                step=StepConfig(precision="fp32" if bench.rehearse else "bf16"),
                data=replace(recipe.data, workers=counts[-1]),
                optimizer=OptimizerConfig(epochs=max(1, steps // 16)),
                run=RunConfig(tensorboard=False),
            )
            train(whole, data=split, out=Path(folder) / "run")
            told = json.loads((Path(folder) / "run" / "throughput.json").read_text())
            bench.record("training fed from files, bf16", processes=counts[-1], **told)


def nccl(bench: Bench) -> None:
    """Two processes on one batch, and one process on the same batch: the same loss."""
    import torch

    if not bench.rehearse and torch.cuda.device_count() < 2:
        bench.record("two processes", left_out=f"{torch.cuda.device_count()} GPU here, two are needed")
        return
    for processes in (1, 2):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={processes}", str(Path(__file__).resolve())]
        command += ["--part", "nccl-process", "--out", str(bench.out)]
        subprocess.run([*command, *["--rehearse"] * bench.rehearse], check=True, cwd=ROOT)


def nccl_process(bench: Bench) -> None:
    """What one of the processes of `nccl` does."""
    import step as sides
    from intraclip.config import BatchConfig, InputConfig, ModelConfig, Recipe, StepConfig
    from intraclip.core.distributed import open_world
    from intraclip.models.embedder import build_embedder
    from intraclip.train.gpu import backend_settings
    from intraclip.train.step import TrainingStep

    toy = bench.rehearse
    recipe = Recipe(
        input=InputConfig(height=64, width=32) if toy else InputConfig(),
        batch=BatchConfig(identities=4 if toy else 16, clips=4),
        model=ModelConfig(backbone="small" if toy else "resnet50", head="ica", weights=""),
        step=StepConfig(precision="fp32", sync_batch_norm=True),
    )
    with open_world(bench.device().type) as world, backend_settings(recipe.step, world.device):
        whole = sides.batch_of(recipe, world.device)
        share = len(whole) // world.size
        part = slice(world.rank * share, (world.rank + 1) * share)
        names = ("frames", "mask", "pids", "camids", "labels")
        batch = type(whole)(**{name: getattr(whole, name)[part].contiguous() for name in names})
        model = build_embedder(recipe.model, recipe.input, num_classes=sides.IDENTITIES_IN_TRAINING, seed=0)
        training = TrainingStep(model.to(world.device), recipe, world)
        losses = [training(batch, step=number).read()["loss"] for number in range(3)]
        took = sides.seconds(lambda: training(batch, step=9).read(), world.device, 2 if toy else 10)
        if world.leads:
            frames = len(whole) * whole.frames.shape[1]
            bench.record(
                f"{world.size} processes",
                losses=[round(loss, 5) for loss in losses],
                seconds=took,
                frames_a_second=frames / took,
            )


TABLES = (
    # Scale, experiment, seeds.
    ("imagenet-cpu", "table2-imagenet", 3),
    ("cpu", "table2", 1),
    ("imagenet-cpu", "table4", 1),
    ("imagenet-gpu", "table1", 5),
    ("imagenet-gpu", "ablation-neck", 5),
)


def tables(bench: Bench) -> None:
    """Tables of the paper, as far as time allows; trained networks stay in a folder that the next call finds."""
    from intraclip.lab.reproduce.plan import KEPT

    work = Path(tempfile.gettempdir()) / ("intraclip-rehearsal" if bench.rehearse else "intraclip-tables")
    for scale, experiment, seeds in (("smoke", "table1", 1),) if bench.rehearse else TABLES:
        folder = work / scale
        if not folder.exists() and (ROOT / "results" / scale).exists():
            shutil.copytree(ROOT / "results" / scale, folder)
        command = [sys.executable, "-m", "intraclip", "reproduce", experiment, "--out", str(folder)]
        command += ["--scale", scale, "--seeds", str(seeds)]
        if bench.rehearse:
            command += ["--only", "model-1", "model-4"]
        if bench.left < 45:
            return
        started = time.perf_counter()
        training = subprocess.Popen([*command, "--jobs", "2" if bench.rehearse else "8"], cwd=ROOT)
        try:
            training.wait(timeout=bench.left - 40)
        except subprocess.TimeoutExpired:  # runs save themselves; those that are whole make a table
            training.terminate()
            training.wait()
        subprocess.run([*command, "--finished"], cwd=ROOT, timeout=max(10, bench.left))
        for file in [*folder.glob("runs/*/*/*/*"), *folder.iterdir()]:
            if file.name in KEPT or (file.parent == folder and file.suffix in (".json", ".md", ".csv")):
                place = bench.out / "tables" / scale / file.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.read_bytes())
        seconds = time.perf_counter() - started
        bench.record(f"{experiment} at {scale}", seconds=seconds, finished=training.returncode == 0)


PARTS = {
    "tests": Part(tests, 150),
    "step": Part(step, 170, least=30),
    "augment": Part(augment, 45),
    "ranking": Part(ranking, 25),
    "extract": Part(extract, 35),
    "data": Part(data, 40),
    "nccl": Part(nccl, 60, least=10),
    "tables": Part(tables, 3600, least=120, from_minutes=8),
}
HIDDEN = {"nccl-process": Part(nccl_process, 60)}


def main() -> int:
    """Run the parts, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--part", choices=[*PARTS, *HIDDEN], help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=3600.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        return one(arguments)
    started = time.monotonic()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    until = started + arguments.minutes * 60
    write(out, {"part": "start", "date": time.strftime("%Y-%m-%d %H:%M:%S"), "minutes": arguments.minutes})
    failed = False
    for name in arguments.parts:
        part = PARTS[name]
        left = until - time.monotonic() - 10  # to stop it, and to write
        if left < part.least or (
            arguments.minutes <= part.from_minutes and len(arguments.parts) > 1 and not arguments.rehearse
        ):
            write(out, {"part": name, "left_out": f"{left:.0f} s left of {arguments.minutes:g} min"})
            continue
        limit = part.seconds * (4 if arguments.rehearse else 1)  # processors that are shared may be slow
        failed |= not supervised(name, min(limit, left), out, rehearse=arguments.rehearse)
    write(out, {"part": "end", "seconds": time.monotonic() - started})
    return int(failed)


def supervised(name: str, limit: float, out: Path, *, rehearse: bool) -> bool:
    """Run a part within its limit; whether it went through."""
    command = [sys.executable, str(Path(__file__).resolve()), "--part", name, "--out", str(out)]
    command += ["--seconds", f"{limit:.0f}", *["--rehearse"] * rehearse]
    started = time.monotonic()
    with (out / "log.txt").open("ab") as log:
        log.write(f"\n======== {name}\n".encode())
        log.flush()
        offset = log.tell()
        running = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
        )
        stopped = ""
        for number, patience in ((signal.SIGINT, limit), (signal.SIGTERM, 6), (signal.SIGKILL, 3)):
            try:
                running.wait(timeout=patience)
                break
            except subprocess.TimeoutExpired:
                stopped = "time limit"
                os.killpg(running.pid, number)
        running.wait()
    said = (out / "log.txt").read_bytes()[offset:].decode(errors="replace")
    print("\n".join(line for line in said.splitlines() if line.startswith('{"part"')), flush=True)
    line: dict[str, object] = {"part": name, "rc": running.returncode, "seconds": time.monotonic() - started}
    if running.returncode and not stopped:
        line["last"] = said.strip().splitlines()[-1][:300] if said.strip() else ""
    write(out, line | ({"stopped": stopped} if stopped else {}))
    return running.returncode == 0


def one(arguments: argparse.Namespace) -> int:
    """Run one part in this process."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # in the background it may have been switched off
    sys.path.insert(0, str(Path(__file__).parent))
    from intraclip.process import tune

    tune()  # before torch is imported, as the command line does
    bench = Bench(arguments.part, arguments.out, arguments.seconds, rehearse=arguments.rehearse)
    import torch

    if not arguments.rehearse and not torch.cuda.is_available():
        print("torch finds no GPU; --rehearse runs everything at toy size on the processor", file=sys.stderr)
        return 1
    if arguments.part in PARTS:
        import platform

        bench.record(
            "machine",
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
            gpus=torch.cuda.device_count(),
            cores=os.cpu_count(),
            torch=torch.__version__,
            python=platform.python_version(),
        )
    ({**PARTS, **HIDDEN}[arguments.part]).run(bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
