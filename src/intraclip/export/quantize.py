"""int8 for CPUs: static quantization by ONNX Runtime's quantizer, with calibration frames.

Weights get one scale a channel, activations one a tensor, from the smallest and largest value that the calibration
frames cause. Weights use 7 of their 8 bits: without VNNI, processors add two products in 16 bits, which saturate with
8, and the network is another one there. The normalisation and the head stay in fp32: they cost nothing and lose much.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from intraclip.core.extras import require_extra
from intraclip.export.description import WEIGHT_BITS
from intraclip.export.formats import quiet

QUANTIZED = ("Conv", "Add", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")
"""Operators that compute in int8."""

Target = Literal["onnxruntime", "openvino"]


def quantize_onnx(
    source: Path,
    out: Path,
    batches: Sequence[Sequence[npt.NDArray[Any]]],
    *,
    target: Target,
) -> None:
    """Make an int8 network (QDQ form) of an fp32 ONNX file that `write_onnx` wrote.

    A calibration batch has one array an input of the network. The target says who runs it: ONNX Runtime is fast with
    activations of 0..255 only, OpenVINO is faster with -128..127.
    """
    onnx = require_extra("onnx", extra="export", purpose="int8")
    quantization = require_extra("onnxruntime.quantization", extra="export", purpose="int8")
    preparation = require_extra("onnxruntime.quantization.shape_inference", extra="export", purpose="int8")
    prepared = out.with_name(out.stem + "-prepared.onnx")
    kinds = quantization.QuantType
    with quiet():
        # Folds batch normalisation into convolutions, so that the quantizer sees the weights that run.
        preparation.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(out),
            _Reader(onnx.load(prepared), batches),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            activation_type=kinds.QUInt8 if target == "onnxruntime" else kinds.QInt8,
            weight_type=kinds.QInt8,
            reduce_range=WEIGHT_BITS < 8,
        )
    prepared.unlink()


def describe_onnx(path: Path, metadata: dict[str, str]) -> None:
    """Give an ONNX file other metadata, text by key."""
    onnx = require_extra("onnx", extra="export", purpose="int8")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)


class _Reader:
    """What ONNX Runtime's quantizer asks for inputs."""

    def __init__(self, model: Any, batches: Sequence[Sequence[npt.NDArray[Any]]]) -> None:
        names = [port.name for port in model.graph.input]
        self._feeds = (dict(zip(names, arrays, strict=True)) for arrays in batches)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        return next(self._feeds, None)


def calibration_batches(
    clips: npt.NDArray[np.uint8], *, part: str, batch: int = 4
) -> list[tuple[npt.NDArray[Any], ...]]:
    """Clips, uint8 ``[K, T, H, W, 3]`` RGB of the network's size, as inputs of the part; so many at a time."""
    pixels = np.ascontiguousarray(clips.transpose(0, 1, 4, 2, 3))
    pieces = [pixels[start : start + batch] for start in range(0, len(pixels), batch)]
    if part == "frame":
        return [(piece.reshape(-1, *piece.shape[2:]),) for piece in pieces]
    return [(piece, np.ones(piece.shape[:2], dtype=np.bool_)) for piece in pieces]
