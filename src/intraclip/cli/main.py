"""Entry point: finds the command, runs it, and turns errors into one clear message and exit code 2."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from intraclip import __version__
from intraclip.errors import IntraclipError, did_you_mean
from intraclip.process import tune

COMMANDS: dict[str, tuple[str, str]] = {
    "find": ("intraclip.cli.find", "From videos to a page of who is the same, in one command."),
    "ingest": (
        "intraclip.cli.ingest",
        "Turn videos into tracklets: detect people, follow and crop them.",
    ),
    "gallery": ("intraclip.cli.gallery", "Keep tracklets, search them, delete them for good."),
    "live": ("intraclip.cli.live", "Watch cameras: people into a gallery, alerts for a watch-list."),
    "alerts": ("intraclip.cli.alerts", "Who is looked for, and what the cameras found."),
    "serve": ("intraclip.cli.serve", "A search page in the browser and an HTTP API on a gallery."),
    "link": ("intraclip.cli.link", "Group the tracklets of several cameras into people."),
    "rank": ("intraclip.cli.rank", "Draw the tracklets most similar to a chosen one."),
    "data": ("intraclip.cli.data", "Check a data folder, pack one, or render people to work with."),
    "train": ("intraclip.cli.train", "Train a network with a recipe; writes a run folder."),
    "adapt": ("intraclip.cli.adapt", "Let a network learn a site's people, without labels."),
    "evaluate": ("intraclip.cli.evaluate", "Score a run on the test tracklets of a data folder."),
    "report": ("intraclip.cli.report", "One page of a run, or of several side by side."),
    "score": ("intraclip.cli.score", "Score an embeddings file of any system under named protocols."),
    "cross": ("intraclip.cli.cross", "Train on one data set, test on another, over all splits."),
    "reproduce": ("intraclip.cli.reproduce", "Make a table or figure of the paper, with intervals."),
    "demo": ("intraclip.cli.demo", "The whole method at a small size, with a page to look at."),
    "extract": ("intraclip.cli.extract", "Write the embeddings of a data folder to a file."),
    "export": ("intraclip.cli.export", "Write a network as ONNX, OpenVINO or torch.export, checked."),
    "models": ("intraclip.cli.models", "Public networks and detectors by name: list, get, check them."),
    "completion": ("intraclip.cli.completion", "Print a script that completes commands in your shell."),
}
"""Command -> module with `main(argv) -> exit code`, and its line in the help."""

GROUPS = {
    "videos": ("find", "ingest", "live", "alerts", "gallery", "serve", "link", "rank", "adapt"),
    "data sets": ("data", "train", "evaluate", "report", "score", "cross", "reproduce", "demo"),
    "Python, other programs and the shell": ("extract", "export", "models", "completion"),
}
"""Commands by what a person has, in the order of the help."""


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
    quiet, verbose = {"-q", "--quiet"} & set(arguments), {"-v", "--verbose"} & set(arguments)
    arguments = [word for word in arguments if word not in {"-q", "--quiet", "-v", "--verbose"}]
    if not arguments or arguments[0] in ("-h", "--help", "--help-all"):
        print(_help())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"intraclip {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        print(f"error: unknown command {name!r}{hint}; `intraclip --help` lists them", file=sys.stderr)
        return 2
    tune()
    if quiet or verbose or "intraclip.cli.common" in sys.modules:
        from intraclip.cli.common import VOICE

        VOICE.quiet, VOICE.verbose = bool(quiet), bool(verbose)
    try:
        code: int = import_module(COMMANDS[name][0]).main(rest)
        return code
    except IntraclipError as error:
        exit_code: int = getattr(error, "exit_code", 2)
        from intraclip.cli.common import plain

        if verbose:
            traceback.print_exc()
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
    lines = []
    for title, names in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<{width}}  {COMMANDS[name][1]}" for name in names), ""]
    return "\n".join(
        [
            "intraclip finds the same person across cameras, from video.",
            "",
            "usage: intraclip COMMAND [options]     `intraclip COMMAND --help` explains one",
            "",
            *lines,
            "-q leaves out progress and notes; -v says where an error was found; --version.",
            "Start with `intraclip demo --out demo`: it needs no data, GPU or download.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
