"""The recipes `strong` and `clip-memory`, at a size for tests, and each ingredient by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from intraclip.config import Recipe
from intraclip.config_io import problems
from intraclip.embed.extract import load_run
from intraclip.models.saving import training_checkpoints
from intraclip.recipe_files import load_recipe
from intraclip.train.loop import Silent, train
from intraclip.train.resuming import verify
from intraclip.types import Split
from plain_extraction import opened

INGREDIENTS: dict[str, dict[str, Any]] = {
    "last stride": {"model": {"backbone_settings": {}}},
    "neck": {"model": {"neck": "none"}},
    "warm-up": {"optimizer": {"warmup_epochs": 0}},
    "cosine": {"optimizer": {"decay": "step"}},
    "label smoothing": {"loss": {"identity": {}}},
    "restricted sampling": {"clip": {"sampling": "consecutive"}},
    "erasing": {"augment": {"erase_probability": 0.0}},
    "average": {"optimizer": {"average": 0.0}},
    "GeM": {"model": {"pooling": "mean"}},
    "circle loss": {"loss": {"circle": {}}},
    "instance normalisation": {"model": {"standardise": False}},
    "camera sampling": {"batch": {"cameras": "random"}},
    "colours": {"augment": {"colour_probability": 0.0, "blur_probability": 0.0, "noise_probability": 0.0}},
}


class Stop(Exception):
    pass


class StopAt(Silent):
    def __init__(self, step: int) -> None:
        self.last = step

    def step(self, *, step: int, **_: object) -> None:
        if step == self.last:
            raise Stop


def changed(recipe: Recipe, changes: dict[str, dict[str, Any]]) -> Recipe:
    sections = {
        name: {**recipe.loss, **values} if name == "loss" else replace(getattr(recipe, name), **values)
        for name, values in changes.items()
    }
    return replace(recipe, **sections)


def small(name: str, tiny: Recipe, **model: object) -> Recipe:
    """A shipped recipe at the size of the tests' own."""
    recipe = load_recipe(name)
    return replace(
        recipe,
        device="cpu",
        input=replace(recipe.input, height=64, width=32),
        clip=replace(recipe.clip, num_frames=2),
        batch=replace(recipe.batch, identities=3, clips=2),
        model=replace(recipe.model, weights="", **model),  # type: ignore[arg-type]
        optimizer=replace(recipe.optimizer, epochs=2, warmup_epochs=1, learning_rate=1e-3),
        data=tiny.data,
        run=replace(tiny.run, checkpoint_every=1),
    )


def weights(path: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(path)


def assert_resumes(split: Split, recipe: Recipe, folder: Path) -> Path:
    """Two interruptions, one in the middle of an epoch, end in the same bits."""
    whole = train(recipe, data=split, out=folder / "whole") / "model.safetensors"
    for step in (3, 4):
        with pytest.raises(Stop):
            train(recipe, data=split, out=folder / "parts", resume=True, watcher=StopAt(step))
    parts = train(recipe, data=split, out=folder / "parts", resume=True) / "model.safetensors"
    one, other = weights(whole), weights(parts)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    return whole


@pytest.mark.parametrize("name", ["strong", "strong-ibn"])
def test_the_strong_recipe_resumes_bit_for_bit_and_its_run_embeds(
    name: str, tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    recipe = small(name, tiny_recipe, backbone="resnet18", mix_style=0.5, backbone_settings={"width": 0.25})
    assert not list(problems(recipe))
    model_file = assert_resumes(tiny_split, recipe, tmp_path)
    last = training_checkpoints(tmp_path / "whole")[-1]
    verify(last)
    final, held = weights(model_file), weights(last)
    name = "model.head.norm.weight"
    assert torch.equal(final[name], held[name.replace("model.", "average.")])
    assert not torch.equal(final[name], held[name])
    model, found = load_run(tmp_path / "whole")
    features = opened(model, found).embed(tiny_split.test[:3]).features
    assert features.shape == (3, model.embedding_size)


def test_a_damaged_average_is_found_like_any_other_damage(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    recipe = replace(tiny_recipe, optimizer=replace(tiny_recipe.optimizer, average=0.9))
    train(recipe, data=tiny_split, out=tmp_path / "run")
    file = training_checkpoints(tmp_path / "run")[-1]
    with safetensors.safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = weights(file)
    tensors["average.classifier.weight"] += 1
    safetensors.torch.save_file(tensors, file, metadata=metadata)
    with pytest.raises(Exception, match="other bytes"):
        verify(file)


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_every_ingredient_of_strong_is_on_and_can_be_left_out_by_itself(ingredient: str):
    strong = load_recipe("strong")
    without = changed(strong, INGREDIENTS[ingredient])
    for section, values in INGREDIENTS[ingredient].items():
        for key, value in values.items():
            own = getattr(strong, section)
            assert (own[key] if section == "loss" else getattr(own, key)) != value
    assert not list(problems(without))


def test_the_average_forgets_slowly_and_needs_no_other_data(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    found = {}
    for share in (0.0, 0.999):
        recipe = replace(tiny_recipe, optimizer=replace(tiny_recipe.optimizer, average=share))
        found[share] = weights(
            train(recipe, data=tiny_split, out=tmp_path / str(share)) / "model.safetensors"
        )
    last = weights(training_checkpoints(tmp_path / "0.999")[-1])
    name = "model.classifier.weight"
    assert torch.equal(last[name], found[0.0][name]), "the average changes nothing about the training"
    assert not torch.equal(found[0.999][name], found[0.0][name])


def test_clip_memory_is_what_its_sources_say():
    recipe = load_recipe("clip-memory")
    assert (recipe.batch.identities, recipe.batch.clips, recipe.clip.num_frames) == (4, 4, 8)
    assert (recipe.optimizer.learning_rate, recipe.optimizer.warmup_epochs) == (5e-6, 10)
    assert recipe.optimizer.epochs == 60
    assert (recipe.model.neck_test, recipe.augment.mode) == ("before", "synchronous")
    assert recipe.loss == {"identity": {"weight": 0.0}, "memory": {"weight": 1.0}}


def test_clip_memory_trains_a_tiny_vision_transformer_and_resumes_bit_for_bit(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    pytest.importorskip("timm")
    recipe = small("clip-memory", tiny_recipe, backbone="timm:test_vit")
    final = assert_resumes(tiny_split, recipe, tmp_path)
    held = weights(training_checkpoints(tmp_path / "whole")[-1])
    assert int(held["loss.losses.memory.seen"].sum()) == 6
    assert not any(name.startswith("loss.") for name in weights(final))
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text(encoding="utf-8")
    assert '"memory": ' in lines
