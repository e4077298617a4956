"""A detection model of torchvision with weights from a file; the weights here are random, the loading is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from intraclip.errors import CheckpointError, ConfigError, DataError, DeviceError
from intraclip.ingest import IngestConfig
from intraclip.ingest.detections import suppress
from intraclip.ingest.detector import open_detector
from intraclip.ingest.torchvision_detector import _CLASSES, TorchvisionDetector
from intraclip.models.zoo.catalogue import DETECTORS

NAME = "ssdlite320_mobilenet_v3_large"
CONFIG = IngestConfig(min_score=0.3, track_score=0.4)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.get_model(NAME, weights=None, weights_backbone=None, num_classes=3)
        # Random scores would all be alike.
        for name, value in network.state_dict().items():
            if "classification_head" in name and name.endswith("1.weight"):
                value.normal_(0, 1.0)
    return network.eval()


@pytest.fixture(scope="module")
def weights(model: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / f"{NAME}_coco-a79551df.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (240, 400, 3), dtype=np.uint8)


@pytest.mark.parametrize("person_class", [0, 1])
def test_people_are_the_models_own_answers_on_rgb(
    model: torch.nn.Module, weights: Path, image: np.ndarray, person_class: int
) -> None:
    config = IngestConfig(min_score=0.3, person_class=person_class)
    found = open_detector(weights, config)(image)
    model.score_thresh = 0.3  # type: ignore[assignment]
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1).float() / 255
    with torch.inference_mode():
        answer = model([rgb])[0]
    mine = answer["labels"] == person_class + 1
    assert len(found) > 3
    expected = answer["boxes"][mine].numpy()
    kept = {tuple(box) for box in expected.round(2).tolist()}
    assert all(tuple(box) in kept for box in found.boxes.round(2).tolist())
    assert found.scores[0] == pytest.approx(float(answer["scores"][mine].max()), abs=1e-5)
    assert len(suppress(found, iou=0.45)) == len(found)
    assert (np.diff(found.scores) <= 0).all()


def test_checkpoints_of_other_shapes_load_the_same(weights: Path, tmp_path: Path, image: np.ndarray) -> None:
    state = torch.load(weights, weights_only=True)
    save_file(state, tmp_path / "mine.safetensors")
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "parallel.pt")
    expected = open_detector(weights, CONFIG)(image)
    for name in ("mine.safetensors", "parallel.pt"):
        config = IngestConfig(min_score=0.3, detector_model=NAME)
        detector = open_detector(tmp_path / name, config)
        assert isinstance(detector, TorchvisionDetector)
        assert (detector.name, detector.height, detector.width) == (NAME, 320, 320)
        np.testing.assert_array_equal(detector(image).boxes, expected.boxes)


def test_model_must_be_named_and_known(weights: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "mine.pth"
    renamed.symlink_to(weights)
    with pytest.raises(ConfigError, match=r"mine\.pth does not begin with .* say which one it is"):
        open_detector(renamed, CONFIG)
    with pytest.raises(ConfigError, match=r"detector_model is 'yolo', must be one of fasterrcnn"):
        open_detector(renamed, IngestConfig(detector_model="yolo"))


def test_weights_of_another_model(weights: Path) -> None:
    with pytest.raises(DataError, match=r"does not hold the weights of fcos_resnet50_fpn: there is no head"):
        open_detector(weights, IngestConfig(detector_model="fcos_resnet50_fpn"))


def test_weights_with_missing_and_unknown_keys(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    first = next(iter(state))
    state["other"] = state.pop(first)
    torch.save(state, tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match=rf"missing: {first}[\s\S]*unknown: other"):
        open_detector(tmp_path / "mine.pth", IngestConfig(detector_model=NAME))


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.pth"
    path.write_bytes(b"not weights at all" * 20)
    with pytest.raises(CheckpointError, match=r"cannot be read as weights"):
        open_detector(path, CONFIG)
    with pytest.raises(DataError, match="there is no detector"):
        open_detector(tmp_path / "none.pth", CONFIG)
    with pytest.raises(DataError, match=r"d\.txt is of no kind that is known"):
        open_detector(tmp_path / "d.txt", CONFIG)


def test_class_that_the_model_does_not_have(weights: Path) -> None:
    with pytest.raises(ConfigError, match=r"person_class is 2, but .* knows 2 classes"):
        open_detector(weights, IngestConfig(person_class=2))


def test_model_that_answers_nan(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    for name, value in state.items():
        if "regression_head" in name and name.endswith("1.bias"):
            value.fill_(float("nan"))
    torch.save(state, tmp_path / "mine.pth")
    with pytest.raises(DataError, match="NaN"):
        open_detector(
            tmp_path / "mine.pth", IngestConfig(detector_model=NAME, min_score=0.0, track_score=0.0)
        )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there(weights: Path) -> None:
    with pytest.raises(DeviceError, match="0 CUDA devices found; cpu is always there"):
        open_detector(weights, IngestConfig(device="cuda"))


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_every_model_loads_its_own_weights_with_any_number_of_classes(name: str, tmp_path: Path) -> None:
    network = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=5)
    path = tmp_path / f"{name}.pth"
    torch.save(network.state_dict(), path)
    detector = open_detector(path, IngestConfig(person_class=3, min_score=0.0, track_score=0.0))
    assert isinstance(detector, TorchvisionDetector)
    assert detector.name == name
    detector(np.full((120, 160, 3), 90, np.uint8))
    assert name.split("_")[0] in _CLASSES
    with pytest.raises(ConfigError, match="knows 4 classes"):
        open_detector(path, IngestConfig(person_class=4))
