"""Weights are looked for before anything is trained."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from intraclip.config import InputConfig, ModelConfig
from intraclip.errors import CheckpointError, ConfigError
from intraclip.lab.reproduce.run import Plan, plan, reproduce
from intraclip.lab.reproduce.scales import Settings
from intraclip.lab.view import View
from intraclip.models.embedder import build_embedder
from lab.reproduce.tiny import make, mars, write_recipe


def planned_with(folder: Path, weights: str, *, backbone: str = "small", width: float = 0.5) -> Plan:
    """A plan of one row whose network starts from weights."""
    recipe = write_recipe(folder)
    text = recipe.read_text().replace('weights = ""', f'weights = "{weights}"')
    text = text.replace('backbone = "small"', f'backbone = "{backbone}"')
    recipe.write_text(text.replace("width = 0.5", f"width = {width}"))
    data = folder / "mars" if (folder / "mars").exists() else mars(folder)
    return plan(
        Settings(
            experiment="table1",
            scale="smoke",
            out=folder / "out",
            data=(data,),
            seeds=1,
            only=("model-1", "model-2"),
            recipe=str(recipe),
        )
    )


def backbone_file(folder: Path, *, width: float = 0.5) -> Path:
    """Weights of the small network."""
    config = ModelConfig(backbone="small", weights="", head="tap", backbone_settings={"width": width})
    network = build_embedder(config, InputConfig(height=32, width=16), num_classes=2, seed=0)
    torch.save(network.backbone.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """Torch hub's folder, empty, on a machine without internet access."""

    def offline(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_a_download_is_told_in_the_plan_and_fails_before_any_training(
    tmp_path: Path, cache: Path, monkeypatch
):
    found = planned_with(tmp_path, "imagenet", backbone="resnet18", width=1.0)
    (weights,) = found.weights  # once for both rows
    assert weights.file.parent == cache
    (told,) = (text for text in found.cautions if "downloaded" in text)
    assert "resnet18-f37072fd.pth, 45 MB: ImageNet weights of resnet18, from https://" in told
    assert not cache.exists()

    monkeypatch.setattr("intraclip.lab.reproduce.run.do_runs", lambda *_, **__: pytest.fail("it was trained"))
    said: list[str] = []
    view = View(say=said.append, progress=lambda name: nullcontext(lambda *_: None))
    with pytest.raises(
        CheckpointError, match=r'(?s)model.weights = "imagenet".*no route.*Offline: put https'
    ):
        reproduce(found, view)
    assert said[0].startswith("downloading resnet18-f37072fd.pth, 45 MB")


def test_a_file_in_the_cache_is_not_downloaded(tmp_path: Path, cache: Path):
    cache.mkdir(parents=True)
    (cache / "resnet18-f37072fd.pth").write_bytes(b"")
    found = planned_with(tmp_path, "imagenet", backbone="resnet18", width=1.0)
    assert not any("downloaded" in text for text in found.cautions)
    view = View(say=lambda text: None, progress=lambda name: nullcontext(lambda *_: None))
    with pytest.raises(
        CheckpointError, match=r"(?s)nothing was trained.*cannot be read.*delete \S*f37072fd.pth"
    ):
        reproduce(found, view)


def test_networks_without_imagenet_weights_are_refused_in_the_plan(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no ImageNet weights for small of width 0\.5"):
        planned_with(tmp_path, "imagenet")
    with pytest.raises(ConfigError, match=r"no ImageNet weights for resnet18 of width 0\.5"):
        planned_with(tmp_path, "imagenet", backbone="resnet18")


def test_a_missing_file_is_refused_in_the_plan(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"model.weights: the file \S*none.pth is not there"):
        planned_with(tmp_path, str(tmp_path / "none.pth"))


def test_a_file_that_does_not_fit_is_refused_before_any_training(tmp_path: Path, monkeypatch):
    found = planned_with(tmp_path, str(backbone_file(tmp_path, width=1.0)))
    monkeypatch.setattr("intraclip.lab.reproduce.run.do_runs", lambda *_, **__: pytest.fail("it was trained"))
    view = View(say=lambda text: None, progress=lambda name: nullcontext(lambda *_: None))
    with pytest.raises(CheckpointError, match=r"(?s)nothing was trained.*does not fit.*--only"):
        reproduce(found, view)


def test_runs_that_are_trained_need_no_weights(tmp_path: Path):
    file = backbone_file(tmp_path)
    found = planned_with(tmp_path, str(file))
    assert [weights.file for weights in found.weights] == [file]
    for run in found.runs:
        make(run)
    file.unlink()
    assert planned_with(tmp_path, str(file)).weights == ()
