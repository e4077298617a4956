"""People in images, by one of torchvision's detection models with weights from a local file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from intraclip.core.devices import choose_device
from intraclip.core.files import file_digest
from intraclip.errors import ConfigError, DataError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detections import Detections, suppress
from intraclip.ingest.frame_source import Image
from intraclip.models.state_dicts import load_matching, read_state_dict
from intraclip.models.zoo.catalogue import DETECTORS

# The bias of the last classifying layer has one entry for every anchor of a place and class.
_CLASSES = {
    "fasterrcnn": ("roi_heads.box_predictor.cls_score.bias", 1),
    "fcos": ("head.classification_head.cls_logits.bias", 1),
    "retinanet": ("head.classification_head.cls_logits.bias", 9),
    "ssd300": ("head.classification_head.module_list.5.bias", 4),
    "ssdlite320": ("head.classification_head.module_list.5.1.bias", 6),
}
_WITHOUT_EPSILON = ("258fb6c6", "eeacb38b")
"""How the SHA-256 of files begins that torchvision runs with a batch normalisation epsilon of 0: its first weights of
Faster R-CNN and RetinaNet on COCO were trained so."""


class TorchvisionDetector:
    """A detection model of torchvision, on the CPU or a GPU; see `intraclip.ingest.detector.Detector`.

    The file is a state dict with torchvision's key names, `.pth` or `.safetensors`; it may have been trained on other
    classes. No pickled code is run.

    Raises:
        ConfigError: the model's name is missing or unknown, or the model has no such class.
        DataError: it answers NaN.
    """

    def __init__(self, path: Path, config: IngestConfig) -> None:
        self.name = model_name(path, config.detector_model)
        self.path = path
        self.min_score, self.nms_iou = config.min_score, config.nms_iou
        self._device = choose_device(config.device)
        state = read_state_dict(path)
        self.sha256 = file_digest(path)
        classes = _count_classes(self.name, state, path)
        # Class 0 is the background in torchvision.
        self._label = config.person_class + 1
        if self._label >= classes:
            raise ConfigError(
                f"person_class is {config.person_class}, but {path} knows {classes - 1} classes beside the "
                f"background; count them from 0"
            )
        model = torchvision.models.get_model(
            self.name, weights=None, weights_backbone=None, num_classes=classes
        )
        load_matching(model, state, source=f"{path}, as {self.name},")
        if self.sha256.startswith(_WITHOUT_EPSILON):
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eps = 0.0
        # The models drop weak detections before their own suppression; what counts as weak is the user's choice.
        (model.roi_heads if hasattr(model, "roi_heads") else model).score_thresh = config.min_score
        self._model = model.to(self._device).eval()
        scaling = model.transform
        self.height, self.width = scaling.fixed_size or (scaling.min_size[-1], scaling.max_size)
        found = self._run(np.zeros((self.height, self.width, 3), np.uint8))
        if not all(bool(torch.isfinite(found[key]).all()) for key in ("boxes", "scores")):
            raise DataError(f"{path}: the detector answers NaN or infinity on an empty image")

    def __call__(self, image: Image) -> Detections:
        """See `Detector`."""
        found = self._run(image)
        keep = (found["labels"] == self._label) & (found["scores"] >= self.min_score)
        people = Detections(
            boxes=found["boxes"][keep].float().cpu().numpy(),
            scores=found["scores"][keep].float().cpu().numpy(),
        )
        return suppress(people, iou=self.nms_iou)

    def _run(self, image: Image) -> dict[str, torch.Tensor]:
        rgb = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
        with torch.inference_mode():
            answers: list[dict[str, torch.Tensor]] = self._model([rgb.to(self._device).float() / 255])
        return answers[0]


def model_name(path: Path, chosen: str) -> str:
    """Name of the model that a file of weights belongs to: the one `chosen`, or how the file's name begins.

    Raises:
        ConfigError: the name is unknown, or is neither given nor in the file's name.

    >>> model_name(Path("fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth"), "")
    'fasterrcnn_resnet50_fpn_v2'
    """
    if chosen:
        if chosen not in DETECTORS:
            raise ConfigError(f"detector_model is {chosen!r}, must be one of {', '.join(DETECTORS)}")
        return chosen
    fits = [name for name in DETECTORS if path.name.startswith(name)]
    if not fits:
        raise ConfigError(
            f"the name of {path} does not begin with that of a detection model of torchvision; say which one it is "
            f"with detector_model, one of {', '.join(DETECTORS)}"
        )
    return max(fits, key=len)


def _count_classes(name: str, state: dict[str, Any], path: Path) -> int:
    """Classes of a model's weights, background included."""
    key, anchors = _CLASSES[name.split("_")[0]]
    bias = state.get(key, state.get(f"module.{key}"))
    if bias is None or bias.ndim != 1 or len(bias) % anchors:
        raise DataError(
            f"{path} does not hold the weights of {name}: there is no {key} with {anchors} values a class; name the "
            f"right model with detector_model, one of {', '.join(DETECTORS)}"
        )
    return len(bias) // anchors
