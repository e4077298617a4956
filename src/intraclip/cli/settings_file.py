"""`--config FILE.toml`: the flags of a command from a file; those of the command line win."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from intraclip.cli.flags import Flag, flags_of, named, part_with, split, values_of
from intraclip.errors import ConfigError, did_you_mean
from intraclip.recipe_files import read_toml

COMMANDS = ("ingest", "find", "extract", "link", "live", "serve", "gallery add")
"""Commands with so many settings that a file of them helps; `train` and `cross` have recipes."""


def with_settings(kind: type[Any], argv: Sequence[str]) -> tuple[list[str], str]:
    """The words of a command line, with those that its ``--config FILE`` adds.

    Returns:
        The words, and the file; the argv as it is, and an empty text, where no file is named.

    Raises:
        ConfigError: the file cannot be read, or has keys that are no flags, or values that no flag takes: all at once.
    """
    parts = split(flags_of(kind), argv)
    named_file = part_with(parts, "--config")
    if named_file is None:
        return list(argv), ""
    source = "".join(values_of(named_file))
    if not source:
        raise ConfigError("--config: name a TOML file")
    words = [word for part in parts if part is not named_file for word in part]
    flags = [flag for flag in flags_of(kind) if not flag.positional]
    given = {flag.name for word in words if (flag := named(flags, word)) is not None}
    found, problems = [], []
    for key, value in _flat(read_toml(Path(source), what="the settings"), flags):
        flag = _known(flags, key)
        if flag is None:
            known = [f.name for f in flags if f.name != "json"]
            problems.append(f"{key}: no such flag{did_you_mean(key.replace('_', '-'), known)}")
            continue
        try:
            spelt = _spelt(flag, value)
        except ValueError as error:
            problems.append(f"{key}: {error}")
            continue
        if flag.name not in given:
            found += spelt
    if problems:
        raise ConfigError(
            f"{source} holds {len(problems)} key{'s' * (len(problems) > 1)} that cannot be used:\n"
            + "\n".join(f"  {line}" for line in problems)
        )
    return [*words, *found], source


def _known(flags: Sequence[Flag], key: str) -> Flag | None:
    return next((f for f in flags if f.name.replace("-", "_") == key.replace("-", "_")), None)


def _flat(table: Mapping[str, Any], flags: Sequence[Flag], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with the names of the tables that they stand in; a table that is a flag's value stays whole."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        flag = _known(flags, key)
        if isinstance(value, dict) and not (flag is not None and flag.values == "many"):
            yield from _flat(value, flags, f"{key}.")
        else:
            yield key, value


def _spelt(flag: Flag, value: Any) -> list[str]:
    """A value as the words that say it."""
    if flag.values == "none":
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return [] if value is bool(flag.default) else [flag.spelling]
    if flag.values == "one":
        if isinstance(value, bool | list | dict):
            raise ValueError(f"{value!r} is not one number or text")
        return [f"{flag.spelling}={value}"]
    if isinstance(value, dict):
        return [flag.spelling, *(str(word) for pair in value.items() for word in pair)]
    return [flag.spelling, *map(str, value if isinstance(value, list) else [value])]
