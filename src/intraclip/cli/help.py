"""`--help`: what most people need of a command, on one screen; `--help-all` has the rest."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

from intraclip.cli.flags import Flag, first_sentence, flags_of

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
    "ingest": "videos out detector model tracks cameras max-fps min-frames device resume json",
    "gallery add": "gallery data model embeddings sampling camera-name started-at on-unreadable json",
    "gallery search": "gallery tracklet images video frame box model k camera since until out json",
    "gallery delete": "gallery id older-than camera person source dry-run json",
    "gallery list": "gallery camera person source limit cursor json",
    "live": "gallery camera model detector loop keep serve port webhook webhook-secret-file mqtt alert-gap "
    "part-seconds quality max-fps tiling json",
    "serve": "gallery model host port token-file tls-cert tls-key max-upload-mb",
    "rank": "model data query out k distance own-camera head engine device json",
    "link": "source out model calibration probability threshold distance travel data json",
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
    "splits": "LIST",
    "test-splits": "LIST",
}
"""What stands for the value of a flag, where its type does not say it."""


def short_help(kind: type[Any], command: str, *, more: str = "") -> str:
    """The help of a command on one screen."""
    width = max(50, min(shutil.get_terminal_size((80, 40)).columns, 100))
    flags = flags_of(kind)
    by_name = {f.top if f.positional else f.name: f for f in flags}
    shown = [by_name[name] for name in FEW[command].split()] if command in FEW else list(flags)
    places = [_usage(f) for f in flags if f.positional]
    needed = [f"--{f.name} {_metavar(f)}" for f in flags if f.required and not f.positional]
    usage = " ".join(["usage: intraclip", command, *places, *needed, "[options]"])
    begin = textwrap.wrap(usage, width, subsequent_indent=" " * 8, break_on_hyphens=False)
    lines = [line for flag in shown for line in _described(flag, width)]
    rest = len(flags) - len(shown)
    lines += ["", "  -v, -q                say more, or nothing but results and errors"]
    if more:
        lines.append(more)
    lines.append(f"  --help-all            {f'{rest} more flags, and ' if rest else ''}all about each")
    about: list[str] = []
    for paragraph in (kind.__doc__ or "").split("\n\n"):  # all of them, if there is room
        wrapped = ["", *textwrap.wrap(" ".join(paragraph.split()), width, break_on_hyphens=False)]
        if not about or len([*begin, *about, *wrapped, "", *lines]) <= LINES:
            about += wrapped
    return "\n".join([*begin, *about, "", *lines])


def _place(flag: Flag) -> str:
    """What a positional argument is called."""
    if flag.values == "many":
        return f"{flag.name.removesuffix('S')} ..."
    return "DIR" if flag.name == "FOLDER" else flag.name


def _usage(flag: Flag) -> str:
    return _place(flag) if flag.required else f"[{_place(flag)}]"


def _metavar(flag: Flag) -> str:
    if flag.values == "none":
        return ""
    if flag.choices and len("|".join(flag.choices)) <= 34:
        return "|".join(flag.choices)
    word = METAVARS.get(flag.name, "")
    if not word and flag.path:
        beginning = flag.help.lower()[:24]
        word = "DIR" if "folder" in beginning or beginning.startswith(("run", "data set")) else "FILE"
    word = word or ("N" if flag.number else "NAME")
    return f"{word} ..." if flag.values == "many" else word


def _described(flag: Flag, width: int) -> list[str]:
    head = f"  {_place(flag)}" if flag.positional else f"  {flag.spelling} {_metavar(flag)}".rstrip()
    text = SHORTER.get(flag.name) or first_sentence(flag.help)
    if flag.values == "none" and flag.default is True:
        text = f"Switch off: {text[:1].lower()}{text[1:]}"
    unsaid = not flag.required and flag.default not in ("", False, True) and "default" not in text.lower()
    if unsaid and isinstance(flag.default, str | int | float):
        text = f"{text.removesuffix('.')} (default {flag.default})."
    indent = " " * 24
    body = textwrap.wrap(text, width - 24, break_on_hyphens=False) or [""]
    if len(head) <= 22:
        return [f"{head:<24}{body[0]}".rstrip(), *(indent + line for line in body[1:])]
    return [head, *(indent + line for line in body)]
