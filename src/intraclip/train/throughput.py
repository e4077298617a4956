"""Where the time of a run goes: waiting for data, waiting for the device, or the host itself."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

Bottleneck = Literal["data", "step", "host"]
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
    def bottleneck(self) -> Bottleneck:
        """What to make faster first."""
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


class Meter:
    """Adds up where the time goes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.clips = 0
        self.spent: dict[str, float] = {"data": 0.0, "step": 0.0, "host": 0.0}
        self._started = time.perf_counter()

    @contextmanager
    def waiting_for(self, what: Literal["data", "step", "host"]) -> Iterator[None]:
        """Count the time of a block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent[what] += time.perf_counter() - started

    def summary(self, since: Meter) -> Throughput:
        """What was measured since a copy was made."""
        seconds = time.perf_counter() - since._started
        data, step = ((self.spent[what] - since.spent[what]) / seconds for what in ("data", "step"))
        on_gpu = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else 0
        return Throughput(
            clips=self.clips - since.clips,
            seconds=round(seconds, 3),
            data_share=round(data, 4),
            step_share=round(step, 4),
            host_share=round(max(0.0, 1 - data - step), 4),
            memory_gib=round(peak_memory() / 2**30, 3),
            device_memory_gib=round(on_gpu / 2**30, 3),
        )

    def copy(self) -> Meter:
        """A moment to measure from: now."""
        copied = Meter(self.device)
        copied.clips, copied.spent = self.clips, dict(self.spent)
        return copied


def peak_memory() -> int:
    """Most memory that this process has had resident, in bytes."""
    try:
        # Linux's getrusage would answer for the process that started this one, too.
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
