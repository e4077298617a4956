"""A network in OpenVINO's format as a PyTorch module, so that a teacher runs where the student is trained.

Knows the operations of plain convolutional networks for one input and one output, such as the Open Model Zoo's
re-identification networks; equal to OpenVINO's own result in float32 to 1e-5 (tests/tools/test_openvino_module.py).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

_TYPES = {"f32": np.float32, "f16": np.float16, "i64": np.int64, "i32": np.int32}


class OpenVINOModule(nn.Module):
    """Reads ``NAME.xml`` and ``NAME.bin``; forward takes what the network takes, in any batch size.

    Args:
        xml: the description; the weights lie beside it.

    Raises:
        ValueError: it has an operation that is not known here.
    """

    def __init__(self, xml: Path) -> None:
        super().__init__()
        root = ET.parse(xml).getroot()
        weights = Path(xml).with_suffix(".bin").read_bytes()
        sources: dict[int, list[tuple[int, int]]] = {}
        for edge in root.iterfind("edges/edge"):
            target, port, origin = (int(edge.get(k, "")) for k in ("to-layer", "to-port", "from-layer"))
            sources.setdefault(target, []).append((port, origin))
        # Shapes, axes and orders: not tensors, since reading them from a GPU waits for everything before.
        self.integers: dict[int, tuple[int, ...]] = {}
        self.plan: list[tuple[int, str, dict[str, str], list[int]]] = []
        for layer in root.iterfind("layers/layer"):
            number, kind = int(layer.get("id", "")), layer.get("type", "")
            data = layer.find("data")
            settings = {} if data is None else dict(data.attrib)
            if kind == "Const":
                value = _constant(settings, weights)
                if value.is_floating_point():
                    self.register_buffer(f"constant{number}", value, persistent=False)
                else:
                    self.integers[number] = tuple(value.flatten().tolist())
            elif kind in OPERATIONS:
                self.plan.append((number, kind, settings, [s for _, s in sorted(sources.get(number, []))]))
            else:
                raise ValueError(f"{xml}: operation {kind} is not known here")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        values: dict[int, Any] = dict(self.integers)
        for number, kind, settings, origins in self.plan:
            operands = [values[i] if i in values else self.get_buffer(f"constant{i}") for i in origins]
            values[number] = inputs if kind == "Parameter" else OPERATIONS[kind](settings, *operands)
        found: torch.Tensor = values[self.plan[-1][0]]
        return found


def _constant(settings: dict[str, str], weights: bytes) -> torch.Tensor:
    shape = [int(size) for size in settings["shape"].split(",")] if settings["shape"] else []
    kind = _TYPES[settings["element_type"]]
    values = np.frombuffer(weights, kind, count=int(np.prod(shape)), offset=int(settings["offset"]))
    found = torch.from_numpy(values.reshape(shape).copy())
    return found.float() if found.is_floating_point() else found


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _convolve(settings: dict[str, str], x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    groups = 1
    if kernel.ndim == 5:
        groups, kernel = kernel.shape[0], kernel.flatten(0, 1)
    stride, padding = _numbers(settings["strides"]), _numbers(settings["pads_begin"])
    return F.conv2d(x, kernel, None, stride, padding, _numbers(settings["dilations"]), groups)


def _normalise(settings: dict[str, str], x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    variance, mean = torch.var_mean(x, axes, unbiased=False, keepdim=True)
    return (x - mean) / (variance + float(settings["eps"])).sqrt()


def _slope(settings: dict[str, str], x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x, x * slope.reshape(1, -1, *[1] * (x.ndim - 2)))


def _reshape(settings: dict[str, str], x: torch.Tensor, target: Any) -> torch.Tensor:
    """The batch keeps its size, whatever it was when the file was written."""
    if target is None:  # a shape that the file computes: one more axis
        return x.unsqueeze(-1)
    return x.reshape(x.shape[0], *target[1:])


def _gather(settings: dict[str, str], x: Any, *others: Any) -> Any:
    """Of pictures, the order of the colours; of a shape, a part that `_reshape` does without."""
    return torch.cat([x[:, i : i + 1] for i in others[0]], dim=1) if torch.is_tensor(x) else None


OPERATIONS: dict[str, Any] = {
    "Parameter": None,
    "Result": lambda settings, x: x,
    "Gather": _gather,
    "Add": lambda settings, a, b: a + b,
    "Subtract": lambda settings, a, b: a - b,
    "Multiply": lambda settings, a, b: a * b,
    "MatMul": lambda settings, a, b: a @ b.T,
    "MVN": _normalise,
    "Convolution": _convolve,
    "GroupConvolution": _convolve,
    "ReLU": lambda settings, x: x.relu(),
    "Sigmoid": lambda settings, x: x.sigmoid(),
    "PReLU": _slope,
    "MaxPool": lambda settings, x: F.max_pool2d(
        x, _numbers(settings["kernel"]), _numbers(settings["strides"]), _numbers(settings["pads_begin"])
    ),
    "AvgPool": lambda settings, x: F.avg_pool2d(
        x, _numbers(settings["kernel"]), _numbers(settings["strides"]), _numbers(settings["pads_begin"])
    ),
    "ReduceMean": lambda settings, x, axes: x.mean(axes, keepdim=True),
    "ShapeOf": lambda settings, x: x.shape,
    "Concat": lambda settings, *parts: None,
    "Reshape": _reshape,
}
