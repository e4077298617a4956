"""Write a graph as ONNX, OpenVINO or torch.export, with its description inside. Batch and clip length stay free."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from intraclip.core.extras import require_extra
from intraclip.core.openvino_cpu import openvino_core
from intraclip.errors import OutputError
from intraclip.export.description import Description
from intraclip.export.graph import FrameGraph, Graph

Format = Literal["onnx", "openvino", "torch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}


def write_onnx(graph: Graph, description: Description, path: Path) -> None:
    """Write one ONNX file, weights inside."""
    for module in ("onnx", "onnxscript"):
        require_extra(module, extra="export", purpose="writing ONNX")
    example, axes = _example(graph, description)
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            dynamic_shapes=axes,
            external_data=False,
            input_names=list(axes),
            output_names=["features" if description.part == "frame" else "embedding"],
            verbose=False,
        )
    if program is None:  # only without dynamo
        raise OutputError(f"torch wrote no ONNX network to {path}")
    program.model.metadata_props.update(description.to_metadata())
    program.save(path)


def write_openvino(graph: Graph, description: Description, path: Path) -> None:
    """Write an OpenVINO .xml file, and its weights in fp32 into the .bin file beside it.

    The way goes over ONNX: OpenVINO's reader of ONNX files works without its converter, which reports to its makers.
    """
    require_extra("openvino", extra="openvino", purpose="writing OpenVINO")
    onnx_file = path.with_suffix(".onnx")
    write_onnx(graph, description, onnx_file)
    onnx_to_openvino(onnx_file, description, path)
    onnx_file.unlink()


def onnx_to_openvino(onnx_file: Path, description: Description, path: Path) -> None:
    """Turn an ONNX file into an OpenVINO .xml file and a .bin file."""
    openvino = require_extra("openvino", extra="openvino", purpose="writing OpenVINO")
    model = openvino_core("writing OpenVINO").read_model(onnx_file)
    for key, value in description.to_metadata().items():
        model.set_rt_info(value, ["intraclip", key])
    openvino.save_model(model, path, compress_to_fp16=False)


def write_torch(graph: Graph, description: Description, path: Path) -> None:
    """Write a torch.export program (.pt2); it loads without the code of the network."""
    example, axes = _example(graph, description)
    with quiet(), torch.no_grad():
        program = torch.export.export(graph, example, dynamic_shapes=axes)
        torch.export.save(
            program, path, extra_files={"description.json": json.dumps(description.to_metadata())}
        )


WRITERS: dict[Format, Callable[[Graph, Description, Path], None]] = {
    "onnx": write_onnx,
    "openvino": write_openvino,
    "torch": write_torch,
}


def _example(graph: Graph, description: Description) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """Example inputs, and which of their axes may have any length.

    Lengths 0 and 1 would be taken for constants by torch.export, so the example has 2 and 3.
    """
    free = torch.export.Dim.DYNAMIC
    height, width = description.height, description.width
    if isinstance(graph, FrameGraph):
        return (torch.zeros(2, 3, height, width, dtype=torch.uint8),), {"frames": {0: free}}
    frames = torch.zeros(2, 3, 3, height, width, dtype=torch.uint8)
    mask = torch.ones(2, 3, dtype=torch.bool)
    return (frames, mask), {"frames": {0: free, 1: free}, "mask": {0: free, 1: free}}


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters and quantizers warn of their own insides; what is wrong with the result, the check afterwards finds."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
