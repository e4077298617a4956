from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from intraclip.config import InputConfig, ModelConfig, Recipe
from intraclip.errors import CheckpointError, OutputError
from intraclip.models.checkpoint import load_model, load_weights, model_file, read_checkpoint
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.saving import save_checkpoint, training_checkpoint
from intraclip.train.resuming import load_optimizer

RECIPE = Recipe(
    seed=9,
    input=InputConfig(height=32, width=16),
    model=ModelConfig(backbone="small", head="ica", weights="imagenet", backbone_settings={"width": 0.5}),
)


def model() -> ClipEmbedder:
    return build_embedder(replace(RECIPE.model, weights=""), RECIPE.input, num_classes=3, seed=1)


def write(path: Path, network: ClipEmbedder, **more: object) -> Path:
    save_checkpoint(path, network, recipe=RECIPE, pids=[4, 7, 9], epoch=2, step=20, **more)  # type: ignore[arg-type]
    return path


def test_a_checkpoint_comes_back_whole(tmp_path: Path):
    network = model()
    checkpoint = read_checkpoint(write(tmp_path / "a.safetensors", network))
    assert checkpoint.recipe == RECIPE
    assert (checkpoint.pids, checkpoint.epoch, checkpoint.step) == ((4, 7, 9), 2, 20)
    # The backbone's ImageNet weights must not be fetched again: the checkpoint holds every weight.
    loaded = load_model(checkpoint, device=torch.device("cpu"))
    assert not loaded.training
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in network.state_dict().items())


def test_the_optimizer_comes_back_bit_for_bit(tmp_path: Path):
    def train(network: ClipEmbedder, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            frames = torch.randn(4, 2, 3, 32, 16, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            network(frames, torch.ones(4, 2, dtype=torch.bool)).logits.square().sum().backward()
            optimizer.step()

    network = model()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, weight_decay=1e-3)
    train(network, optimizer, range(3))
    checkpoint = read_checkpoint(write(tmp_path / "a.safetensors", network, optimizer=optimizer))
    train(network, optimizer, range(3, 6))

    other = model()
    other_optimizer = torch.optim.Adam(other.parameters(), lr=9.0)
    load_weights(other, checkpoint)
    load_optimizer(other_optimizer, checkpoint)
    train(other, other_optimizer, range(3, 6))
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in network.state_dict().items())


def test_final_weights_cannot_be_resumed_from(tmp_path: Path):
    checkpoint = read_checkpoint(write(tmp_path / "a.safetensors", model()))
    with pytest.raises(CheckpointError, match="holds weights only; resume from"):
        load_optimizer(torch.optim.Adam(model().parameters()), checkpoint)


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(CheckpointError, match="damaged or no safetensors file"):
        read_checkpoint(tmp_path / "text.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="no intraclip checkpoint"):
        read_checkpoint(tmp_path / "plain.safetensors")
    save_file(
        {"x": torch.zeros(1)},
        tmp_path / "future.safetensors",
        metadata={"format": "intraclip-checkpoint", "format_version": "99"},
    )
    with pytest.raises(CheckpointError, match="format 99, this version of intraclip reads 1"):
        read_checkpoint(tmp_path / "future.safetensors")


def test_a_truncated_checkpoint_is_refused(tmp_path: Path):
    path = write(tmp_path / "a.safetensors", model())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


def test_a_failed_write_keeps_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "a.safetensors", model())
    before = path.read_bytes()

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(OutputError, match=r"the disk is full.*nothing older was changed"):
        write(path, model())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_folder_stands_for_its_final_model_or_latest_checkpoint(tmp_path: Path):
    with pytest.raises(CheckpointError, match="holds no trained model"):
        model_file(tmp_path)
    for step in (9, 10):
        write(training_checkpoint(tmp_path, step), model())
    assert model_file(tmp_path).name == "step-00000010.safetensors"
    write(tmp_path / "model.safetensors", model())
    assert model_file(tmp_path).name == "model.safetensors"
