from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
import torch
import torchvision
from torch import nn

from intraclip.config import InputConfig, ModelConfig
from intraclip.errors import CheckpointError, ConfigError
from intraclip.models.backbones import BACKBONES
from intraclip.models.backbones.weights import load_backbone_weights
from intraclip.models.clip_network import ClipNetwork
from intraclip.models.embedder import build_backbone, build_embedder, build_head
from intraclip.models.heads.ica import ICA
from intraclip.models.state_dicts import read_state_dict

FULL = InputConfig()


def random_maps(b: int = 3, t: int = 4, f: int = 16, h: int = 5, w: int = 2) -> torch.Tensor:
    return torch.randn(b, t, f, h, w, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet50", (2048, 8, 4)),
        ("inception_v3", (2048, 6, 2)),
        ("alexnet", (256, 7, 3)),
        ("resnet18", (512, 8, 4)),
        ("small", (128, 16, 8)),
    ],
)
def test_backbones_give_maps_of_the_documented_size(name, shape):
    built = build_backbone(ModelConfig(backbone=name, weights=""), FULL)
    with torch.inference_mode():
        maps = built.eval()(torch.randn(1, 3, 256, 128))
    assert tuple(maps.shape[1:]) == shape
    assert built.num_features == shape[0]


OF_FRAMES = [
    name for name in BACKBONES if name != "timm:" and not issubclass(BACKBONES.load(name), ClipNetwork)
]


@pytest.mark.parametrize("name", OF_FRAMES)
def test_other_input_sizes_fit_and_too_small_ones_are_refused(name):
    config = ModelConfig(backbone=name, weights="")
    built = build_backbone(config, InputConfig(height=160, width=96))
    frames = torch.randn(1, 3, 160, 96)
    if issubclass(BACKBONES.load(name), ClipNetwork):
        frames = frames.unsqueeze(0)
    with torch.inference_mode():
        assert built.eval()(frames).ndim == 4
    if built.min_size > 16:
        with pytest.raises(ConfigError, match=f"input: 64 x 32 is too small for {name}"):
            build_backbone(config, InputConfig(height=64, width=32))


def test_last_stride_one_doubles_the_map():
    for name in ("resnet50", "resnet18"):
        built = build_backbone(
            ModelConfig(backbone=name, weights="", backbone_settings={"last_stride": 1}), FULL
        )
        with torch.inference_mode():
            assert tuple(built.eval()(torch.randn(1, 3, 256, 128)).shape[2:]) == (16, 8)


def test_half_width_halves_the_channels():
    assert (
        build_backbone(
            ModelConfig(backbone="resnet18", weights="", backbone_settings={"width": 0.5}), FULL
        ).num_features
        == 256
    )


@pytest.mark.parametrize("name", ["resnet50", "inception_v3", "alexnet", "resnet18"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_files_load_and_reproduce_torchvision_features(name, suffix, tmp_path):
    """A file with torchvision's keys, classifier included, gives the maps that torchvision's own network gives."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    kwargs = {"init_weights": False, "transform_input": False} if name == "inception_v3" else {}
    reference = torchvision.models.get_model(name, weights=None, **kwargs).eval()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(reference.state_dict(), path)
    else:
        save_file(reference.state_dict(), path)
    config = ModelConfig(backbone=name, weights=str(path))
    built = build_backbone(config, FULL)
    load_backbone_weights(built, config)

    seen = {}
    last = {"resnet50": "layer4", "resnet18": "layer4", "inception_v3": "Mixed_7c", "alexnet": "features"}[
        name
    ]
    getattr(reference, last).register_forward_hook(lambda module, inputs, output: seen.update(maps=output))
    frames = torch.randn(2, 3, 256, 128)
    with torch.inference_mode():
        reference(frames)
        ours = built.eval()(frames)
    assert torch.allclose(ours, seen["maps"], atol=1e-5)


def test_weights_of_another_network_are_refused_with_the_keys(tmp_path):
    path = tmp_path / "alexnet.pth"
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), path)
    config = ModelConfig(backbone="resnet18", weights=str(path))
    with pytest.raises(
        CheckpointError, match=r"(?s)does not fit the backbone.*missing: conv1.weight.*unknown: features"
    ):
        load_backbone_weights(build_backbone(config, FULL), config)


def test_options_beside_the_weights_are_read_over(tmp_path):
    """As torchvision's training scripts save them."""
    reference = torchvision.models.resnet18(weights=None)
    options = argparse.Namespace(model="resnet18", lr=0.1, device=torch.device("cpu"), milestones=[30, 60])
    torch.save({"model": reference.state_dict(), "epoch": 3, "args": options}, tmp_path / "model_3.pth")
    state = read_state_dict(tmp_path / "model_3.pth")
    assert state.keys() == reference.state_dict().keys()
    assert torch.equal(state["conv1.weight"], reference.conv1.weight)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (
            {"model": {"w": torch.ones(1)}, "folder": PurePosixPath("runs")},
            r"it holds pathlib\S*\.PurePosixPath beside",
        ),
        (nn.Linear(2, 2), r"it holds torch\.nn\.modules\.linear\.Linear beside tensors.*torch\.save\("),
    ],
)
def test_what_could_run_code_is_refused_by_name_and_in_plain_text(tmp_path, held, words):
    torch.save(held, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=words) as refused:
        read_state_dict(tmp_path / "weights.pth")
    assert "\x1b" not in str(refused.value)
    assert "weights_only" not in str(refused.value)  # torch's advice to trust the file


def test_weights_that_are_no_weights_are_refused(tmp_path):
    config = ModelConfig(backbone="small", weights=str(tmp_path / "none.pth"))
    network = build_backbone(config, FULL)
    with pytest.raises(CheckpointError, match="no weights file"):
        load_backbone_weights(network, config)
    (tmp_path / "none.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read as weights: it is damaged"):
        load_backbone_weights(network, config)


def test_pickled_code_is_not_run(tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    path = tmp_path / "trap.pth"
    path.write_bytes(pickle.dumps({"conv1.weight": Trap()}))
    config = ModelConfig(backbone="resnet18", weights=str(path))
    with pytest.raises(CheckpointError):
        load_backbone_weights(build_backbone(config, FULL), config)
    assert not (tmp_path / "ran").exists()


def test_imagenet_weights_do_not_exist_for_own_networks():
    config = ModelConfig(backbone="small", weights="imagenet")
    with pytest.raises(ConfigError, match="no ImageNet weights for small"):
        load_backbone_weights(build_backbone(config, FULL), config)


@pytest.mark.parametrize("order", ["fc-bn-relu", "fc-relu-bn"])
def test_ica_is_equation_4_in_plain_numbers(order):
    torch.manual_seed(0)
    head = ICA(16, order=order)
    assert head.embedding_size == 8
    maps = random_maps(b=6)
    mask = torch.ones(6, 4, dtype=torch.bool)

    def norm(x: torch.Tensor, layer: nn.BatchNorm1d) -> torch.Tensor:
        mean, variance = x.mean(dim=0), x.var(dim=0, unbiased=False)
        return (x - mean) / (variance + layer.eps).sqrt() * layer.weight + layer.bias

    first, a, b, last, final = head.bottleneck
    z = maps.mean(dim=(1, 3, 4))
    y = z @ first.weight.T + (first.bias if first.bias is not None else 0)
    y = norm(y, a).clamp_min(0) if order == "fc-bn-relu" else norm(y.clamp_min(0), b)
    y = norm(y @ last.weight.T, final)
    out = head(maps, mask)
    assert torch.allclose(out.embedding, y, atol=1e-5)
    assert torch.allclose(out.pooled, z, atol=1e-6)


def test_ica_sizes_follow_the_figure():
    head = ICA(2048)
    shapes = [tuple(layer.weight.shape) for layer in head.bottleneck if isinstance(layer, nn.Linear)]
    assert shapes == [(512, 2048), (1024, 512)]
    assert head.embedding_size == 1024


@pytest.mark.parametrize("name", ["tap", "ica"])
def test_heads_ignore_padding_and_frame_order(name):
    head = build_head(16, ModelConfig(head=name)).eval()
    maps = random_maps()
    mask = torch.tensor([[True, True, True, False]] * 3)
    changed = maps.clone()
    changed[:, 3] = 1e3
    assert torch.allclose(head(maps, mask).embedding, head(changed, mask).embedding)
    assert torch.allclose(head(maps[:, :3], mask[:, :3]).embedding, head(maps, mask).embedding, atol=1e-6)
    shuffled = maps[:, [2, 0, 1, 3]]
    assert torch.allclose(head(shuffled, mask).embedding, head(maps, mask).embedding, atol=1e-6)


@pytest.mark.parametrize("name", ["tap", "ica"])
@pytest.mark.parametrize("frames", [1, 4, 9])
def test_embedder_runs_and_every_parameter_gets_a_gradient(name, frames):
    model = build_embedder(
        ModelConfig(backbone="small", head=name, weights="", backbone_settings={"width": 0.5}),
        InputConfig(height=32, width=16),
        num_classes=5,
        seed=0,
    )
    out = model(torch.randn(4, frames, 3, 32, 16), torch.ones(4, frames, dtype=torch.bool))
    assert out.embedding.shape == (4, model.embedding_size)
    assert out.logits.shape == (4, 5)
    (out.logits.square().sum() + out.triplet_features.square().sum()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.abs().sum() > 0), key


@pytest.mark.parametrize(
    ("head", "reads", "size"),
    [
        ("ica", "embedding", 32),
        ("ica", "pooled", 64),
        ("ica", "auto", 64),
        ("trl", "auto", 128),
        ("trl", "pooled", 64),
    ],
)
def test_triplet_reads_what_the_config_says(head, reads, size):
    config = ModelConfig(
        backbone="small", head=head, weights="", triplet_reads=reads, backbone_settings={"width": 0.5}
    )
    model = build_embedder(config, InputConfig(height=32, width=16), num_classes=5, seed=0)
    out = model(torch.randn(2, 2, 3, 32, 16), torch.ones(2, 2, dtype=torch.bool))
    assert out.triplet_features.shape == (2, size)


def test_with_a_neck_the_triplet_reads_what_comes_before_it():
    config = ModelConfig(
        backbone="small", head="trl", weights="", neck="bn", backbone_settings={"width": 0.5}
    )
    model = build_embedder(config, InputConfig(height=32, width=16), num_classes=5, seed=0)
    out = model(torch.randn(8, 2, 3, 32, 16), torch.ones(8, 2, dtype=torch.bool))
    assert torch.allclose(model.head.norm(out.triplet_features), out.embedding, atol=1e-6)
    assert torch.allclose(model.classifier(out.embedding), out.logits)


def test_same_seed_same_weights_and_the_global_state_is_left_alone():
    config = ModelConfig(backbone="small", weights="")
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    a, b = (build_embedder(config, FULL, num_classes=3, seed=4).state_dict() for _ in range(2))
    assert torch.rand(1) == expected
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ConfigError, match="not one of resnet50"):
        build_backbone(ModelConfig(backbone="resnet5"), FULL)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not one of tap, ica"):
        build_head(16, ModelConfig(head="icaa"))  # type: ignore[arg-type]


def test_imagenet_weights_come_from_torchvisions_cache(tmp_path, monkeypatch):
    """The usual source: torchvision's file, which the hub keeps under its own name once it was downloaded."""
    reference = torchvision.models.resnet18(weights=None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(reference.state_dict(), tmp_path / "hub/checkpoints" / url.rsplit("/", 1)[1])
    config = ModelConfig(backbone="resnet18", weights="imagenet")
    network = build_backbone(config, FULL)
    load_backbone_weights(network, config)
    assert torch.equal(network.state_dict()["layer4.1.conv2.weight"], reference.layer4[1].conv2.weight)


def test_a_download_that_fails_names_the_file_to_fetch(tmp_path, monkeypatch):
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    config = ModelConfig(backbone="alexnet", weights="imagenet")
    with pytest.raises(
        CheckpointError, match=r"cannot be downloaded \(no route to host\); fetch http.*alexnet.*\.pth"
    ):
        load_backbone_weights(build_backbone(config, FULL), config)


def test_standardised_frames_forget_exposure_and_white_balance():
    config = ModelConfig(
        backbone="small", head="tap", weights="", standardise=True, backbone_settings={"width": 0.5}
    )
    model = build_embedder(config, InputConfig(height=32, width=16), num_classes=5, seed=0).eval()
    frames = torch.rand(2, 3, 3, 32, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    cast = frames * torch.tensor([0.8, 0.6, 0.9]).view(3, 1, 1) + torch.tensor([0.1, -0.2, 0.0]).view(3, 1, 1)
    mask = torch.ones(2, 3, dtype=torch.bool)
    plain = build_embedder(
        replace(config, standardise=False), InputConfig(height=32, width=16), num_classes=5, seed=0
    ).eval()

    def moved(network):
        a, b = network.embed(frames, mask), network.embed(cast, mask)
        return ((a - b).norm() / a.norm()).item()

    assert moved(model) < 0.2 * moved(plain)
    flat = model.standardise(torch.full((1, 3, 4, 4), 0.3))
    assert flat.abs().max() < 1e-5


def test_a_network_can_be_opened_inside_inference_mode_and_trained():
    config = ModelConfig(backbone="timm:test_efficientnet", head="tap", weights="")
    with torch.inference_mode():
        model = build_embedder(config, InputConfig(height=64, width=32), num_classes=2, seed=0)
    output = model(torch.zeros(2, 1, 3, 64, 32), torch.ones(2, 1, dtype=torch.bool))
    output.logits.sum().backward()
    assert model.classifier.weight.grad is not None
