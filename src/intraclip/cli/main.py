"""Entry point: finds the command, runs it, and turns errors into one clear message and exit code 2."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from intraclip import __version__
from intraclip.errors import IntraclipError, did_you_mean
from intraclip.process import tune

GROUPS: dict[str, dict[str, str]] = {
    "videos": {
        "find": "From videos to a page of who is the same, in one command.",
        "ingest": "Turn videos into tracklets: detect people, follow and crop them.",
        "live": "Watch cameras: people into a gallery, alerts for a watch-list.",
        "alerts": "Who is looked for, and what the cameras found.",
        "gallery": "Keep tracklets, search them, delete them for good.",
        "serve": "A search page in the browser and an HTTP API on a gallery.",
        "link": "Group the tracklets of several cameras into people.",
        "rank": "Draw the tracklets most similar to a chosen one.",
        "adapt": "Let a network learn a site's people, without labels.",
    },
    "data sets": {
        "data": "Check a data folder, pack one, or render people to work with.",
        "train": "Train a network with a recipe; writes a run folder.",
        "evaluate": "Score a run on the test tracklets of a data folder.",
        "report": "One page of a run, or of several side by side.",
        "score": "Score an embeddings file of any system under named protocols.",
        "cross": "Train on one data set, test on another, over all splits.",
        "reproduce": "Make a table or figure of the paper, with intervals.",
        "demo": "The whole method at a small size, with a page to look at.",
    },
    "Python, other programs and the shell": {
        "extract": "Write the embeddings of a data folder to a file.",
        "export": "Write a network as ONNX, OpenVINO or torch.export, checked.",
        "models": "Public networks and detectors by name: list, get, check them.",
        "completion": "Print a script that completes commands in your shell.",
    },
}
"""Commands by what a person has, in the order of the help: name, which is that of its file here, and its line."""

LASTING = ("live", "serve")
"""Commands that run until they are stopped."""

COMMANDS = {name: about for names in GROUPS.values() for name, about in names.items()}


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
        # names of files may be no text; stderr does so anyway
        sys.stdout.reconfigure(errors="backslashreplace")
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
    tune(lasting=name in LASTING)
    if quiet or "intraclip.cli.common" in sys.modules:
        from intraclip.cli.common import VOICE

        VOICE.quiet = bool(quiet)
    try:
        return run(name, rest)
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


def run(name: str, argv: Sequence[str]) -> int:
    """Run a command: `main` of its module with its flags, such as `FindArgs`, or one of the `PARTS` of a group.

    Returns and raises what that does.
    """
    module: Any = import_module(f"intraclip.cli.{name}")
    from intraclip.cli.common import choose, parse

    if hasattr(module, "PARTS"):
        return choose(name, argv, module.PARTS, about=module.HELP)
    if hasattr(module, "parsed"):
        return int(module.main(module.parsed(argv)))
    return int(module.main(parse(getattr(module, f"{name.title()}Args"), argv, command=name)))


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = []
    for title, names in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<{width}}  {about}" for name, about in names.items()), ""]
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
