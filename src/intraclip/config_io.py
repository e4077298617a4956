"""Recipes from tables, strictly: all problems are reported at once; and recipes as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w

from intraclip.config import BACKBONES, LOSSES, Recipe
from intraclip.core import settings
from intraclip.core.registry import open_registry
from intraclip.core.settings import dataclass_from_table, settings_of, table_of
from intraclip.errors import ConfigError


def of_today(table: Mapping[str, Any], below: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recipe's table, of this version or an earlier one, with the keys of this version.

    `below` is what it inherits, of this version: it may name the part that a key belongs to.
    """
    wrong: list[str] = []
    dataclass_from_table(Recipe, table, prefix="", found=wrong)
    if not wrong:
        return table
    from intraclip.earlier_recipes import migrated

    return migrated(table, below)


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says; nesting beyond Python's bounds is a ValueError like everything else that is wrong with it.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def recipe_from_table(table: Mapping[str, Any], *, source: str) -> Recipe:
    """Build a recipe from nested dictionaries, as TOML or JSON gives them; `source` names the file in messages.

    Raises:
        ConfigError: lists every unknown key and every wrong value, with suggestions.
    """
    found: list[str] = []
    recipe = dataclass_from_table(Recipe, of_today(table, {}), prefix="", found=found)
    refuse([*found, *problems(recipe)], source)
    return recipe


def problems(recipe: Recipe) -> Iterator[str]:
    """Yield every value of a recipe that is out of range, as "section.key: what is wrong".

    >>> from intraclip.config import ClipConfig
    >>> list(problems(Recipe()))
    []
    >>> list(problems(Recipe(clip=ClipConfig(num_frames=0))))
    ['clip.num_frames: 0 is too small, at least 1']
    """
    yield from settings.problems(recipe)
    if recipe.batch.identities * recipe.batch.clips % max(recipe.step.pieces, 1):
        yield (
            f"step.pieces: {recipe.step.pieces} must divide the batch of {recipe.batch.identities} x "
            f"{recipe.batch.clips} clips"
        )
    if _nothing_weighs(recipe):
        yield "loss: every weight is 0: nothing is left to train on"
    if recipe.model.neck_test == "before" and recipe.model.neck == "none":
        yield "model.neck_test: there is nothing before a neck where model.neck is none"


def _nothing_weighs(recipe: Recipe) -> bool:
    """Whether all losses have weight 0, the backbone's own included; False where settings are wrong, as said above."""
    if not any(own.get("weight") == 0 for own in recipe.loss.values()):
        return False
    losses, backbones, backbone = open_registry(LOSSES), open_registry(BACKBONES), recipe.model.backbone
    try:
        if any(settings_of(losses, name, recipe.loss.get(name, {})).weight for name in losses):
            return False
    except ConfigError:
        return False
    return bool(backbones.problem(backbone)) or not backbones.load(backbone).own_loss


def check_recipe(recipe: Recipe, *, source: str) -> None:
    """Raise a ConfigError that lists every value out of range."""
    refuse(list(problems(recipe)), source)


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as TOML text, every value spelled out; `load_recipe` reads it back unchanged.

    >>> import tomllib
    >>> recipe_from_table(tomllib.loads(dump_recipe(Recipe(seed=7))), source="memory").seed
    7
    """
    return tomli_w.dumps(table_of(recipe))


def refuse(found: list[str], source: str) -> None:
    """Raise all problems of a source, if there are any, as one ConfigError."""
    if found:
        many = f"{len(found)} problems" if len(found) > 1 else "a problem"
        raise ConfigError(f"{many} in {source}:\n" + "\n".join(f"  {line}" for line in found))
