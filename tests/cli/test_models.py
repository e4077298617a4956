from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from intraclip.cli.main import main
from intraclip.embed.encoders import open_encoder
from intraclip.errors import CheckpointError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.detector import open_detector
from intraclip.models.zoo import entries
from real_data import real_data

OMZ = "person-reidentification-retail-0287"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTRACLIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_list_shows_every_network_in_full_and_says_what_is_here(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(entries())
    assert all(len(line) <= 120 for line in lines)
    assert main(["models", "list", "osnet_x1_0", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["here"] is False
    assert "unclear" in one["licence"]
    assert main(["models", "list", "resnet50-imagenet"]) == 0
    assert "--model.backbone resnet50 --model.weights resnet50-imagenet" in capsys.readouterr().out


def test_wrong_names_and_commands_are_said(capsys: pytest.CaptureFixture[str]):
    assert main(["models"]) == 0
    assert main(["models", "fetch"]) == 2
    assert "there are list, get, check" in capsys.readouterr().err
    assert main(["models", "get", "yolox_nanoo"]) == 2
    assert "did you mean 'yolox_nano'" in capsys.readouterr().err
    assert main(["models", "get", "yolox_nano", "yolox_tiny", "--from", "x.onnx"]) == 2
    assert "--from names the files of one network, not of 2" in capsys.readouterr().err
    assert main(["models", "get", "osnet_x1_0"]) == 2
    assert "cannot be downloaded: torchreid's model zoo" in capsys.readouterr().err


def test_nothing_here_is_nothing_wrong(capsys: pytest.CaptureFixture[str], cache: Path):
    assert main(["models", "check"]) == 0
    assert f"no network is in {cache}" in capsys.readouterr().err
    assert main(["models", "check", "yolox_nano"]) == 2
    assert "is missing" in capsys.readouterr().err
    assert main(["models", "check", "base"]) == 0  # it comes with the package, whatever the cache holds
    assert "no network" not in capsys.readouterr().err
    assert main(["models", "check", "base", "yolox_nano", "--json"]) == 2
    base, missing = json.loads(capsys.readouterr().out)
    assert (base["name"], base["problem"], len(base["files"])) == ("base", "", 1)
    assert (missing["name"], missing["files"]) == ("yolox_nano", [])
    assert "is missing" in missing["problem"]
    assert not cache.exists()


@pytest.mark.real_data
def test_a_file_that_came_another_way_opens_by_its_name(capsys: pytest.CaptureFixture[str], cache: Path):
    file = real_data(f"models/reid/{OMZ}.xml")
    with pytest.raises(CheckpointError, match=f"{OMZ} is not here yet"):
        open_encoder(Path(OMZ))
    assert main(["models", "get", OMZ, "--from", str(file)]) == 0  # the .bin lies beside it
    assert capsys.readouterr().out.count("agrees with a copy in yas-sim/") == 2
    encoder = open_encoder(Path(OMZ))
    frames = torch.randint(0, 256, (2, 3, 256, 128), dtype=torch.uint8)
    assert encoder.encode(frames).shape == (2, 256)
    assert main(["models", "check"]) == 0
    weights = cache / f"models/{OMZ}/{OMZ}.bin"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert main(["models", "check"]) == 2
    assert "it was changed; delete it and get it again" in capsys.readouterr().err


@pytest.mark.real_data
def test_a_detector_opens_by_its_name():
    file = real_data("models/detector/yolox_nano.onnx")
    assert main(["models", "get", "yolox_nano", "--from", str(file)]) == 0
    detector = open_detector(Path("yolox_nano"), IngestConfig())
    assert (detector.height, detector.width) == (416, 416)
    assert len(detector(np.zeros((416, 416, 3), np.uint8)).boxes) == 0
