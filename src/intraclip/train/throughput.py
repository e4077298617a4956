"""Where the time of a run goes: waiting for data, waiting for the device, or the host itself."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

ADVICE = {
    "data": "waiting for data: pack the data set (intraclip data pack), or raise --data.workers",
    "step": "the step itself: the data keep up",
    "host": "the host: larger batches, or --step.compile, give the GPU more work a launch",
}

DATA_BOUND = 0.05
"""Share of the time spent waiting for data from which on faster decoding would shorten the run noticeably."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """A summary of a stretch of training.

    Attributes:
        clips: clips trained on, over all processes.
        data_share: share of the time this process waited for its data.
        step_share: share of the time in the step: on a CPU computing it, with a GPU waiting for it to finish.
        host_share: the rest: on a CPU writing and logging, with a GPU also the work of starting its kernels.
        memory_gib: most memory in use so far, of this process, its decoding processes left out.
        device_memory_gib: most GPU memory in use so far; 0 without a GPU.
    """

    clips: int
    seconds: float
    data_share: float
    step_share: float
    host_share: float
    memory_gib: float
    device_memory_gib: float

    @property
    def clips_per_second(self) -> float:
        """Clips a second over all processes."""
        return self.clips / self.seconds if self.seconds else 0.0

    @property
    def bottleneck(self) -> str:
        """What to make faster first, of `ADVICE`."""
        if self.data_share > DATA_BOUND and self.data_share >= self.host_share:
            return "data"
        return "step" if self.step_share >= self.host_share else "host"

    def to_json_dict(self) -> dict[str, Any]:
        """For throughput.json."""
        return {
            **asdict(self),
            "clips_per_second": round(self.clips_per_second, 3),
            "bottleneck": self.bottleneck,
            "summary": str(self),
        }

    def __str__(self) -> str:
        memory = f"{self.memory_gib:.1f} GiB"
        if self.device_memory_gib:
            memory += f", {self.device_memory_gib:.1f} GiB on the GPU"
        return (
            f"{self.clips:,} clips in {self.seconds:,.0f} s, {self.clips_per_second:.1f} clips/s: data "
            f"{self.data_share:.0%}, step {self.step_share:.0%}, host {self.host_share:.0%} of the time; memory "
            f"{memory}. Bottleneck: {ADVICE[self.bottleneck]}"
        )


Moment = tuple[float, float, float, float]
"""The clock, and what a `Meter` had added up."""


class Meter:
    """Adds up where the time goes: waiting for data, and for the step."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.clips = 0
        self.spent = {"data": 0.0, "step": 0.0}

    @contextmanager
    def waiting_for(self, what: Literal["data", "step"]) -> Iterator[None]:
        """Count the time of a block."""
        started = time.perf_counter()
        yield
        self.spent[what] += time.perf_counter() - started

    def now(self) -> Moment:
        """A moment to measure from."""
        return time.perf_counter(), self.clips, self.spent["data"], self.spent["step"]

    def summary(self, since: Moment) -> Throughput:
        """What was measured since a moment."""
        seconds, clips, data, step = (now - then for now, then in zip(self.now(), since, strict=True))
        on_gpu = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else 0
        return Throughput(
            clips=int(clips),
            seconds=round(seconds, 3),
            data_share=round(data / seconds, 4),
            step_share=round(step / seconds, 4),
            host_share=round(max(0.0, 1 - (data + step) / seconds), 4),
            memory_gib=round(peak_memory() / 2**30, 3),
            device_memory_gib=round(on_gpu / 2**30, 3),
        )


def peak_memory() -> int:
    """Most memory that this process has had resident, in bytes."""
    status = Path("/proc/self/status")
    # Linux's getrusage would answer for the process that started this one, too.
    if status.exists() and (found := re.search(r"^VmHWM:\s+(\d+)", status.read_text("ascii"), re.MULTILINE)):
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
