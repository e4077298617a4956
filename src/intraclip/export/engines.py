"""Which engines run which network files, and which of them are installed; nothing is imported to say so."""

from __future__ import annotations

from importlib.util import find_spec

RUNS: dict[str, tuple[str, ...]] = {
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".pt2": ("torch",),
}
"""Engines that run a kind of file, the fastest exact one first (docs/export.md)."""


def installed(engine: str) -> bool:
    """Whether an engine's package is installed."""
    return find_spec(engine) is not None
