"""Recipes from tables, strictly: all problems are reported at once; and recipes as TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tomli_w

from intraclip.config import Recipe, problems
from intraclip.core.settings import dataclass_from_table, table_of
from intraclip.errors import ConfigError


def of_today(table: Mapping[str, Any], below: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recipe's table, of this version or an earlier one, with the keys of this version.

    Args:
        table: the recipe's.
        below: what it inherits, of this version: it may name the part that a key belongs to.
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
    """Build a recipe from nested dictionaries.

    Args:
        table: as TOML or JSON gives it.
        source: file name for the message.

    Raises:
        ConfigError: lists every unknown key and every wrong value, with suggestions.
    """
    found: list[str] = []
    recipe = dataclass_from_table(Recipe, of_today(table, {}), prefix="", found=found)
    found.extend(problems(recipe))
    if found:
        raise ConfigError(message_of(found, source))
    return recipe


def check_recipe(recipe: Recipe, *, source: str) -> None:
    """Raise a ConfigError that lists every value out of range; for recipes changed by flags."""
    found = list(problems(recipe))
    if found:
        raise ConfigError(message_of(found, source))


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as TOML text, every value spelled out; `load_recipe` reads it back unchanged.

    >>> recipe_from_table(tomllib.loads(dump_recipe(Recipe(seed=7))), source="memory").seed
    7
    """
    return tomli_w.dumps(table_of(recipe))


def message_of(found: list[str], source: str) -> str:
    """All problems of a source as one text."""
    many = f"{len(found)} problems" if len(found) > 1 else "a problem"
    return f"{many} in {source}:\n" + "\n".join(f"  {line}" for line in found)
