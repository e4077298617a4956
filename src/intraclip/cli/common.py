"""What several commands share: parsing, reading data, progress bars, tables."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

from intraclip.config import Layout
from intraclip.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from intraclip.cli.bars import Bars
    from intraclip.config import Recipe
    from intraclip.ingest.track_scores import CamerasScores
    from intraclip.train.loop import Watcher
    from intraclip.train.throughput import Throughput
    from intraclip.types import Split

ArgsT = TypeVar("ArgsT")

_NARROWEST = 20
"""Columns of the terminal that a column of words needs at least, its frame included."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069]")
"""Control characters but line ends and tabs, lone surrogates (names that are not UTF-8), marks of text direction."""

SHOWN_SCORES = {"rank1": "rank-1", "mAP": "mAP"}
"""Scores whose intervals and differences are printed; the JSON holds all."""


VOICE = SimpleNamespace(quiet=False)
"""How much this process says beside results and errors; ``-q`` makes it quiet."""


def parse(kind: type[ArgsT], argv: Sequence[str], *, command: str, default: ArgsT | None = None) -> ArgsT:
    """Parse flags into a dataclass; its docstring is the help text. Wrong flags exit with code 2."""
    from intraclip.cli.settings_file import COMMANDS, with_settings
    from intraclip.cli.spellings import joined, mistakes, modern

    if {"-h", "--help", "--help-all"} & set(argv):
        from intraclip.cli.help import help_text

        print(help_text(kind, command, whole="--help-all" in argv, given=default))
        raise SystemExit(0)
    argv, source = modern(kind, argv, command=command), ""
    if command in COMMANDS:
        argv, source = with_settings(kind, argv)
    if wrong := mistakes(kind, argv):
        from_file = f"; some of these flags come from {source}" if source else ""
        told = f"error: {'; '.join(wrong)}{from_file}; `intraclip {command} --help` explains the flags"
        print(plain(told), file=sys.stderr)
        raise SystemExit(2)
    args = tyro.cli(
        kind,
        prog=f"intraclip {command}",
        args=joined(kind, argv),
        config=(tyro.conf.FlagCreatePairsOff,),
        default=tyro.MISSING_NONPROP if default is None else default,
    )
    if beyond := "; ".join(_beyond_bounds(args)):
        raise ConfigError(beyond)
    return args


def _beyond_bounds(args: Any) -> Iterator[str]:
    """Values of the command's own flags that are out of their bounds; groups such as a recipe look at theirs."""
    for item in fields(args):
        value, bounds = getattr(args, item.name), item.metadata.get("bounds")
        if bounds is not None and value is not None and (wrong := bounds.wrong(value)):
            yield f"--{item.name.replace('_', '-')} {value} {wrong}"


Parts = Mapping[str, tuple[type[Any], Callable[[Any], int]]]
"""The commands of a group by name, such as ``add`` of ``gallery``: dataclass of the flags, and what runs with it."""


def choose(group: str, argv: Sequence[str], parts: Parts, *, about: str) -> int:
    """Run the command of a group that the first word names.

    Raises:
        ConfigError: there is none.
    """
    if not argv or argv[0] in ("-h", "--help", "--help-all"):
        print(about)
        return 0
    if argv[0] not in parts:
        hint = did_you_mean(argv[0], parts)
        raise ConfigError(f"unknown command '{group} {argv[0]}'{hint}; there are {', '.join(parts)}")
    kind, run = parts[argv[0]]
    return run(parse(kind, argv[1:], command=f"{group} {argv[0]}"))


def flag_value(argv: Sequence[str], flag: str) -> str | None:
    """The value of a flag, read ahead of the others because it sets their defaults.

    >>> flag_value(["--seed", "3", "--recipe=demo"], "--recipe"), flag_value(["--seed", "3"], "--recipe")
    ('demo', None)
    """
    for i, argument in enumerate(argv):
        if argument.startswith(f"{flag}="):
            return argument.removeprefix(f"{flag}=")
        if argument == flag and i + 1 < len(argv):
            return argv[i + 1]
    return None


@dataclass(frozen=True, kw_only=True)
class ForPrograms:
    """A command whose result programs can read."""

    json: bool = False
    """Print the result as JSON."""


@dataclass(frozen=True, kw_only=True)
class ReadsData:
    """How the data folder of a run is read."""

    layout: Layout = "auto"
    """Layout of the data folder."""
    split: int | None = None
    """Number of the split; by default the one the run was trained on."""


def read_data(
    root: Path,
    *,
    layout: str = "auto",
    split: int = 0,
    direction: str = "first-half-tests",
    labels: Path | None = None,
) -> Split:
    """Read a data folder and say on standard error what was found; `labels` is a manifest of who is who in it."""
    from intraclip.data.readers import read_split

    found = read_split(root, layout=layout, split=split, direction=direction, labels=labels)
    say(
        f"{found.dataset} in {root}: {len(found.train)} training, {len(found.query)} query, "
        f"{len(found.gallery)} gallery tracklets" + (f", split {split}" if split else "")
    )
    return found


def read_data_of_run(root: Path, recipe: Recipe, *, layout: str = "auto", split: int | None = None) -> Split:
    """Read a data folder in the split and direction that a run was trained on, unless another split is named.

    Another split of the same data set would test on people that the run was trained on.
    """
    number = recipe.data.split if split is None else split
    try:
        return read_data(root, layout=layout, split=number, direction=recipe.data.direction)
    except DataError as error:
        if split is None and number:
            raise DataError(
                f"{error} (the run was trained on split {number}; name another with --split)"
            ) from None
        raise


def say(text: str) -> None:
    """A line for people, on standard error, so that standard output holds results alone.

    Of several processes that torchrun started, the first one speaks.
    """
    if os.environ.get("RANK", "0") == "0" and not VOICE.quiet:
        print(plain(text), file=sys.stderr, flush=True)


def command(*words: object) -> str:
    """A command of intraclip as it can be pasted into a shell.

    >>> command("evaluate", Path("my run"), "--data", "bench")
    "intraclip evaluate 'my run' --data bench"
    """
    return shlex.join(["intraclip", *map(str, words)])


def print_json(value: Any) -> None:
    """Results for programs, on standard output; paths are written as text."""
    print(json.dumps(value, indent=2, default=os.fspath))


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A terminal where text is text: no markup, no emoji codes, no colours by what it looks like.

    Names of people, cameras and files go through it; "[/]" in one of them must not be an error, nor "[red]" a colour.
    """
    from rich.console import Console

    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output: the first column holds words, the others numbers, which are never cut.

    Where the terminal is too narrow for it, rows become columns; where that is too wide too, every cell gets a line.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    width = shutil.get_terminal_size((120, 40)).columns
    cells = [[plain(cell, lines=False) for cell in row] for row in (header, *rows)]

    def needed(table: Sequence[Sequence[str]]) -> list[int]:
        return [max(cell_len(row[n]) for row in table) + 3 for n in range(len(table[0]))]

    columns = needed(cells)
    turned = [[row[n] for row in cells] for n in range(len(header))]
    # Words may be broken into lines as long as a few letters stand in each.
    if sum(columns) + 1 > width and width - sum(columns[1:]) - 1 < min(columns[0], _NARROWEST):
        if sum(needed(turned)) + 1 > width:
            names = max(map(cell_len, cells[0]))
            for row in cells[1:]:
                print(
                    *(f"{name:<{names}}  {cell}" for name, cell in zip(cells[0], row, strict=True)),
                    "",
                    sep="\n",
                )
            return
        cells = turned
    table = Table(title=None)
    table.add_column(Text(cells[0][0]), overflow="fold")
    for name in cells[0][1:]:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for row in cells[1:]:
        table.add_row(*map(Text, row))  # as text: a name is no markup
    console(width=width).print(table)


def plain(text: object, *, lines: bool = True) -> str:
    r"""Text for a terminal or a log: names come from other people, so control characters are spelled out.

    They could move the cursor, change what stands on the screen, or look like a line of their own. Line ends and tabs
    are kept if `lines` are.

    >>> print(plain("a\x1b[2J"), plain("a\nb", lines=False))
    a\x1b[2J a\x0ab
    """
    found = _CONTROL.sub(_spelled, str(text))
    return found if lines else re.sub("[\n\t]", _spelled, found)


def _spelled(match: re.Match[str]) -> str:
    number = ord(match.group())
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def some(messages: Sequence[str], most: int = 10, *, where: str = "") -> list[str]:
    """The first of many messages, and how many more there are, and where."""
    more = len(messages) - most
    return [*messages[:most], *([f"and {more:,} more{where}"] if more > 0 else [])]


def say_some(messages: Sequence[str]) -> None:
    """`some` of them, indented."""
    for line in some(messages):
        say(f"  {line}")


def tell(text: str) -> None:
    """A line of results for people, on standard output."""
    print(plain(text))


def score_table(scores: Mapping[str, Mapping[str, Any]]) -> None:
    """Scores by protocol, as `Scores.to_json_dict` gives them, in percent; and how many queries they count."""
    shares = {**{f"rank{k}": f"rank-{k}" for k in (1, 5, 10, 20)}, "mAP": "mAP", "mINP": "mINP"}
    counts = {"queries": "queries", "queries_without_match": "no match", "gallery": "gallery"}
    print_table(
        ["protocol", *shares.values(), *counts.values()],
        [
            [protocol, *(f"{100 * s[k]:.1f}" for k in shares), *(f"{s[k]:,}" for k in counts)]
            for protocol, s in scores.items()
        ],
    )


def one_of_each(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Scores by protocol without those that calculate the same as one before them."""
    names = list(scores)
    return {
        name: found
        for i, (name, found) in enumerate(scores.items())
        if not set(found.get("same_as", ())) & set(names[:i])
    }


def not_scored(reasons: Mapping[str, str]) -> list[str]:
    """A sentence for each reason, with all the protocols that it holds for.

    >>> not_scored({"lsvid": "why", "prid2011": "why"})
    ['not scored under lsvid, prid2011: why']
    """
    under: dict[str, list[str]] = {}
    for protocol, reason in reasons.items():
        under.setdefault(reason, []).append(protocol)
    return [f"not scored under {', '.join(protocols)}: {reason}" for reason, protocols in under.items()]


def also(score: Mapping[str, Any]) -> str:
    """The protocols that calculate the same, in brackets; nothing where there are none."""
    return f" ({', '.join(score['same_as'])}: the same here)" if score.get("same_as") else ""


def print_scores(result: Mapping[str, Any]) -> None:
    """A table of a run's scores, with what makes them what they are."""
    scores = one_of_each(result["scores"])
    score_table(scores)
    for line in not_scored(result["not_scored"]):
        tell(line)
    if not scores:
        return
    for protocol, found in scores.items():
        if len(scores) > 1:
            tell(f"{protocol}{also(found)}:")
        print_interval(found)
    first = next(iter(scores.values()))
    data, sampling = result["data"], result["sampling"]
    tell(
        f"data {data['dataset']}, split {data['split']}; distance {first['distance']}; test clips "
        f"{sampling['test_sampling']} of {sampling['num_frames']} frames; queries without a match are not counted"
    )


def print_interval(score: Mapping[str, Any]) -> None:
    """Where rank-1 and mAP would lie with other test people, when there are enough to say."""
    found = score["intervals"]
    if found is None:
        return
    ends = ", ".join(
        f"{label} {100 * found['scores'][key]['low']:.1f} to {100 * found['scores'][key]['high']:.1f}"
        for key, label in SHOWN_SCORES.items()
    )
    percent = f"{100 * found['confidence']:g}"
    tell(f"  {percent} % interval, had other people been tested ({found['people']:,} people): {ends}")


def print_tracks(scores: CamerasScores) -> None:
    """Tracks against the truth: a row a camera, all of them within, and across where ids are the same in all."""
    named = {
        **{f"camera {c}": s for c, s in scores.cameras.items()},
        "within cameras": scores.within,
    }
    if scores.across is not None:
        named["across cameras"] = scores.across
    rows = [
        [name, *(f"{100 * value:.1f}" for value in (s.hota, s.deta, s.assa, s.mota, s.idf1)), str(s.switches)]
        for name, s in named.items()
    ]
    print_table(["boxes against the truth, %", "HOTA", "DetA", "AssA", "MOTA", "IDF1", "switches"], rows)


@contextmanager
def progress_bars(stages: Sequence[str], *, unit: str = "") -> Iterator[Bars]:
    """`Bars` for as long as the work lasts."""
    from intraclip.cli.bars import Bars

    bars = Bars(stages, unit=unit)
    try:
        yield bars
    finally:
        bars.hide()


@contextmanager
def progress_bar(stage: str, *, unit: str = "") -> Iterator[Any]:
    """One bar; yields a function of (done, total), and perhaps what else to say."""
    with progress_bars([stage], unit=unit) as bars:
        yield partial(bars, stage)


class TrainingBar:
    """A watcher that draws epoch, loss, clips a second, the share of waiting for data, memory and the time left."""

    def __init__(self, update: Callable[[int, int, str], None]) -> None:
        self._update, self._loss = update, 0.0

    def step(
        self,
        *,
        epoch: int,
        step: int,
        total_steps: int,
        metrics: dict[str, float],
        throughput: Throughput,
    ) -> None:
        """See `Watcher`."""
        self._loss = metrics["loss"] if not self._loss else 0.9 * self._loss + 0.1 * metrics["loss"]
        memory = throughput.device_memory_gib or throughput.memory_gib
        self._update(
            step,
            total_steps,
            f"epoch {epoch + 1}  loss {self._loss:.3f}  acc {metrics['accuracy']:.2f}  "
            f"{throughput.clips_per_second:.0f} clips/s  data {throughput.data_share:.0%}  {memory:.1f} GiB",
        )

    def message(self, text: str) -> None:
        """See `Watcher`."""
        # Each process has its own frames to complain about.
        print(plain(text), file=sys.stderr, flush=True)


@contextmanager
def training_bar(description: str) -> Iterator[Watcher]:
    """A `TrainingBar` of its own."""
    with progress_bar(description) as update:
        yield TrainingBar(update)
