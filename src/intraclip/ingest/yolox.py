"""People in images, by a YOLOX network in an ONNX file.

The network sees BGR pixels in 0..255, scaled to fit its input, at the top left corner, the rest filled with
114. It answers ``[1, A, 5 + classes]`` with one row for every cell of three grids (strides 8, 16, 32): centre,
size, objectness, class scores; centre and size are relative to the cell (Ge et al., "YOLOX: Exceeding YOLO
Series in 2021", arXiv:2107.08430).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from intraclip.core.extras import require_extra
from intraclip.core.files import file_digest
from intraclip.core.utf8 import utf8_path
from intraclip.errors import DataError, MissingExtraError, first_line
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Detections, Floats, suppress
from intraclip.ingest.frame_source import Image

STRIDES = (8, 16, 32)
PADDING_VALUE = 114

MAX_SIDE = 8192
"""Pixels; what a damaged file says beyond that would take all memory."""


def letterbox(image: Image, height: int, width: int) -> tuple[Floats, float]:
    """Scale an image, uint8 ``[H, W, 3]`` BGR, to fit the network's input.

    Returns:
        float32 ``[1, 3, height, width]`` in 0..255, and the scale: divide boxes by it to get image pixels.
    """
    scale = min(height / image.shape[0], width / image.shape[1])
    inner_h = max(1, min(height, round(image.shape[0] * scale)))
    inner_w = max(1, min(width, round(image.shape[1] * scale)))
    padded = np.full((height, width, 3), PADDING_VALUE, np.uint8)
    if (inner_h, inner_w) == image.shape[:2]:
        padded[:inner_h, :inner_w] = image
    else:
        padded[:inner_h, :inner_w] = cv2.resize(image, (inner_w, inner_h), interpolation=cv2.INTER_LINEAR)
    # Twice as fast as a transposed copy in NumPy, and the same values.
    return np.asarray(cv2.dnn.blobFromImage(padded), np.float32), scale


def grid_of(height: int, width: int) -> tuple[Floats, Floats]:
    """Cells of the three grids in the order of the network's rows.

    Returns:
        Cell positions, float32 ``[A, 2]`` as (x, y) counted in cells, and strides, float32 ``[A, 1]`` in pixels.
    """
    cells, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode_yolox(
    output: Floats, cells: Floats, strides: Floats, *, person_class: int, min_score: float
) -> Detections:
    """Boxes of one class, in pixels of the network's input, before non-maximum suppression.

    Args:
        output: float32 ``[A, 5 + classes]``: x, y, log width, log height, objectness, class scores.
        cells: from `grid_of`.
        strides: from `grid_of`.
        person_class: which class to return.
        min_score: rows with objectness times class score below this are left out.
    """
    scores = output[:, 4] * output[:, 5 + person_class]
    rows = np.flatnonzero(scores >= min_score)
    centre = (output[rows, :2] + cells[rows]) * strides[rows]
    # Beyond e^10 cells is no box but a broken network; infinity would spread into the tracker.
    half = np.exp(np.minimum(output[rows, 2:4], 10.0)) * strides[rows] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return Detections(boxes=boxes.astype(np.float32), scores=scores[rows].astype(np.float32))


class YoloxDetector:
    """A YOLOX network in an ONNX file, run on the CPU; see `intraclip.ingest.detector.Detector`.

    A run has so many `threads`; 0 for as many as there are cores.

    Raises:
        DataError: no ONNX file, or a network of another layout; the message shows its shapes.
    """

    name = "yolox"

    def __init__(self, path: Path, config: IngestConfig, *, threads: int = 0) -> None:
        self.path = path
        self._config, self._threads = config, threads
        try:
            with utf8_path(path) as name:
                self._session = self._open(name)
        except Exception as error:  # ONNX Runtime has a dozen classes of its own for a bad file
            if isinstance(error, MissingExtraError):
                raise
            raise DataError(
                f"{path} ({path.stat().st_size} bytes) is no ONNX network that can be run: {first_line(error)}"
            ) from error
        self._input, self.height, self.width = self._check_input()
        self._cells, self._strides = grid_of(self.height, self.width)
        self._check_output()
        self.sha256 = file_digest(path)
        self._sized: dict[tuple[int, int], Callable[[Image], Detections] | None] = {}

    def __call__(self, image: Image) -> Detections:
        """See `Detector`."""
        return self._find(image, self._session, (self.height, self.width), (self._cells, self._strides))

    def sized(self, height: int, width: int) -> Callable[[Image], Detections] | None:
        """The same network for an input of this size, rounded up to multiples of 32; images that fit are not scaled.

        None where the file fixes sizes inside the network, or `onnx` is not installed.
        """
        size = -(-height // 32) * 32, -(-width // 32) * 32
        if size not in self._sized:
            self._sized[size] = self._resize(*size)
        return self._sized[size]

    def _resize(self, height: int, width: int) -> Callable[[Image], Detections] | None:
        try:
            import onnx
        except ImportError:
            return None
        grids = grid_of(height, width)
        try:
            model = onnx.load(str(self.path))
            for place, length in zip(
                model.graph.input[0].type.tensor_type.shape.dim[2:], (height, width), strict=True
            ):
                place.dim_value = length
            for output in model.graph.output:
                output.type.tensor_type.ClearField("shape")
            del model.graph.value_info[:]
            session = self._open(model.SerializeToString())
            blank = np.full((1, 3, height, width), PADDING_VALUE, np.float32)
            shape = np.shape(session.run(None, {self._input: blank})[0])
        except Exception:
            # as when it is opened: a dozen classes, and none says more than that it cannot be done
            return None
        if shape[:2] != (1, len(grids[0])):
            return None
        return lambda image: self._find(image, session, (height, width), grids)

    def _find(
        self, image: Image, session: Any, size: tuple[int, int], grids: tuple[Floats, Floats]
    ) -> Detections:
        pixels, scale = letterbox(image, *size)
        output = session.run(None, {self._input: pixels})[0][0]
        found = decode_yolox(
            output, *grids, person_class=self._config.person_class, min_score=self._config.min_score
        )
        found = suppress(found, iou=self._config.nms_iou)
        return Detections(boxes=found.boxes / np.float32(scale), scores=found.scores)

    def _open(self, network: str | bytes) -> Any:
        runtime = require_extra("onnxruntime", extra="ingest", purpose="finding people")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3  # errors only: exporters leave many harmless warnings behind
        # Threads that spin while they wait take the core from decoding and tracking. The setting is OpenMP's, which
        # `intraclip.process.tune` makes passive.
        if os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive":
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return runtime.InferenceSession(network, sess_options=options, providers=["CPUExecutionProvider"])

    def _check_input(self) -> tuple[str, int, int]:
        inputs = self._session.get_inputs()
        shown = ", ".join(f"{i.name} {i.shape} {i.type}" for i in inputs)
        found = f"{self.path}: the network's input is {shown}"
        remedy = "a YOLOX detector has one input [1, 3, height, width] of float32"
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            raise DataError(f"{found}; {remedy}")
        batch, channels, height, width = inputs[0].shape  # a free one has a name instead of a length
        if isinstance(channels, int) and channels != 3:
            raise DataError(f"{found}, with {channels} channels; {remedy}")
        if isinstance(batch, int) and batch != 1:
            raise DataError(f"{found}; {remedy}")
        if not isinstance(height, int) or not isinstance(width, int) or height % 32 or width % 32:
            raise DataError(
                f"{found}; height and width must be fixed multiples of 32, export it with a fixed input size"
            )
        if not 32 <= min(height, width) <= max(height, width) <= MAX_SIDE:
            raise DataError(f"{found}; height and width from 32 to {MAX_SIDE} are possible")
        return str(inputs[0].name), height, width

    def _check_output(self) -> None:
        rows = len(self._cells)
        blank = np.full((1, 3, self.height, self.width), PADDING_VALUE, np.float32)
        try:
            outputs = self._session.run(None, {self._input: blank})
        except Exception as error:
            raise DataError(f"{self.path}: the network fails on an empty image: {error}") from error
        shapes = [list(np.shape(o)) for o in outputs]
        expected = (
            f"YOLOX with input {self.height} x {self.width} answers [1, {rows}, 5 + classes] "
            "before decoding (export without --decode_in_inference)"
        )
        if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][:2] != [1, rows]:
            raise DataError(f"{self.path}: the network's outputs have the shapes {shapes}; {expected}")
        if shapes[0][2] < 6 + self._config.person_class:
            raise DataError(
                f"{self.path}: the network's output {shapes[0]} is {shapes[0][2]} wide, class "
                f"{self._config.person_class} needs at least {6 + self._config.person_class}; {expected}"
            )
        if not np.isfinite(outputs[0]).all():
            raise DataError(f"{self.path}: the network answers NaN or infinity on an empty image")
