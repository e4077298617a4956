"""Flags of a recipe's parts, such as ``--model.head.reduction 4``: which there are depends on the part."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from intraclip.cli.common import parse
from intraclip.config import Recipe
from intraclip.config_io import MOVED, migrated, recipe_from_table
from intraclip.core.settings import merged, nested, registry_of, table_of
from intraclip.errors import ConfigError

ArgsT = TypeVar("ArgsT")


def parse_with_recipe(kind: type[ArgsT], argv: Sequence[str], *, command: str, default: ArgsT) -> ArgsT:
    """Parse the flags of a command whose `settings` are a recipe.

    Args:
        kind: dataclass of the command.
        argv: its words.
        command: as it is typed.
        default: with the recipe that the flags change.

    Raises:
        ConfigError: settings that are not there, or out of range: all at once.
    """
    recipe: Recipe = default.settings  # type: ignore[attr-defined]
    words, values = part_flags(argv)
    bare = replace(recipe, model=replace(recipe.model, head_settings={}, backbone_settings={}))
    args = parse(kind, words, command=command, default=replace(default, settings=bare))  # type: ignore[type-var]
    table = merged(Recipe, table_of(recipe, whole=False), table_of(args.settings, whole=False))  # type: ignore[attr-defined]
    table = merged(Recipe, table, migrated(nested(values), table))
    return replace(args, settings=recipe_from_table(table, source="the recipe and flags"))  # type: ignore[type-var]


def part_flags(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The words without the flags of parts' settings, and these by their key, in today's spelling or an earlier one.

    >>> part_flags(["--seed", "3", "--model.head.reduction=4", "--model.stripes", "2"])
    (['--seed', '3'], {'model.head.reduction': 4, 'model.stripes': 2})
    """
    places = tuple(f"{key}." for key in part_keys(Recipe()))
    words: list[str] = []
    values: dict[str, Any] = {}
    rest = iter(argv)
    for word in rest:
        flag, equals, value = word.partition("=")
        key = flag.removeprefix("--").replace("-", "_")
        if word.startswith("--") and (key in MOVED or key.startswith(places)):
            text = value if equals else next(rest, None)
            if text is None:
                raise ConfigError(f"{flag}: a value is missing")
            values[key] = _typed(text)
        else:
            words.append(word)
    return words, values


def part_keys(config: Any, prefix: str = "") -> list[str]:
    """Keys of a recipe that choose a part."""
    found = []
    for item in fields(config):
        value = getattr(config, item.name)
        if registry_of(item) is not None:
            found.append(f"{prefix}{item.name}")
        elif is_dataclass(value):
            found += part_keys(value, f"{prefix}{item.name}.")
    return found


def _typed(text: str) -> Any:
    """A word as TOML would read it; what is no TOML is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
