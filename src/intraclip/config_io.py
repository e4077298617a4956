"""Recipes as TOML: strict loading that reports all problems at once, and saving.

Precedence: the defaults of `intraclip.config`, then the recipes that a recipe is based on, then the recipe itself, then
the flags.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tomli_w

from intraclip.config import Recipe, problems
from intraclip.errors import ConfigError

ConfigT = TypeVar("ConfigT")

RETIRED = {
    "data.decode": (
        "cpu",
        "frames are decoded by the workers; the pixels differ from a GPU's by a few grey levels",
    )
}
"""Keys that recipes of earlier versions have: the value that means what is done now, and what is said of others."""


RECIPES = "INTRACLIP_RECIPES"
"""Environment variable with folders of a user's own recipes, separated as in PATH."""


def shipped_recipes() -> dict[str, Path]:
    """Names and files of the recipes that come with the package."""
    return _recipes_in(Path(str(resources.files("intraclip"))) / "recipes")


def recipe_folders() -> list[Path]:
    """Folders that are searched for a user's own recipes.

    Those of `RECIPES`, else ``intraclip/recipes`` in the configuration folder (``XDG_CONFIG_HOME``, or ``~/.config``).
    """
    given = os.environ.get(RECIPES)
    if given:
        return [Path(folder).expanduser() for folder in given.split(os.pathsep) if folder]
    home = os.environ.get("XDG_CONFIG_HOME")
    return [(Path(home) if home else Path("~/.config").expanduser()) / "intraclip" / "recipes"]


def known_recipes() -> dict[str, Path]:
    """Names and files of the shipped recipes and of the user's own.

    A shipped name stays the shipped recipe, and of two folders the first one's counts.
    """
    found = shipped_recipes()
    for folder in recipe_folders():
        found = {**_recipes_in(folder), **found}
    return dict(sorted(found.items()))


def _recipes_in(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


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
    known = known_recipes()
    path = known.get(name_or_file, beside / name_or_file)
    if not _is_file(path):
        close = difflib.get_close_matches(name_or_file, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ConfigError(
            f"unknown recipe {name_or_file!r}{hint}: it is no file, and the recipes with a name are "
            f"{', '.join(known)}; your own are looked for in {', '.join(map(str, recipe_folders()))}"
        )
    return path


def _whole_table(path: Path, heirs: tuple[Path, ...]) -> dict[str, Any]:
    """A recipe's table with what it inherits.

    Args:
        path: its file.
        heirs: the files whose bases led here, the first one first.
    """
    if any(_same_file(path, heir) for heir in heirs):
        circle = " -> ".join(map(str, (*heirs, path)))
        raise ConfigError(f"base: recipes that inherit from each other in a circle: {circle}")
    table = read_toml(path, what="the recipe")
    if "base" not in table:
        return table
    base = table.pop("base")
    if not isinstance(base, str) or not base:
        raise ConfigError(f"a problem in {path}:\n  base: {_shown(base)} is no name and no file of a recipe")
    try:
        parent = _find_recipe(base, beside=path.parent)
    except ConfigError as error:
        raise ConfigError(f"a problem in {path}:\n  base: {error}") from None
    inherited = _whole_table(parent, (*heirs, path))
    wrong: list[str] = []
    dataclass_from_table(Recipe, inherited, prefix="", found=wrong)
    if wrong:  # said of the file that it stands in
        raise ConfigError(_message(wrong, str(parent)))
    inherited.pop("description", None)
    return _merged(inherited, table)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        own = merged.get(key)
        both = isinstance(own, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(own, value) if both else value  # type: ignore[arg-type]
    return merged


def _same_file(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()


def read_toml(path: Path, *, what: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: the file.
        what: it is, for the message, such as "the recipe".

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # broken TOML and UTF-8, numbers and nesting beyond Python's bounds
        raise ConfigError(f"{path} is no valid TOML: {error}") from None


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says; nesting beyond Python's bounds is a ValueError like everything else that is wrong with it.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have, such as a very long one
        return False


def recipe_from_table(table: Mapping[str, Any], *, source: str) -> Recipe:
    """Build a recipe from nested dictionaries.

    Args:
        table: as TOML or JSON gives it.
        source: file name for the message.

    Raises:
        ConfigError: lists every unknown key and every wrong value, with suggestions.
    """
    found: list[str] = []
    recipe = dataclass_from_table(Recipe, table, prefix="", found=found)
    found.extend(problems(recipe))
    if found:
        raise ConfigError(_message(found, source))
    return recipe


def check_recipe(recipe: Recipe, *, source: str) -> None:
    """Raise a ConfigError that lists every value out of range; for recipes changed by flags."""
    found = list(problems(recipe))
    if found:
        raise ConfigError(_message(found, source))


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as TOML text, every value spelled out; `load_recipe` reads it back unchanged.

    >>> recipe_from_table(tomllib.loads(dump_recipe(Recipe(seed=7))), source="memory").seed
    7
    """
    return tomli_w.dumps(asdict(recipe))


def differing_keys(old: Recipe, new: Recipe) -> list[str]:
    """Keys in which two recipes differ, as "section.key: old -> new".

    >>> differing_keys(Recipe(), Recipe(seed=7))
    ['seed: 0 -> 7']
    """
    return _differing(_flatten(asdict(old)), _flatten(asdict(new)))


NO_EFFECT = ("description", "data.workers", "data.prefetch", "run.")
"""Keys, and beginnings of keys, that change nothing about the network that is trained."""


def differing_in_effect(old: Recipe, new: Recipe, *, ignore: Sequence[str] = ()) -> list[str]:
    """Keys in which two recipes differ so that they train another network, as "section.key: old -> new".

    Keys that a recipe does not read do not count: ICA's without the head ``ica``, and the triplet loss's vector for
    TAP, which has only one. ``model.triplet_reads`` is compared as what it comes to, not as it is written: a default
    that becomes a name for the same thing makes no other recipe.

    Args:
        old: such as that of a run that is there.
        new: such as that of the run that is wanted.
        ignore: more keys that may differ.

    >>> from dataclasses import replace
    >>> def model(**keys):
    ...     return replace(Recipe(), model=replace(Recipe().model, **keys))
    >>> differing_in_effect(model(head="tap"), model(head="tap", ica_order="fc-bn-relu"))
    []
    >>> differing_in_effect(model(), model(triplet_reads="pooled", ica_reduction=8))
    ['model.ica_reduction: 4 -> 8']
    """
    read = [
        {
            key: value
            for key, value in _in_effect(recipe).items()
            if key not in ignore and not key.startswith(NO_EFFECT)
        }
        for recipe in (old, new)
    ]
    return _differing(*read)


def _in_effect(recipe: Recipe) -> dict[str, Any]:
    """The values that a training reads, by their keys."""
    flat = _flatten(asdict(recipe))
    flat["model.triplet_reads"] = recipe.model.triplet_vector
    if recipe.model.head == "tap":
        del flat["model.triplet_reads"]
    if recipe.model.head != "ica":
        flat = {key: value for key, value in flat.items() if not key.startswith("model.ica_")}
    return flat


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    # A key that only one of them has belongs to its head, and the heads differ.
    return [f"{key}: {a[key]} -> {b[key]}" for key in a if key in b and a[key] != b[key]]


def dataclass_from_table(
    kind: type[ConfigT], table: Mapping[str, Any], *, prefix: str, found: list[str]
) -> ConfigT:
    """Build one config dataclass, appending every problem to `found` and keeping defaults there."""
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, raw in table.items():
        where = f"{prefix}{key}"
        if where in RETIRED:
            means_now, note = RETIRED[where]
            if raw != means_now:
                warnings.warn(f"{where} = {_shown(raw)} is not read any more: {note}", stacklevel=2)
            continue
        if key not in names:
            close = difflib.get_close_matches(key, names, n=1)
            found.append(f"{where}: unknown key" + (f" (did you mean '{close[0]}'?)" if close else ""))
            continue
        hint = hints[key]
        if is_dataclass(hint):
            if not isinstance(raw, Mapping):
                found.append(f"{where}: {_shown(raw)} is no table; write [{where}] and keys below it")
                continue
            values[key] = dataclass_from_table(hint, raw, prefix=f"{where}.", found=found)  # type: ignore[arg-type]
            continue
        try:
            values[key] = _convert(raw, hint)
        except ValueError as error:
            found.append(f"{where}: {error}")
    return kind(**values)


def _convert(raw: Any, hint: Any) -> Any:
    origin = get_origin(hint)
    if origin is Literal:
        options = get_args(hint)
        if raw in options and not isinstance(raw, bool):
            return raw
        close = difflib.get_close_matches(_shown(raw).strip("'"), [str(o) for o in options], n=1)
        suggestion = f" (did you mean '{close[0]}'?)" if close else ""
        raise ValueError(f"{_shown(raw)} is not one of {', '.join(map(str, options))}{suggestion}")
    if origin is tuple:
        kinds = get_args(hint)
        if not isinstance(raw, list | tuple) or len(raw) != len(kinds):
            raise ValueError(f"{_shown(raw)} is no list of {len(kinds)} numbers")
        return tuple(_convert(item, kind) for item, kind in zip(raw, kinds, strict=True))
    if isinstance(raw, int) and abs(raw) >= 2**63:
        raise ValueError(f"{_shown(raw)} is too large, below 2**63")
    if hint is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if isinstance(raw, hint) and (hint is bool or not isinstance(raw, bool)):
        return raw
    words = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    raise ValueError(
        f"{_shown(raw)} is no {words.get(hint, hint)}"
        if hint is not bool
        else f"{_shown(raw)} is not true or false"
    )


def _shown(raw: Any) -> str:
    """A value for a message, of bounded length."""
    try:
        text = repr(raw)
    except ValueError:  # Python prints no number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text):,} characters)"


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _message(found: list[str], source: str) -> str:
    many = f"{len(found)} problems" if len(found) > 1 else "a problem"
    return f"{many} in {source}:\n" + "\n".join(f"  {line}" for line in found)
