"""How long runs will take, measured before any of them starts."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch

from intraclip.config import Recipe
from intraclip.core.devices import choose_device
from intraclip.core.distributed import World
from intraclip.core.processes import processes
from intraclip.data.clip_batch import ClipBatch
from intraclip.errors import DataError, DeviceError
from intraclip.lab.reproduce.plan import PlannedRun
from intraclip.lab.reproduce.runner import Slot
from intraclip.models.embedder import build_embedder
from intraclip.report.records import read_log
from intraclip.train.gpu import backend_settings
from intraclip.train.step import TrainingStep

PROBE_CLIPS = 8
"""Clips in a measured step; a whole batch's time is taken to be in proportion."""

START_SECONDS = 8.0
"""Starting two commands."""

RENDERED_PER_SECOND = 150.0
"""Frames that one core renders in a second (docs/results.md: about 300 on two)."""

FORWARD_SHARE = 1 / 3
"""A forward pass as a share of a training step."""


def estimates(runs: Sequence[PlannedRun], place: Slot) -> dict[Path, float]:
    """Seconds that each run still needs.

    A variant of which a run is finished takes as long again; for the others a few clips are trained on noise.
    """
    measured: dict[Path, list[float]] = {}
    for run in runs:
        seconds = trained_seconds(run.folder) if run.state in ("trained", "done") else None
        if seconds is not None:
            measured.setdefault(run.folder.parent, []).append(seconds / run.steps)
    unknown = {
        run.folder.parent.name: run.recipe
        for run in runs
        if run.state != "done" and run.folder.parent not in measured
    }
    probed = _probe(unknown, place)
    found = {}
    for run in runs:
        if run.state == "done":
            found[run.folder] = 0.0
            continue
        variant = run.folder.parent
        training = run.steps * (fmean(measured[variant]) if variant in measured else probed[variant.name])
        forward = FORWARD_SHARE * training / run.steps * run.source.test_frames / run.frames
        begun = min(1.0, run.epochs_done / run.recipe.optimizer.epochs)
        left = {"missing": 1.0, "interrupted": 1 - begun, "trained": 0.0}[run.state]
        found[run.folder] = START_SECONDS + left * training + forward
    return found


def _probe(recipes: Mapping[str, Recipe], place: Slot) -> dict[str, float]:
    """Seconds of a training step by variant, in a place like those of the runs."""
    if not recipes:
        return {}
    if "CUDA_VISIBLE_DEVICES" not in place.environment:
        threads = int(place.environment["OMP_NUM_THREADS"])
        return {
            name: step_seconds(recipe, threads=threads) / place.processes for name, recipe in recipes.items()
        }
    # In a process of its own: a GPU's memory is free for the runs once that process is gone.
    with processes(1, doing="times a step", begin=_set_variables, given=(dict(place.environment),)) as pool:
        found = {
            name: pool.submit(step_seconds, recipe, threads=0, share=place.processes)
            for name, recipe in recipes.items()
        }
        return {name: seconds.result() for name, seconds in found.items()}


def _set_variables(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)  # whose own method cannot be sent to another process


def wall_seconds(seconds: Mapping[Path, float], *, at_once: int, rendering: int = 0, cores: int = 1) -> float:
    """Wall time of runs of which several go on at once, and of rendering before them."""
    longest = max(seconds.values(), default=0.0)
    return rendering / (RENDERED_PER_SECOND * cores) + max(longest, sum(seconds.values()) / at_once)


def step_seconds(recipe: Recipe, *, threads: int, share: int = 1) -> float:
    """Time one training step of a recipe on noise.

    Raises:
        DeviceError: the device is not there, or its memory is too small.
    """
    device = choose_device(recipe.device)
    whole = recipe.batch.identities * recipe.batch.clips // share
    clips = whole if device.type == "cuda" else min(whole, PROBE_CLIPS)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        # Weights do not change the time, and a download is no part of a plan.
        probed = replace(recipe, model=replace(recipe.model, weights=""), device=str(device))
        with backend_settings(probed.step, device):
            model = build_embedder(probed.model, probed.input, num_classes=clips, seed=0).to(device)
            step = TrainingStep(model, probed, World(rank=0, size=1, device=device))
            batch = _noise(probed, clips, device)
            times = []
            for number in range(3):  # the first one also pays for start-up
                start = time.perf_counter()
                step(batch, step=number).read()
                times.append(time.perf_counter() - start)
                if number and times[-1] > 5:
                    break
        return min(times[1:]) * whole / clips
    except torch.OutOfMemoryError:
        raise DeviceError(
            f"a batch of {whole} clips of {recipe.clip.num_frames} frames with {recipe.model.backbone} does not fit "
            f"into the memory of {device}; set step.pieces or step.recompute in a recipe of your own (--recipe)"
        ) from None
    finally:
        torch.set_num_threads(before)


def trained_seconds(folder: Path) -> float | None:
    """Seconds that a run was trained for, all its epochs together; None when it does not say."""
    try:
        return sum(float(entry["seconds"]) for entry in read_log(folder)) or None
    except (DataError, OSError, ValueError, KeyError, TypeError):
        return None


def _noise(recipe: Recipe, clips: int, device: torch.device) -> ClipBatch:
    length, height, width = recipe.clip.num_frames, recipe.input.height, recipe.input.width
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(
        0, 256, (clips, length, height, width, 3), dtype=torch.uint8, generator=generator
    ).permute(0, 1, 4, 2, 3)
    labels = torch.arange(clips) // 2
    return ClipBatch(
        frames=frames,
        mask=torch.ones(clips, length, dtype=torch.bool),
        labels=labels,
        pids=labels,
        camids=torch.zeros(clips, dtype=torch.long),
        owners=torch.arange(clips),
    ).to(device)
