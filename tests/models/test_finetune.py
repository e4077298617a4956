from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from intraclip.config import FinetuneConfig, InputConfig, ModelConfig, Recipe
from intraclip.config_io import problems
from intraclip.errors import ConfigError
from intraclip.models.backbones import BACKBONES
from intraclip.models.embedder import ClipEmbedder, build_backbone, build_embedder
from intraclip.models.finetune import parameter_groups, set_trainable

SMALL = InputConfig(height=64, width=32)


def network(backbone: str = "resnet18") -> ClipEmbedder:
    return build_embedder(
        ModelConfig(backbone=backbone, weights="", backbone_settings={"width": 0.25}),
        SMALL,
        num_classes=3,
        seed=0,
    ).train()


def learning(model: ClipEmbedder) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def counted(model: ClipEmbedder) -> dict[str, int]:
    """Batches that each batch normalisation has counted after one forward pass."""
    model(torch.randn(4, 2, 3, 64, 32), torch.ones(4, 2, dtype=torch.bool))
    return {
        name.removesuffix(".num_batches_tracked"): int(buffer)
        for name, buffer in model.named_buffers()
        if name.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name != "timm:"])
def test_every_backbone_has_its_blocks_in_the_order_of_its_layers(backbone: str):
    size = InputConfig(height=96, width=96)
    built = build_backbone(
        ModelConfig(backbone=backbone, weights="", backbone_settings={"width": 0.25}), size
    )
    blocks = built.block_names()
    assert [name for block in blocks for name in block] == [name for name, _ in built.named_parameters()]
    assert all(blocks)
    assert (
        len(blocks)
        == {
            "resnet50": 16,
            "resnet18": 8,
            "small": 4,
            "alexnet": 3,
            "inception_v3": 16,
            "resnet50_3d": 16,
            "amoc": 1,
        }[backbone]
    )


def test_frozen_blocks_keep_weights_and_statistics_and_the_rest_learns():
    model = network()
    set_trainable(model, FinetuneConfig(freeze_blocks=3), epoch=0)
    frozen = ("backbone.conv1", "backbone.bn1", "backbone.layer1", "backbone.layer2.0")
    assert all(
        (not name.startswith(frozen)) == (name in learning(model)) for name, _ in model.named_parameters()
    )
    for name, batches in counted(model).items():
        assert batches == (0 if name.startswith(frozen) else 1), name


def test_frozen_statistics_stay_in_the_whole_backbone_while_its_weights_learn():
    model = network()
    set_trainable(model, FinetuneConfig(freeze_batch_norm=True), epoch=0)
    assert learning(model) == {name for name, _ in model.named_parameters()}
    assert {name.split(".")[0] for name, batches in counted(model).items() if batches} == {"head"}


def test_head_first_then_all_of_it():
    model = network()
    config = FinetuneConfig(head_epochs=2, freeze_blocks=1)
    changes = [set_trainable(model, config, epoch=epoch) for epoch in range(4)]
    assert changes == [True, False, True, False]
    assert "backbone.layer4.1.bn2.weight" in learning(model)
    assert "backbone.conv1.weight" not in learning(model)
    set_trainable(model, config, epoch=0)
    assert {name.split(".")[0] for name in learning(model)} == {"head", "classifier"}
    assert {name.split(".")[0] for name, batches in counted(model).items() if batches} == {"head"}


def test_more_blocks_than_there_are_cannot_be_frozen():
    with pytest.raises(ConfigError, match=r"finetune.freeze_blocks: 9 is too large, resnet18 has 8 blocks"):
        set_trainable(network(), FinetuneConfig(freeze_blocks=9), epoch=0)
    model = network()
    set_trainable(model, FinetuneConfig(freeze_blocks=8), epoch=0)
    assert not any(name.startswith("backbone") for name in learning(model))


def test_rates_fall_from_head_to_stem():
    model = network()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, FinetuneConfig(body_rate=0.2, block_decay=0.5))
    rates = {names[id(p)]: factor for parameters, factor in groups for p in parameters}
    assert rates.keys() == set(names.values())
    assert rates["classifier.weight"] == 1
    assert rates["backbone.layer4.1.conv2.weight"] == 0.2
    assert rates["backbone.layer4.0.conv1.weight"] == 0.1
    assert rates["backbone.conv1.weight"] == rates["backbone.layer1.0.conv1.weight"] == 0.2 / 2**7
    (one,) = parameter_groups(model, FinetuneConfig())
    assert one[1] == 1
    assert [factor for _, factor in parameter_groups(model, FinetuneConfig(body_rate=0.3))] == [1, 0.3]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("freeze_blocks", -1),
        ("head_epochs", -1),
        ("body_rate", 0.0),
        ("body_rate", 1.5),
        ("block_decay", 0.0),
    ],
)
def test_settings_out_of_range_are_named(key: str, value: float):
    recipe = Recipe(finetune=replace(FinetuneConfig(), **{key: value}))
    (problem,) = problems(recipe)
    assert problem.startswith(f"finetune.{key}: {value}")


def test_backbones_by_name_are_checked_with_the_recipe():
    assert not list(problems(Recipe(model=ModelConfig(backbone="timm:vit_small_patch16_dinov3"))))
    (problem,) = problems(Recipe(model=ModelConfig(backbone="resnet5")))
    assert problem.startswith("model.backbone: 'resnet5' is not one of resnet50")
    assert "did you mean 'resnet50'?" in problem
    assert list(problems(Recipe(model=ModelConfig(backbone="timm:"))))
