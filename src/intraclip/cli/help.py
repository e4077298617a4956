"""`--help`: what most people need of a command, on one screen; `--help-all`: everything."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from intraclip.cli.flags import Flag, first_sentence, flags_of
from intraclip.cli.recipe_flags import COMMANDS as WITH_RECIPE
from intraclip.cli.recipe_flags import flags_of_parts
from intraclip.cli.settings_file import COMMANDS as WITH_FILE

LINES = 40
"""Lines of a screen."""

FEW: dict[str, str] = {
    "data make": "folder preset identities cameras layout frames seed workers json",
    "data make-videos": "folder people cameras seconds fps seed width workers json",
    "data pack": "folder out layout frames on-unreadable verify workers json",
    "train": "data out recipe resume labels model.backbone model.head model.weights augment.mode optimizer.epochs "
    "batch.identities data.layout data.split data.workers seed device",
    "cross": "train test out runs recipe model.head optimizer.epochs splits test-splits protocol device resume json",
    "extract": "model data out engine layout device sampling on-unreadable resume force json",
    "export": "model format out part precision data force json",
    "score": "file protocol distance against rerank calibrate json",
    "reproduce": "experiment out scale data plan seeds only jobs json",
    "find": "videos out detector model engine serve port cameras max-fps min-frames device",
    "ingest": "videos out detector model tracks cameras max-fps min-frames truth device resume json",
    "gallery add": "gallery data model embeddings sampling camera-name started-at on-unreadable json",
    "gallery search": "gallery tracklet images video frame box model k camera since until out json",
    "gallery delete": "gallery id older-than camera person source dry-run json",
    "gallery list": "gallery camera person source limit cursor json",
    "alerts watch": "gallery tracklet images name false-match-rate model head engine device sampling json",
    "live": "gallery camera model detector loop keep serve port webhook webhook-secret-file mqtt alert-gap "
    "part-seconds quality max-fps tiling json",
    "serve": "gallery model host port token-file tls-cert tls-key max-upload-mb",
    "rank": "model data query out k distance own-camera head engine device json",
    "link": "source out model calibration probability threshold distance travel answers labels data json",
}
"""What `--help` shows of a command, in this order; commands that are not here show all that they have."""

SHORTER: dict[str, str] = {
    "model.backbone": "Network of the frames, such as resnet50, small or timm:NAME.",
    "model.head": "Head: ica, tap, ...; --model.head.KEY sets what it has (docs/heads.md).",
    "model.weights": "Start: imagenet, a file, a run, a name of the zoo, or empty.",
    "augment.mode": "One draw for a clip (SDA), one for each frame, or none.",
    "data.layout": "Layout of the data folder; --layout for short.",
    "data.split": "Number of the split; --split for short.",
}
"""Texts of a recipe's settings, for one line; --help-all has the whole."""

METAVARS = {
    "model": "MODEL",
    "head": "RUN",
    "box": "X,Y,W,H",
    "tracklet": "ID",
    "id": "ID",
    "since": "TIME",
    "until": "TIME",
    "started-at": "TIME",
    "older-than": "AGE",
    "keep": "AGE",
    "webhook": "URL",
    "mqtt": "URL",
    "splits": "LIST",
    "test-splits": "LIST",
}
"""What stands for the value of a flag, where its type does not say it."""


def help_text(kind: type[Any], command: str, *, whole: bool = False, given: Any = None) -> str:
    """The help of a command by the dataclass of its flags: on one screen, or the `whole` of it.

    `given` has other defaults than the dataclass, such as those of a recipe.
    """
    width = max(50, min(shutil.get_terminal_size((80, 40)).columns, 100))
    flags = flags_of(kind, given)
    by_name = {f.top if f.positional else f.name: f for f in flags}
    few = FEW.get(command, "").split()
    shown = (
        [by_name[name] for name in few]
        if few and not whole
        else sorted(flags, key=lambda f: (not f.positional, f.top == "json"))
    )
    usage = " ".join(["usage: intraclip", command, *map(named_in_usage, needed(flags)), "[options]"])
    begin = textwrap.wrap(usage, width, subsequent_indent=" " * 8, break_on_hyphens=False)
    lines = [line for flag in shown for line in _described(flag, width, whole=whole)]
    if whole and command in WITH_RECIPE:
        lines += [
            "",
            "settings of the parts (all parts of the loss are at work; the others are chosen by name):",
        ]
        for name, flag in flags_of_parts():
            own = "" if flag.name.startswith("loss.") else f"{name}: "
            lines += _described(replace(flag, help=f"{own}{flag.help}"), width, whole=True)
    lines += ["", "  -v, -q                say more, or nothing but results and errors"]
    if command in WITH_FILE:
        lines.append("  --config FILE         A TOML file of flags; those of the command line win.")
    rest = len(flags) - len(shown)
    more = f"{rest} more flags, and " if rest else ""
    lines.append(
        "  --help                What most people need."
        if whole
        else f"  --help-all            {more}everything about each"
    )
    about: list[str] = []
    for paragraph in (kind.__doc__ or "").split("\n\n"):  # all of them, if there is room
        wrapped = ["", *textwrap.wrap(" ".join(paragraph.split()), width, break_on_hyphens=False)]
        if whole or not about or len([*begin, *about, *wrapped, "", *lines]) <= LINES:
            about += wrapped
    return "\n".join([*begin, *about, "", *lines])


def needed(flags: Sequence[Flag]) -> list[Flag]:
    """What a command's usage names: positional arguments, and flags that must be given."""
    return [*(f for f in flags if f.positional), *(f for f in flags if f.required and not f.positional)]


def named_in_usage(flag: Flag) -> str:
    """A flag as usage names it, such as ``--data DIR`` or ``[MODEL]``."""
    if not flag.positional:
        return f"--{flag.name} {_metavar(flag)}"
    return _place(flag) if flag.required else f"[{_place(flag)}]"


def _place(flag: Flag) -> str:
    """What a positional argument is called."""
    if flag.values == "many":
        return f"{flag.name.removesuffix('S')} ..."
    return "DIR" if flag.name == "FOLDER" else flag.name


def _metavar(flag: Flag) -> str:
    if flag.values == "none":
        return ""
    if flag.choices and len("|".join(flag.choices)) <= 34:
        return "|".join(flag.choices)
    word = METAVARS.get(flag.name, "")
    if not word and flag.of is Path:
        beginning = flag.help.lower()[:24]
        word = "DIR" if "folder" in beginning or beginning.startswith(("run", "data set")) else "FILE"
    word = word or ("N" if flag.of in (int, float) else "NAME")
    return f"{word} ..." if flag.values == "many" else word


def _described(flag: Flag, width: int, *, whole: bool) -> list[str]:
    head = f"  {_place(flag)}" if flag.positional else f"  {flag.spelling} {_metavar(flag)}".rstrip()
    text = flag.help if whole else SHORTER.get(flag.name) or first_sentence(flag.help)
    if flag.values == "none" and flag.default is True:
        text = f"Switch off: {text[:1].lower()}{text[1:]}"
    if whole and flag.choices and _metavar(flag).partition(" ")[0] == "NAME":
        text = f"{text} One of {', '.join(flag.choices)}."
    values = flag.default if isinstance(flag.default, tuple) else (flag.default,)
    default = " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
    said = flag.required or not default or "default" in text.lower()
    if not said and not isinstance(flag.default, bool | dict | None):
        text = f"{text.removesuffix('.')} (default {default})."
    indent = " " * 24
    body = textwrap.wrap(text, width - 24, break_on_hyphens=False) or [""]
    if len(head) <= 22:
        return [f"{head:<24}{body[0]}".rstrip(), *(indent + line for line in body[1:])]
    return [head, *(indent + line for line in body)]
