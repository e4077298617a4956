"""OpenVINO on the processor: one core for the life of the process, one way to compile a network."""

from __future__ import annotations

from functools import cache
from typing import Any

from intraclip.core.extras import require_extra


def openvino_core(purpose: str) -> Any:
    """The one OpenVINO core of this process.

    It is never let go: with its last core OpenVINO unloads its plugins, and a process that forks after that
    (to decode frames, or to ask git for the commit) dies of a segmentation fault (seen with 2026.4).

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    openvino = require_extra("openvino", extra="openvino", purpose=purpose)
    return _openvino_core(openvino.Core)


_openvino_core = cache(lambda make: make())


def compiled(core: Any, model: Any, *, threads: int | None = None) -> Any:
    """A network, ready to run.

    It is told to compute in fp32 even where the processor has bf16 units: machines and engines should agree.

    Args:
        core: of `openvino_core`.
        model: what its `read_model` returned.
        threads: at most so many; as many as there are cores by default.

    Raises:
        RuntimeError: it cannot be compiled.
    """
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,  # a pinned thread waits where a decoding process holds its core
    }
    return core.compile_model(
        model, "CPU", settings | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
    )
