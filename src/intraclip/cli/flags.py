"""The flags of a command, read from its dataclass: for the short help, completion, old spellings and `--config`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from intraclip.core.settings import registry_of

Values = Literal["none", "one", "many"]

_POSITIONAL = get_args(tyro.conf.Positional[int])[1]
"""tyro's mark of what is given by its place."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag, or one positional argument.

    Attributes:
        name: as it is typed, without the dashes, such as ``augment.mode``; of a positional, what help calls it.
        help: its text.
        values: how many words follow it; a switch takes none.
        count: how many words exactly, of a flag that takes more than one; 0 for any number.
        choices: the words it takes, if only some are taken.
        positional: it is given by its place.
        required: there is no default.
        of: what its values are, where it is a flag of files or folders (Path), or of numbers (int, float).
        default: the value without the flag, None where there is none.
        top: the field's name, where it is a field of the command itself and not of a group.
    """

    name: str
    help: str
    values: Values
    count: int = 0
    choices: tuple[str, ...] = ()
    positional: bool = False
    required: bool = False
    of: type[Any] | None = None
    default: Any = None
    top: str = ""

    @property
    def spelling(self) -> str:
        """As it is typed; a switch that is on by default is switched off."""
        if self.positional:
            return self.name
        group, _, last = self.name.rpartition(".")
        off = "no-" if self.values == "none" and self.default is True else ""
        return f"--{group}{'.' * bool(group)}{off}{last}"


def flags_of(kind: type[Any], given: Any = None) -> tuple[Flag, ...]:
    """All flags of a command's dataclass, those of its groups too; `given` has other defaults than the class."""
    return tuple(_walk(kind, prefix="", outer=True, given=given))


def _walk(kind: type[Any], *, prefix: str, outer: bool, given: Any = None) -> list[Flag]:
    hints, texts = get_type_hints(kind, include_extras=True), _texts(kind)
    found = []
    for item in fields(kind):
        if {"settings", "parts"} & set(item.metadata):
            continue  # of a part: `intraclip.cli.recipe_flags`
        hint, markers = hints[item.name], []
        while get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            markers += more
        name, metavar = item.name, ""
        for marker in markers:
            chosen = getattr(marker, "name", None)
            name = chosen if isinstance(chosen, str) else name
            metavar = getattr(marker, "metavar", None) or metavar
        dashed = name.replace("_", "-")
        if isinstance(hint, type) and is_dataclass(hint):
            # A command may have other defaults for a group than the group itself.
            made = item.default_factory() if item.default_factory is not MISSING else None
            group = made if given is None else getattr(given, item.name)
            found += _walk(hint, prefix=f"{prefix}{dashed}." if dashed else prefix, outer=False, given=group)
            continue
        default = item.default if item.default is not MISSING else None
        if item.default_factory is not MISSING:
            default = item.default_factory()
        if given is not None:
            default = getattr(given, item.name)
        positional = _POSITIONAL in markers
        inner = _without_none(hint)
        origin, inside = get_origin(inner), get_args(inner)
        each = inside if origin is tuple else (inner,)
        found.append(
            Flag(
                name=(metavar or name.upper()) if positional else prefix + dashed,
                help=" ".join(texts.get(item.name, "").split()),
                values="none" if inner is bool else "many" if origin in (tuple, dict, list) else "one",
                count=0 if origin is not tuple or ... in inside else len(inside),
                choices=tuple(map(str, inside)) if origin is Literal else _parts(item),
                positional=positional,
                required=item.default is MISSING and item.default_factory is MISSING,
                of=next((kind for kind in (Path, float, int) if kind in each), None),
                default=default,
                top=item.name if outer else "",
            )
        )
    return found


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        kept = [one for one in get_args(hint) if one is not type(None)]
        return kept[0] if len(kept) == 1 else hint
    return hint


def _parts(item: Field[Any]) -> tuple[str, ...]:
    """Names of the parts that a setting chooses among, where only these can be chosen."""
    registry = registry_of(item)
    names = () if registry is None else tuple(registry)
    return () if any(name.endswith(":") for name in names) else names


def _texts(kind: type[Any]) -> dict[str, str]:
    """What stands below each field of a dataclass and of those it inherits from."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if not is_dataclass(one):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]
        assert isinstance(body, ast.ClassDef)
        for item, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                text = below.value if isinstance(below, ast.Expr) else None
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    found[item.target.id] = text.value
    return found


def named(flags: Sequence[Flag], word: str) -> Flag | None:
    """The flag that a word of the command line spells, such as ``--frame_stride=2`` or ``--no-camera-motion``."""
    if not word.startswith("--"):
        return None
    name = word.partition("=")[0].removeprefix("--").replace("_", "-")
    return next((f for f in flags if not f.positional and f.spelling == f"--{name}"), None) or next(
        (f for f in flags if not f.positional and f.name.replace("_", "-") == name), None
    )


Part = list[str]
"""A flag of a command line with its values, or one word that is given by its place."""


def split(flags: Sequence[Flag], argv: Sequence[str]) -> list[Part]:
    """The words of a command line, each flag with its values."""
    parts: list[Part] = []
    room = 0  # how many words the part before still takes
    for word in argv:
        if word.startswith("--"):
            parts.append([word])
            flag = named(flags, word)
            # A flag that is not known any more took one value; argparse says so if it never did.
            takes = 1 if flag is None else {"none": 0, "one": 1, "many": flag.count or len(argv)}[flag.values]
            room = 0 if "=" in word and takes == 1 else takes
        elif room:
            parts[-1].append(word)
            room -= 1
        else:
            parts.append([word])
    return parts


def spelled(part: Part) -> str:
    """The flag of a part, such as ``--frame-stride``; empty for a word that is given by its place."""
    return part[0].partition("=")[0].replace("_", "-") if part and part[0].startswith("--") else ""


def values_of(part: Part) -> list[str]:
    """What a part gives its flag, behind an equals sign or as words of their own."""
    _, equals, value = part[0].partition("=") if spelled(part) else ("", "", "")
    return [value] * bool(equals) + part[1:]


def part_with(parts: Sequence[Part], flag: str) -> Part | None:
    """The first part that gives a flag, or that is given by its place where the flag is empty."""
    return next((part for part in parts if spelled(part) == flag), None)


def first_sentence(text: str) -> str:
    """The first sentence, or what stands before a semicolon where that is shorter.

    >>> first_sentence("Data folder, such as a.b; or a pack. More.")
    'Data folder, such as a.b.'
    """
    for place, letter in enumerate(text):
        # "(.npz or .parquet" is open still: a sentence does not end within brackets.
        closed = text[:place].count("(") == text[:place].count(")")
        if letter in ".;" and closed and (place + 1 == len(text) or text[place + 1] == " "):
            return f"{text[:place]}."
    return text
