"""Recipes by name and by file: the shipped ones, the user's own, and what they inherit.

Precedence: the defaults of `intraclip.config`, then the recipes that a recipe is based on, then the recipe itself, then
the flags.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from intraclip.config import Recipe
from intraclip.config_io import of_today, recipe_from_table, refuse
from intraclip.core.setting_tables import merged
from intraclip.core.settings import dataclass_from_table, shown
from intraclip.errors import ConfigError, did_you_mean

SHIPPED = Path(str(resources.files("intraclip"))) / "recipes"
"""Folder of the recipes that come with the package."""
RECIPES = "INTRACLIP_RECIPES"
"""Environment variable with folders of a user's own recipes, separated as in PATH."""


def recipe_folders() -> list[Path]:
    """Folders that are searched for a user's own recipes.

    Those of `RECIPES`, else ``intraclip/recipes`` in the configuration folder (``XDG_CONFIG_HOME``, or ``~/.config``).
    """
    given = os.environ.get(RECIPES)
    if given:
        return [Path(folder).expanduser() for folder in given.split(os.pathsep) if folder]
    home = os.environ.get("XDG_CONFIG_HOME")
    return [(Path(home) if home else Path("~/.config").expanduser()) / "intraclip" / "recipes"]


def recipes_in(*folders: Path) -> dict[str, Path]:
    """Names and files of the recipes in folders; where two have one name, the first folder's counts."""
    found = {path.stem: path for folder in reversed(folders) for path in folder.glob("*.toml")}
    return dict(sorted(found.items()))


def load_recipe(name_or_file: str) -> Recipe:
    """Load a recipe by name, shipped or the user's own, or a TOML file by path.

    A recipe may begin with ``base = "NAME or FILE"``: it then takes every setting that it does not give itself from
    that recipe, which may have a base of its own. A file is looked for beside the recipe that names it. The description
    is not inherited.

    Raises:
        ConfigError: no such recipe, no valid TOML, recipes that inherit from each other in a circle, or unknown keys
            and wrong values: all of a file at once.
    """
    path = _find_recipe(name_or_file, beside=Path())
    return recipe_from_table(_whole_table(path, ()), source=str(path))


def _find_recipe(name_or_file: str, *, beside: Path) -> Path:
    known = recipes_in(SHIPPED, *recipe_folders())  # a shipped name stays the shipped recipe
    path = known.get(name_or_file, beside / name_or_file)
    try:
        there = path.is_file()
    except (OSError, ValueError):  # a name that no file can have, such as a very long one
        there = False
    if not there:
        hint = did_you_mean(name_or_file, known)
        raise ConfigError(
            f"unknown recipe {name_or_file!r}{hint}: it is no file, and the recipes with a name are "
            f"{', '.join(known)}; your own are looked for in {', '.join(map(str, recipe_folders()))}"
        )
    return path


def _whole_table(path: Path, heirs: tuple[Path, ...]) -> Mapping[str, Any]:
    """The table of a recipe's file with what it inherits; `heirs` are the files whose bases led here."""
    if any(path.resolve() == heir.resolve() for heir in heirs):
        circle = " -> ".join(map(str, (*heirs, path)))
        raise ConfigError(f"base: recipes that inherit from each other in a circle: {circle}")
    table = read_toml(path, what="the recipe")
    if "base" not in table:
        return of_today(table, {})
    base = table.pop("base")
    if not isinstance(base, str) or not base:
        refuse([f"base: {shown(base)} is no name and no file of a recipe"], str(path))
    try:
        parent = _find_recipe(base, beside=path.parent)
    except ConfigError as error:
        raise ConfigError(f"a problem in {path}:\n  base: {error}") from None
    inherited = dict(_whole_table(parent, (*heirs, path)))
    wrong: list[str] = []
    dataclass_from_table(Recipe, inherited, prefix="", found=wrong)
    refuse(wrong, str(parent))  # said of the file that it stands in
    inherited.pop("description", None)
    return merged(Recipe, inherited, of_today(table, inherited))


def read_toml(path: Path, *, what: str) -> dict[str, Any]:
    """Read a TOML file; `what` it is says the message, such as "the recipe".

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        # Broken TOML and UTF-8, numbers and nesting beyond Python's bounds.
        raise ConfigError(f"{path} is no valid TOML: {error}") from None
