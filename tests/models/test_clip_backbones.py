"""Networks that read clips whole by the same rules: shapes, padding, order, gradients, recomputing, export.

They are backbones of clips, and heads that want more of a backbone of frames than its last maps.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import Bottleneck

from intraclip.config import InputConfig, ModelConfig, Recipe
from intraclip.errors import CheckpointError, ConfigError
from intraclip.export.graph import build_graph
from intraclip.export.write import write_network
from intraclip.models.backbones import BACKBONES
from intraclip.models.backbones.resnet3d import NON_LOCAL, OverTime, ResNet3D, ResNet3DSettings
from intraclip.models.clip_network import ClipNetwork
from intraclip.models.embedder import ClipEmbedder, build_backbone, build_embedder
from intraclip.models.heads.trl import FrameTransformer
from intraclip.models.state_dicts import load_matching
from plain_extraction import one_thread  # noqa: F401 - autouse

SIZE = InputConfig(height=32, width=16)
CLIPS = {
    "resnet50_3d": ModelConfig(
        backbone="resnet50_3d", head="tap", weights="", backbone_settings={"width": 0.05}
    ),
    "amoc": ModelConfig(backbone="amoc", head="amoc_rnn", weights="", backbone_settings={"width": 0.25}),
}
WIDE = {
    "qan": ModelConfig(
        backbone="small",
        backbone_settings={"width": 0.25},
        head="qan",
        head_settings={"quality": "middle"},
        weights="",
        neck="bn",
    ),
    "trl": ModelConfig(
        backbone="small",
        backbone_settings={"width": 0.25},
        head="trl",
        head_settings={"transformer": True},
        weights="",
    ),
}
CASES = CLIPS | WIDE
NAMES, ALL = sorted(CLIPS), sorted(CASES)
SHORT = (1, 2, 1, 1)
"""Blocks of a shorter inflated ResNet, with one non-local block."""


def network_of(name: str, head: str = "") -> ClipEmbedder:
    """A network whose layers are all awake: what starts as the identity, or at 0, gets a value."""
    config = replace(CASES[name], head=head, head_settings={}) if head else CASES[name]
    model = build_embedder(config, SIZE, num_classes=4, seed=0)
    torch.manual_seed(0)
    if isinstance(model.backbone, ResNet3D):
        model.backbone = ResNet3D(ResNet3DSettings(width=0.05), blocks=SHORT)  # what repeats, repeats
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, OverTime):
            nn.init.normal_(module.conv.weight, std=0.3)
        if isinstance(module, FrameTransformer):
            nn.init.normal_(module.locate.weight, std=0.3)
    return model


def clips_of(b: int, t: int, *, height: int = 32, width: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(b, t, 3, height, width, generator=torch.Generator().manual_seed(seed))


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return ((found - expected).norm() / expected.norm()).item() < 1e-5


def learning(model: ClipEmbedder) -> dict[str, nn.Parameter]:
    return {key: parameter for key, parameter in model.named_parameters() if parameter.requires_grad}


def masked(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows).bool()


def test_every_backbone_of_clips_is_tested_here():
    named = [name for name in BACKBONES if not name.endswith(":")]  # networks of timm read frames
    assert {name for name in named if issubclass(BACKBONES.load(name), ClipNetwork)} == set(NAMES)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("t", "height", "width"), [(1, 32, 16), (5, 32, 16), (3, 57, 31)])
def test_any_clip_length_and_frame_size_gives_an_embedding(name, t, height, width):
    model = network_of(name)
    clips = clips_of(3, t, height=height, width=width)
    for mode in (True, False):
        out = model.train(mode)(clips)
        assert out.embedding.shape == (3, model.embedding_size)
        assert bool(out.embedding.isfinite().all())
    assert model.maps(clips).shape[:3] == (3, t, model.num_features)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_what_padding_holds_changes_nothing(name, training):
    clips = clips_of(4, 5)
    mask = masked([1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 1, 1])
    other = torch.where(mask[:, :, None, None, None], clips, 1e3)
    a, b = (network_of(name).train(training)(x, mask) for x in (clips, other))
    assert torch.equal(a.embedding, b.embedding)
    if a.auxiliary_loss is not None:
        assert torch.equal(a.auxiliary_loss, b.auxiliary_loss)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("valid", [[0], [0, 1, 2], [1, 2, 4], [0, 3]])
def test_a_padded_clip_is_the_clip_of_its_valid_frames(name, valid):
    model = network_of(name).eval()
    clips = clips_of(2, 5)
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[:, valid] = True
    assert close(model.embed(clips, mask), model.embed(clips[:, valid]))


@pytest.mark.parametrize("name", ALL)
def test_evaluation_is_repeatable_and_clips_do_not_touch_each_other(name):
    model = network_of(name).eval()
    clips, mask = clips_of(3, 4), masked([1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0])
    together = model.embed(clips, mask)
    assert torch.equal(model.embed(clips, mask), together)
    alone = torch.cat([model.embed(clips[i : i + 1], mask[i : i + 1]) for i in range(3)])
    assert close(alone, together)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_frames_counts(name):
    model = network_of(name, "tap").eval()
    clips = clips_of(3, 4)
    before, after = model.embed(clips), model.embed(clips[:, [2, 0, 3, 1]])
    assert ((before - after).norm() / before.norm()).item() > 1e-3


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_and_every_valid_frame_get_a_gradient(name):
    model = network_of(name).train()
    clips = clips_of(4, 3).requires_grad_()
    mask = masked([1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 1])
    out = model(clips, mask)
    loss = (out.embedding * torch.randn(out.embedding.shape)).sum() + out.logits.square().sum()
    (loss if out.auxiliary_loss is None else loss + out.auxiliary_loss).backward()
    for key, parameter in learning(model).items():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.isfinite().all()), key
        assert bool(parameter.grad.abs().sum() > 0), key
    assert clips.grad is not None
    reached = clips.grad.abs().sum(dim=(2, 3, 4)) > 0
    assert torch.equal(reached, mask) if name in CLIPS else bool(reached[mask].all())


@pytest.mark.parametrize("name", ALL)
def test_as_built_a_clip_of_one_frame_uses_every_layer(name):
    model = network_of(name).train()
    out = model(torch.zeros(4, 1, 3, 32, 16))
    (out.logits.sum() + (0 if out.auxiliary_loss is None else out.auxiliary_loss)).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in learning(model).values())


@pytest.mark.parametrize("name", NAMES)
def test_recomputing_changes_neither_gradients_nor_statistics(name):
    kept, again = network_of(name).train(), network_of(name).train()
    again.backbone.recompute = True
    clips, mask = clips_of(3, 3), masked([1, 1, 1], [1, 0, 0], [1, 1, 0])
    for model in (kept, again):
        model(clips, mask).logits.square().sum().backward()
    for (key, a), b in zip(kept.named_parameters(), again.parameters(), strict=True):
        if a.grad is not None:  # the loss on flow was not asked for
            assert torch.allclose(a.grad, b.grad, atol=1e-5), key
    for (key, a), b in zip(kept.named_buffers(), again.buffers(), strict=True):
        assert torch.allclose(a, b), key


@pytest.mark.parametrize("name", NAMES)
def test_blocks_name_every_parameter_once(name):
    backbone = network_of(name).backbone
    named = [key for block in backbone.block_names() for key in block]
    assert sorted(named) == sorted(key for key, _ in backbone.named_parameters())


@pytest.mark.parametrize("name", ALL)
def test_bfloat16_stays_near_float32(name):
    model = network_of(name).eval()
    clips = clips_of(3, 3)
    expected = model.embed(clips)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model.embed(clips.bfloat16()).float()
        model.train()(clips.bfloat16()).logits.sum().backward()
    assert ((half - expected).norm() / expected.norm()).item() < 0.1


@pytest.mark.parametrize("name", ALL)
def test_one_frame_by_itself_is_refused_with_the_way_out(name):
    model = network_of(name).eval()
    assert model.frame_head is None
    why = (
        f"the backbone {name} reads whole clips"
        if name in CLIPS
        else f"the head {name} reads whole feature maps"
    )
    with pytest.raises(ConfigError, match=rf"{why}.*--part clip"):
        build_graph(model, SIZE, "frame")


def check_export(model: ClipEmbedder, format: str, folder: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}.get(format, "torch"))
    suffix = {"torch": ".pt2", "onnx": ".onnx", "openvino": ".xml"}[format]
    frames = np.random.default_rng(0).integers(0, 256, (6, 32, 16, 3), dtype=np.uint8)
    recipe = Recipe(model=model.config, input=SIZE)
    written = write_network(model.eval(), recipe, folder / f"network{suffix}", format=format, frames=frames)  # type: ignore[arg-type]
    assert written.agreement.cosine > 0.9999


@pytest.mark.parametrize("name", ALL)
def test_torch_export_agrees_for_any_batch_length_and_mask(name, tmp_path):
    check_export(network_of(name), "torch", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["torch", "onnx", "openvino"])
@pytest.mark.parametrize("name", ALL)
def test_exported_files_agree_for_any_batch_length_and_mask(name, format, tmp_path):
    check_export(build_embedder(CASES[name], SIZE, num_classes=4, seed=0), format, tmp_path)


def test_a_convolution_over_time_is_torchs_3d_convolution():
    layer = OverTime(5)
    nn.init.normal_(layer.conv.weight)
    maps = torch.randn(2 * 4, 5, 3, 2)
    plain = nn.Conv3d(5, 5, (3, 1, 1), padding=(1, 0, 0), bias=False)
    weight = layer.conv.weight.detach().reshape(5, 3, 5)  # out, time, in
    plain.weight.data = weight.permute(0, 2, 1)[..., None, None].contiguous()
    expected = plain(maps.unflatten(0, (2, 4)).transpose(1, 2)).transpose(1, 2).flatten(0, 1)
    assert torch.allclose(layer(maps, torch.ones(2, 4, dtype=torch.bool)), expected, atol=1e-5)


def test_the_inflated_network_has_torchvisions_names_and_what_is_new():
    with torch.device("meta"):
        own, plain = ResNet3D(ResNet3DSettings()), torchvision.models.resnet50(weights=None).state_dict()
    kept = {name: value.shape for name, value in own.state_dict().items() if name not in own.anew}
    assert kept == {name: value.shape for name, value in plain.items() if not name.startswith("fc.")}


def test_the_inflated_network_starts_as_its_flat_self():
    """With torchvision's weights, the classifier's left out; frames do not meet yet."""
    torch.manual_seed(0)
    flat = torchvision.models.ResNet(Bottleneck, list(SHORT)).eval()
    own = ResNet3D(ResNet3DSettings(), blocks=SHORT).eval()
    load_matching(own, flat.state_dict(), source="here")
    frames = torch.randn(1, 2, 3, 64, 32)
    seen = {}
    flat.layer4.register_forward_hook(lambda module, inputs, output: seen.update(maps=output))
    with torch.inference_mode():
        flat(frames[0])
        assert close(own(frames), seen["maps"])


def test_other_missing_weights_are_refused():
    own = ResNet3D(ResNet3DSettings(width=0.05), blocks=SHORT)
    state = {name: value for name, value in own.state_dict().items() if name != "layer1.0.conv1.weight"}
    with pytest.raises(CheckpointError, match=r"missing: layer1\.0\.conv1\.weight"):
        load_matching(own, state, source="here")


def test_five_non_local_blocks_stand_inside():
    with torch.device("meta"):
        own = ResNet3D(ResNet3DSettings(width=0.1))
    found = {key.split(".attention")[0] for key in own.state_dict() if ".attention." in key}
    assert found == {f"layer{stage}.{block}" for stage, block in NON_LOCAL}
    assert len(found) == 5


@pytest.mark.parametrize("backbone", NAMES)
@pytest.mark.parametrize("head", sorted(WIDE))
def test_a_head_that_wants_a_backbone_of_frames_is_refused_behind_one_of_clips(head, backbone):
    config = replace(WIDE[head], backbone=backbone)
    with pytest.raises(ConfigError, match=rf"model.head: {head} .*{backbone} is one of clips"):
        build_embedder(config, SIZE, num_classes=2, seed=0)


def test_the_transformer_starts_with_the_embeddings_of_plain_trl():
    plain = build_embedder(replace(CASES["trl"], head_settings={}), SIZE, num_classes=2, seed=0).eval()
    aligned = build_embedder(CASES["trl"], SIZE, num_classes=2, seed=0).eval()
    assert set(aligned.state_dict()) - set(plain.state_dict()) == {
        "head.transformer.locate.weight",
        "head.transformer.locate.bias",
    }
    aligned.load_state_dict(plain.state_dict(), strict=False)
    assert close(aligned.embed(clips_of(2, 3)), plain.embed(clips_of(2, 3)))


def test_a_pass_that_looks_where_people_are_does_not_count_in_the_statistics():
    model = network_of("trl").train()
    model(clips_of(4, 2))
    counts = {key: int(v) for key, v in model.backbone.state_dict().items() if key.endswith("tracked")}
    assert set(counts.values()) == {1}


def test_too_small_frames_are_refused():
    with pytest.raises(ConfigError, match="too small for amoc"):
        build_backbone(ModelConfig(backbone="amoc", weights=""), InputConfig(height=14, width=8))
