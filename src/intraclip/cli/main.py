"""Entry point: finds the command, runs it, and turns errors into one clear message and exit code 2."""

from __future__ import annotations

import difflib
import io
import sys
from collections.abc import Sequence
from importlib import import_module

from intraclip import __version__
from intraclip.errors import IntraclipError
from intraclip.process import tune

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("intraclip.cli.demo", "Render a small benchmark, train two models on it, and write a report."),
    "data": (
        "intraclip.cli.data",
        "Make the shipped benchmark, check a data folder, or pack one (data make, check, pack).",
    ),
    "train": ("intraclip.cli.train", "Train a network with a recipe and write a run folder."),
    "evaluate": ("intraclip.cli.evaluate", "Score a run on the test tracklets of a data folder."),
    "score": ("intraclip.cli.score", "Score an embeddings file of any system under named protocols."),
    "cross": ("intraclip.cli.cross", "Train on every split of one data set, test on every split of another."),
    "extract": ("intraclip.cli.extract", "Write the embeddings of a data folder's test tracklets to a file."),
    "reproduce": (
        "intraclip.cli.reproduce",
        "Make a table or figure of the paper: train, score, compare, with intervals.",
    ),
    "export": (
        "intraclip.cli.export",
        "Write a network as ONNX, OpenVINO or torch.export, checked, fp32 or int8.",
    ),
    "models": (
        "intraclip.cli.models",
        "Public networks and detectors by name: what they are, get them, check them (models list, get, check).",
    ),
    "ingest": ("intraclip.cli.ingest", "Turn videos into tracklets: detect, track, crop."),
    "gallery": (
        "intraclip.cli.gallery",
        "Keep tracklets, search them, delete them for good (gallery add, search, show, list, delete, stats).",
    ),
    "serve": ("intraclip.cli.serve", "Serve a gallery: a search page in the browser and an HTTP API."),
    "link": ("intraclip.cli.link", "Group the tracklets of several cameras into people, with a page."),
    "rank": ("intraclip.cli.rank", "Draw the tracklets most similar to a chosen one, for own videos."),
    "report": (
        "intraclip.cli.report",
        "Write report.html of a run: numbers, curves, ranked lists, Grad-CAM.",
    ),
}
"""Command -> module with `main(argv) -> exit code`, and its line in the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Returns:
        0, or 2 for an error that the user can mend; 130 when interrupted and 143 when a run that was told to stop has
        saved itself.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # names of files may be no text; stderr does so anyway
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"intraclip {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        print(f"error: unknown command {name!r}{hint}; `intraclip --help` lists them", file=sys.stderr)
        return 2
    tune()
    try:
        code: int = import_module(COMMANDS[name][0]).main(rest)
        return code
    except IntraclipError as error:
        exit_code: int = getattr(error, "exit_code", 2)
        from intraclip.cli.common import plain

        print(plain(f"error: {error}" if exit_code == 2 else error), file=sys.stderr)
        return exit_code
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe such as `| head` went away; there is nobody left to tell.
        sys.stderr.close()
        return 1


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "intraclip finds the same person across cameras, from video.",
            "",
            "usage: intraclip COMMAND [options]       `intraclip COMMAND --help` explains one command",
            "",
            *lines,
            "",
            "Start with `intraclip demo --out demo`: it needs no data, no GPU and no download.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
