"""`intraclip models list`, `get` and `check`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from intraclip.cli.common import ForPrograms, Parts, print_json, progress_bars, say
from intraclip.errors import ConfigError, IntraclipError
from intraclip.models.zoo import Entry, entries, files_of, how_to_get, is_here, named
from intraclip.models.zoo.cache import Checked, cache_folder, check, take
from intraclip.models.zoo.download import download

HELP = """usage: intraclip models COMMAND [NAME ...] [options]

  list [NAME ...]   public networks and detectors; with names, all about them
  get NAME ...      download them, verified; or take files that came another way
  check [NAME ...]  compare what is here with the digests it should have

A network that is here is opened by its name: --model NAME, --detector NAME,
and --model.weights NAME in `intraclip train`.
`intraclip models list --help` and so on explain the options."""


@dataclass(frozen=True, kw_only=True)
class ListArgs(ForPrograms):
    """Show the networks of the zoo; with names, what is known of these."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of networks; all by default."""


@dataclass(frozen=True, kw_only=True)
class GetArgs:
    """Download networks into the cache (INTRACLIP_CACHE, else the user's cache folder), and verify them.

    A download that was cut goes on where it broke off.
    """

    names: tyro.conf.Positional[tuple[str, ...]]
    """Names of networks, see `intraclip models list`."""
    files: Annotated[tuple[Path, ...], tyro.conf.arg(name="from")] = ()
    """Files of one network that came another way: they are verified and copied, and nothing is downloaded."""


@dataclass(frozen=True, kw_only=True)
class CheckArgs(ForPrograms):
    """Compare the files in the cache with the digests that they should have. Exits with 2 if one differs.

    As JSON: of each network its name, what is wrong, and its files with their digests.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of networks; all that are here by default."""


def _list(args: ListArgs) -> int:
    shown = [named(name) for name in args.names] or list(entries().values())
    if args.json:
        print_json([_as_json(entry) for entry in shown])
    elif args.names:
        print("\n\n".join(_in_words(entry) for entry in shown))
    else:
        for entry in shown:
            parameters = "" if entry.parameters is None else f"{entry.parameters:.2f} M"
            size = "" if entry.megabytes is None else f"{entry.megabytes:.1f} MB"
            here = "here" if is_here(entry) else "by hand" if entry.by_hand else ""
            licence = entry.licence.partition(":")[0]
            print(f"{entry.name:<38} {entry.kind:<13} {parameters:>8} {size:>9}  {here:<7}  {licence}")
        say("all that is known of one: intraclip models list NAME")
    return 0


def _get(args: GetArgs) -> int:
    chosen = [named(name) for name in args.names]
    if args.files and len(chosen) != 1:
        raise ConfigError(f"--from names the files of one network, not of {len(chosen)}")
    for entry in chosen:
        if entry.shipped:
            say(f"{entry.name} comes with the package")
            continue
        say(f"{entry.name}: {entry.size}; licence: {entry.licence}; trained on: {entry.trained_on}")
        if args.files:
            found = take(entry, list(args.files))
        else:
            if is_here(entry):
                say("it is here already; verifying")
            with progress_bars([], unit="bytes") as update:
                found = download(entry, progress=lambda name: partial(update, name))
        _say_checked(found)
    return 0


def _check(args: CheckArgs) -> int:
    asked = [named(name) for name in args.names]
    found = asked or [
        entry for entry in entries().values() if any(file.is_file() for file in files_of(entry))
    ]
    if not asked and all(entry.shipped for entry in found):
        say(f"no network is in {cache_folder()}")
    checked: list[dict[str, Any]] = []
    problems = 0
    for entry in found:
        try:
            whole = check(entry, files_of(entry))
        except IntraclipError as error:
            problems += 1
            checked.append({"name": entry.name, "problem": str(error), "files": []})
            print(f"error: {error}", file=sys.stderr)
            continue
        files = [{"file": str(one.file), "sha256": one.sha256, "known_by": one.known_by} for one in whole]
        checked.append({"name": entry.name, "problem": "", "files": files})
        if not args.json:
            _say_checked(whole)
    if args.json:
        print_json(checked)
    return 2 if problems else 0


def _say_checked(found: Sequence[Checked]) -> None:
    for one in found:
        if one.known_by:
            print(f"{one.file}: whole, SHA-256 {one.sha256} agrees with {one.known_by}")
        else:
            print(
                f"{one.file}: SHA-256 {one.sha256}, pinned. Nobody noted it before, so it could not be compared; "
                "from now on a change is found"
            )


def _as_json(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), "here": is_here(entry), "paths": [str(file) for file in files_of(entry)]}


def _in_words(entry: Entry) -> str:
    parameters = "not known" if entry.parameters is None else f"{entry.parameters:.2f} million"
    lines = [
        f"{entry.name}: {entry.kind}",
        f"  {entry.what}",
        f"  parameters   {parameters}, {entry.size}",
        f"  licence      {entry.licence}",
        f"  trained on   {entry.trained_on}",
        *(f"  score        {score}" for score in entry.scores),
    ]
    for file in entry.files:
        digest = f"SHA-256 {file.sha256}" if file.sha256 else "SHA-256 is noted with the first download"
        source = "comes with the package" if entry.shipped else file.url or "by hand"
        lines.append(f"  file         {file.name}: {source}; {digest}")
    if entry.backbone:
        lines.append(f"  trains as    --model.backbone {entry.backbone} --model.weights {entry.name}")
    if is_here(entry):
        lines.append(f"  here         {files_of(entry)[0]}")
    else:
        lines.append(f"  here         no: {how_to_get(entry)}")
    return "\n".join(lines)


PARTS: Parts = {"list": (ListArgs, _list), "get": (GetArgs, _get), "check": (CheckArgs, _check)}
