"""What a person detector is, and which one a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from intraclip.errors import DataError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Detections
from intraclip.ingest.frame_source import Image
from intraclip.models.zoo import resolve

ONNX_SUFFIXES = (".onnx",)
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
        """Find people.

        Args:
            image: uint8 ``[H, W, 3]`` BGR, of any size.

        Returns:
            Detections in pixels of the image, best first, after non-maximum suppression.
        """
        ...


def open_detector(path: Path, config: IngestConfig) -> Detector:
    """Load a detector, by file or by its name in the zoo; the ending of the file's name says which kind it is.

    `.onnx` is a YOLOX network. `.pth`, `.pt` and `.safetensors` hold the weights of one of torchvision's detection
    models, which `config.detector_model` or the file's name says.

    Raises:
        CheckpointError: the weights are damaged, or are those of another model.
        ConfigError: the name of torchvision's model is missing or unknown.
        DataError: there is no such file, it is of another kind, or it is no detector.
        DeviceError: `config.device` is not there.
        MissingExtraError: ONNX Runtime is not installed.
    """
    path = resolve(path, kinds=("detector",))
    kind = path.suffix.lower()
    if kind not in ONNX_SUFFIXES + TORCH_SUFFIXES:
        raise DataError(
            f"the detector {path} is of no kind that is known; give a YOLOX network (.onnx) or the weights of a "
            f"detection model of torchvision ({', '.join(TORCH_SUFFIXES)})"
        )
    if not path.is_file():
        raise DataError(
            f"there is no detector {path}; give the path of a detector's file, or a name of `intraclip models "
            "list`"
        )
    if kind in ONNX_SUFFIXES:
        from intraclip.ingest.yolox import YoloxDetector

        return YoloxDetector(
            path, person_class=config.person_class, min_score=config.min_score, nms_iou=config.nms_iou
        )
    from intraclip.ingest.torchvision_detector import TorchvisionDetector  # loads torch

    return TorchvisionDetector(path, config)
