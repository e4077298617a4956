from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from intraclip.config import Recipe
from intraclip.config_io import dump_recipe, problems, recipe_from_table
from intraclip.errors import ConfigError
from intraclip.recipe_files import SHIPPED, load_recipe, recipes_in


@pytest.mark.parametrize("name", recipes_in(SHIPPED))
def test_every_shipped_recipe_loads_and_says_what_it_is(name):
    recipe = load_recipe(name)
    assert recipe.description
    assert not list(problems(recipe))


def test_the_paper_recipe_is_the_printed_text():
    recipe = load_recipe("paper")
    assert replace(recipe, description="") == Recipe()
    assert (recipe.batch.identities, recipe.batch.clips, recipe.clip.num_frames) == (4, 8, 4)
    assert (recipe.input.height, recipe.input.width) == (256, 128)
    assert (recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == (4e-4, 5e-4)
    assert (recipe.optimizer.decay_every, recipe.optimizer.decay_factor, recipe.optimizer.epochs) == (
        200,
        1 / 200,
        500,
    )


def test_a_recipe_survives_saving(tmp_path: Path):
    recipe = replace(Recipe(), seed=5, description='with "quotes" and ünïcode')
    path = tmp_path / "r.toml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


def test_all_problems_come_at_once_with_suggestions(tmp_path: Path):
    path = tmp_path / "r.toml"
    path.write_text(
        "sede = 3\nbatch = 4\n"
        "[clip]\nnum_frame = 4\nsampling = 'consecutif'\n"
        "[optimizer]\nepochs = 'many'\nbetas = [0.9]\nlearning_rate = -1\n"
        "[data]\nworkers = true\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(path))
    text = str(caught.value)
    for line in (
        "8 problems in",
        "sede: unknown key (did you mean 'seed'?)",
        "batch: 4 is no table",
        "clip.num_frame: unknown key (did you mean 'num_frames'?)",
        "clip.sampling: 'consecutif' is not one of consecutive, strided, restricted (did you mean 'consecutive'?)",
        "optimizer.epochs: 'many' is no whole number",
        "optimizer.betas: [0.9] is no list of 2 numbers",
        "optimizer.learning_rate: -1.0 must be above 0",
        "data.workers: True is no whole number",
    ):
        assert line in text


def test_unknown_recipe_suggests_a_shipped_one():
    with pytest.raises(ConfigError, match=r"unknown recipe 'papr' \(did you mean 'paper'\?\)"):
        load_recipe("papr")


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_recipe_takes_from_its_bases_what_it_does_not_say(tmp_path: Path):
    write(tmp_path / "first.toml", "base = 'demo'\nseed = 4\n[optimizer]\nepochs = 7\n[input]\nheight = 80\n")
    last = write(tmp_path / "last.toml", "base = 'first.toml'\n[optimizer]\nepochs = 9\n")
    demo, recipe = load_recipe("demo"), load_recipe(last)
    assert recipe.description == ""
    assert recipe.seed == 4
    assert (recipe.input.height, recipe.input.width) == (80, demo.input.width)
    assert recipe.optimizer == replace(demo.optimizer, epochs=9)
    assert recipe.model == demo.model
    # What a run writes down is the whole of it: it needs no other file.
    assert load_recipe(write(tmp_path / "elsewhere" / "config.toml", dump_recipe(recipe))) == recipe


def test_recipes_that_inherit_in_a_circle_are_refused(tmp_path: Path):
    one = write(tmp_path / "one.toml", "base = 'two.toml'\n")
    write(tmp_path / "two.toml", "base = 'sub/three.toml'\n")
    write(tmp_path / "sub/three.toml", "base = '../one.toml'\n")
    with pytest.raises(
        ConfigError, match=r"in a circle: .*one\.toml -> .*two\.toml -> .*three\.toml -> .*one"
    ):
        load_recipe(one)


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("'papr'", r"mine\.toml:\n  base: unknown recipe 'papr' \(did you mean 'paper'"),
        ("3", r"mine\.toml:\n  base: 3 is no name"),
        ("'wrong.toml'", r"2 problems in .*wrong\.toml:\n  sede: unknown key .*\n  clip: 3 is no table"),
    ],
)
def test_what_is_wrong_with_a_base_is_said_of_the_file_it_stands_in(base: str, said: str, tmp_path: Path):
    write(tmp_path / "wrong.toml", "sede = 1\nclip = 3\n")
    mine = write(tmp_path / "mine.toml", f"base = {base}\nseed = 1\n")
    with pytest.raises(ConfigError, match=said):
        load_recipe(mine)


def test_recipes_of_ones_own_have_names_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "a/mine.toml", "seed = 11\n")
    write(tmp_path / "b/mine.toml", "seed = 12\n")
    write(tmp_path / "b/paper.toml", "seed = 13\n")
    write(tmp_path / "b/grandchild.toml", "base = 'mine'\n")
    monkeypatch.setenv("INTRACLIP_RECIPES", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    assert load_recipe("mine").seed == load_recipe("grandchild").seed == 11
    assert load_recipe("paper").seed == 0, "a shipped name stays the shipped recipe"
    with pytest.raises(ConfigError, match="did you mean 'grandchild'"):
        load_recipe("grandchld")
    monkeypatch.delenv("INTRACLIP_RECIPES")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    write(tmp_path / "config/intraclip/recipes/mine.toml", "seed = 14\n")
    assert load_recipe("mine").seed == 14


def test_broken_toml_is_said(tmp_path: Path):
    path = tmp_path / "r.toml"
    path.write_text("[clip\n")
    with pytest.raises(ConfigError, match="no valid TOML"):
        load_recipe(str(path))


def test_whole_numbers_are_fine_where_a_number_is_wanted():
    assert recipe_from_table({"loss": {"margin": 1}}, source="x").loss == {"triplet": {"margin": 1.0}}


def test_every_numeric_setting_is_range_checked():
    """A value far out of range is caught for every number, so that no field is forgotten when one is added."""
    unchecked = set()
    recipe = Recipe()
    sections = [("", recipe)] + [
        (f.name, getattr(recipe, f.name)) for f in fields(recipe) if is_dataclass(getattr(recipe, f.name))
    ]
    for section, config in sections:
        for field in fields(config):
            value = getattr(config, field.name)
            if isinstance(value, bool | str | dict) or is_dataclass(value):
                continue
            bad = tuple(-1e9 for _ in value) if isinstance(value, tuple) else type(value)(-1e9)
            changed = replace(config, **{field.name: bad})
            whole = replace(recipe, **{section: changed}) if section else changed
            if not list(problems(whole)):
                unchecked.add(f"{section}.{field.name}")
    # Any offset is a valid mean.
    assert unchecked == {"input.mean"}


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000,
        "a = " + "[" * 5000 + "]" * 5000,
        "a = " + "{b = " * 3000 + "1" + "}" * 3000,
        "seed = " + "9" * 5000,
        "seed = 0x" + "f" * 5000,
        "seed = -0x" + "f" * 5000,
        "seed = 9223372036854775808",
        "seed = 'x" + "y" * 100_000 + "'",
        "[input]\nheight = 1000000000000000000000",
        "[optimizer]\nlearning_rate = nan",
        "[optimizer]\nlearning_rate = 0x" + "f" * 400,
        "[loss]\nmargin = inf",
        "[input]\nmean = [nan, 0.5, 0.5]",
        "[input]\nmean = 0x" + "f" * 5000,
        "[model]\nhead = 0x" + "f" * 5000,
        "input = 0x" + "f" * 5000,
        "seed = \x00",
        "[seed]\na = 1",
        "a.b.c" + ".d" * 2000 + " = 1",
    ],
)
def test_no_recipe_ends_in_a_traceback(tmp_path, text):
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(file))
    assert len(str(caught.value)) < 1000


def test_a_recipe_that_is_no_readable_file_is_said_to_be_none(tmp_path):
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name in (str(tmp_path), "x" * 5000, str(tmp_path / "bytes.toml")):
        with pytest.raises(ConfigError):
            load_recipe(name)


def test_flags_are_held_to_the_same_bounds():
    too_large = Recipe(seed=2**63, loss={"triplet": {"margin": float("inf")}})
    assert list(problems(too_large)) == [
        "seed: 9223372036854775808 is too large, below 2**63",
        "loss.triplet.margin: inf is not finite",
    ]


def test_a_recipe_that_decodes_on_the_gpu_opens_with_a_note():
    def opened(decode: str) -> Recipe:
        return recipe_from_table({"data": {"decode": decode, "workers": 3}}, source="old.toml")

    assert opened("cpu").data.workers == 3
    with pytest.warns(
        UserWarning, match=r"data\.decode = 'cuda' is not read any more: frames are decoded by the"
    ):
        assert opened("cuda").data.workers == 3
