from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from intraclip.config import InputConfig, ModelConfig, Recipe
from intraclip.errors import CheckpointError, ConfigError
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.saving import save_checkpoint
from intraclip.models.start import begin, trained_before
from intraclip.models.zoo import Entry
from intraclip.models.zoo.entry import File

SMALL = InputConfig(height=32, width=16)
MODEL = ModelConfig(backbone="small", head="ica", weights="", backbone_settings={"width": 0.5})


def network(model: ModelConfig = MODEL, size: InputConfig = SMALL, *, people: int = 5) -> ClipEmbedder:
    return build_embedder(model, size, num_classes=people, seed=1)


def run_of(folder: Path, model: ModelConfig = MODEL, size: InputConfig = SMALL) -> tuple[Path, ClipEmbedder]:
    """A finished run, and its network."""
    trained = build_embedder(model, size, num_classes=3, seed=7)
    save_checkpoint(
        folder / "model.safetensors",
        trained,
        recipe=Recipe(model=model, input=size),
        pids=[1, 2, 3],
        epoch=1,
        step=1,
    )
    return folder, trained


def differing(a: torch.nn.Module, b: torch.nn.Module) -> set[str]:
    theirs = b.state_dict()
    return {name for name, tensor in a.state_dict().items() if not torch.equal(tensor, theirs[name])}


@pytest.mark.parametrize("given", ["run", "run/model.safetensors"])
def test_backbone_and_head_come_from_a_run_and_the_classifier_is_new(tmp_path: Path, given: str):
    _, trained = run_of(tmp_path / "run")
    model = network()
    said = begin(model, replace(MODEL, weights=str(tmp_path / given)), SMALL)
    assert differing(model.backbone, trained.backbone) == set()
    assert differing(model.head, trained.head) == set()
    assert model.classifier.weight.shape == (5, model.embedding_size)
    assert torch.equal(model.classifier.weight, network().classifier.weight)
    assert said == f"backbone and head (ica) start from {tmp_path / 'run/model.safetensors'}; new: classifier"


def test_another_head_begins_anew_and_it_is_said(tmp_path: Path):
    run, trained = run_of(tmp_path)
    other = replace(MODEL, head="tap", weights=str(run))
    model = network(other)
    assert "new: head (tap here, ica there), classifier" in begin(model, other, SMALL)
    assert differing(model.backbone, trained.backbone) == set()


def test_what_of_a_head_does_not_fit_begins_anew_and_it_is_said(tmp_path: Path):
    run, _ = run_of(tmp_path)
    other = replace(MODEL, head_settings={"expansion": 1}, weights=str(run))
    model = network(other)
    said = begin(model, other, SMALL)
    assert "tensors of the head, such as bottleneck" in said
    assert differing(model.head, network(other).head)  # its first layer is the run's


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        (replace(MODEL, backbone="resnet18"), SMALL, "model.backbone: small there, resnet18 here"),
        (
            replace(MODEL, backbone_settings={"width": 1.0}),
            SMALL,
            r"model.backbone.width: 0\.5 there, 1\.0 here",
        ),
        (MODEL, replace(SMALL, mean=(0.0, 0.0, 0.0)), r"input.mean: \[0\.5, .* there, \[0\.0"),
    ],
)
def test_another_kind_of_network_is_refused_with_what_differs(
    tmp_path: Path, model: ModelConfig, size: InputConfig, words: str
):
    run, _ = run_of(tmp_path)
    with pytest.raises(ConfigError, match=rf"(?s)model.weights: .* another kind of network.*{words}"):
        begin(network(model, size), replace(model, weights=str(run)), size)


def test_a_network_of_timm_goes_on_at_another_size_and_normalisation(tmp_path: Path):
    pytest.importorskip("timm")
    model = replace(MODEL, backbone="timm:vit_tiny_patch16_224", head="tap")
    run, trained = run_of(tmp_path, model)
    rows = trained.backbone.network.pos_embed.detach().clone()
    rows[:, 1], rows[:, 2] = 0.0, 1.0  # frames of 32 x 16 are two patches, one above the other
    trained.backbone.network.pos_embed.data.copy_(rows)
    save_checkpoint(
        run / "model.safetensors",
        trained,
        recipe=Recipe(model=model, input=SMALL),
        pids=[1, 2, 3],
        epoch=1,
        step=1,
    )
    size = InputConfig(height=64, width=32, mean=(0.4, 0.4, 0.4))
    larger = network(model, size)
    begin(larger, replace(model, weights=str(run)), size)
    mine, theirs = larger.backbone.network.state_dict(), trained.backbone.network.state_dict()
    assert torch.equal(mine["blocks.3.mlp.fc1.weight"], theirs["blocks.3.mlp.fc1.weight"])
    assert torch.equal(mine["pos_embed"][:, 0], theirs["pos_embed"][:, 0])
    fitted = mine["pos_embed"][0, 1:, 0].view(4, 2)
    assert torch.equal(fitted[:, 0], fitted[:, 1])
    assert fitted[:, 0].tolist() == sorted(fitted[:, 0].tolist())
    assert fitted[3, 0] > fitted[0, 0] + 0.5


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
def test_a_backbones_weights_load_wrapped_or_not(tmp_path: Path, wrapper: str):
    reference = build_embedder(MODEL, SMALL, num_classes=2, seed=9).backbone
    state = {wrapper + name: tensor.clone() for name, tensor in reference.state_dict().items()}
    for name in ("weights.pth", "weights.safetensors"):
        path = tmp_path / name
        if path.suffix == ".pth":
            torch.save(state, path)
        else:
            save_file(state, path)
        model = network()
        assert begin(model, replace(MODEL, weights=str(path)), SMALL) == f"the backbone starts from {path}"
        assert differing(model.backbone, reference) == set()


def test_words_and_other_files_are_no_network_that_was_trained_before(tmp_path: Path):
    save_file({"w": torch.ones(1)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    for given in ("", "imagenet", "pretrained", "nowhere.pth"):
        assert trained_before(given) is None
    assert trained_before(str(tmp_path / "other.safetensors")) is None
    assert trained_before(str(tmp_path / "broken.safetensors")) is None
    with pytest.raises(CheckpointError, match="holds no trained model"):
        trained_before(str(tmp_path))


def test_a_network_of_the_zoo_is_begun_from_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INTRACLIP_CACHE", str(tmp_path))
    about = {"what": "A network.", "licence": "Apache-2.0", "trained_on": "rendered people"}
    own = Entry(name="own", kind="checkpoint", files=(File(name="model.safetensors"),), **about)  # type: ignore[arg-type]
    bare = Entry(name="bare", kind="backbone", files=(File(name="w.pth"),), **about)  # type: ignore[arg-type]
    monkeypatch.setattr("intraclip.models.zoo.entries", lambda: {"own": own, "bare": bare})
    with pytest.raises(CheckpointError, match="own is not here yet"):
        begin(network(), replace(MODEL, weights="own"), SMALL)
    _, trained = run_of(tmp_path / "models/own")
    model = network()
    assert begin(model, replace(MODEL, weights="own"), SMALL).startswith("backbone and head (ica)")
    assert differing(model.backbone, trained.backbone) == set()
    (tmp_path / "models/bare").mkdir()
    torch.save(trained.backbone.state_dict(), tmp_path / "models/bare/w.pth")
    model = network()
    begin(model, replace(MODEL, weights="bare"), SMALL)
    assert differing(model.backbone, trained.backbone) == set()
