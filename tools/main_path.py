"""How much has to be read to follow `ic.train`, and `ic.load(...).embed` with `ic.score`: both are called, and watched.

Run: python tools/main_path.py [train] [embed] [--files]

Counts of each call, in lines:

- functions: the functions and methods that the call enters;
- entered: the files that hold them, whole, and without their blank lines;
- loaded: the files of all modules that are loaded, used or not.

What runs while a module is loaded (a registry that is filled, a decorator) is no step of the call and enters nothing.
Training reads a folder of frames and uses a recipe for tests; embedding uses the shipped network and arrays.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

CALLS = ("train", "embed")

RECIPE = """
device = "cpu"
[input]
height = 32
width = 16
[clip]
num_frames = 2
[batch]
identities = 3
clips = 2
[model]
weights = ""
[model.backbone]
name = "small"
width = 0.5
[optimizer]
epochs = 1
[data]
workers = 0
[run]
tensorboard = false
"""


class Watch:
    """Notes the code of intraclip that runs, in every thread."""

    def __init__(self) -> None:
        self.entered: set[CodeType] = set()
        self._known: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take an event of `sys.setprofile`."""
        code = frame.f_code
        if event != "call" or code in self._known or "/intraclip/" not in code.co_filename:
            return
        caller: FrameType | None = frame
        while caller is not None:
            if caller.f_code.co_name == "<module>" and "/intraclip/" in caller.f_code.co_filename:
                return  # a module is being loaded; the same code may be called later
            caller = caller.f_back
        self._known.add(code)
        if code.co_flags & 1:  # a function; the bodies of classes are none
            self.entered.add(code)


def train(folder: Path) -> None:
    """One epoch on pictures of noise."""
    import cv2
    import numpy as np

    import intraclip as ic

    rng = np.random.default_rng(0)
    for pid in range(1, 7):
        for camid in (1, 2):
            tracklet = folder / "data" / "train" / str(pid) / str(camid) / "1"
            tracklet.mkdir(parents=True)
            for number in range(4):
                cv2.imwrite(
                    str(tracklet / f"{number}.jpg"), rng.integers(0, 255, (64, 32, 3), dtype=np.uint8)
                )
    (folder / "recipe.toml").write_text(RECIPE)
    ic.train(folder / "recipe.toml", data=folder / "data", out=folder / "run")


def embed(folder: Path) -> None:
    """Eight clips of four people, embedded and scored."""
    import numpy as np

    import intraclip as ic

    clips = np.random.default_rng(0).integers(0, 255, (8, 4, 128, 64, 3), dtype=np.uint8)
    found = ic.load("base").embed(list(clips))
    ic.score(
        found.features,
        pids=[1, 1, 2, 2, 3, 3, 4, 4],
        camids=[1, 2] * 4,
        is_query=[True, False] * 4,
    )


def watched(call: str) -> dict[str, Any]:
    """Make a call in this process, which must be a fresh one, and count."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        threading.setprofile(watch)
        sys.setprofile(watch)
        try:
            {"train": train, "embed": embed}[call](Path(folder))
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
    source = Path(sys.modules["intraclip"].__file__ or "").parent
    loaded = {
        Path(module.__file__)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "intraclip" and getattr(module, "__file__", None)
    }
    text = {path: path.read_text(encoding="utf-8").splitlines() for path in loaded}
    files = {path: len(lines) for path, lines in text.items()}
    entered = {Path(code.co_filename) for code in watch.entered}
    return {
        "functions": sum(_lines(path, watch.entered) for path in entered),
        "entered": sum(files[path] for path in entered),
        "without_blank": sum(bool(line.strip()) for path in entered for line in text[path]),
        "entered_files": {path.relative_to(source).as_posix(): files[path] for path in sorted(entered)},
        "loaded": sum(files.values()),
        "loaded_files": len(files),
    }


def _lines(path: Path, entered: set[CodeType]) -> int:
    """Lines of the functions of a file that were entered; one inside another counts once."""
    starts = {code.co_firstlineno for code in entered if code.co_filename == str(path)}
    found: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first in starts or node.lineno in starts:
                found |= set(range(first, (node.end_lineno or first) + 1))
    return len(found)


def count(call: str) -> dict[str, Any]:
    """Make a call in a process of its own, and count."""
    done = subprocess.run(
        [sys.executable, __file__, "--watch", call], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("calls", nargs="*", choices=[[], *CALLS], default=[])
    parser.add_argument("--files", action="store_true", help="name the files that are entered")
    parser.add_argument("--watch", choices=CALLS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.watch:
        print(json.dumps(watched(arguments.watch)))
        return
    for call in arguments.calls or CALLS:
        found = count(call)
        files = len(found["entered_files"])
        print(
            f"{call}: functions {found['functions']:,}, entered {found['entered']:,} in {files} files "
            f"({found['without_blank']:,} without blank lines), loaded {found['loaded']:,} in {found['loaded_files']}"
        )
        if arguments.files:
            for name, lines in sorted(found["entered_files"].items(), key=lambda item: -item[1]):
                print(f"  {lines:5} {name}")


if __name__ == "__main__":
    main()
