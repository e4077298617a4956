from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from intraclip.config import ClipConfig, InputConfig, ModelConfig
from intraclip.errors import ConfigError
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.fingerprint import fingerprint_of
from intraclip.models.generalise import InstanceBatchNorm

INPUT = InputConfig(height=64, width=32)
SMALL = ModelConfig(backbone="small", weights="", head="tap", backbone_settings={"width": 0.5})
RESNET = ModelConfig(backbone="resnet18", weights="", head="tap", backbone_settings={"width": 0.25})


def built(config: ModelConfig, seed: int = 0) -> ClipEmbedder:
    return build_embedder(config, INPUT, num_classes=5, seed=seed)


def frames(clips: int = 4) -> torch.Tensor:
    return torch.rand(clips, 2, 3, 64, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_ibn_has_the_names_of_plain_weights_and_forgets_the_contrast_of_a_frame():
    plain, ibn = built(RESNET), built(replace(RESNET, ibn=True))
    ibn.load_state_dict(plain.state_dict())
    layers = [m for m in ibn.backbone.modules() if isinstance(m, InstanceBatchNorm)]
    assert len(layers) == 6
    layer = layers[0].train()
    maps = torch.rand(3, layer.num_features, 8, 4)
    half = layer.num_features // 2
    out = layer(maps)
    assert torch.allclose(out[:, :half], F.instance_norm(maps[:, :half]), atol=1e-5)
    reference = nn.BatchNorm2d(layer.num_features - half)
    assert torch.allclose(out[:, half:], reference(maps[:, half:]), atol=1e-5)
    assert torch.allclose(layer.running_mean[half:], reference.running_mean, atol=1e-6)
    layer.eval()
    brighter = layer(3 * maps + 1)
    assert torch.allclose(brighter[:, :half], layer(maps)[:, :half], atol=1e-3)
    with pytest.raises(ConfigError, match=r"model\.ibn: small is no ResNet.*model\.standardise"):
        built(replace(SMALL, ibn=True))


def test_styles_are_mixed_in_training_alone_and_as_the_seed_says():
    config = replace(SMALL, mix_style=1.0)
    model, plain = built(config).train(), built(SMALL).train()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(model(frames()).embedding)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not torch.allclose(found[0], plain(frames()).embedding)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.eval().embed(frames()), plain.eval().embed(frames()))


@pytest.mark.parametrize("head", ["tap", "ica", "stripes"])
@pytest.mark.parametrize("neck", ["none", "bn"])
def test_gem_pools_positions_of_one_frame_or_of_many_alike(head: str, neck: str):
    config = replace(SMALL, head=head, neck=neck, pooling="gem")  # type: ignore[arg-type]
    model = built(config).eval()
    with torch.no_grad():
        maps = model.maps(frames())
        whole = model.head(maps).embedding
        vectors = model.frame_vectors(frames().flatten(0, 1)).unflatten(0, (4, 2))
        assert torch.allclose(model.head.aggregate(vectors).embedding, whole, atol=1e-6)  # type: ignore[operator]
    name = next(n for n, _ in model.named_parameters() if n.endswith("space.exponent"))
    model.train()(frames()).embedding.square().sum().backward()
    assert model.get_parameter(name).grad is not None
    if head == "tap" and neck == "none":
        expected = maps.clamp_min(1e-6).pow(3).mean(dim=(3, 4)).pow(1 / 3).mean(dim=1)
        assert torch.allclose(whole, expected, atol=1e-6)


def test_gem_is_refused_for_heads_that_read_maps():
    with pytest.raises(ConfigError, match=r"model\.pooling: the head sta"):
        built(replace(SMALL, head="sta", pooling="gem"))


def test_search_reads_before_the_neck_and_the_classifier_after_it():
    after = built(replace(SMALL, neck="bn"))
    before = built(replace(SMALL, neck="bn", neck_test="before"))
    after.head.norm.running_mean.fill_(0.1)  # type: ignore[union-attr, operator]
    before.load_state_dict(after.state_dict())
    assert torch.equal(before.train()(frames()).embedding, after.train()(frames()).embedding)
    before.load_state_dict(after.state_dict())
    old, new = after.eval()(frames()), before.eval()(frames())
    assert torch.equal(old.logits, new.logits)
    assert torch.equal(new.embedding, new.triplet_features)
    assert torch.allclose(before.head.norm(new.embedding), old.embedding)  # type: ignore[operator]


@pytest.mark.parametrize(
    "changes",
    [{"neck": "bn", "neck_test": "before"}, {"pooling": "gem"}, {"ibn": True}],
    ids=["before the neck", "GeM", "IBN"],
)
@pytest.mark.parametrize("head", ["tap", "gltr"])
def test_what_changes_an_embedding_changes_its_fingerprint(changes: dict[str, str], head: str):
    if head == "gltr" and "pooling" in changes:
        return
    plain = replace(RESNET, head=head, neck=changes.get("neck", "none"))  # type: ignore[arg-type]
    a, b = built(plain), built(replace(plain, **changes))  # type: ignore[arg-type]
    b.load_state_dict(a.state_dict(), strict=False)
    assert fingerprint_of(a, ClipConfig()) != fingerprint_of(b, ClipConfig())
    mixed = built(replace(plain, mix_style=0.5))
    mixed.load_state_dict(a.state_dict())
    assert fingerprint_of(a, ClipConfig()) == fingerprint_of(mixed, ClipConfig())
