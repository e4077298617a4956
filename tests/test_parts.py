"""Parts by name: their settings in recipes and flags, and the spelling of earlier versions."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest
import torch
import tyro

import intraclip
from intraclip.cli.completion import tree
from intraclip.cli.recipe_flags import parse_with_recipe
from intraclip.config import ModelConfig, Recipe
from intraclip.config_io import dump_recipe, recipe_from_table
from intraclip.errors import ConfigError
from intraclip.models.checkpoint import load_model, read_checkpoint
from intraclip.models.embedder import build_embedder
from intraclip.models.fingerprint import fingerprint_of
from intraclip.recipe_files import load_recipe

OLD = Path(__file__).parent / "written_by_0_1" / "recipes"
"""What was written before parts had settings of their own: a run's config.toml, the recipe in a checkpoint (JSON),
checkpoints whose tensors are all 1, and the fingerprints of networks with such tensors."""
WRITTEN = sorted(path.stem for path in OLD.glob("*.toml"))
FINGERPRINTS = json.loads((OLD / "fingerprints.json").read_text())


def model_of(**keys) -> ModelConfig:
    return replace(Recipe().model, **keys)


def recipe_of(**keys) -> Recipe:
    return recipe_from_table({"model": keys}, source="test")


@pytest.mark.parametrize("name", WRITTEN)
def test_recipes_of_earlier_versions_open(name: str):
    written = json.loads((OLD / f"{name}.json").read_text())
    recipe = load_recipe(str(OLD / f"{name}.toml"))
    assert recipe == recipe_from_table(written, source=name)
    assert recipe.description == f"Fixture {name}."
    assert (recipe.model.head, recipe.model.backbone) == (
        written["model"]["head"],
        written["model"]["backbone"],
    )
    assert recipe_from_table(json.loads(json.dumps(written)), source=name) == recipe


def test_settings_of_earlier_versions_go_to_the_part_that_has_them():
    found = {name: load_recipe(str(OLD / f"{name}.toml")).model for name in WRITTEN}
    assert found["ica-settings"].head_settings == {"reduction": 2, "expansion": 3, "order": "fc-bn-relu"}
    assert found["stripes-settings"].head_settings == {"stripes": 3, "embedding_size": 12}
    assert found["tap-with-settings-of-others"].head_settings == found["ica"].head_settings == {}


@pytest.mark.parametrize("name", ["ica-settings", "stripes-settings"])
def test_checkpoints_of_earlier_versions_open_with_the_fingerprint_that_they_had(name: str):
    checkpoint = read_checkpoint(OLD / f"{name}.safetensors")
    model = load_model(checkpoint, device=torch.device("cpu"))
    assert fingerprint_of(model, checkpoint.recipe.clip) == FINGERPRINTS[name]


def test_the_shipped_network_opens_with_the_fingerprint_that_it_had():
    checkpoint = read_checkpoint(Path(intraclip.__file__).parent / "weights" / "base.safetensors")
    found = fingerprint_of(load_model(checkpoint, device=torch.device("cpu")), checkpoint.recipe.clip)
    assert found == "67cd776ea4267325e30fc1fa759f424b368f69be88cfa19693e5d2f1c96670f5"


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_fingerprints_of_networks_of_earlier_versions_stay(name: str):
    if name in WRITTEN:
        recipe = load_recipe(str(OLD / f"{name}.toml"))
        if recipe.model.backbone.startswith("timm:"):
            pytest.importorskip("timm")
    else:
        recipe = load_recipe(str(OLD / "ica.toml"))
        recipe = replace(recipe, model=recipe.model.with_head(name))
    model = build_embedder(recipe.model, recipe.input, num_classes=2, seed=0)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.fill_(1)
    assert fingerprint_of(model, recipe.clip) == FINGERPRINTS[name]


def test_flat_settings_of_losses_go_to_the_loss_that_has_them():
    found = load_recipe(str(OLD / "trl.toml")).loss
    assert found == {
        "triplet": {"kind": "soft", "unit": True},
        "identity": {"label_smoothing": 0.1},
        "circle": {"weight": 0.5, "scale": 32.0},
        "memory": {"momentum": 0.3},
    }


def test_every_loss_has_a_table_of_its_own(tmp_path: Path):
    table = {"loss": {"circle": {"weight": 0.2}, "triplet": {"kind": "soft", "margin": 0.3}}}
    recipe = recipe_from_table(table, source="test")
    assert recipe.loss == {"circle": {"weight": 0.2}, "triplet": {"kind": "soft"}}
    assert recipe == recipe_from_table({"loss": {"circle_weight": 0.2, "triplet": "soft"}}, source="test")
    file = tmp_path / "recipe.toml"
    file.write_text(dump_recipe(recipe), encoding="utf-8")
    assert "[loss.circle]\nweight = 0.2\nmargin = 0.25\nscale = 64.0\n" in file.read_text()
    assert load_recipe(str(file)) == recipe
    heir = tmp_path / "heir.toml"
    heir.write_text("base = 'recipe.toml'\n[loss]\nmargin = 0.5\ncircle.scale = 8\n", encoding="utf-8")
    assert load_recipe(str(heir)).loss == {
        "circle": {"weight": 0.2, "scale": 8.0},
        "triplet": {"kind": "soft", "margin": 0.5},
    }


def test_all_that_is_wrong_with_losses_is_said_at_once():
    wrong = {"circel": {}, "oim": 2, "circle": {"weihgt": 1, "scale": 0.0}, "triplet": "hard"}
    with pytest.raises(ConfigError) as caught:
        recipe_from_table({"loss": wrong}, source="test")
    assert str(caught.value).splitlines() == [
        "5 problems in test:",
        "  loss.circel: unknown key (did you mean 'circle'?)",
        "  loss.oim: 2 is no table; write [loss.oim] and keys below it",
        "  loss.circle.weihgt: unknown key (did you mean 'weight'?); its settings are weight, margin, scale",
        "  loss.circle.scale: 0.0 must be above 0",
        "  loss.triplet.kind: 'hard' is not one of margin, soft",
    ]
    nothing = {"triplet": {"weight": 0}, "identity_weight": 0}
    with pytest.raises(ConfigError, match="loss: every weight is 0: nothing is left to train on"):
        recipe_from_table({"loss": nothing}, source="test")
    recipe_from_table({"loss": {**nothing, "oim": {"weight": 1}}}, source="test")


@pytest.mark.parametrize(
    ("flags", "given"),
    [
        ("--loss.circle.weight 0.5", {"circle": {"weight": 0.5, "scale": 8.0}}),
        ("--loss.circle-weight=0.5 --loss.circle_scale 64", {"circle": {"weight": 0.5}}),
        ("--loss.triplet-unit --loss.oim.weight 1", {"triplet": {"unit": True}, "oim": {"weight": 1.0}}),
        ("--loss.triplet.unit --seed 4", {"triplet": {"unit": True}}),
        ("--loss.triplet soft --loss.margin 0.5", {"triplet": {"kind": "soft", "margin": 0.5}}),
        ("--loss.label-smoothing 0.1", {"identity": {"label_smoothing": 0.1}}),
    ],
)
def test_flags_set_what_losses_have(flags: str, given: dict[str, object]):
    recipe = recipe_from_table({"loss": {"circle": {"scale": 8}}}, source="test")
    kind = tree()["train"]
    argv = ["--data", "d", "--out", "o", *flags.split()]
    args = parse_with_recipe(kind, argv, command="train", default=blank(kind, recipe))
    base = {} if "circle" in given or flags.endswith("scale 64") else {"circle": {"scale": 8.0}}
    assert args.settings.loss == {**base, **given}


def test_the_whole_help_lists_the_settings_of_all_parts(capsys):
    kind = tree()["train"]
    with pytest.raises(SystemExit):
        parse_with_recipe(kind, ["--help-all"], command="train", default=blank(kind, Recipe()))
    said = capsys.readouterr().out
    for flag in ("loss.circle.weight N", "loss.triplet.kind margin|soft", "model.head.reduction N"):
        assert f"  --{flag}\n" in said
    assert "ica: " in said
    assert "amoc: Weight of the loss on flow" in said


def test_a_part_is_named_alone_or_with_its_settings(tmp_path: Path):
    short = recipe_of(head="ica")
    assert short == recipe_of(head={"name": "ica"}) == recipe_of(head={"reduction": 4, "order": "fc-relu-bn"})
    assert short == recipe_of(ica_reduction=4) == Recipe()
    recipe = recipe_of(head={"name": "ica", "reduction": 8})
    assert recipe == recipe_of(head="ica", ica_reduction=8)
    assert recipe.model == model_of(head_settings={"reduction": 8})
    file = tmp_path / "recipe.toml"
    file.write_text(dump_recipe(recipe), encoding="utf-8")
    assert '[model.head]\nname = "ica"\nreduction = 8\nexpansion = 2\n' in file.read_text()
    assert load_recipe(str(file)) == recipe
    assert 'head = "tap"' in dump_recipe(recipe_of(head="tap"))


def test_all_that_is_wrong_with_a_part_is_said_at_once():
    with pytest.raises(ConfigError) as caught:
        recipe_of(head={"name": "ica", "reductoin": 2, "expansion": 0, "order": "fc"}, zzz=3)
    assert str(caught.value).splitlines() == [
        "4 problems in test:",
        "  model.head.reductoin: unknown key (did you mean 'reduction'?); model.head is ica, and its settings are "
        "reduction, expansion, order",
        "  model.head.order: 'fc' is not one of fc-relu-bn, fc-bn-relu",
        "  model.head.expansion: 0 is too small, at least 1",
        "  model.zzz: unknown key",
    ]
    with pytest.raises(
        ConfigError, match=r"model\.head\.reduction: unknown key; .*tap, and it has no settings"
    ):
        recipe_of(head={"name": "tap", "reduction": 2})
    with pytest.raises(
        ConfigError, match=r"model\.head: 'icaa' is not one of tap, ica, .*did you mean 'ica'"
    ):
        recipe_of(head={"name": "icaa", "reduction": 2})
    with pytest.raises(ConfigError, match=r"model\.head: 3 is no text"):
        recipe_of(head=3)


def test_an_heir_changes_a_setting_of_its_bases_part_or_takes_another_part(tmp_path: Path):
    def written(name: str, text: str) -> str:
        path = tmp_path / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    written("base", "[model.head]\nname = 'ica'\nreduction = 8\norder = 'fc-bn-relu'\n")
    one = load_recipe(written("one", "base = 'base.toml'\n[model.head]\nreduction = 2\n"))
    assert one.model.head_settings == {"reduction": 2, "order": "fc-bn-relu"}
    other = load_recipe(written("other", "base = 'base.toml'\n[model]\nhead = 'stripes'\nstripes = 3\n"))
    assert (other.model.head, other.model.head_settings) == ("stripes", {"stripes": 3})
    flat = load_recipe(written("flat", "base = 'base.toml'\n[model]\nica_reduction = 3\n"))
    assert flat.model.head_settings == {"reduction": 3, "order": "fc-bn-relu"}


@pytest.mark.parametrize(
    ("flags", "head", "given"),
    [
        ("--model.head.reduction 8", "ica", {"reduction": 8, "order": "fc-bn-relu"}),
        ("--model.ica-reduction=8 --seed 4", "ica", {"reduction": 8, "order": "fc-bn-relu"}),
        ("--model.ica_order fc-relu-bn", "ica", {}),
        ("--model.head stripes --model.stripes 3", "stripes", {"stripes": 3}),
        ("--model.head.embedding-size=5 --model.head stripes", "stripes", {"embedding_size": 5}),
        ("--model.head tap", "tap", {}),
        ("", "ica", {"order": "fc-bn-relu"}),
    ],
)
@pytest.mark.parametrize("command", ["train", "cross"])
def test_flags_set_what_the_part_has(command: str, flags: str, head: str, given: dict[str, object]):
    recipe = recipe_of(head={"name": "ica", "order": "fc-bn-relu"})
    kind = tree()[command]
    needed = {"train": "--data d --out o", "cross": "--test d"}[command]
    args = parse_with_recipe(
        kind, [*needed.split(), *flags.split()], command=command, default=blank(kind, recipe)
    )
    found = args.settings.model
    assert (found.head, found.head_settings) == (head, given)
    assert args.settings.seed == (4 if "--seed" in flags else 0)


def blank(kind: type, recipe: Recipe):
    """A command's defaults with a recipe."""
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    return kind(**dict.fromkeys(needed, tyro.MISSING), settings=recipe)


def test_flags_that_the_part_does_not_have_are_refused_with_those_it_has():
    kind = tree()["train"]
    argv = [
        "--data",
        "d",
        "--out",
        "o",
        "--model.head",
        "tap",
        "--model.head.reduction",
        "2",
        "--clip.num-frames",
        "0",
    ]
    with pytest.raises(ConfigError) as caught:
        parse_with_recipe(kind, argv, command="train", default=blank(kind, Recipe()))
    assert str(caught.value).splitlines() == [
        "2 problems in the recipe and flags:",
        "  model.head.reduction: unknown key; model.head is tap, and it has no settings",
        "  clip.num_frames: 0 is too small, at least 1",
    ]
    with pytest.raises(ConfigError, match=r"--model\.head\.reduction: a value is missing"):
        parse_with_recipe(kind, ["--model.head.reduction"], command="train", default=blank(kind, Recipe()))


def test_names_are_checked_without_importing_a_part():
    code = (
        "import sys; from intraclip.config_io import recipe_from_table\n"
        "from intraclip.recipe_files import load_recipe; load_recipe('paper')\n"
        "from intraclip.models.heads import heads; heads()\n"
        "try: recipe_from_table({'model': {'head': {'name': 'icaa', 'a': 1}}}, source='x')\n"
        "except Exception as error: assert 'did you mean' in str(error)\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
