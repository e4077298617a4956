"""Flags of a recipe's parts, such as ``--model.head.reduction 4``: which there are depends on the part."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from intraclip.cli.common import parse
from intraclip.cli.flags import Flag, flags_of, named, spelled, split, values_of
from intraclip.config import Recipe
from intraclip.config_io import of_today, recipe_from_table
from intraclip.core.registry import Registry
from intraclip.core.setting_tables import merged, nested
from intraclip.core.settings import registry_of, table_of
from intraclip.earlier_recipes import MOVED
from intraclip.errors import ConfigError

ArgsT = TypeVar("ArgsT")

COMMANDS = ("train", "cross")
"""Commands whose flags are a recipe's settings."""


def parse_with_recipe(kind: type[ArgsT], argv: Sequence[str], *, command: str, default: ArgsT) -> ArgsT:
    """Parse the flags of a command whose `settings` are a recipe; `default` has the one that they change."""
    recipe: Recipe = default.settings  # type: ignore[attr-defined]
    if {"-h", "--help", "--help-all"} & set(argv):
        return parse(kind, argv, command=command, default=default)
    words, values = part_flags(argv)
    bare = replace(recipe, model=replace(recipe.model, head_settings={}, backbone_settings={}), loss={})
    args = parse(kind, words, command=command, default=replace(default, settings=bare))  # type: ignore[type-var]
    table = merged(Recipe, table_of(recipe, whole=False), table_of(args.settings, whole=False))  # type: ignore[attr-defined]
    table = merged(Recipe, table, of_today(nested(values), table))
    return replace(args, settings=recipe_from_table(table, source="the recipe and flags"))  # type: ignore[type-var]


def part_flags(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The words without the flags of parts' settings, and these by their key, in today's spelling or an earlier one.

    >>> part_flags(["--seed", "3", "--model.head.reduction=4", "--model.stripes", "2"])
    (['--seed', '3'], {'model.head.reduction': 4, 'model.stripes': 2})
    """
    places = tuple(f"{key}." for key in part_keys(Recipe()))
    words: list[str] = []
    values: dict[str, Any] = {}
    flags = [flag for _, flag in flags_of_parts()]
    for part in split(flags, argv):
        key = spelled(part).removeprefix("--").replace("-", "_")
        if not spelled(part) or not (key in MOVED or key.startswith(places)):
            words += part
            continue
        place, _, name = MOVED.get(key, (key, (), ""))
        now = named(flags, f"--{place}.{name}".removesuffix("."))
        text = values_of(part)
        if not text and (now is None or now.values != "none"):
            raise ConfigError(f"{spelled(part)}: a value is missing")
        values[key] = _typed(text[0]) if text else True
    return words, values


def flags_of_parts() -> list[tuple[str, Flag]]:
    """Every setting of a part that is registered, as a flag, with the part's name. Imports the parts."""
    found = []
    for key, (registry, each) in part_keys(Recipe()).items():
        for name in registry:
            settings = registry.settings_type(f"{name}NAME" if name.endswith(":") else name)
            prefix = f"{key}.{name}." if each else f"{key}."
            found += [
                (name, replace(flag, name=prefix.replace("_", "-") + flag.name))
                for flag in flags_of(settings)
            ]
    return found


def part_keys(config: Any, prefix: str = "") -> dict[str, tuple[Registry, bool]]:
    """Keys of a recipe that choose a part, or have the settings of several: registry, and whether of several."""
    found: dict[str, tuple[Registry, bool]] = {}
    for item in fields(config):
        value, key = getattr(config, item.name), f"{prefix}{item.name}"
        if (one := registry_of(item)) is not None:
            found[key] = one, False
        elif (each := registry_of(item, "parts")) is not None:
            found[key] = each, True
        elif is_dataclass(value):
            found |= part_keys(value, f"{key}.")
    return found


def _typed(text: str) -> Any:
    """A word as TOML would read it; what is no TOML is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
