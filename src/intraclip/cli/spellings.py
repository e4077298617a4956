"""Spellings of flags: those that commands share with one another, and old ones, which work for one more version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from intraclip.cli.common import say
from intraclip.cli.flags import Flag, Part, flags_of, named, part_with, spelled, split, values_of
from intraclip.cli.help import named_in_usage, needed
from intraclip.errors import did_you_mean

ALIASES: dict[str, dict[str, str]] = {
    name: {"--layout": "--data.layout", "--on-unreadable": "--data.on-unreadable"}
    for name in ("train", "cross")
}
ALIASES["train"]["--split"] = "--data.split"
"""Flags that other commands have, by what they are called among a recipe's settings. They stay."""

RENAMED: dict[str, dict[str, str]] = {
    "ingest": {"--encoder": "--model"},
    "extract": {"--on-failure": "--on-unreadable"},
    "gallery add": {"--on-failure": "--on-unreadable"},
    "gallery check": {"--save-to": "--out"},
}
"""Old spellings of flags, by command; `--run` and `--encoder` are in `NETWORK`, as they could be given together."""

NETWORK = ("gallery add", "gallery search", "serve", "extract", "rank")
"""Commands that took a run and another network, whose vectors the run's head aggregated; now --model and --head."""

OUT_BY_PLACE = ("data pack", "gallery export-labels")
"""Commands whose result was given by its place, after their subject; now with --out."""


def modern(kind: type[Any], argv: Sequence[str], *, command: str) -> list[str]:
    """The words of a command line in today's spelling; notes say which names are old."""
    flags = flags_of(kind)
    parts = split(flags, argv)
    renamed, aliases = RENAMED.get(command, {}), ALIASES.get(command, {})
    for part in parts:
        flag = spelled(part)
        if flag in renamed and part_with(parts, renamed[flag]) is None:
            _rename(part, renamed[flag])
            say(f"note: {flag} is called {renamed[flag]} now; the old name works until the next version")
        elif flag in aliases:
            _rename(part, aliases[flag])
    by_place = any(f.positional and f.top == "model" for f in flags)
    if command in NETWORK:
        _network(parts, by_place=by_place)
    if by_place and (model := part_with(parts, "--model")) is not None:
        parts = [values_of(model), *(part for part in parts if part is not model)]
    if command in OUT_BY_PLACE:
        places = [part for part in parts if not spelled(part)]
        if len(places) > 1 and part_with(parts, "--out") is None:
            places[1][:] = ["--out", places[1][0]]
            say("note: results go to --out now; a second word in that place works until the next version")
    return [word for part in parts for word in part]


def joined(kind: type[Any], argv: Sequence[str]) -> list[str]:
    """Flags that take any number of values may be given again: ``--id a --id b`` is ``--id a b``.

    argparse would keep the last one and drop the others without a word.

    >>> from intraclip.cli.completion import tree
    >>> joined(tree()["gallery delete"], ["people", "--id", "a", "--older-than", "2d", "--id=b", "--dry-run"])
    ['people', '--older-than', '2d', '--id', 'a', 'b', '--dry-run']
    """
    flags, parts = flags_of(kind), list[Part]()
    taking: dict[str, Part] = {}
    for part in split(flags, argv):
        flag = named(flags, part[0])
        if flag is not None and flag.values == "many" and not flag.count:
            words = values_of(part)
            part = taking.setdefault(flag.name, [flag.spelling])
            part += words
            parts = [p for p in parts if p is not part]  # at the place of the last one
        parts.append(part)
    return [word for part in parts for word in part]


def mistakes(kind: type[Any], argv: Sequence[str]) -> list[str]:
    """What is wrong with the words of a command line, in half a sentence each; what values mean is not looked at."""
    flags = flags_of(kind)
    places = [flag for flag in flags if flag.positional]
    found: list[str] = []
    given: set[str] = set()
    for part in split(flags, argv):
        flag = named(flags, part[0]) if spelled(part) else next(iter(places), None)
        if flag is None:
            if not spelled(part):
                found.append(f"{part[0]!r} is one word too many")
                continue
            known = [f.spelling for f in flags if not f.positional]
            found.append(f"there is no flag {spelled(part)}{did_you_mean(spelled(part), known)}")
            continue
        if flag.positional and flag.values != "many":
            places.remove(flag)
        given.add(flag.spelling)
        if flag.values != "none":
            found += _wrong_values(flag, part if flag.positional else values_of(part))
    missing = [named_in_usage(flag) for flag in needed(flags) if flag.required and flag.spelling not in given]
    return (
        [*found, f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"]
        if missing
        else found
    )


def _wrong_values(flag: Flag, values: Sequence[str]) -> list[str]:
    if not values:
        return [f"{flag.spelling} wants a value"]
    if flag.count and len(values) != flag.count:
        return [f"{flag.spelling} wants {flag.count} values, not {len(values)}"]
    for value in values:
        if flag.choices and value not in flag.choices:
            return [f"{flag.spelling} is {value!r}, not one of {', '.join(flag.choices)}"]
        if flag.of in (int, float):
            try:
                flag.of(value)
            except ValueError:
                return [f"{flag.spelling} is {value!r}, not a {'whole ' * (flag.of is int)}number"]
    return []


def _network(parts: Sequence[Part], *, by_place: bool) -> None:
    """`--run RUN` and `--encoder NETWORK` as `--model NETWORK` and `--head RUN`."""
    run, other = part_with(parts, "--run"), part_with(parts, "--encoder")
    if run is None and by_place and other is not None:
        run = part_with(parts, "")
    if run is not None and other is not None:
        say(
            "note: a run with --encoder is written --model NETWORK --head RUN now; the old names work until the next "
            "version"
        )
        if spelled(run):
            _rename(run, "--head")
        else:
            run[:] = ["--head", *run]
        _rename(other, "--model")
    for part in (run, other):
        if part is not None and (flag := spelled(part)) in ("--run", "--encoder"):
            _rename(part, "--model")
            say(f"note: {flag} is called --model now; the old name works until the next version")


def _rename(part: Part, new: str) -> None:
    part[0] = "".join([new, *part[0].partition("=")[1:]])
